"""Forks and joins: opened, fed, folded into, closed."""

from __future__ import annotations

import msgspec

from perdure.events.parts import Change, ErrorInfo, Event, FailureOutcome, Folded, Items, Route, Value


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


class JoinFailed(Event, frozen=True):
    """A join instance can't get the successes it needs, and what is around it takes that for the failure of an arm."""

    join: str
    instance: str
    into: str
    outcome: FailureOutcome
    error: ErrorInfo
    task: str
    """What the error is of: the join's output, or the task that has lost a race last."""
    value: Value = msgspec.Raw(b"null")
