"""What events are made of: values, references to them, and what an event is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    Value: TypeAlias = Any
else:
    Value = msgspec.Raw


Durability: TypeAlias = Literal["sync", "async", "exit"]
"""When events are made durable: before anything is done about them, soon after, or when the run ends or waits."""


Before: TypeAlias = Literal["", "died", "lives", "elsewhere", "unknown"]
"""What is known of a process that left tasks in flight when another one took its run over.

``"died"``: there is no such process any more. ``"lives"``: there is, so it was stopped, or too slow, for longer than its lease;
nothing has crashed. ``"elsewhere"``: it ran on another host, or in another space of process ids, from where it can't be seen.
``"unknown"``: its log doesn't say enough of it. Empty: none were in flight, or the log is of a time when this wasn't recorded.
All but ``"lives"`` are taken for crashes.
"""


FailureOutcome: TypeAlias = Literal["fail", "retry", "collect", "wait", "lose"]
"""What follows from a failure: the run fails; another attempt at a time; it goes to a join as a value; the run fails when
the others have finished; it loses a race."""


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
