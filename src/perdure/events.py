"""The events of a run: past facts, appended to its log and never changed.

An event is a JSON array that begins with its kind: ``["NodeStarted","k3…","fetch",1]``. A commit of a run is a JSON array
of events. Fields are only ever added, at the end and with a default; a kind is never reused and never retyped, so a
log of any earlier version folds for ever.

Values (outputs, items, states) are opaque here. With a store they are JSON that the codec has made
(``msgspec.Raw``); in a run without one they are the Python objects themselves. A value is recorded once: an item in its
chunk, an output in its completion; tasks refer to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    Value: TypeAlias = Any
else:
    Value = msgspec.Raw


Durability: TypeAlias = Literal["sync", "async", "exit"]
"""When events are made durable: before anything is done about them, soon after, or when the run ends or waits."""


class Items(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Items that are mapped, where a map lies directly behind another one."""

    count: int
    values: Value
    """The items, or null where only what is made of them goes on."""
    routes: tuple[Route, ...] | None = None
    """For each item, what user code decided between the map and the next node, where it decides at all."""


class Route(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What user code decided on the way out of a node, in the order in which the flow is walked."""

    chosen: tuple[int, ...] = ()
    """For each decision passed: the place of the branch that was taken."""
    values: tuple[Value, ...] = ()
    """For each transform passed: what it returned."""
    spreads: tuple[Items, ...] = ()
    """For each inner map passed: its items."""


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a task, a reducer or a transform changed in the state."""

    base_seq: int
    """The seq of the state it worked on."""
    operations: Value
    """What to do to the state, resolved against the state at commit; applying them needs no user code."""
    conflicts: tuple[str, ...] = ()
    """Paths where a concurrent change was overwritten."""


class Output(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value that has reached the end."""

    seq: int
    """The event that recorded the value, or 0 if it stands here."""
    value: Value = msgspec.Raw(b"null")
    source: str = ""
    """The task, or the join's output, it came from."""
    by: str = ""
    """The node whose output type describes it; empty if only the value itself does."""


class Folded(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is rarely to be said of a fold."""

    change: Change | None = None
    cancelled: bool = False
    """The reducer called ``cancel_sibling_tasks()``."""
    instance: str = ""
    """With ``order="branch"``: the instance of the parent fork."""


class ErrorInfo(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An exception as data."""

    type: str
    message: str
    traceback: str = ""
    """The text of the traceback, without local variables."""
    notes: tuple[str, ...] = ()


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=True):
    """A past fact about a run."""


# --- the run as a whole ------------------------------------------------------------------------------------------


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
    tags: dict[str, str] = {}
    trace: str = ""
    """The W3C traceparent of whoever started the run."""
    origin: str = ""
    """The run this one was forked from, or goes on from."""
    in_trace: bool = False
    """Whether the run is told in the trace of whoever started it, and not in one of its own."""


class SegmentStarted(Event, frozen=True):
    """A worker has begun to drive the run."""

    worker: str
    version: str
    fingerprint: str = ""
    by: str = ""
    """Who had the run recovered, if somebody did."""
    reason: str = ""


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


# --- tasks -------------------------------------------------------------------------------------------------------


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


FailureOutcome: TypeAlias = Literal["fail", "retry", "collect", "wait", "lose"]
"""What follows from a failure: the run fails; another attempt at a time; it goes to a join as a value; the run fails when
the others have finished; it loses a race."""


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


# --- waits -------------------------------------------------------------------------------------------------------


class WaitOpened(Event, frozen=True):
    """A task waits: for a person, a signal, or a time."""

    task: str
    node: str
    kind: Literal["human", "signal", "sleep"]
    name: str = ""
    title: str = ""
    assignee: str = ""
    schema: Value = msgspec.Raw(b"null")
    """What an answer has to look like, as a JSON schema; null where nobody is asked."""
    due_at: int | None = None
    """When the sleep ends, or the deadline passes, in microseconds since 1970."""


class Answered(Event, frozen=True):
    """A person has answered; the answer becomes the output."""

    task: str
    value: Value
    by: str = ""
    entry: int = 0
    """The entry of the inbox it came in, or 0."""


class SignalReceived(Event, frozen=True):
    """A signal has reached a task that waited for it; its payload becomes the output."""

    task: str
    name: str
    value: Value
    by: str = ""
    entry: int = 0


class SignalKept(Event, frozen=True):
    """A signal has come in that nobody waits for yet."""

    name: str
    data: Value
    by: str = ""
    entry: int = 0


class AnswerRefused(Event, frozen=True):
    """What came in for a task doesn't fit its form; the task waits on."""

    task: str
    reason: str
    by: str = ""
    entry: int = 0


class TimerFired(Event, frozen=True):
    """A sleep is over, or a deadline has passed."""

    task: str


class Escalated(Event, frozen=True):
    """A deadline has passed, and the task was handed to somebody else."""

    task: str
    assignee: str
    due_at: int | None = None


# --- forks -------------------------------------------------------------------------------------------------------


class ForkOpened(Event, frozen=True):
    """A fork instance came to be: a batch of tasks begins."""

    instance: str
    fork: str
    task: str
    """The task whose output is forked."""
    size: int | None = None
    """The number of arms; None for a stream, where it isn't known yet."""


class StreamOpened(Event, frozen=True):
    """A task has begun to give out items while it runs."""

    task: str
    route: Route | None = None


class ItemsTaken(Event, frozen=True):
    """Items of a map were recorded, in one chunk; their arms may be opened from now on."""

    instance: str
    first: int
    """The index of the first of them."""
    items: Items


class ItemsEnded(Event, frozen=True):
    """A map takes no more items: its stream has ended, or the fork was ended early."""

    instance: str
    count: int
    short_of: int | None = None
    """A rerun gave fewer items than had been recorded: how many it gave."""


class ArmsOpened(Event, frozen=True):
    """The arms of a map were opened up to an index, not included."""

    instance: str
    upto: int


# --- joins -------------------------------------------------------------------------------------------------------


class ReducerUpdated(Event, frozen=True):
    """A join folded an arrival."""

    task: str
    """The task, or the join's output, whose value arrived."""
    join: str
    detail: Folded | None = None


class JoinClosed(Event, frozen=True):
    """A join instance has everything that could come, and gives out its value."""

    join: str
    instance: str
    """The instance of the parent fork."""
    value: Value
    count: int
    """How many arrivals were folded."""
    first: int = 0
    """The seq of the first ``ReducerUpdated``, 0 if there was none."""
    last: int = 0
    route: Route | None = None
    change: Change | None = None


class JoinCancelled(Event, frozen=True):
    """An open join instance was ended, without a value, by the early end of a fork around it."""

    join: str
    instance: str


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


AnyEvent: TypeAlias = (
    RunStarted
    | SegmentStarted
    | SegmentEnded
    | RunPaused
    | RunResumed
    | RunRetried
    | RunAccepted
    | RunCompleted
    | RunContinued
    | RunFailed
    | RunCancelled
    | WaitOpened
    | Answered
    | SignalReceived
    | SignalKept
    | AnswerRefused
    | TimerFired
    | Escalated
    | Overridden
    | NodeStarted
    | NodeCompleted
    | NodeFailed
    | NodeInterrupted
    | NodeCancelled
    | ForkOpened
    | StreamOpened
    | ItemsTaken
    | ItemsEnded
    | ArmsOpened
    | ReducerUpdated
    | JoinClosed
    | JoinCancelled
)

_decoder: msgspec.json.Decoder[list[AnyEvent]] = msgspec.json.Decoder(list[AnyEvent])


def decode_events(data: bytes) -> list[AnyEvent]:
    """Read the events of one commit.

    Raises:
        msgspec.DecodeError: the data isn't a JSON array of known events.
    """
    try:
        return _decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets these through
        raise msgspec.DecodeError(str(error)) from error
