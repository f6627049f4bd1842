"""Arrivals: what comes in for runs from outside, put into their inboxes and taken up from there.

That it is in the inbox is the acknowledgement, so that has to be durable, and so has the lease of whoever takes it up. Where the
worker it is handed to is to drive the run on, one commit does both: it waits once for the disk, and once more for the start of
the step that has waited. Whoever handed it in is told as soon as it is durable, and doesn't wait for the run to be rebuilt. Where
much comes in at once, no more runs are taken so than are taken at a time otherwise: the others are claimed after them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.engine.calling.logging import get_logger
from perdure.engine.workers.leases import CLAIM_PAGE
from perdure.errors import StoreError
from perdure.store.records import LET_IN, Entry, NewEntry, Put, RunInfo

if TYPE_CHECKING:
    from perdure.engine.workers.worker import Worker

_Told = asyncio.Future[tuple[Put, Entry | None]]


class Arrivals:
    """Hands to runs what comes in for them."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._coming = 0

    async def hand_in(self, entry: NewEntry, info: RunInfo) -> tuple[Put, Entry | None]:
        """Put something in a run's inbox, and see to it that it is taken up soon, if that can be done here.

        Raises:
            StoreError: it wasn't put in.
        """
        if self._is_taken_here(info):
            told: _Told = asyncio.get_running_loop().create_future()
            self._worker.see_to(self._put_and_take(entry, info.graph, told))
            return await told
        put, known = await self._worker.store.put(entry)
        if put in LET_IN:
            await self.nudge(entry.run_id, info.graph)
        return put, known

    def _is_taken_here(self, info: RunInfo) -> bool:
        """Say whether a run is to be driven on by this worker as soon as something has come in, if nobody drives it."""
        worker = self._worker
        has_room = self._coming < min(CLAIM_PAGE, worker.max_runs - len(worker.driven))
        is_known = info.run_id in worker.known and worker.graphs.of(info) is not None
        takes = worker.drives and worker.is_open and not worker.is_draining
        return takes and has_room and info.run_id not in worker.driven and (is_known or worker.looks_for(info))

    async def _put_and_take(self, entry: NewEntry, graph: str, told: _Told) -> None:
        worker = self._worker
        began = worker.clock.monotonic()
        self._coming += 1
        try:
            now, until = worker.leases.judged_at(), worker.leases.until()
            put, known, claimed = await worker.store.put_and_claim(entry, worker.owner, now=now, until=until)
        except Exception as error:
            if not told.done():
                told.set_exception(error)
            return
        finally:
            self._coming -= 1
        if not told.done():  # else who handed it in was cancelled
            told.set_result((put, known))
        if claimed is not None:
            await worker.resume_claimed(claimed, began)
        elif put in LET_IN:
            await self.nudge(entry.run_id, graph)

    async def nudge(self, run_id: str, graph: str) -> None:
        """See to it that what has come in for a run is taken up soon, if that can be done here."""
        worker = self._worker
        if (driven := worker.driven.get(run_id)) is not None:
            driven.driver.nudge()
            return
        if worker.recovers and graph in worker.drivable():
            worker.hurry()
            return
        try:
            info = await worker.store.get(run_id) if run_id in worker.known else None
            if info is not None:
                await worker.claim_one(info)
        except StoreError as error:  # what has come in is durable; whoever looks next takes it up
            get_logger("perdure.engine").warning("the run can't be woken at once", run=run_id, error=str(error))
