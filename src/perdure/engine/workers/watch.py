"""Watching the store: for runs that are due, for what comes in for those that are driven here, for those that have ended.

Other processes share the store, so this has to be looked for. Whether anything can have changed at all is one cheap question,
asked 22 times a second, and 12 times when nothing has changed for a second; only if so, or if a run is due by the clock, more is
looked at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure.engine.calling.logging import get_logger
from perdure.engine.driving.driven import Driven
from perdure.engine.owner import is_provably_dead
from perdure.engine.workers.leases import CLAIM_PAGE
from perdure.engine.workers.orphans import recover_stalled
from perdure.engine.workers.set_back import SetBack
from perdure.errors import StoreError
from perdure.kernel.fold.status import OVER, Status

if TYPE_CHECKING:
    from perdure.engine.workers.worker import Worker

POLL_S, QUIET_POLL_S = 0.045, 0.08
QUIET_S = 1.0
"""How long nothing has to have changed before it is looked for less often: to wake up is most of what it costs."""

TOLD_AT_ONCE = 100
"""How many of those who wait for something are told at a time that the store has changed; each then looks for himself."""

ORPHANS_EVERY_S = 1.0
"""How often it is looked whether the owners of leases still live."""


class Watch:
    """Looks after what happens outside of one worker.

    Attributes:
        set_back: what is done when the clock was set back.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._task: asyncio.Task[None] | None = None
        self._changes: dict[str, asyncio.Future[Driven | None]] = {}
        self._version: int | None = None
        self._due_at: int | None = None
        self._known_due_at: int | None = None
        self._untold: list[str] = []
        self._hurrying: asyncio.Task[None] | None = None
        self._is_hurried = False
        self._looked_for_orphans = self._changed_at = 0.0
        self.set_back = SetBack(worker)

    def begin(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="perdure-watch")

    async def end(self) -> None:
        """Stop to look."""
        for task in (self._task, self._hurrying):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    def hurry(self) -> None:
        """Look now for runs that are due; of many who say so, one does it for all."""
        self._is_hurried = True
        if self._hurrying is None or self._hurrying.done():
            self._hurrying = asyncio.get_running_loop().create_task(self._hurry(), name="perdure-hurry")

    async def _hurry(self) -> None:
        worker = self._worker
        while self._is_hurried:
            self._is_hurried = False
            try:
                await self._claim_all(worker.drivable())
            except StoreError as error:  # it is looked for again anyway
                get_logger("perdure.engine").warning("runs can't be woken at once", error=str(error))

    async def _claim_all(self, graphs: list[str]) -> None:
        while await self._worker.claim_due(graphs) == CLAIM_PAGE:
            pass

    def give_up(self) -> None:
        """Let those go on who wait for a change; there is none to come."""
        for run_id in list(self._changes):
            self.note(run_id, None)

    def note(self, run_id: str, driven: Driven | None) -> None:
        """Tell those who wait for a change of a run that there is one."""
        future = self._changes.pop(run_id, None)
        if future is not None and not future.done():
            future.set_result(driven)

    def change_of(self, run_id: str) -> asyncio.Future[Driven | None]:
        """Return what is done when something may have changed about a run."""
        future = self._changes.get(run_id)
        if future is None:
            future = self._changes[run_id] = asyncio.get_running_loop().create_future()
        return future

    async def _watch(self) -> None:
        log = get_logger("perdure.engine")
        while True:
            is_quiet = self._worker.clock.monotonic() - self._changed_at >= QUIET_S
            await self._worker.clock.sleep(QUIET_POLL_S if is_quiet else POLL_S)
            try:
                await self._look()
            except StoreError as error:
                self._version = None  # what has changed is still to be looked at
                log.warning("the store can't be watched", error=str(error))
            except Exception:  # else nothing would ever be woken again
                self._version = None
                log.exception("the store can't be watched")

    async def _look(self) -> None:
        worker = self._worker
        worker.leases.judged_at()  # a jump of the clock is noticed when it happens, or not at all
        version = await worker.store.version()
        has_changed = version != self._version
        self._version = version
        if has_changed:
            self._changed_at = worker.clock.monotonic()
            for run_id, last in (await worker.store.mail(worker.owner)).items():
                driven = worker.driven.get(run_id)
                if driven is not None:
                    driven.driver.nudge(last)
                else:
                    self._version = None  # it is about to be driven, by what was in its inbox when its lease was taken
            self._untold = [run_id for run_id in self._changes if run_id not in worker.driven]
        told, self._untold = self._untold[:TOLD_AT_ONCE], self._untold[TOLD_AT_ONCE:]
        for run_id in told:
            self.note(run_id, None)
        if worker.recovers:
            await self._claim(has_changed)
        await self._claim_known(has_changed)
        if not worker.is_draining:
            await self.set_back.look()

    async def _claim(self, has_changed: bool) -> None:
        """Take runs that are due, of all graphs that can be driven here."""
        worker = self._worker
        now = worker.clock.monotonic()
        looks_for_orphans = now - self._looked_for_orphans >= ORPHANS_EVERY_S
        is_due = self._due_at is not None and self._due_at <= worker.clock.now()
        if not (has_changed or looks_for_orphans or is_due):
            return
        graphs = worker.drivable()
        if not graphs:
            return
        if looks_for_orphans:
            self._looked_for_orphans = now
            await worker.orphans.expire(graphs)
            left = worker.colleagues.leaving
            if await worker.colleagues.meet():
                await recover_stalled(worker, graphs)
            has_changed = has_changed or worker.colleagues.leaving != left
        if has_changed:
            self._due_at = await worker.store.next_due(graphs, worker.colleagues.leaving)
        if self._due_at is not None and self._due_at <= worker.clock.now():
            await self._claim_all(graphs)
            self._due_at = await worker.store.next_due(graphs, worker.colleagues.leaving)

    async def _claim_known(self, has_changed: bool) -> None:
        """Take those runs back that were driven here before, and are due, and that nobody else looks for here."""
        worker = self._worker
        now = worker.clock.now()
        is_due = self._known_due_at is not None and self._known_due_at <= now
        if not worker.known or not (has_changed or is_due):
            return
        looked_for = worker.drivable() if worker.recovers else ()
        dues = []
        for run_id, (graph, _) in list(worker.known.items()):
            if graph in looked_for or run_id in worker.driven:
                continue
            info = await worker.store.get(run_id)
            if info is None or Status(info.status) in OVER:
                worker.known.pop(run_id, None)
            elif info.owner is not None and info.lease_until > now and not is_provably_dead(info.owner):
                # Somebody drives it; nothing in the store will tell of it if they die.
                dues.append(min(info.lease_until, now + int(ORPHANS_EVERY_S * 1e6)))
            elif not await worker.claim_one(info) and info.due_at is not None:
                dues.append(info.due_at)
        self._known_due_at = min(dues, default=None)
