"""Waits: opened, answered, rung."""

from __future__ import annotations

from typing import Literal

import msgspec

from perdure.events.parts import Event, Value


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
    opened_at: int = 0


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
    """What came in for a task doesn't fit its form, and the task waits on; or a signal came that is one too many to be kept."""

    task: str
    """Empty for such a signal."""
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
