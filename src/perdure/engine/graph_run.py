"""Stepping through a run: what ``graph.iter()`` gives.

The interface is that of pydantic-graph's ``GraphRun``; the run behind it is driven, recorded and recovered as any other
(``steps.py``). It differs where joins and forks are no tasks here: they are never shown, and what comes of them is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from perdure.engine.calling.steps import Offer, Steps
from perdure.engine.driving.driven import Driven
from perdure.errors import GraphRuntimeError, RunCancelled, RunInterrupted, RunPaused
from perdure.graph.graph import Graph
from perdure.graph.nodes.iteration import EndMarker, ErrorMarker, ForkStackItem, GraphTask, GraphTaskRequest
from perdure.graph.nodes.nodes import START_ID
from perdure.ids import ROOT_INSTANCE, START_TASK
from perdure.kernel.fold.status import Status
from perdure.kernel.state.restore import restore
from perdure.kernel.state.tree import thaw
from perdure.store.completion import completed

StateT = TypeVar("StateT")
DepsT = TypeVar("DepsT")
OutputT = TypeVar("OutputT")


class GraphRun(Generic[StateT, DepsT, OutputT]):
    """A run that is stepped through; made by ``async with graph.iter(…) as run``.

    Iterating gives, one after another, the tasks that are about to start, as lists; they start when the next item is asked
    for. The last item is an :class:`EndMarker`. What has failed is raised; asking on raises it for good, unless
    :meth:`override_next` has put something in its place.

    Attributes:
        graph: the graph.
        run_id: the id of the run.
        deps: the dependencies.
        inputs: the inputs.
    """

    def __init__(
        self,
        graph: Graph[Any, Any, Any, Any],
        run_id: str,
        steps: Steps,
        driven: Driven | None,
        *,
        state: Any,
        deps: Any,
        inputs: Any,
        recorded: EndMarker[Any] | None = None,
    ) -> None:
        self.graph = graph
        self.run_id = run_id
        self.deps: DepsT = deps
        self.inputs: Any = inputs
        self._given = state
        self._restored = -1
        self._steps = steps
        self._driven = driven
        self._offer: Offer | None = None
        self._said: Sequence[GraphTaskRequest] | EndMarker[Any] | None = None
        self._is_answered = False
        self._recorded = recorded
        self._is_over = False

    # --- what is to come ---

    @property
    def next_task(self) -> EndMarker[OutputT] | ErrorMarker | Sequence[GraphTask]:
        """What is to come next: tasks, the end, or an error; before the first item, the start."""
        if self._said is not None:
            if isinstance(self._said, EndMarker):
                return self._said
            return [_as_task(request) for request in self._said]
        if self._offer is None:
            root = ForkStackItem(START_ID, ROOT_INSTANCE, 0)
            return [GraphTask(START_ID, self.inputs, (root,), START_TASK)]
        shown: EndMarker[OutputT] | ErrorMarker | Sequence[GraphTask] = self._offer.shown
        return shown

    @property
    def output(self) -> OutputT | None:
        """The output, once the run has reached its end; None before."""
        marker = self.next_task
        return marker.value if isinstance(marker, EndMarker) else None

    @property
    def state(self) -> StateT:
        """The state as it is committed now.

        If a state was given, it is that object, brought up to date; changing it changes nothing about the run.
        """
        if self._driven is None:
            given: StateT = self._given
            return given
        run = self._driven.driver.run
        if self._given is None:
            copied: StateT = thaw(run.state.tree)
            return copied
        if self._restored != run.seq:
            self._restored = run.seq
            restore(self._given, run.state.tree)
        brought: StateT = self._given
        return brought

    # --- going on ---

    def __aiter__(self) -> AsyncIterator[EndMarker[OutputT] | Sequence[GraphTask]]:
        """Iterate over what is to come."""
        return self

    async def __anext__(self) -> EndMarker[OutputT] | Sequence[GraphTask]:
        """Let go on what was shown last, and return what is to come after it.

        Raises:
            StopAsyncIteration: the run is over.
            Exception: what a step raised.
            GraphRuntimeError: what was to take the place of tasks can't be placed there.
        """
        if self._is_over:
            raise StopAsyncIteration
        if self._recorded is not None:
            return self._show_recorded(self._recorded)
        if self._offer is not None and not self._is_answered:
            self._is_answered = True  # whoever is cancelled while he waits and asks again has said his word
            self._steps.say(self._offer, self._said)
        offer = await self._next_offer()
        if offer is None:
            return await self._finish()
        self._offer, self._said, self._is_answered = offer, None, False
        if isinstance(offer.shown, ErrorMarker):
            raise offer.shown.error
        shown: EndMarker[OutputT] | Sequence[GraphTask] = offer.shown
        return shown

    async def next(
        self, value: EndMarker[OutputT] | Sequence[GraphTaskRequest] | None = None
    ) -> EndMarker[OutputT] | Sequence[GraphTask]:
        """Go on, with what is to come or with something else, and return what is to come after that.

        Args:
            value: what takes the place of what was shown last: tasks, or the end. Tasks that were shown and are given back
                unchanged start; those that aren't given back never do.

        Raises:
            StopAsyncIteration: the run is over.
            Exception: what a step raised.
            GraphRuntimeError: a task can't be placed where its ``fork_stack`` says.
        """
        if value is not None:
            if self._offer is None and not self._is_over:
                await self.__anext__()
            self.override_next(value)
        return await self.__anext__()

    def override_next(self, value: EndMarker[OutputT] | Sequence[GraphTaskRequest]) -> None:
        """Put something in the place of what was shown last: tasks, or the end; also of an end, or an error.

        Raises:
            GraphRuntimeError: nothing was shown yet, or the run is over.
        """
        is_over = self._is_over or self._recorded is not None
        if self._offer is None or is_over or self._is_answered:
            why = "the run is over" if is_over else "nothing was shown yet that is still to come"
            raise GraphRuntimeError(f"run {self.run_id!r}: nothing can take the place of what comes next: {why}")
        self._said = value if isinstance(value, EndMarker) else list(value)

    async def _next_offer(self) -> Offer | None:
        try:
            return await self._steps.offered()
        except Exception:
            self._said, self._is_answered = None, False  # it was refused, and what was shown still stands
            raise

    def _show_recorded(self, marker: EndMarker[OutputT]) -> EndMarker[OutputT]:
        if self._offer is not None:
            self._is_over = True
            raise StopAsyncIteration
        self._offer = Offer(marker)
        return marker

    async def _finish(self) -> EndMarker[OutputT]:
        """Return the end of a run that nothing was shown of, or raise what has ended it."""
        assert self._driven is not None
        self._is_over = True
        await self._driven.settled()
        self._driven.raise_error()
        status = self._driven.driver.run.status
        if status is Status.COMPLETED:
            raise StopAsyncIteration
        if status is Status.CANCELLED:
            raise RunCancelled(f"run {self.run_id!r} was cancelled", run_id=self.run_id)
        if status is Status.PAUSED:
            raise RunPaused(f"run {self.run_id!r} is paused: resume it to go on", run_id=self.run_id)
        raise RunInterrupted(f"run {self.run_id!r} isn't driven here any more", run_id=self.run_id)

    # --- beginning and leaving ---

    async def __aenter__(self) -> Self:
        """Begin to step through the run."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the run: an end that was shown ends it, an error that was shown fails it; else it stays where it is."""
        if self._driven is not None:
            await completed(self._leave(self._driven))

    async def _leave(self, driven: Driven) -> None:
        offer = self._offer
        if offer is not None and not isinstance(offer.shown, list) and self._said is None:
            if not self._is_answered:
                self._steps.say(offer, None)
            while await self._steps.offered() is not None:
                pass
        driven.driver.stop()
        await driven.settled()
        if self._given is not None:
            restore(self._given, driven.driver.run.state.tree)

    def __repr__(self) -> str:
        return f"<GraphRun {self.run_id!r} of graph {self.graph.name!r}>"


def _as_task(request: GraphTaskRequest) -> GraphTask:
    if isinstance(request, GraphTask):
        return request
    return GraphTask(request.node_id, request.inputs, request.fork_stack)
