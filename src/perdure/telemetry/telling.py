"""Telling: spans and metrics are made of commits, in a thread that no run waits for.

The thread folds what was committed (``projection.py``) and gives out the spans; if an exporter is slow or blocks, the thread
waits and the runs don't. When more waits than it may, commits are dropped, and read from the log again later: the log is the
queue that never overflows. A run in memory has no log; what is dropped of it is lost, and that is said.

Nothing is told on replay. How far a run has been told is in its log: segments say whether they are told, and one that has
ended in order is told up to its end. What is unsure is told again: a segment that ended in a crash, since what it had in its
hands may not have left the process, and one that nobody told of. The start of a run is told by whoever makes it, at once; of one that
died in the moment after that, ``perdure export`` gives it out. So spans are exported at least once, always with the same
ids. What a process took along that died after the end of a run is given out again by ``perdure export``.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any

from perdure import events as ev
from perdure.engine.calling.logging import get_logger
from perdure.engine.calling.observing import Commit
from perdure.engine.driving.recovery import PAGE
from perdure.engine.inspection.inspect import find, stored_plan
from perdure.graph.plan import Plan
from perdure.store.port import Store
from perdure.store.records import Row
from perdure.telemetry.metrics import Instruments
from perdure.telemetry.projection import Projection
from perdure.telemetry.spans import Span, TraceScope

BACKLOG = 100_000
"""How many events may wait to be told before further ones are dropped, to be read from the log later."""
KEPT = 10_000
"""How many runs are kept in mind between their commits."""
FLUSH = 512
"""After how many spans the processors are flushed, so that none of theirs overflows."""
CLOSING_S = 5.0
READING_S = 60.0
TURN_S = 0.0002
PAUSE_S = 0.001
"""The thread that tells lets go of the interpreter after this long and for this long: a loop that is busy would get it back
5 ms later, each time it has looked for what has come in. Nobody is in a hurry before the end."""

_ENDS = (ev.SegmentEnded, ev.RunPaused, ev.RunCompleted, ev.RunFailed, ev.RunCancelled)


class Teller:
    """The thread that tells, for any number of engines."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Telling, Commit | None] | None] = SimpleQueue()
        self._late: dict[Telling, None] = {}
        self.closing = 0
        """How many wait for this thread, so that it mustn't dawdle."""
        self._turn_ends = 0.0
        threading.Thread(target=self._work, name="perdure-telemetry", daemon=True).start()

    def put(self, telling: Telling, commit: Commit | None) -> None:
        """Have a commit told; with None, what is left to be told."""
        self._queue.put((telling, commit))

    def end(self) -> None:
        """End when all that was put is told."""
        self._queue.put(None)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            telling, commit = item
            if commit is None:
                self._late.pop(telling, None)
                telling.end()
            elif telling.take(commit, self.breathe):
                self._late[telling] = None
            while self._late and self._queue.empty():
                self._late.popitem()[0].catch_up(self.breathe)

    def breathe(self) -> None:
        """Let others have the interpreter now and then."""
        if monotonic() > self._turn_ends and not self.closing:
            sleep(PAUSE_S)
            self._turn_ends = monotonic() + TURN_S


class Telling:
    """What is told of the runs of one engine, or of one run in memory."""

    def __init__(
        self,
        teller: Teller,
        store: Store | None,
        scope: TraceScope,
        instruments: Instruments,
        give: Callable[[Any, Span], bool] | None,
        flush: Callable[[], Any] | None,
        backlog: int,
        closing_s: float,
    ) -> None:
        self._teller = teller
        self._store = store
        self._scope: TraceScope = scope
        self._instruments = instruments
        self._give = give
        self._flush = flush
        self._backlog = backlog
        self._closing_s = closing_s
        self._loop = asyncio.get_running_loop()
        self._put = 0
        self._taken = 0
        self._behind: dict[str, Any] = {}
        # None stands for a run that couldn't be told, and isn't told on.
        self._projections: OrderedDict[str, Projection | None] = OrderedDict()
        self._given = 0
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._is_closed = False
        self._log = get_logger("perdure.telemetry").bind()

    # --- in the event loop ---

    def put(self, commit: Commit) -> None:
        """Take a commit."""
        if self._put - self._taken > self._backlog:
            self._behind[commit.run_id] = commit.about
            return
        self._put += sum(row.count for row in commit.rows)
        self._teller.put(self, commit)

    async def closed(self) -> None:
        """Wait until everything is told, or for as long as that may take."""
        self._teller.closing += 1
        self._teller.put(self, None)
        try:
            _, late = await asyncio.wait([self._over], timeout=self._closing_s)
        finally:
            self._teller.closing -= 1
        self._is_closed = True
        if late:
            untold = self._put - self._taken
            self._log.warning("spans are left untold", events=untold, remedy=self._remedy)

    # --- in the thread ---

    @property
    def _remedy(self) -> str:
        return (
            "`perdure export RUN --format otlp` gives them out"
            if self._store is not None
            else "none: they are of runs in memory"
        )

    def take(self, commit: Commit, breathe: Callable[[], None]) -> bool:
        """Tell of a commit; say whether others are behind."""
        if not self._is_closed:
            self._safely(commit.run_id, self._commit, commit, breathe)
            self._taken += sum(row.count for row in commit.rows)
        return bool(self._behind)

    def end(self) -> None:
        """Tell what is left, and say so."""
        self.catch_up(lambda: None)
        with suppress(RuntimeError):  # the loop may be closed by now, and then nobody waits
            self._loop.call_soon_threadsafe(self._done)

    def _done(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _safely(self, run_id: str, function: Callable[..., object], *arguments: Any) -> None:
        try:
            function(*arguments)
        except (Exception, CancelledError):
            self._projections[run_id] = None
            if not self._is_closed:
                self._log.exception("a run can't be told on", run=run_id, remedy=self._remedy)

    def catch_up(self, breathe: Callable[[], None]) -> None:
        """Read from the log what was dropped while too much was waiting."""
        while self._behind and not self._is_closed:
            run_id, about = self._behind.popitem()
            if self._store is not None:
                self._safely(run_id, self._read_on, run_id, None, about, None, breathe)
            else:
                self._lose(run_id)

    def _lose(self, run_id: str) -> None:
        """Tell no more of a run in memory that something is missing of."""
        if self._projections.get(run_id, run_id) is not None:
            self._projections[run_id] = None
            self._log.warning("a run can't be told on: more has waited than may", run=run_id, remedy=self._remedy)

    def _commit(self, commit: Commit, breathe: Callable[[], None]) -> None:
        self._instruments.committed(commit)
        run_id, first = commit.run_id, commit.rows[0].first
        if first == 1 and commit.plan is not None:
            self._projections[run_id] = Projection(commit.plan, run_id, self._scope)
        projection = self._projections.get(run_id)
        if projection is None or projection.seq + 1 < first:
            if run_id in self._projections and projection is None:
                return
            if self._store is None:
                self._lose(run_id)
                return
            projection = self._read_on(run_id, commit.plan, commit.about, first - 1, breathe)
        for row in commit.rows:
            events = ev.decode_events(row.events) if isinstance(row.events, bytes) else row.events
            self._tell(projection, commit.about, events, row, breathe)
        if projection.is_over or (first == 1 and _is_left_to_others(commit)):
            del self._projections[run_id]
        else:
            self._projections.move_to_end(run_id)
        if len(self._projections) > KEPT:
            self._projections.popitem(last=False)

    def _tell(
        self,
        projection: Projection,
        about: Any,
        events: Sequence[ev.AnyEvent],
        row: Any,
        breathe: Callable[[], None],
        silent_upto: int = 0,
    ) -> None:
        for seq, event in enumerate(events, row.first):
            if seq <= projection.seq:
                continue
            spans = projection.take(event, row.ts, row.epoch)
            breathe()
            if seq <= silent_upto:
                continue
            self._instruments.took(event, projection)
            for span in spans:
                self._instruments.ended(span)
                if self._give is not None and self._give(about, span):
                    self._given += 1
                    if self._given % FLUSH == 0 and self._flush is not None:
                        self._flush()

    # --- from the log ---

    def _read_on(
        self, run_id: str, plan: Plan | None, about: Any, upto: int | None, breathe: Callable[[], None]
    ) -> Projection:
        """Tell what the log says up to a seq; of what another process has told, only what a crash may have swallowed."""
        assert self._store is not None
        projection = self._projections.get(run_id)
        silent_upto = 0
        if projection is None:
            if plan is None:
                plan = self._await(_plan_of(self._store, run_id))
            projection = self._projections[run_id] = Projection(plan, run_id, self._scope)
            silent_upto = self._told_before(run_id, upto) if upto is not None else 0
        for row in self._rows(run_id, projection.seq, upto):
            self._tell(projection, about, ev.decode_events(row.events), row, breathe, silent_upto)
        return projection

    def _told_before(self, run_id: str, upto: int | None) -> int:
        """Return up to which event a run has been told for certain: to its start, or to the last end of a segment that was told."""
        told, is_told = 0, False
        for row in self._rows(run_id, 0, upto):
            for seq, event in enumerate(ev.decode_events(row.events), row.first):
                if isinstance(event, ev.SegmentStarted):
                    is_told = event.is_told
                elif isinstance(event, ev.RunStarted) and event.is_told:
                    told = row.first + row.count - 1
                elif isinstance(event, _ENDS) and is_told:
                    told = seq
        return told

    def _rows(self, run_id: str, after: int, upto: int | None) -> Iterator[Row]:
        assert self._store is not None
        while rows := self._await(self._store.read(run_id, after, PAGE)):
            for row in rows:
                if upto is not None and row.first > upto:
                    return
                yield row
            after = rows[-1].first + rows[-1].count - 1

    def _await(self, work: Any) -> Any:
        if self._is_closed:
            work.close()
            raise CancelledError
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(READING_S)


def _is_left_to_others(commit: Commit) -> bool:
    """Say whether somebody has only started a run, and tells no more of it."""
    row = commit.rows[0]
    events = ev.decode_events(row.events) if isinstance(row.events, bytes) else row.events
    return isinstance(events[0], ev.RunStarted) and events[0].is_told


async def _plan_of(store: Store, run_id: str) -> Plan:
    return await stored_plan(store, await find(store, run_id))
