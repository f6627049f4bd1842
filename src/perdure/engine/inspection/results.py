"""What came of a run, read from its log."""

from __future__ import annotations

from typing import Any

from perdure.codec.codec import BlobMissing
from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.journal import Position
from perdure.engine.driving.recovery import read_row
from perdure.errors import RunFailed as RunFailedError
from perdure.errors import StoreCorrupt
from perdure.events import (
    Answered,
    AnyEvent,
    JoinClosed,
    NodeCompleted,
    Output,
    RunCompleted,
    RunFailed,
    RunStarted,
    SignalReceived,
    Value,
)
from perdure.kernel.fold.run import Ref
from perdure.kernel.fold.status import Status
from perdure.store.chain import chain_start
from perdure.store.port import Store
from perdure.store.records import Row, RunInfo


async def recorded_outputs(store: Store, info: RunInfo, values: CodedValues) -> list[Any]:
    """Return every value that reached the end of a completed run, in order."""
    completed = await _event_at(store, info, info.last_seq)
    if not isinstance(completed, RunCompleted):
        raise StoreCorrupt(f"run {info.run_id!r} is completed, and its last event isn't", location=store.location)
    return [await _value_of(store, info, values, output) for output in completed.outputs]


async def recorded_successor(store: Store, info: RunInfo) -> str:
    """Return the id of the run that a completed one goes on as, or an empty text."""
    if info.status != Status.COMPLETED:
        return ""
    completed = await _event_at(store, info, info.last_seq)
    return completed.successor if isinstance(completed, RunCompleted) else ""


async def _value_of(store: Store, info: RunInfo, values: CodedValues, output: Output) -> Any:
    value = await recorded_value(store, info, output)
    while True:
        try:
            return values.load(Ref(value, output.by, output.seq))
        except BlobMissing as missing:
            values.blobs.add(missing.digest, await store.blob(info.run_id, missing.digest))


async def recorded_value(store: Store, info: RunInfo, output: Output) -> Value:
    """Return a value that has reached the end, as it is recorded."""
    value = output.value
    if output.seq:
        event = await _event_at(store, info, output.seq)
        if isinstance(event, NodeCompleted):
            value = event.output
        elif isinstance(event, JoinClosed | Answered | SignalReceived):
            value = event.value
        elif isinstance(event, RunStarted):
            value = event.inputs
    return value


async def recorded_failure(store: Store, info: RunInfo) -> RunFailedError:
    """Return the error to raise for a failed run."""
    event = await _event_at(store, info, info.last_seq)
    if not isinstance(event, RunFailed):
        raise StoreCorrupt(
            f"run {info.run_id!r} has failed, and its last event doesn't say so", location=store.location
        )
    return RunFailedError(info.run_id, event.error.type, event.error.message, event.path)


async def _event_at(store: Store, info: RunInfo, seq: int) -> AnyEvent:
    row = await _row_with(store, info, seq)
    first = row.first
    head = chain_start(info.run_id, info.graph) if first == 1 else (await _row_with(store, info, first - 1)).hash
    return read_row(row, Position(first - 1, head, row.ts), info.run_id, store.location)[seq - first]


async def _row_with(store: Store, info: RunInfo, seq: int) -> Row:
    rows = await store.read(info.run_id, seq - 1, 1)
    if not rows or not rows[0].first <= seq < rows[0].first + rows[0].count:
        raise StoreCorrupt(f"run {info.run_id!r}: event {seq} is missing", location=store.location)
    return rows[0]
