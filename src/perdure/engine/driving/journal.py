"""The journal of a run: its events on their way into the store.

``sync`` waits for each commit. ``async`` hands commits over in order and goes on, so that a crash may lose the last ones;
``exit`` keeps them until the run ends, waits or is handed back. In every mode the store holds a prefix of the log, and a
flush that returns means that all of it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

import msgspec

from perdure.codec.codec import Blobs, encoded_events
from perdure.engine.calling.observing import UNOBSERVED, Observed
from perdure.engine.clock import Clock
from perdure.errors import StoreError
from perdure.events import AnyEvent, Durability, as_written
from perdure.store.chain import chained
from perdure.store.encryption import sealing_of
from perdure.store.port import Store
from perdure.store.records import Append, Row, RunUpdate, Wait

ROW_BYTES = 1 << 20
"""A commit of more is split into several rows of the same transaction."""

BACKLOG = 10_000
"""How many events may wait to be written in ``async`` before the run has to wait too."""


class Position(msgspec.Struct):
    """Where a log stands."""

    seq: int
    head: bytes
    ts: int
    snapshot: int = 0
    """How many bytes the last snapshot has; 0 if there is none."""
    since: int = 0
    """How many bytes of events have followed it."""


class Beside(msgspec.Struct, frozen=True):
    """What a commit changes beside the log."""

    opened: tuple[Wait, ...] = ()
    closed: tuple[str, ...] = ()
    consumed: tuple[int, ...] = ()
    release: bool = False


NOTHING = Beside()
NO_BLOBS: Mapping[str, bytes] = {}
NO_BACKLOG: list[Append] = []
"""That of every journal in ``sync``, where nothing is ever put into it."""


class Journal:
    """Writes the events of one run under one lease.

    Attributes:
        epoch: that of the lease.
        fingerprint: of the graph that the run goes on with, where that isn't the one it was driven with before.
        position: where the log stands.
        observed: who is told of what was committed.
    """

    __slots__ = (
        "_backlog",
        "_backlog_events",
        "_blobs",
        "_clock",
        "_durability",
        "_failed",
        "_handed_in",
        "_run_id",
        "_sealing",
        "_store",
        "_writing",
        "epoch",
        "fingerprint",
        "observed",
        "position",
    )

    def __init__(
        self,
        store: Store,
        run_id: str,
        epoch: int,
        position: Position,
        clock: Clock,
        blobs: Blobs,
        durability: Durability,
        observed: Observed = UNOBSERVED,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self.epoch = epoch
        self.fingerprint: str | None = None
        self.position = position
        self._clock = clock
        self._blobs = blobs
        self._durability = durability
        self._backlog: list[Append] = [] if durability != "sync" else NO_BACKLOG
        self._backlog_events = 0
        self._handed_in: tuple[Sequence[Row], float] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._failed: StoreError | None = None
        self.observed = observed
        self._sealing = sealing_of(store)

    def rows(self, events: Sequence[AnyEvent]) -> tuple[Row, ...]:
        """Return the rows for a commit, and count the position on.

        The time of a row is never less than that of the row before, whatever the clock of the machine does.
        """
        position = self.position
        position.ts = max(position.ts, self._clock.now())
        rows = []
        for part in _parts(events):
            count = part[0]
            data = part[1]
            first = position.seq + 1
            sealed = b""
            if self._sealing is not None:
                sealed = self._sealing.row(self._run_id, first, count, self.epoch, position.ts, data)
            head = chained(position.head, self._run_id, first, count, self.epoch, position.ts, sealed or data)
            rows.append(Row(first, count, self.epoch, position.ts, data, head, sealed))
            position.seq += count
            position.head = head
            position.since += len(data)
        return tuple(rows)

    def hand_in(
        self, events: Sequence[AnyEvent], update: RunUpdate, beside: Beside, *, flush: bool, since: int = 0
    ) -> Awaitable[None] | None:
        """Hand events to the store; :meth:`landed` is to be called when they may be acted on.

        Args:
            events: what was decided.
            update: what it changes in the run's row.
            beside: what it changes in the run's waits, inbox and lease.
            flush: whether to wait until everything is durable, whatever the mode.
            since: a time that has come; the time of the commit isn't less, also where the clock was set back.

        Returns:
            What has to be waited for before anything is done that depends on them, if they aren't to be acted on at once.

        Raises:
            StoreError: they aren't recorded; the run must not go on. What is waited for raises the same.
        """
        after = self.position.seq
        self.position.ts = max(self.position.ts, since)
        rows = self.rows(events)
        if self.fingerprint is not None:
            update = msgspec.structs.replace(update, fingerprint=self.fingerprint)
        append = Append(
            self._run_id,
            self.epoch,
            after,
            rows,
            update,
            dict(self._blobs.unsaved) if self._blobs.unsaved else NO_BLOBS,
            beside.opened,
            beside.closed,
            beside.consumed,
            beside.release,
        )
        if self._blobs.unsaved:
            self._blobs.save()
        if self._durability == "sync":
            self._handed_in = rows, self._clock.monotonic()
            return self._store.append(append)
        self._backlog.append(append)
        self._backlog_events += len(events)
        if self._durability == "async" and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write_backlog())
        if flush or (self._durability == "async" and self._backlog_events > BACKLOG):
            return self.flush()
        self._raise_failure()
        return None

    def landed(self) -> None:
        """Tell those who watch of the commit that was handed in last, and waited for."""
        if self._handed_in is not None:
            rows, began = self._handed_in
            self._handed_in = None
            self.observed.committed(rows, self._clock.monotonic() - began)

    async def commit(
        self, events: Sequence[AnyEvent], update: RunUpdate, beside: Beside, *, flush: bool, since: int = 0
    ) -> None:
        """Record events; see :meth:`hand_in`.

        Raises:
            StoreError: they aren't recorded; the run must not go on.
        """
        landing = self.hand_in(events, update, beside, flush=flush, since=since)
        if landing is not None:
            await landing
        self.landed()

    async def flush(self) -> None:
        """Wait until everything is durable.

        Raises:
            StoreError: it can't be.
        """
        while self._backlog or (self._writing is not None and not self._writing.done()):
            if self._writing is None or self._writing.done():
                self._raise_failure()
                self._writing = asyncio.get_running_loop().create_task(self._write_backlog())
            await asyncio.shield(self._writing)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    async def _write_backlog(self) -> None:
        """Write what waits, as few commits."""
        while self._backlog and self._failed is None:
            waiting, self._backlog = self._backlog, []
            self._backlog_events = 0
            began = self._clock.monotonic()
            blobs: dict[str, bytes] = {}
            for append in waiting:
                blobs.update(append.blobs)
            rows = tuple(row for append in waiting for row in append.rows)
            first, last = waiting[0], waiting[-1]
            merged = Append(
                self._run_id,
                self.epoch,
                first.after,
                rows,
                last.update,
                blobs,
                opened=tuple(
                    wait for append in waiting for wait in append.opened if _stays(wait.task, append, waiting)
                ),
                closed=tuple(task for append in waiting for task in append.closed),
                consumed=tuple(number for append in waiting for number in append.consumed),
                release=last.release,
            )
            try:
                await self._store.append(merged)
            except StoreError as error:
                self._failed = error
            else:
                self.observed.committed(rows, self._clock.monotonic() - began)


def _stays(task: str, opened_in: Append, appends: Sequence[Append]) -> bool:
    """Say whether a wait that one of several commits opens is still open after the last of them."""
    later = appends[appends.index(opened_in) + 1 :]
    return not any(task in append.closed for append in later)


def _parts(events: Sequence[AnyEvent]) -> list[tuple[int, bytes]]:
    """Encode events, in parts of a size that can be read back one by one."""
    data = encoded_events(as_written(events))
    if len(data) <= ROW_BYTES or len(events) == 1:
        return [(len(events), data)]
    middle = len(events) // 2
    return _parts(events[:middle]) + _parts(events[middle:])
