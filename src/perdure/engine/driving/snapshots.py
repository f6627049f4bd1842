"""Snapshots of a run: taken while it goes on, and used when it is recovered.

A snapshot is a cache. It is written when the log has grown by as much as is worth it, at most one at a time, and nobody waits
for it. It is used only if everything about it fits: its format, the graph, its own hash, and the head of the chain of
hashes in the log at its seq; else it is dropped and the log is folded from the beginning.
"""

from __future__ import annotations

import asyncio

import msgspec

from perdure.engine.calling.logging import get_logger
from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.journal import Journal, Position
from perdure.errors import CodecError, StoreCorrupt, StoreError
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.snapshot import FORMAT, can_dump, dump, load
from perdure.kernel.fold.status import OVER, Status
from perdure.store.chain import snapshot_hash
from perdure.store.port import Store
from perdure.store.records import RunInfo, Snapshot

WORTHWHILE_BYTES = 2 << 20
"""How much the log has to have grown at least."""

WORTHWHILE_RATIO = 2
"""How much it has to have grown, compared with the last snapshot: so snapshots add at most half of what the log takes."""


def have_sense(position: Position) -> bool:
    """Say whether a log is so long that snapshots have to be looked after, or has one."""
    return position.since >= WORTHWHILE_BYTES or position.snapshot > 0


class Snapshots:
    """Takes the snapshots of one run that is driven."""

    def __init__(self, store: Store, journal: Journal, values: CodedValues) -> None:
        self._store = store
        self._journal = journal
        self._values = values
        self._saving: asyncio.Task[None] | None = None
        self._is_possible = True

    def consider(self, run: Run) -> None:
        """Take a snapshot of a run whose last decision was handed to the journal, if that is worth it."""
        position = self._journal.position
        if position.since < max(WORTHWHILE_BYTES, WORTHWHILE_RATIO * position.snapshot) or not self._is_possible:
            return
        if (self._saving is not None and not self._saving.done()) or run.status in OVER or not can_dump(run):
            return
        try:
            data = dump(run, self._values.whole())
        except CodecError as error:  # what a join has folded needn't be storable, only what it gives out
            self._is_possible = False
            get_logger("perdure.engine").info("no snapshots of this run", run=run.run_id, reason=str(error))
            return
        fingerprint, seq, head = run.plan.fingerprint, position.seq, position.head
        hash_ = snapshot_hash(run.run_id, FORMAT, fingerprint, seq, head, data)
        snapshot = Snapshot(FORMAT, fingerprint, seq, head, data, hash_)
        position.since, position.snapshot = 0, len(data)
        self._saving = asyncio.get_running_loop().create_task(self._save(run.run_id, snapshot))

    async def _save(self, run_id: str, snapshot: Snapshot) -> None:
        try:
            await self._journal.flush()
            await self._store.save_snapshot(run_id, snapshot)
        except StoreError as error:
            get_logger("perdure.engine").warning("a snapshot wasn't saved", run=run_id, error=str(error))

    async def close(self, run: Run) -> None:
        """Finish what was begun; forget the snapshot of a run that never goes on."""
        if self._saving is not None:
            await asyncio.wait([self._saving])
        if self._journal.position.snapshot and run.status in (Status.COMPLETED, Status.CANCELLED):
            try:
                await self._store.drop_snapshot(run.run_id)
            except StoreError as error:
                get_logger("perdure.engine").warning("a snapshot wasn't dropped", run=run.run_id, error=str(error))


async def restored(store: Store, info: RunInfo, run: Run, *, upto: int | None = None) -> Position | None:
    """Load the snapshot of a run; return where its log stood then, or None if there is none that fits.

    Args:
        store: where the run is.
        info: the run.
        run: a run with nothing applied.
        upto: the event that is to be looked at, if the run isn't to be driven on; a snapshot of later is left alone then.
    """
    try:
        snapshot = await store.snapshot(info.run_id)
    except StoreCorrupt as error:
        get_logger("perdure.engine").warning("a snapshot can't be read", run=info.run_id, error=str(error))
        await store.drop_snapshot(info.run_id)
        return None
    if snapshot is None or (upto is not None and snapshot.seq > upto):
        return None
    ts = await _time_of(store, info, run, snapshot)
    if ts is not None:
        try:
            load(snapshot.data, run)
        except (msgspec.DecodeError, CodecError) as error:
            get_logger("perdure.engine").warning("a snapshot can't be read", run=info.run_id, error=str(error))
        else:
            return Position(snapshot.seq, snapshot.head, ts, len(snapshot.data))
    if upto is None:
        await store.drop_snapshot(info.run_id)
    return None


async def _time_of(store: Store, info: RunInfo, run: Run, snapshot: Snapshot) -> int | None:
    """Return the time of the row that a snapshot was taken after, or None if the snapshot doesn't fit."""
    if snapshot.format != FORMAT or snapshot.fingerprint != run.plan.fingerprint:
        return None
    hash_ = snapshot_hash(
        info.run_id, snapshot.format, snapshot.fingerprint, snapshot.seq, snapshot.head, snapshot.data
    )
    if hash_ != snapshot.hash or not 0 < snapshot.seq <= info.last_seq:
        return None
    rows = await store.read(info.run_id, snapshot.seq - 1, 1)
    if not rows or rows[0].first + rows[0].count - 1 != snapshot.seq or rows[0].hash != snapshot.head:
        return None
    return rows[0].ts
