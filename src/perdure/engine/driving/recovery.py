"""Recovery: a run in memory, rebuilt from its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from perdure.codec.codec import BlobMissing, Blobs, blob_digest, may_name_blobs
from perdure.engine.calling.code import UserCode
from perdure.engine.driving.journal import Position
from perdure.engine.driving.snapshots import restored
from perdure.errors import GraphRuntimeError, StoreCorrupt
from perdure.events import AnyEvent, JoinClosed, NodeCompleted, ReducerUpdated, RunStarted, decode_events
from perdure.graph.plan import Plan
from perdure.kernel.fold.apply import apply, check_complete
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.status import FINAL
from perdure.store.chain import chain_start, verify_row
from perdure.store.port import SHORT, Store
from perdure.store.records import Claimed, Row, RunInfo

PAGE = 512


async def rebuild(store: Store, info: RunInfo, run: Run, blobs: Blobs) -> Position:
    """Fold a run's log into a run that has nothing applied yet; return where the log stands.

    If there is a snapshot that fits, only what has followed it is read; if the log has come along with the lease, nothing is.

    Raises:
        StoreCorrupt: a row isn't what was written.
        GraphRuntimeError: an event doesn't fit the graph, or is of a kind this version doesn't know.
    """
    position = await restored(store, info, run) if info.last_seq > SHORT else None
    position = position or Position(0, chain_start(info.run_id, info.graph), 0)
    brought = info.log if isinstance(info, Claimed) and position.seq == 0 else None
    while position.seq < info.last_seq:
        rows, brought = brought or await store.read(info.run_id, position.seq, PAGE), None
        if not rows:
            break
        for row in rows:
            events = read_row(row, position, info.run_id, store.location)
            if may_name_blobs(row.events):
                for digest in blobs_of(events, run.plan):
                    blobs.add(digest, await store.blob(info.run_id, digest))
            for event in events:
                apply(run, event)
    if position.seq < info.last_seq:
        raise StoreCorrupt(
            f"run {info.run_id!r}: the log ends at event {position.seq}, and {info.last_seq} were recorded",
            location=store.location,
        )
    check_complete(run)
    return position


def check_goes_on(run: Run, info: RunInfo, location: str) -> None:
    """Check that a run that was claimed isn't over for good.

    Raises:
        StoreCorrupt: it is.
    """
    if run.status in FINAL:
        raise StoreCorrupt(
            f"run {info.run_id!r} is {info.status} by its row, and {run.status} by its log", location=location
        )


async def position_of(store: Store, info: RunInfo) -> Position:
    """Return where the log of a run stands, to append to it without folding it.

    Raises:
        StoreCorrupt: its end isn't what was written.
    """
    rows = await store.read(info.run_id, info.last_seq - 1, 1)
    if not rows or rows[0].first + rows[0].count - 1 != info.last_seq:
        raise StoreCorrupt(f"run {info.run_id!r}: the end of the log is missing", location=store.location)
    return Position(info.last_seq, rows[0].hash, rows[0].ts)


def read_row(row: Row, position: Position, run_id: str, location: str) -> list[AnyEvent]:
    """Verify a row, count the position on and return its events.

    Raises:
        StoreCorrupt: it isn't what was written.
        GraphRuntimeError: it holds an event of an unknown kind.
    """
    verify_row(row, position.head, run_id, position.seq, location)
    try:
        events = decode_events(row.events)
    except msgspec.DecodeError as error:
        raise GraphRuntimeError(
            f"run {run_id!r}, events {row.first} to {row.first + row.count - 1}: {error}. They may have been written by a "
            "newer version of perdure"
        ) from error
    if len(events) != row.count:
        raise StoreCorrupt(
            f"run {run_id!r}, events {row.first} to {row.first + row.count - 1}: {len(events)} events are stored there",
            location=location,
        )
    position.seq += row.count
    position.head = row.hash
    position.ts = row.ts
    position.since += len(row.events)
    return events


def blobs_of(events: Sequence[AnyEvent], plan: Plan) -> list[str]:
    """Return the blobs that the fold itself looks into: large states, and large changes of one."""
    found = []
    if _begins_states(plan):
        routes = [event.route for event in events if isinstance(event, NodeCompleted | JoinClosed)]
        values = [value for route in routes if route is not None for value in route.values]
        found += [digest for value in values if (digest := blob_digest(value)) is not None]
    for event in events:
        value: Any = None
        if isinstance(event, RunStarted):
            value = event.state
        elif isinstance(event, NodeCompleted | JoinClosed):
            value = event.change.operations if event.change is not None else None
        elif isinstance(event, ReducerUpdated) and event.detail is not None and event.detail.change is not None:
            value = event.detail.change.operations
        if value is not None and (digest := blob_digest(value)) is not None:
            found.append(digest)
    return found


def _begins_states(plan: Plan) -> bool:
    """Say whether a graph has subgraphs with states of their own, which routes hold."""
    return any(node.state for node in plan.nodes.values())


async def refold_joins(run: Run, code: UserCode, store: Store, blobs: Blobs) -> None:
    """Call the reducers of the joins that are still open again, to rebuild their values."""
    for joined in run.joins.values():
        while joined.unfolded:
            try:
                code.refold(joined)
            except BlobMissing as missing:
                blobs.add(missing.digest, await store.blob(run.run_id, missing.digest))
