"""Reasons: why a run makes no progress, each a small fact with its words.

A reason names what is waited for and where, in fields for programs and in a sentence for people. Times are microseconds since
1970.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from perdure.events import ErrorInfo
from perdure.ids import LATEST


class Reason(msgspec.Struct, frozen=True, tag=True, tag_field="reason"):
    """Something that keeps a run from going on."""

    @property
    def text(self) -> str:
        """The reason in words."""
        raise NotImplementedError


def moment(microseconds: int) -> str:
    """Return a time as text, in UTC."""
    return datetime.fromtimestamp(min(microseconds, LATEST) / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def since(at: int | None) -> str:
    """Return since when something is so, if that is known."""
    return f" since {moment(at)}" if at is not None else ""


def told(by: str, reason: str) -> str:
    """Return who has decided something, and why, as far as they said so."""
    return (f" by {by}" if by else "") + (f": {reason}" if reason else "")


def listed(paths: tuple[str, ...], count: int) -> str:
    """Return the first few of many."""
    more = f" and {count - len(paths)} more" if count > len(paths) else ""
    return ", ".join(paths) + more


# --- the run as a whole ------------------------------------------------------------------------------------------


class Completed(Reason, frozen=True):
    """The run has reached its end."""

    at: int
    successor: str = ""
    """The run that it goes on as, if it does."""

    @property
    def text(self) -> str:
        """The reason in words."""
        goes_on = f", and goes on as {self.successor}" if self.successor else ""
        return f"the run has completed, {moment(self.at)}{goes_on}"


class Failed(Reason, frozen=True):
    """The run is over without a result."""

    error: ErrorInfo
    task: str
    path: str
    at: int

    @property
    def text(self) -> str:
        """The reason in words."""
        place = f" at {self.path}" if self.path else ""
        return (
            f"the run failed{place}, {moment(self.at)}: {self.error.type}: {self.error.message}. `retry` runs again what failed "
            "and what never ran"
        )


class Cancelled(Reason, frozen=True):
    """The run was cancelled."""

    by: str
    why: str
    at: int

    @property
    def text(self) -> str:
        """The reason in words."""
        return f"the run was cancelled, {moment(self.at)}{told(self.by, self.why)}; that is final"


class Paused(Reason, frozen=True):
    """The run was paused."""

    by: str
    why: str
    at: int

    @property
    def text(self) -> str:
        """The reason in words."""
        return f"the run is paused since {moment(self.at)}{told(self.by, self.why)}; `resume` lets it go on"


class DeadlineAhead(Reason, frozen=True):
    """The run fails at a time, if it isn't over then."""

    due_at: int

    @property
    def text(self) -> str:
        """The reason in words."""
        return f"the run fails if it isn't over by {moment(self.due_at)}"


# --- tasks -------------------------------------------------------------------------------------------------------


class EffectUncertain(Reason, frozen=True):
    """An effect was in flight when its attempt was cut short, and somebody has to look whether it happened."""

    task: str
    path: str

    @property
    def text(self) -> str:
        """The reason in words."""
        return (
            f"{self.path} is an effect that was in flight when its process ended: it may have happened. Look, then `resume` the "
            "run to run it again"
        )


class TaskFailed(Reason, frozen=True):
    """A task has failed, and the run fails with it or has done so."""

    task: str
    path: str
    attempt: int
    error: ErrorInfo | None

    @property
    def text(self) -> str:
        """The reason in words."""
        what = f": {self.error.type}: {self.error.message}" if self.error is not None else ""
        return f"{self.path} has failed in attempt {self.attempt}{what}"


class LimitFull(Reason, frozen=True):
    """Tasks may not start, since as many as a limit allows run."""

    limit: str
    capacity: int
    tasks: tuple[str, ...]
    """The paths of the first few that wait for a slot."""
    count: int
    """How many do."""
    held_by: tuple[str, ...]
    """The paths of the tasks that hold the slots."""

    @property
    def text(self) -> str:
        """The reason in words."""
        slots = "the only slot" if self.capacity == 1 else f"the {self.capacity} slots"
        holders = listed(self.held_by[:5], len(self.held_by))
        return (
            f"{listed(self.tasks, self.count)}: waiting for a slot; {slots} of limit {self.limit!r}: held by {holders}"
        )


class SuspectsInTurn(Reason, frozen=True):
    """After several crashes, the tasks that were in flight run one at a time."""

    crashes: int
    tasks: tuple[str, ...]
    count: int
    held_by: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reason in words."""
        return (
            f"{listed(self.tasks, self.count)}: in flight when one of {self.crashes} processes died, and such tasks run one at "
            f"a time now; {listed(self.held_by, len(self.held_by))} runs"
        )


class LeasesLost(Reason, frozen=True):
    """The run was taken from processes that live, and that held it for longer than a lease without a sign of life."""

    count: int
    """How many times in a row."""
    at: int
    """When it last was."""

    @property
    def text(self) -> str:
        """The reason in words."""
        return (
            f"the lease was lost {self.count} times in a row by a process that lives, last at {moment(self.at)}: a step that blocks "
            "the event loop does that (make it a plain def), or a machine that is suspended or overloaded"
        )


class AnswerAwaited(Reason, frozen=True):
    """A task waits for a person."""

    task: str
    path: str
    name: str
    title: str
    assignee: str
    opened_at: int | None
    due_at: int | None
    refused: str = ""
    """Why the last answer was refused, if one was."""

    @property
    def text(self) -> str:
        """The reason in words."""
        who = f" of {self.assignee}" if self.assignee else ""
        title = f" ({self.title})" if self.title else ""
        due = f", until {moment(self.due_at)}" if self.due_at is not None else ""
        refused = f"; an answer was refused: {self.refused}" if self.refused else ""
        return f"{self.path} waits for an answer{who}{title}{since(self.opened_at)}{due}{refused}"


class SignalAwaited(Reason, frozen=True):
    """A task waits for a signal."""

    task: str
    path: str
    name: str
    opened_at: int | None
    due_at: int | None
    kept: tuple[str, ...] = ()
    """The names of signals that have come and that nobody waits for."""
    refused: str = ""

    @property
    def text(self) -> str:
        """The reason in words."""
        due = f", until {moment(self.due_at)}" if self.due_at is not None else ""
        kept = f"; signals that nobody waits for have come: {', '.join(map(repr, self.kept))}" if self.kept else ""
        refused = f"; one was refused: {self.refused}" if self.refused else ""
        return f"{self.path} waits for signal {self.name!r}{since(self.opened_at)}{due}{refused}{kept}"


class TimerSet(Reason, frozen=True):
    """A task sleeps."""

    task: str
    path: str
    opened_at: int | None
    due_at: int | None
    is_due: bool = False

    @property
    def text(self) -> str:
        """The reason in words."""
        until = f" until {moment(self.due_at)}" if self.due_at is not None else ""
        late = ", which has passed" if self.is_due else ""
        return f"{self.path} sleeps{until}{late}"


class RetryDue(Reason, frozen=True):
    """An attempt failed, and the next one is due at a time."""

    task: str
    path: str
    attempt: int
    """The attempt that failed."""
    due_at: int | None
    error: ErrorInfo | None
    is_due: bool = False

    @property
    def text(self) -> str:
        """The reason in words."""
        what = f" ({self.error.type}: {self.error.message})" if self.error is not None else ""
        until = f" at {moment(self.due_at)}" if self.due_at is not None else ""
        late = ", which has passed" if self.is_due else ""
        return f"{self.path} is tried again{until}{late}, after attempt {self.attempt} failed{what}"


class BodyRuns(Reason, frozen=True):
    """An attempt is on its way."""

    task: str
    path: str
    attempt: int
    started_at: int | None
    is_lost: bool = False
    """Whether nobody drives the run any more, so that the attempt is lost."""

    @property
    def text(self) -> str:
        """The reason in words."""
        if self.is_lost:
            return f"{self.path} was running (attempt {self.attempt}) when its process stopped driving the run; it runs again"
        return f"{self.path} runs (attempt {self.attempt}){since(self.started_at)}"


class StreamRuns(Reason, frozen=True):
    """A stream is on its way, and its next item is waited for."""

    task: str
    path: str
    attempt: int
    started_at: int | None
    taken: int
    """How many of its items are recorded."""
    yielded_at: int | None
    """When the last of them was; None if there is none of this attempt."""

    @property
    def text(self) -> str:
        """The reason in words."""
        last = self.yielded_at if self.yielded_at is not None else self.started_at
        return f"stream {self.path} (attempt {self.attempt}) has yielded {self.taken} items, and none{since(last)}"


class ReadyToStart(Reason, frozen=True):
    """Tasks could start at once."""

    tasks: tuple[str, ...]
    count: int

    @property
    def text(self) -> str:
        """The reason in words."""
        return f"{listed(self.tasks, self.count)}: ready, as soon as somebody drives the run"


# --- forks and joins ---------------------------------------------------------------------------------------------


class WindowFull(Reason, frozen=True):
    """A map opens no more arms before some of those that are open have settled."""

    fork: str
    path: str
    window: int
    unsettled: int
    opened: int
    taken: int

    @property
    def text(self) -> str:
        """The reason in words."""
        return (
            f"map {self.path} has {self.unsettled} unsettled arms, and its window is {self.window}: {self.opened} of the "
            f"{self.taken} items taken so far have their arm"
        )


class Pending(msgspec.Struct, frozen=True):
    """Something that could still reach a join."""

    task: str
    """Its id; empty for an inner join or a map."""
    path: str
    state: str
    """What it does, in words."""


class JoinWaits(Reason, frozen=True):
    """A join waits for more."""

    join: str
    path: str
    arrived: int
    left: int
    """How many tasks, inner joins and maps could still reach it."""
    size: int | None
    """How many arms its fork has, if that is settled."""
    pending: tuple[Pending, ...]
    """The first few of what could still reach it."""

    @property
    def text(self) -> str:
        """The reason in words."""
        arms = f" of {self.size}" if self.size is not None and self.left <= self.size else ""
        parts = "; ".join(f"{one.path} {one.state}" for one in self.pending)
        more = f"; and {self.left - len(self.pending)} more" if self.left > len(self.pending) else ""
        return f"join {self.path} waits for {self.left}{arms} ({self.arrived} arrived): {parts}{more}"
