"""Results: what the shell reports to the kernel about the attempts it runs."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from perdure.events import ErrorInfo, Items, Route, Value
from perdure.kernel.state.committed import Proposal

Chunks: TypeAlias = tuple[Items, ...]


class Succeeded(msgspec.Struct, frozen=True, gc=False):
    """A body has returned; for a stream, its last item has been reported before."""

    task: str
    attempt: int
    output: Value
    route: Route | None = None
    maps: tuple[Chunks, ...] = ()
    """For each map directly behind the node, in the order of the flow: its items."""
    proposal: Proposal | None = None
    short_of: int | None = None
    """For a stream that ran again and gave fewer items than are recorded: how many it gave."""


class Failed(msgspec.Struct, frozen=True):
    """A body has raised, or run out of time."""

    task: str
    attempt: int
    error: ErrorInfo
    exception: BaseException
    retry_after: int | None = None
    """In how many microseconds the step's policy wants another attempt; None if it doesn't."""
    is_final: bool = False
    """Whether the run fails with it whatever the policies say, because the join that was to take it can't."""


class Streaming(msgspec.Struct, frozen=True):
    """A body has returned something to be iterated; its items follow."""

    task: str
    attempt: int
    route: Route | None


class Yielded(msgspec.Struct, frozen=True):
    """A stream has given out items."""

    task: str
    attempt: int
    items: tuple[Chunks, ...]
    """For each map that the stream feeds."""


class Parked(msgspec.Struct, frozen=True):
    """The code of a wait has said what it waits for."""

    task: str
    attempt: int
    title: str = ""
    assignee: str = ""
    due_at: int | None = None


class Continued(msgspec.Struct, frozen=True):
    """A body has asked for the run to go on as a new one."""

    task: str
    attempt: int
    successor: str
    inputs: Value
    state: Value


class Delivery(msgspec.Struct, frozen=True):
    """Something that came in for a task, or for whoever waits for a name."""

    entry: int
    """Its entry in the inbox."""
    task: str
    """The task that is answered; empty for a signal."""
    name: str
    data: bytes
    """What came, as JSON."""
    by: str


class Request(msgspec.Struct, frozen=True):
    """Somebody wants the run to stand still or to end."""

    entry: int
    verb: Literal["pause", "cancel"]
    by: str
    reason: str
    now: bool = False


Result: TypeAlias = Succeeded | Failed | Streaming | Yielded | Parked | Continued
