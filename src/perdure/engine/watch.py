"""Watching the store: for runs that are due, for what comes in for those that are driven here, for those that have ended.

Other processes share the store, so this has to be looked for. Whether anything can have changed at all is one cheap question,
asked twenty times a second; only if so, or if a run is due by the clock, more is looked at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.engine.driven import Driven
from perdure.engine.logging import get_logger
from perdure.errors import StoreError

if TYPE_CHECKING:
    from perdure.engine.worker import Worker

POLL_S = 0.05
ORPHANS_EVERY_S = 1.0
"""How often it is looked whether the owners of leases still live."""


class Watch:
    """Looks after what happens outside of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._task: asyncio.Task[None] | None = None
        self._changes: dict[str, asyncio.Future[Driven | None]] = {}
        self._version: int | None = None
        self._due_at: int | None = None
        self._looked_for_orphans = 0.0

    def begin(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="perdure-watch")

    async def end(self) -> None:
        """Stop to look."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def give_up(self) -> None:
        """Let those go on who wait for a change; there is none to come."""
        for run_id in list(self._changes):
            self.note(run_id, None)

    def note(self, run_id: str, driven: Driven | None) -> None:
        """Tell those who wait for a change of a run that there is one."""
        future = self._changes.pop(run_id, None)
        if future is not None and not future.done():
            future.set_result(driven)

    async def change_of(self, run_id: str) -> Driven | None:
        """Wait until something may have changed about a run."""
        future = self._changes.get(run_id)
        if future is None:
            future = self._changes[run_id] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(future)

    async def _watch(self) -> None:
        log = get_logger("perdure.engine")
        while True:
            await self._worker.clock.sleep(POLL_S)
            try:
                await self._look()
            except StoreError as error:
                log.warning("the store can't be watched", error=str(error))

    async def _look(self) -> None:
        worker = self._worker
        version = await worker.store.version()
        has_changed = version != self._version
        self._version = version
        if has_changed:
            for run_id in await worker.store.mail(worker.owner):
                driven = worker.driven.get(run_id)
                if driven is not None:
                    driven.driver.nudge()
            for run_id in [run_id for run_id in self._changes if run_id not in worker.driven]:
                self.note(run_id, None)
        if worker.recovers:
            await self._claim(has_changed)
        else:
            await self._claim_known(has_changed)

    async def _claim(self, has_changed: bool) -> None:
        """Take runs that are due, of all graphs that can be driven here."""
        worker = self._worker
        graphs = worker.drivable()
        if not graphs:
            return
        now = worker.clock.monotonic()
        if now - self._looked_for_orphans >= ORPHANS_EVERY_S:
            self._looked_for_orphans = now
            await worker.expire_dead(graphs)
        if has_changed:
            self._due_at = await worker.store.next_due(graphs)
        if self._due_at is not None and self._due_at <= worker.clock.now():
            await worker.claim_due(graphs)
            self._due_at = await worker.store.next_due(graphs)

    async def _claim_known(self, has_changed: bool) -> None:
        """Take those runs back that were driven here before, and are due."""
        worker = self._worker
        idle = [run_id for run_id in worker.known if run_id not in worker.driven]
        now = worker.clock.now()
        if not idle or not (has_changed or (self._due_at is not None and self._due_at <= now)):
            return
        dues = []
        for run_id in idle:
            info = await worker.store.get(run_id)
            if info is None or info.owner is not None or await worker.claim_one(info):
                continue
            if info.due_at is not None and info.due_at > now:
                dues.append(info.due_at)
        self._due_at = min(dues, default=None)
