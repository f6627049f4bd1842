"""The events of a run: past facts, appended to its log and never changed.

An event is a JSON array that begins with its kind: ``["NodeStarted","k3…","fetch",1]``. A commit of a run is a JSON array
of events. Fields are only ever added, at the end and with a default; a kind is never reused and never retyped, so a
log of any earlier version folds for ever.

Values (outputs, items, states) are opaque here. With a store they are JSON that the codec has made
(``msgspec.Raw``); in a run without one they are the Python objects themselves. A value is recorded once: an item in its
chunk, an output in its completion; tasks refer to it.
"""

from perdure.events.forks import (
    ArmsOpened,
    ForkOpened,
    ItemsEnded,
    ItemsTaken,
    JoinCancelled,
    JoinClosed,
    JoinFailed,
    ReducerUpdated,
    StreamOpened,
)
from perdure.events.log import SEALED, AnyEvent, as_written, decode_events
from perdure.events.parts import (
    Before,
    Change,
    Durability,
    ErrorInfo,
    Event,
    FailureOutcome,
    Folded,
    Items,
    Output,
    Route,
    Value,
)
from perdure.events.runs import (
    WAITS,
    RunAccepted,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunPaused,
    RunResumed,
    RunRetried,
    RunStarted,
    SegmentEnded,
    SegmentStarted,
)
from perdure.events.tasks import (
    NodeCancelled,
    NodeCompleted,
    NodeFailed,
    NodeInterrupted,
    NodeStarted,
    Overridden,
    Placed,
)
from perdure.events.waits import Answered, AnswerRefused, Escalated, SignalKept, SignalReceived, TimerFired, WaitOpened

__all__ = [
    "SEALED",
    "WAITS",
    "AnswerRefused",
    "Answered",
    "AnyEvent",
    "ArmsOpened",
    "Before",
    "Change",
    "Durability",
    "ErrorInfo",
    "Escalated",
    "Event",
    "FailureOutcome",
    "Folded",
    "ForkOpened",
    "Items",
    "ItemsEnded",
    "ItemsTaken",
    "JoinCancelled",
    "JoinClosed",
    "JoinFailed",
    "NodeCancelled",
    "NodeCompleted",
    "NodeFailed",
    "NodeInterrupted",
    "NodeStarted",
    "Output",
    "Overridden",
    "Placed",
    "ReducerUpdated",
    "Route",
    "RunAccepted",
    "RunCancelled",
    "RunCompleted",
    "RunContinued",
    "RunFailed",
    "RunPaused",
    "RunResumed",
    "RunRetried",
    "RunStarted",
    "SegmentEnded",
    "SegmentStarted",
    "SignalKept",
    "SignalReceived",
    "StreamOpened",
    "TimerFired",
    "Value",
    "WaitOpened",
    "as_written",
    "decode_events",
]
