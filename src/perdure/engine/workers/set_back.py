"""What is done when the clock of this machine was set back: nothing that was waited for comes later for that.

A run that is driven here has its times in memory. Of one that is not, its row says when it is next due; those are read once, when
the clock was set, and kept until they have come. (A process that begins only then can't know, and takes times as they stand.)
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from perdure.kernel.fold.run import Run
from perdure.kernel.fold.status import Status
from perdure.store.records import RunInfo

if TYPE_CHECKING:
    from perdure.engine.workers.worker import Worker

PAGE = 500


class SetBack:
    """The runs that are due earlier than the time of day says."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._coming: list[tuple[float, str, int, float]] = []
        self._early: dict[str, float] = {}
        self._back_s = worker.moments.back_s()

    async def look(self) -> None:
        """Look whether the clock was set back, and wake the runs whose time has come all the same."""
        before, self._back_s = self._back_s, self._worker.moments.back_s()
        if self._back_s > before:
            await self._read(self._back_s - before)
        now = self._worker.clock.monotonic()
        while self._coming and self._coming[0][0] <= now:
            _, run_id, due_at, set_back_s = heappop(self._coming)
            info = await self._worker.store.get(run_id)
            if info is None or info.status != Status.WAITING or info.due_at != due_at:
                continue
            self._early[run_id] = set_back_s
            try:
                await self._worker.claim_one(info, anyway=True)
            finally:
                self._early.pop(run_id, None)

    def meet(self, run: Run) -> None:
        """Note when the times come of a run that is about to be driven because of one of them."""
        set_back_s = self._early.pop(run.run_id, None)
        if set_back_s is not None:
            for at in run.times():
                self._worker.moments.expect(at, set_back_s)

    async def _read(self, set_back_s: float) -> None:
        """Note when the runs that wait are due."""
        worker, graphs = self._worker, self._worker.drivable() if self._worker.recovers else []
        last: RunInfo | None = None
        while page := await worker.store.list(statuses=[Status.WAITING.value], limit=PAGE, after=last):
            last = page[-1]
            for info in page:
                is_mine = info.graph in graphs or info.run_id in worker.known
                if is_mine and info.due_at is not None and info.due_at > worker.clock.now():
                    comes = worker.moments.expect(info.due_at, set_back_s)
                    heappush(self._coming, (comes, info.run_id, info.due_at, set_back_s))
