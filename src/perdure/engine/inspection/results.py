"""What came of a run, read from its log."""

from __future__ import annotations

from collections.abc import Sequence
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
from perdure.store.port import SHORT, Store
from perdure.store.records import Row, RunInfo


class _Log:
    """The log of a run of which a few events are looked at: one that is short is read at once."""

    def __init__(self, store: Store, info: RunInfo) -> None:
        self.store = store
        self.info = info
        self._rows: Sequence[Row] | None = None
        self._events: dict[int, list[AnyEvent]] = {}

    async def event_at(self, seq: int) -> AnyEvent:
        """Return an event.

        Raises:
            StoreCorrupt: it is missing, or isn't what was written.
        """
        row, info = await self._row_with(seq), self.info
        first = row.first
        if first not in self._events:
            head = chain_start(info.run_id, info.graph) if first == 1 else (await self._row_with(first - 1)).hash
            position = Position(first - 1, head, row.ts)
            self._events[first] = read_row(row, position, info.run_id, self.store.location)
        return self._events[first][seq - first]

    async def _row_with(self, seq: int) -> Row:
        run_id = self.info.run_id
        if self._rows is None:
            self._rows = await self.store.read(run_id, 0, SHORT) if self.info.last_seq <= SHORT else ()
        for rows in (self._rows, None):
            for row in await self.store.read(run_id, seq - 1, 1) if rows is None else rows:
                if row.first <= seq < row.first + row.count:
                    return row
        raise StoreCorrupt(f"run {run_id!r}: event {seq} is missing", location=self.store.location)


async def recorded_outputs(store: Store, info: RunInfo, values: CodedValues) -> list[Any]:
    """Return every value that reached the end of a completed run, in order."""
    return await _outputs(_Log(store, info), values)


async def recorded_end(store: Store, info: RunInfo, values: CodedValues) -> tuple[str, list[Any]]:
    """Return the id of the run that a completed one goes on as, or an empty text; and if it doesn't, its outputs."""
    log = _Log(store, info)
    successor = await _successor(log)
    return successor, [] if successor else await _outputs(log, values)


async def recorded_successor(store: Store, info: RunInfo) -> str:
    """Return the id of the run that a completed one goes on as, or an empty text."""
    return await _successor(_Log(store, info)) if info.status == Status.COMPLETED else ""


async def _successor(log: _Log) -> str:
    completed = await log.event_at(log.info.last_seq)
    return completed.successor if isinstance(completed, RunCompleted) else ""


async def _outputs(log: _Log, values: CodedValues) -> list[Any]:
    store, info = log.store, log.info
    completed = await log.event_at(info.last_seq)
    if not isinstance(completed, RunCompleted):
        raise StoreCorrupt(f"run {info.run_id!r} is completed, and its last event isn't", location=store.location)
    return [await _value_of(log, values, output) for output in completed.outputs]


async def _value_of(log: _Log, values: CodedValues, output: Output) -> Any:
    value = await _recorded(log, output)
    while True:
        try:
            return values.load(Ref(value, output.by, output.seq))
        except BlobMissing as missing:
            values.blobs.add(missing.digest, await log.store.blob(log.info.run_id, missing.digest))


async def recorded_value(store: Store, info: RunInfo, output: Output) -> Value:
    """Return a value that has reached the end, as it is recorded."""
    return await _recorded(_Log(store, info), output)


async def _recorded(log: _Log, output: Output) -> Value:
    value = output.value
    if output.seq:
        event = await log.event_at(output.seq)
        if isinstance(event, NodeCompleted):
            value = event.output
        elif isinstance(event, JoinClosed | Answered | SignalReceived):
            value = event.value
        elif isinstance(event, RunStarted):
            value = event.inputs
    return value


async def recorded_failure(store: Store, info: RunInfo) -> RunFailedError:
    """Return the error to raise for a failed run."""
    event = await _Log(store, info).event_at(info.last_seq)
    if not isinstance(event, RunFailed):
        raise StoreCorrupt(
            f"run {info.run_id!r} has failed, and its last event doesn't say so", location=store.location
        )
    return RunFailedError(info.run_id, event.error.type, event.error.message, event.path)
