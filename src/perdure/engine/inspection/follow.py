"""Following: the events of a run as they come, by whomever it is driven."""

from __future__ import annotations

from perdure.engine.driving.journal import Position
from perdure.engine.driving.recovery import PAGE, read_row
from perdure.engine.inspection.history import Recorded
from perdure.engine.inspection.inspect import find
from perdure.store.chain import chain_start
from perdure.store.port import Store
from perdure.store.records import RunInfo


class Follower:
    """Reads on in a run's log.

    Attributes:
        info: what the store knew of the run when it was last asked.
    """

    def __init__(self, store: Store, info: RunInfo) -> None:
        self.info = info
        self._store = store
        self._position = Position(0, chain_start(info.run_id, info.graph), 0)
        self._version: int | None = None

    async def news(self) -> list[Recorded]:
        """Return the next events, at most a page of rows, and look at the run again if there are none.

        Raises:
            RunNotFound: the run is gone.
            StoreCorrupt: a row isn't what was written.
            GraphRuntimeError: an event is of a kind this version doesn't know.
        """
        version = await self._store.version()
        if version == self._version:
            return []
        rows = await self._store.read(self.info.run_id, self._position.seq, PAGE)
        found = []
        for row in rows:
            for offset, event in enumerate(read_row(row, self._position, self.info.run_id, self._store.location)):
                found.append(Recorded(row.first + offset, row.ts, row.epoch, event))
        if not rows:
            self.info = await find(self._store, self.info.run_id)
            if self.info.last_seq == self._position.seq:
                self._version = version
        return found

    @property
    def has_all(self) -> bool:
        """Whether everything was read that the store knew of when it was last asked."""
        return self._version is not None and self.info.last_seq == self._position.seq
