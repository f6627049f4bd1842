"""Succession: a run that goes on as a new one.

Three commits, in this order: the first run records that it goes on, with what; the new run is created, under an id that
follows from that of the first; the first run ends. A crash between any two leaves the first run unfinished, and whoever
recovers it does what is left: creating the new run again finds it there. So the continuation is never lost, and never
begins twice.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from perdure.codec.codec import Blobs, blob_digest, resolved
from perdure.engine.calling.observing import Publish
from perdure.engine.clock import Clock
from perdure.engine.driving.journal import Journal, Position
from perdure.errors import StoreCorrupt
from perdure.events import RunContinued, RunStarted, Value, decode_events
from perdure.kernel.decide.conclude import Successor
from perdure.kernel.fold.run import Run
from perdure.store.chain import chain_start
from perdure.store.encryption import stored
from perdure.store.port import Store
from perdure.store.records import NewRun, RunUpdate


async def create_successor(
    store: Store, run: Run, continued: RunContinued, blobs: Blobs, clock: Clock, publish: Publish
) -> Successor:
    """Create the run that another one goes on as, if it isn't there yet, and tell of it; say whether it is there."""
    first = await _beginning(store, run.run_id)
    successor = continued.successor
    large: dict[str, bytes] = {}
    for value in (continued.inputs, continued.state):
        digest = blob_digest(value)
        if digest is not None:
            large[digest] = await stored(store).blob(run.run_id, digest)
            blobs.add(digest, await store.blob(run.run_id, digest))
    started = msgspec.structs.replace(
        first,
        inputs=continued.inputs,
        inputs_digest=_digest(continued.inputs, blobs),
        state=continued.state,
        state_digest=_digest(continued.state, blobs),
        max_steps=run.max_steps if run.max_steps != run.plan.max_steps else None,
        deadline=None,
        origin=run.run_id,
        origin_trace=first.outer_trace,
        is_told=False,
        reason="",
    )
    epoch = await store.next_epoch()
    position = Position(0, chain_start(successor, started.graph), 0)
    rows = Journal(store, successor, epoch, position, clock, Blobs(), "sync").rows([started])
    new = NewRun(
        run_id=successor,
        graph=started.graph,
        fingerprint=started.fingerprint,
        created_at=rows[0].ts,
        inputs_digest=started.inputs_digest,
        state_digest=started.state_digest,
        rows=rows,
        update=RunUpdate("PENDING"),
        blobs=large,
        tags=started.tags,
    )
    _, created = await store.create(new)
    if created:
        publish(successor, rows)
    is_ours = created or (await _beginning(store, successor)).origin == run.run_id
    return "there" if is_ours else "taken"


async def _beginning(store: Store, run_id: str) -> RunStarted:
    rows = await store.read(run_id, 0, 1)
    started = decode_events(rows[0].events)[0] if rows else None
    if not isinstance(started, RunStarted):
        raise StoreCorrupt(f"run {run_id!r}: the beginning of the log is missing", location=store.location)
    return started


def _digest(value: Value, blobs: Blobs) -> str:
    return blake2b(resolved(value, blobs), digest_size=16).hexdigest()
