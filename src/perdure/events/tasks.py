"""Tasks: their attempts, and what came of them."""

from __future__ import annotations

import msgspec

from perdure.events.parts import Change, ErrorInfo, Event, FailureOutcome, Output, Route, Value


class NodeStarted(Event, frozen=True):
    """An attempt of a task began; its body runs only once this is durable."""

    task: str
    node: str
    attempt: int = 1


class NodeCompleted(Event, frozen=True):
    """A task finished; it never runs again."""

    task: str
    output: Value
    """The output, or null where it is recorded as items."""
    route: Route | None = None
    change: Change | None = None


class NodeFailed(Event, frozen=True):
    """An attempt of a task raised, ran out of time, or crashed its process once too often."""

    task: str
    error: ErrorInfo
    outcome: FailureOutcome = "fail"
    retry_at: int | None = None
    """When the next attempt is due, in microseconds since 1970."""
    value: Value = msgspec.Raw(b"null")
    """The ``Failure`` that a join gets, or null."""


class NodeInterrupted(Event, frozen=True):
    """An attempt was stopped without a trace; its task runs again when the run goes on."""

    task: str


class NodeCancelled(Event, frozen=True):
    """A task was ended for good by a decision of the graph or of a user."""

    task: str
    reason: str = ""


class Placed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task that a caller has put in the place of others."""

    node: str
    value: Value
    instance: str
    """The fork instance it is in."""
    index: int
    depth: int
    route: Route | None = None


class Overridden(Event, frozen=True):
    """A caller who steps through the run has decided what comes next."""

    dropped: tuple[str, ...]
    """The tasks that were to start, and don't."""
    placed: tuple[Placed, ...] = ()
    output: Output | None = None
    """The value that ends the run."""
    takes_back: bool = False
    """Whether the values that had reached the end don't count any more."""
