"""Where the driver of a run and a caller who steps through it meet.

The driver decides and commits as always, one result at a time. After each commit it looks what that has made ready (or
whether the end is reached, or a task has failed), and puts it down as an *offer*. The caller takes the offers one after
another, and his word on each wakes the driver: to go on, or what to do instead. Results that come in meanwhile are recorded;
what follows from them is offered later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from perdure.codec.codec import BlobMissing
from perdure.engine.calling.context import JoinContext
from perdure.engine.calling.evaluate import Flows
from perdure.engine.calling.values import Values
from perdure.errors import GraphRuntimeError
from perdure.errors import RunFailed as RunFailedError
from perdure.events import Output, Placed, Route
from perdure.graph.nodes.iteration import EndMarker, ErrorMarker, ForkStack, ForkStackItem, GraphTask, GraphTaskRequest
from perdure.graph.plan import NodeKind
from perdure.ids import ROOT_INSTANCE
from perdure.kernel.decide.hold import Hold, Override, Placement
from perdure.kernel.decide.results import Chunks
from perdure.kernel.decide.stepping import why_not_placed
from perdure.kernel.fold.run import AFTER, Run, Source, Task
from perdure.kernel.state.committed import Transaction

Said: TypeAlias = "Sequence[GraphTaskRequest] | EndMarker[Any] | None"


class Offer(msgspec.Struct, eq=False):
    """What the caller is asked to let go on.

    Attributes:
        shown: what he is shown.
        tasks: the ids of the tasks it is about: those to start, or the one that has failed.
        inputs: what he was shown as the inputs of each.
        depth: how deep in its lineage what takes their place is.
    """

    shown: Any
    tasks: tuple[str, ...] = ()
    inputs: tuple[Any, ...] = ()
    depth: int = 0

    def has(self, task: GraphTaskRequest) -> bool:
        """Say whether a task is one of those to start, and as it was shown."""
        for id_, inputs, shown in zip(self.tasks, self.inputs, self.shown, strict=True):
            if isinstance(task, GraphTask) and task.task_id == id_:
                return task.inputs is inputs and (task.node_id, task.fork_stack) == (shown.node_id, shown.fork_stack)
        return False


class Steps:
    """The offers of a driver, and the word of a caller.

    Attributes:
        hold: how far he has let the run go.
        wake: what wakes the driver.
    """

    def __init__(self) -> None:
        self.hold = Hold()
        self.wake: Callable[[], None] = lambda: None
        self._offers: deque[Offer] = deque()
        self._known: set[str] = set()
        self._failed: set[str] = set()
        self._end_is_known = False
        self._depth = 1
        self._word: tuple[Offer, Said] | None = None
        self._is_taken = False
        self._refusal: Exception | None = None
        self._is_over = False
        self._caller: asyncio.Future[None] | None = None

    # --- for the caller ---

    async def offered(self) -> Offer | None:
        """Wait for the next offer and take it, or for the run to stop; return None then.

        Raises:
            Exception: his last word can't be.
        """
        while self._word is not None or not (self._offers or self._is_over or self._refusal):
            if self._is_over:
                break
            self._caller = asyncio.get_running_loop().create_future()
            await self._caller
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal
        return self._offers.popleft() if self._offers else None

    def say(self, offer: Offer, said: Said) -> None:
        """Say what is to become of an offer: None to let it go on, or what takes its place."""
        self._word = (offer, said)
        self.wake()

    # --- for the driver ---

    @property
    def has_word(self) -> bool:
        """Whether the caller has said something."""
        return self._word is not None

    def begin(self, wake: Callable[[], None]) -> None:
        """Meet a driver; one before it may have lost its lease before it could offer anything."""
        self.wake = wake
        self._is_over = False

    def over(self) -> None:
        """Tell the caller that the driver has stopped."""
        self._is_over = True
        self._offers.clear()
        self._call()

    def _call(self) -> None:
        if self._caller is not None and not self._caller.done():
            self._caller.set_result(None)

    async def take_word(self, run: Run, flows: Flows, values: Values, deps: Any) -> bool:
        """Take up what the caller has said; say whether there is anything to decide on."""
        if self._word is None:
            return False
        offer, said = self._word
        try:
            self._take(offer, said, await self._override(offer, said, run, flows, values, deps))
        except Exception as error:
            self._word = None
            self._refusal = error
            self._call()
            return False
        self._is_taken = True
        return True

    def _take(self, offer: Offer, said: Said, override: Override | None) -> None:
        hold = self.hold
        hold.override = override
        if isinstance(offer.shown, EndMarker):
            hold.accepts_end = said is None
            self._end_is_known = said is None
        elif isinstance(offer.shown, ErrorMarker):
            hold.accepts_failure = said is None
        elif said is None:
            hold.released.update(offer.tasks)
        elif override is not None:
            hold.released.update(set(offer.tasks) - set(override.dropped))
        if override is not None and override.takes_back:
            self._offers = deque(other for other in self._offers if not isinstance(other.shown, EndMarker))

    def done(self) -> None:
        """Note that what was taken up of the caller's word has been decided on, and committed."""
        if self._is_taken:
            self._is_taken = False
            self._word = self.hold.override = None

    async def look(
        self,
        run: Run,
        values: Values,
        exceptions: Mapping[str, BaseException],
        fetch: Callable[[str], Awaitable[None]],
    ) -> None:
        """Offer what a commit has made ready, and what has come to an end."""
        self._known &= run.tasks.keys()
        self._failed &= run.tasks.keys()
        self.hold.released &= run.tasks.keys()
        for error, id_ in run.failures:
            if id_ not in self._failed:
                failed = run.tasks[id_]
                self._failed.add(id_)
                raised = exceptions.get(id_) or RunFailedError(run.run_id, error.type, error.message, failed.shown_path)
                [inputs] = await _loaded([failed.value], values, fetch)
                marker = ErrorMarker(raised, _shown(failed, inputs))
                self._offers.append(Offer(marker, (id_,), (), failed.depth + 1))
        ready = sorted(
            (task for task in run.ready.values() if self.hold.holds(task) and task.id not in self._known),
            key=lambda task: task.path,
        )
        if ready:
            self._known.update(task.id for task in ready)
            self._depth = max(self._depth, *(task.depth for task in ready))
            loaded = await _loaded([task.value for task in ready], values, fetch)
            shown = [_shown(task, value) for task, value in zip(ready, loaded, strict=True)]
            depth = max(task.depth for task in ready)
            self._offers.append(Offer(shown, tuple(task.id for task in ready), tuple(loaded), depth))
        has_ended = run.ends and not run.failures and (run.plan.end == "first" or run.is_idle)
        if has_ended and not self._end_is_known:
            self._end_is_known = True
            [value] = await _loaded([run.ends[0][0]], values, fetch)
            self._offers.append(Offer(EndMarker(value), (), (), self._depth + 1))
        if self._offers:
            self._call()

    # --- what is to be done instead ---

    async def _override(
        self, offer: Offer, said: Said, run: Run, flows: Flows, values: Values, deps: Any
    ) -> Override | None:
        if said is None:
            return None
        if isinstance(said, EndMarker):
            return Override(offer.tasks, (), Output(0, values.record("", said.value)))
        starts = isinstance(offer.shown, list)
        kept = {task.task_id for task in said if starts and isinstance(task, GraphTask) and offer.has(task)}
        requests = [task for task in said if not (isinstance(task, GraphTask) and task.task_id in kept)]
        placements = tuple([await self._placement(task, offer.depth, run, flows, values, deps) for task in requests])
        dropped = tuple(id_ for id_ in offer.tasks if id_ not in kept)
        takes_back = isinstance(offer.shown, EndMarker)
        if not (dropped or placements or takes_back):
            return None
        return Override(dropped, placements, takes_back=takes_back)

    async def _placement(
        self, request: GraphTaskRequest, depth: int, run: Run, flows: Flows, values: Values, deps: Any
    ) -> Placement:
        innermost = request.fork_stack[-1] if request.fork_stack else ForkStackItem("__start__", ROOT_INSTANCE, 0)
        why_not = why_not_placed(run, request.node_id, innermost.node_run_id)
        if why_not is not None:
            raise GraphRuntimeError(f"run {run.run_id!r}: {why_not}")
        index = AFTER if innermost.thread_index < 0 else innermost.thread_index
        node = run.plan.nodes[request.node_id]
        recorded = values.record("", request.inputs)
        route: Route | None = None
        maps: tuple[Chunks, ...] = ()
        if node.kind in (NodeKind.DECISION, NodeKind.GROUP):
            transaction = Transaction(run.state)
            context = JoinContext(run_id=run.run_id, transaction=transaction, deps=deps, inputs=request.inputs)
            evaluated = await flows.evaluate_arrival(node.id, request.inputs, context, values)
            if evaluated.stream is not None or transaction.proposal() is not None:
                raise GraphRuntimeError(
                    f"run {run.run_id!r}: behind {node.id!r} a stream is mapped, or the state is changed, which only a step "
                    "can do: place a step"
                )
            route, maps = evaluated.route, evaluated.maps
        return Placement(Placed(node.id, recorded, innermost.node_run_id, index, depth, route), maps)


def _shown(task: Task, inputs: Any) -> GraphTask:
    return GraphTask(task.node.id, inputs, fork_stack_of(task), task.id)


def fork_stack_of(task: Task) -> ForkStack:
    """Return the forks that a task is inside of."""
    scope = task.scope
    trail = (
        *((name, scope.scope[name].id, index) for name, index in scope.trail),
        (scope.fork.id, scope.id, task.index),
    )
    return tuple(ForkStackItem(name, id_, -1 if index == AFTER else index) for name, id_, index in trail)


async def _loaded(sources: Sequence[Source], values: Values, fetch: Callable[[str], Awaitable[None]]) -> list[Any]:
    while True:
        try:
            return values.copies(sources)
        except BlobMissing as missing:
            await fetch(missing.digest)
