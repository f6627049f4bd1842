"""Observers: those who are told what was committed, and who surround the bodies that run.

An observer can't hurt a run. It is told after the fact, and called in the event loop, so it has to hand over what it does to
somebody else; one that raises is detached, and that is logged. What it surrounds a body with is context variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from perdure.engine.logging import get_logger
from perdure.events import AnyEvent, RunStarted, decode_events
from perdure.graph.plan import Plan
from perdure.store.port import RunInfo, Store

Undo = Callable[[], None]


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Events that have just become durable.

    Attributes:
        run_id: the run.
        plan: the structure of its graph, or None if that isn't at hand.
        epoch: under which lease.
        first: the seq of the first of them.
        ts: when they were committed, in microseconds since 1970.
        events: what was recorded.
        took_s: how long the store took.
    """

    run_id: str
    plan: Plan | None
    epoch: int
    first: int
    ts: int
    events: Sequence[AnyEvent]
    took_s: float


class Observer(Protocol):
    """Is told what runs come to."""

    async def opened(self, store: Store) -> bool:
        """Begin: an engine was opened on a store; say whether there is anything to be told."""
        ...

    async def closed(self) -> None:
        """End: the engine hands its runs back and closes the store."""
        ...

    def caller(self) -> str:
        """Return the W3C traceparent of the code that runs now, or an empty text."""
        ...

    def met(self, run_id: str, started: RunStarted) -> None:
        """Take note of a run that is about to be driven here."""
        ...

    def committed(self, commit: Commit) -> None:
        """Take note of a commit."""
        ...

    def lease_lost(self, graph: str) -> None:
        """Take note that a run is driven elsewhere, against the will of this engine."""
        ...

    def enter(self, run_id: str, epoch: int, task_id: str, attempt: int) -> Any:
        """Surround a body that begins; what this returns goes to :meth:`leave`."""
        ...

    def leave(self, entered: Any) -> None:
        """Undo that: the body has ended."""
        ...

    def carrier(self) -> Callable[[], Undo] | None:
        """Return what surrounds a body in another process like here; it has to be picklable."""
        ...


class Observing:
    """Calls an observer, as long as it doesn't raise."""

    def __init__(self, observer: Observer) -> None:
        self._observer: Observer | None = observer

    def _call(self, name: str, *arguments: Any) -> Any:
        if self._observer is None:
            return None
        try:
            return getattr(self._observer, name)(*arguments)
        except Exception:
            self._detach(name)
            return None

    def _detach(self, name: str) -> None:
        self._observer = None
        get_logger("perdure.engine").exception("an observer has raised and is detached", method=name)

    async def opened(self, store: Store) -> None:
        """Tell that the engine was opened."""
        if await self._await("opened", store) is False:
            self._observer = None

    async def closed(self) -> None:
        """Tell that the engine is being closed."""
        await self._await("closed")

    async def _await(self, name: str, *arguments: Any) -> Any:
        called = self._call(name, *arguments)
        if called is None:
            return None
        try:
            return await called
        except Exception:
            self._detach(name)
            return None

    def caller(self) -> str:
        """Return the traceparent of the code that runs now, or an empty text."""
        return self._call("caller") or ""

    def lease_lost(self, graph: str) -> None:
        """Tell that a run is driven elsewhere."""
        self._call("lease_lost", graph)

    def met(self, run_id: str, started: RunStarted) -> None:
        """Tell of a run that is about to be driven here."""
        self._call("met", run_id, started)

    async def recall(self, store: Store, info: RunInfo) -> None:
        """Tell of a run that was started earlier, and is about to be driven here."""
        if self._observer is not None:
            for row in await store.read(info.run_id, 0, 1):
                started = decode_events(row.events)[0]
                if isinstance(started, RunStarted):
                    self.met(info.run_id, started)

    def run(self, run_id: str, plan: Plan | None, epoch: int) -> Observed | None:
        """Return how the observer is told of one run under one lease; None if there is no observer any more."""
        if self._observer is None:
            return None
        return Observed(self._call, run_id, plan, epoch)


class Observed:
    """How an observer is told of one run under one lease."""

    __slots__ = ("_call", "_epoch", "_plan", "_run_id")

    def __init__(self, call: Callable[..., Any], run_id: str, plan: Plan | None, epoch: int) -> None:
        self._call = call
        self._run_id = run_id
        self._plan = plan
        self._epoch = epoch

    def committed(self, events: Sequence[AnyEvent], first: int, ts: int, took_s: float) -> None:
        """Tell of events that have become durable."""
        self._call("committed", Commit(self._run_id, self._plan, self._epoch, first, ts, events, took_s))

    def enter(self, task_id: str, attempt: int) -> Any:
        """Surround a body that begins."""
        return self._call("enter", self._run_id, self._epoch, task_id, attempt)

    def leave(self, entered: Any) -> None:
        """Undo that."""
        if entered is not None:
            self._call("leave", entered)

    def carrier(self) -> Callable[[], Undo] | None:
        """Return what surrounds a body in another process."""
        carried: Callable[[], Undo] | None = self._call("carrier")
        return carried
