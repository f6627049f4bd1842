"""The run as a whole: started, driven, paused, retried, ended."""

from __future__ import annotations

import msgspec

from perdure.events.parts import Before, Durability, ErrorInfo, Event, Output, Value


class RunStarted(Event, frozen=True):
    """The run was created; its start node has given out the inputs."""

    graph: str
    fingerprint: str
    inputs: Value
    """The inputs, or null where they are recorded as items."""
    inputs_digest: str
    """A hash of the inputs, by which a second ``start`` with the same id knows them."""
    state: Value = msgspec.Raw(b"null")
    state_digest: str = ""
    by: str = ""
    durability: Durability = "sync"
    max_steps: int | None = None
    deadline: int | None = None
    """When the run fails if it isn't over, in microseconds since 1970."""
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    trace: str = ""
    """The W3C traceparent of whoever started the run."""
    origin: str = ""
    """The run this one was forked from, or goes on from."""
    in_trace: bool = False
    """Whether the run is told in the trace of whoever started it, and not in one of its own."""
    reason: str = ""
    """Why it was forked, if it was."""
    origin_trace: str = ""
    """The W3C traceparent of whoever started the origin, if that is told in its trace."""
    sampled: bool | None = None
    """Whether telemetry takes the run, decided when it was started; None if nobody has decided."""
    is_told: bool = False
    """Whether telemetry was told of the start where it was made, so that who drives the run first needn't."""

    @property
    def outer_trace(self) -> str:
        """The W3C traceparent of the trace that the run is told in, or an empty text if it has one of its own."""
        return self.trace if self.in_trace else ""


class SegmentStarted(Event, frozen=True):
    """A worker has begun to drive the run."""

    worker: str
    version: str
    fingerprint: str = ""
    by: str = ""
    """Who had the run recovered, if somebody did."""
    reason: str = ""
    process: str = ""
    """By what others on its host can tell whether the worker's process still lives; empty if that can't be told."""
    before: Before = ""
    """What had become of the process that drove the run before, where it left tasks in flight."""
    is_told: bool = False
    """Whether telemetry is told of it as it goes, so that nobody has to tell of it later."""


WAITS = "waiting"
"""Why a segment ends in which all is waiting."""


class SegmentEnded(Event, frozen=True):
    """A worker has stopped driving the run, in an orderly way and before its end."""

    worker: str
    reason: str = ""


class RunPaused(Event, frozen=True):
    """The run stands still until it is resumed."""

    by: str = ""
    reason: str = ""
    request: int = 0
    """The entry of the inbox that asked for it, or 0."""


class RunResumed(Event, frozen=True):
    """A paused run may go on."""

    by: str = ""
    reason: str = ""


class RunRetried(Event, frozen=True):
    """A failed run may go on: what failed, was interrupted or never ran runs now."""

    by: str = ""
    reason: str = ""
    max_steps: int | None = None


class RunAccepted(Event, frozen=True):
    """A stalled run may go on with the graph as it is now."""

    fingerprint: str
    by: str = ""
    reason: str = ""


class RunCompleted(Event, frozen=True):
    """A value has reached the end; the run is over."""

    outputs: tuple[Output, ...]
    """Every value that reached the end, in order; the first is the result. None if the run goes on as a new one."""
    successor: str = ""
    """The run that goes on from here."""


class RunContinued(Event, frozen=True):
    """A step has decided that the run goes on as a new one; it ends as soon as that is there."""

    task: str
    successor: str
    """The id of the new run."""
    inputs: Value
    state: Value = msgspec.Raw(b"null")


class RunFailed(Event, frozen=True):
    """The run is over without a result; what finished is kept, and ``retry`` goes on from it."""

    error: ErrorInfo
    task: str = ""
    path: str = ""
    """Where it failed, as text: ``load_map[17]/check``."""


class RunCancelled(Event, frozen=True):
    """The run was cancelled; that is final."""

    by: str = ""
    reason: str = ""
    request: int = 0
    """The entry of the inbox that asked for it, or 0."""
