"""History: the events of a run, as they were recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from perdure.engine.driving.journal import Position
from perdure.engine.driving.recovery import PAGE, read_row
from perdure.events import AnyEvent
from perdure.store.chain import chain_start
from perdure.store.port import Store
from perdure.store.records import RunInfo


class Recorded(msgspec.Struct, frozen=True):
    """An event and where it stands.

    Attributes:
        seq: its place in the log, from 1.
        ts: when it was committed, in microseconds since 1970.
        epoch: under which lease.
        event: the event; values in it are JSON.
    """

    seq: int
    ts: int
    epoch: int
    event: AnyEvent

    @property
    def kind(self) -> str:
        """The name of the kind of event."""
        return type(self.event).__name__


async def read_history(
    store: Store, info: RunInfo, after: int = 0, since: Position | None = None
) -> AsyncIterator[Recorded]:
    """Yield the events of a run after a seq, in order, verified from the beginning, or from where a snapshot of it stands.

    Raises:
        StoreCorrupt: a row isn't what was written.
        GraphRuntimeError: an event is of a kind this version doesn't know.
    """
    position = since or Position(0, chain_start(info.run_id, info.graph), 0)
    while rows := await store.read(info.run_id, position.seq, PAGE):
        for row in rows:
            for offset, event in enumerate(read_row(row, position, info.run_id, store.location)):
                if row.first + offset > after:
                    yield Recorded(row.first + offset, row.ts, row.epoch, event)
