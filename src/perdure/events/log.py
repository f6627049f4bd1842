"""All events, and reading them from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from perdure.errors import EncryptionError
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
from perdure.events.runs import (
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
from perdure.events.tasks import NodeCancelled, NodeCompleted, NodeFailed, NodeInterrupted, NodeStarted, Overridden
from perdure.events.waits import Answered, AnswerRefused, Escalated, SignalKept, SignalReceived, TimerFired, WaitOpened

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
    | JoinFailed
)


def as_written(events: Sequence[Any]) -> list[Any]:
    """Return events as they are to be encoded: the most frequent ones without what says nothing at their ends.

    Reading fills that in again. Of the log of a map it is a twelfth.
    """
    return [
        ("NodeStarted", event.task, event.node)
        if (kind := event.__class__) is NodeStarted and event.attempt == 1
        else ("NodeCompleted", event.task, event.output)
        if kind is NodeCompleted and event.route is None and event.change is None
        else ("ReducerUpdated", event.task, event.join)
        if kind is ReducerUpdated and event.detail is None
        else event
        for event in events
    ]


_decoder: msgspec.json.Decoder[list[AnyEvent]] = msgspec.json.Decoder(list[AnyEvent])

SEALED = b'[["Encrypted",'
"""How a commit begins that is encrypted: it stands for its events, and is none itself."""


def decode_events(data: bytes) -> list[AnyEvent]:
    """Read the events of one commit.

    Raises:
        msgspec.DecodeError: the data isn't a JSON array of known events.
        EncryptionError: they are encrypted.
    """
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        if data.startswith(SEALED):
            key = data[len(SEALED) :].split(b":", 2)[1].decode(errors="replace")
            raise EncryptionError.missing(key, "the log") from None
        raise
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets these through
        raise msgspec.DecodeError(str(error)) from error
