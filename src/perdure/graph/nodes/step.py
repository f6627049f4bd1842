"""Steps: the nodes that call user code, and what a call is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Generic, NoReturn, Protocol

from perdure.graph.nodes.class_node import StepNode
from perdure.graph.nodes.continuation import ContinuedAsNew
from perdure.graph.nodes.policies import JoinPolicies, StepPolicies
from perdure.graph.types import (
    MISSING,
    DepsT_co,
    DepsT_contra,
    InputT_co,
    InputT_contra,
    Missing,
    OutputT_co,
    StateT_co,
    StateT_contra,
)


class StepContext(Generic[StateT_co, DepsT_co, InputT_co]):
    """What one attempt of a step is given: its inputs, the state, the dependencies and who it is.

    The engine makes these. Build one by hand to test a step on its own:
    ``await my_step.call(StepContext(state=State(), deps=None, inputs=3))``.
    """

    __slots__ = ("_deps", "_inputs", "_state")

    def __init__(self, *, state: StateT_co, deps: DepsT_co, inputs: InputT_co) -> None:
        self._state = state
        self._deps = deps
        self._inputs = inputs

    @property
    def state(self) -> StateT_co:
        """The state of the run, as committed when this attempt first touched it, with the attempt's own changes.

        The changes commit in one piece with the completion of the step; an attempt that fails, or is interrupted or
        cancelled, leaves none.
        """
        return self._state

    @property
    def deps(self) -> DepsT_co:
        """The dependencies given to this process; never stored."""
        return self._deps

    @property
    def inputs(self) -> InputT_co:
        """The value that arrived over the edge."""
        return self._inputs

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return ""

    @property
    def task_id(self) -> str:
        """The id of the task: the same over attempts and recoveries, and in every run of the same graph."""
        return ""

    @property
    def attempt(self) -> int:
        """The number of this try of the task; the first is 1."""
        return 1

    @property
    def idempotency_key(self) -> str:
        """A key to hand to the outside with an effect: the same over attempts, recoveries and retries of this run."""
        return ""

    @property
    def stream_offset(self) -> int:
        """How many items of this stream step are recorded already; where ``resume="seek"`` is to go on from."""
        return 0

    def continue_as_new(self, inputs: Any, state: Any = MISSING) -> NoReturn:
        """End this run, and let a new one of the same graph go on in its place, with a log of its own.

        It doesn't return. All else that runs is cancelled. The new run has the id of this one with ``~2`` behind it, then
        ``~3``; whoever waits for the result of this run gets that of the last one.

        Args:
            inputs: the inputs of the new run.
            state: what its state begins with; the state as this step sees it if it isn't given.

        Raises:
            ContinuedAsNew: always, for the engine to take; let it pass.
        """
        raise ContinuedAsNew(inputs, self.state if isinstance(state, Missing) else state)


class StepFunction(Protocol[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """An async function that takes a :class:`StepContext` and returns the output of the step."""

    def __call__(self, ctx: StepContext[StateT_contra, DepsT_contra, InputT_contra], /) -> Awaitable[OutputT_co]:
        """Run the step."""
        ...


class PlainStepFunction(Protocol[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """A function that isn't async, takes a :class:`StepContext` and returns the output of the step."""

    def __call__(self, ctx: StepContext[StateT_contra, DepsT_contra, InputT_contra], /) -> OutputT_co:
        """Run the step, in a thread."""
        ...


class StreamFunction(Protocol[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """An async generator function that takes a :class:`StepContext` and yields items."""

    def __call__(self, ctx: StepContext[StateT_contra, DepsT_contra, InputT_contra], /) -> AsyncIterator[OutputT_co]:
        """Run the stream step."""
        ...


class Step(Generic[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """A node that calls user code. Made by ``@g.step`` and ``@g.stream``.

    Attributes:
        id: the node's id.
        label: what a rendering shows instead of the id, or None.
        is_stream: whether the function is an async generator whose items are mapped while it runs.
        resume: how a stream step goes on after a crash: ``"skip"`` runs it from its beginning and drops the items that
            are recorded, ``"seek"`` leaves it to the function to start at ``ctx.stream_offset``.
        is_plain: whether the function isn't async, so that it runs in a thread, or elsewhere.
        policies: how it is run, and what happens when it can't be.
        joining: what it waits for before it runs, or None if it runs for each arrival.
        input_type, output_type: what the function is annotated with; Any where that can't be told.
    """

    __slots__ = (
        "_call",
        "id",
        "input_type",
        "is_plain",
        "is_stream",
        "joining",
        "label",
        "output_type",
        "policies",
        "resume",
    )

    def __init__(
        self,
        *,
        id: str,
        call: StepFunction[StateT_contra, DepsT_contra, InputT_contra, OutputT_co],
        label: str | None = None,
        is_stream: bool = False,
        resume: str = "skip",
        is_plain: bool = False,
        policies: StepPolicies | None = None,
        joining: JoinPolicies | None = None,
        input_type: Any = Any,
        output_type: Any = Any,
    ) -> None:
        self.id: str = id
        self._call = call
        self.label: str | None = label
        self.is_stream: bool = is_stream
        self.resume: str = resume
        self.is_plain: bool = is_plain
        self.policies: StepPolicies = policies or StepPolicies()
        self.joining: JoinPolicies | None = joining
        self.input_type: Any = input_type
        self.output_type: Any = output_type

    @property
    def call(self) -> StepFunction[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]:
        """The user's function."""
        return self._call

    def as_node(self, inputs: InputT_contra = None) -> StepNode[StateT_contra, DepsT_contra]:  # type: ignore[assignment]
        """Return this step with its inputs, for a node that is a class to return."""
        return StepNode(self, inputs)

    def __repr__(self) -> str:
        return f"Step(id={self.id!r})"


AnyStep = Step[Any, Any, Any, Any]
