"""What a caller who steps through a run is shown, and what he may say: tasks to come, the end, an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias

from perdure.graph.types import OutputT


@dataclass(frozen=True)
class ForkStackItem:
    """A fork that a task is inside of.

    Attributes:
        fork_id: the id of the fork.
        node_run_id: which activation of it.
        thread_index: the index of the arm; -1 behind the join of the fork, which is in no arm.
    """

    fork_id: str
    node_run_id: str
    thread_index: int


ForkStack: TypeAlias = tuple[ForkStackItem, ...]
"""The forks that a task is inside of, outermost first."""


@dataclass
class GraphTaskRequest:
    """A task that a caller wants to run.

    Attributes:
        node_id: the node to run.
        inputs: what it gets.
        fork_stack: the forks it is inside of, taken from another task; outside of all if it isn't given.
    """

    node_id: str
    inputs: Any
    fork_stack: ForkStack = field(default=(), repr=False)


@dataclass
class GraphTask(GraphTaskRequest):
    """A task that is about to start.

    Attributes:
        task_id: its id; empty for one that was requested and isn't placed yet.
    """

    task_id: str = field(default="", repr=False)


@dataclass
class EndMarker(Generic[OutputT]):
    """The run has reached its end, or a caller says that it has.

    Attributes:
        value: the output.
    """

    value: OutputT


@dataclass
class ErrorMarker:
    """A step has failed; the run fails with it unless the caller puts something in its place.

    Attributes:
        error: what it raised; a ``RunFailed`` that tells of it if that was in another process.
        task: the task that has failed.
    """

    error: BaseException
    task: GraphTask | None = field(default=None, repr=False, compare=False)
