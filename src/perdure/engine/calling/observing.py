"""Observers: those who are told what was committed, and who surround the bodies that run.

An observer can't hurt a run. It is told after the fact, and called in the event loop, so it has to hand over what it does to
somebody else; one that raises is detached, and that is logged. What it surrounds a body with is context variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from perdure.codec.redaction import Redaction
from perdure.engine.calling.logging import get_logger, log_exception
from perdure.events import AnyEvent, RunStarted, decode_events
from perdure.graph.plan import Plan
from perdure.store.port import Store
from perdure.store.records import Row

Undo = Callable[[], None]

Publish: TypeAlias = Callable[[str, Sequence[Row]], None]
"""A function that is told of the rows of a run that have become durable."""


class Passing(msgspec.Struct, frozen=True, gc=False):
    """Events of a run in memory: a row that is kept nowhere."""

    first: int
    count: int
    epoch: int
    ts: int
    events: Sequence[AnyEvent]


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Events that have just become durable; or, of a run in memory, that were just decided on.

    Attributes:
        run_id: the run.
        plan: the structure of its graph, or None if that isn't at hand.
        about: what the observer wanted to be reminded of when it met the run.
        rows: what was recorded.
        took_s: how long the store took; None if there is none.
    """

    run_id: str
    plan: Plan | None
    about: Any
    rows: Sequence[Row] | Sequence[Passing]
    took_s: float | None


class Observation(Protocol):
    """Is told what the runs of one engine come to, from when that was opened until it is closed."""

    async def closed(self) -> None:
        """End: the engine has handed its runs back and closes the store."""
        ...

    @property
    def tells(self) -> bool:
        """Whether what happens is told to somebody, and needn't be told by whoever drives a run next."""
        ...

    def begun(self, run_id: str, graph: str, in_trace: bool) -> tuple[str, bool | None]:
        """Return what a run that begins now says of itself: the W3C traceparent of its caller, and if it is sampled."""
        ...

    def met(self, run_id: str, epoch: int, started: RunStarted) -> Any:
        """Take note of a run that is about to be driven here; return what to be reminded of, or None."""
        ...

    def committed(self, commit: Commit) -> None:
        """Take note of a commit."""
        ...

    def lease_lost(self, graph: str) -> None:
        """Take note that a run is driven elsewhere, against the will of this engine."""
        ...

    def enter(self, about: Any, task_id: str, attempt: int) -> Any:
        """Surround a body that begins, of a run that was met; what this returns goes to :meth:`leave`."""
        ...

    def leave(self, entered: Any) -> None:
        """Undo that: the body has ended."""
        ...

    def carrier(self) -> Callable[[], Undo] | None:
        """Return what surrounds a body in another process like here; it has to be picklable."""
        ...


class Observer(Protocol):
    """Is told what runs come to."""

    async def opened(self, store: Store | None) -> Observation | None:
        """Begin: an engine was opened on a store, or a run in memory begins; return None if nothing is to be told."""
        ...


class Observing:
    """Calls an observer, if there is one, as long as it doesn't raise."""

    def __init__(self, observer: Observer | None, redaction: Redaction | None = None) -> None:
        self._observer = observer
        self._redaction = redaction
        self._observation: Observation | None = None

    def _call(self, name: str, *arguments: Any) -> Any:
        if self._observation is None:
            return None
        try:
            return getattr(self._observation, name)(*arguments)
        except Exception as error:
            self._detach(name, error)
            return None

    def _detach(self, name: str, error: Exception) -> None:
        self._observation = None
        said = "an observer has raised and is detached"
        log_exception(get_logger("perdure.engine"), said, error, self._redaction, method=name)

    async def opened(self, store: Store | None) -> None:
        """Tell that the engine was opened."""
        if self._observer is not None:
            try:
                self._observation = await self._observer.opened(store)
            except Exception as error:
                self._detach("opened", error)

    async def closed(self) -> None:
        """Tell that the engine is being closed."""
        if self._observation is not None:
            try:
                await self._observation.closed()
            except Exception as error:
                self._detach("closed", error)

    @property
    def tells(self) -> bool:
        """Whether what happens is told to somebody."""
        return self._observation is not None and self._observation.tells

    def begun(self, run_id: str, graph: str, *, in_trace: bool) -> tuple[str, bool | None]:
        """Return what a run that begins now says of itself: the traceparent of its caller, and if it is sampled."""
        return self._call("begun", run_id, graph, in_trace) or ("", None)

    def lease_lost(self, graph: str) -> None:
        """Tell that a run is driven elsewhere."""
        self._call("lease_lost", graph)

    def run(
        self,
        run_id: str,
        plan: Plan | None,
        epoch: int,
        started: RunStarted,
        publish: Publish | None = None,
    ) -> Observed:
        """Return how a run is told of under one lease."""
        if self._observation is None:
            return Observed(run_id, publish)
        return Observed(run_id, publish, plan, self._call, self._call("met", run_id, epoch, started))

    async def run_in(self, store: Store, run_id: str, plan: Plan | None, epoch: int, publish: Publish) -> Observed:
        """Return how a run is told of that was started earlier."""
        if self._observation is not None:
            for row in await store.read(run_id, 0, 1):
                started = decode_events(row.events)[0]
                if isinstance(started, RunStarted):
                    return self.run(run_id, plan, epoch, started, publish)
        return Observed(run_id, publish)


class Observed:
    """How those who watch are told of one run under one lease."""

    __slots__ = ("_about", "_call", "_plan", "_publish", "_run_id")

    def __init__(
        self,
        run_id: str,
        publish: Publish | None = None,
        plan: Plan | None = None,
        call: Callable[..., Any] | None = None,
        about: Any = None,
    ) -> None:
        self._run_id = run_id
        self._publish = publish
        self._plan = plan
        self._call = call
        self._about = about

    def committed(self, rows: Sequence[Row], took_s: float) -> None:
        """Tell of rows that have become durable."""
        if self._publish is not None:
            self._publish(self._run_id, rows)
        if self._call is not None:
            self._call("committed", Commit(self._run_id, self._plan, self._about, rows, took_s))

    def begun(self, run_id: str, rows: Sequence[Row]) -> None:
        """Tell of the rows of another run, as which this one goes on."""
        if self._publish is not None:
            self._publish(run_id, rows)

    def decided(self, events: Sequence[AnyEvent], last: int, ts: int) -> None:
        """Tell of what was decided about a run in memory; ``last`` is the seq of the last of the events."""
        if self._call is not None and events:
            passing = Passing(last - len(events) + 1, len(events), 0, ts, events)
            self._call("committed", Commit(self._run_id, self._plan, self._about, (passing,), None))

    @property
    def surrounds(self) -> bool:
        """Whether bodies are surrounded by anything."""
        return self._about is not None

    def enter(self, task_id: str, attempt: int) -> Any:
        """Surround a body that begins."""
        assert self._call is not None
        return self._call("enter", self._about, task_id, attempt)

    def leave(self, entered: Any) -> None:
        """Undo that."""
        if entered is not None and self._call is not None:
            self._call("leave", entered)

    def carrier(self) -> Callable[[], Undo] | None:
        """Return what surrounds a body in another process."""
        carried: Callable[[], Undo] | None = self._call("carrier") if self._call is not None else None
        return carried


UNOBSERVED = Observed("")
