"""The past of a run: its state as it was after an event."""

from __future__ import annotations

from typing import Any

from perdure.codec.codec import Blobs
from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.journal import Position
from perdure.engine.driving.recovery import blobs_of
from perdure.engine.driving.registered import Registered, new_run
from perdure.engine.driving.snapshots import restored
from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import stored_plan
from perdure.engine.inspection.untyped import UntypedValues, shown
from perdure.errors import GraphRuntimeError
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.run import Run
from perdure.kernel.state.tree import thaw
from perdure.store.port import SHORT, Store
from perdure.store.records import RunInfo


async def state_at(store: Store, info: RunInfo, seq: int, mine: Registered | None = None) -> Any:
    """Return a copy of a run's state as it was once an event had been recorded.

    Args:
        store: where the run is.
        info: the run.
        seq: the event, from 1.
        mine: its graph. If it isn't known, or isn't the one the run was driven with, the state comes without its types: objects as
            dicts of their fields, and all else as JSON has it.

    Raises:
        GraphRuntimeError: there is no such event, or the log doesn't fit the graph.
        StoreCorrupt: a row isn't what was written.
    """
    if not 1 <= seq <= info.last_seq:
        raise GraphRuntimeError(f"run {info.run_id!r} has events 1 to {info.last_seq}, and no event {seq}")
    if mine is not None and mine.graph.fingerprint == info.fingerprint:
        coded = CodedValues(mine.codec, refolds=False)
        run = new_run(mine.graph, info.run_id, coded)
        since = await restored(store, info, run, upto=seq) if seq > SHORT else None
        await _fold(store, info, run, coded.blobs, seq, since)
        return thaw(run.state.tree)
    untyped = UntypedValues()
    run = Run(await stored_plan(store, info), info.run_id, untyped)
    await _fold(store, info, run, untyped.blobs, seq)
    return shown(thaw(run.state.tree))


async def _fold(store: Store, info: RunInfo, run: Run, blobs: Blobs, seq: int, since: Position | None = None) -> None:
    """Fold a log up to an event, from its beginning or from where a snapshot stands that was taken before it."""
    if run.seq == seq:
        return
    async for recorded in read_history(store, info, since=since):
        for digest in blobs_of([recorded.event], run.plan):
            blobs.add(digest, await store.blob(info.run_id, digest))
        apply(run, recorded.event)
        if recorded.seq == seq:
            return
