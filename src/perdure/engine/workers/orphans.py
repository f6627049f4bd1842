"""Orphans: runs whose worker has gone, and runs that were set aside because no graph fitted and that one fits again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure.engine.calling.logging import get_logger, log_exception
from perdure.engine.owner import is_provably_dead
from perdure.engine.workers.fitting import fit_of
from perdure.engine.workers.leases import CLAIM_PAGE
from perdure.errors import StoreError
from perdure.kernel.fold.status import Status
from perdure.store.records import RunInfo

if TYPE_CHECKING:
    from perdure.engine.workers.worker import Worker


class Orphans:
    """Looks for runs under leases that are over.

    A lease is over if its worker is known to be dead. It is so as well if it wasn't extended for as long as it was to last
    when it was first seen, though the time of day doesn't say so yet: then that was set back meanwhile.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._seen: dict[tuple[str, int, int], float] = {}

    async def expire(self, graphs: Iterable[str]) -> None:
        """End the leases that are over, of runs of some graphs."""
        worker, names = self._worker, set(graphs)
        is_dead: dict[str, bool] = {}
        now, moment = worker.clock.now(), worker.clock.monotonic()
        ended, seen = [], dict[tuple[str, int, int], float]()
        for info in await worker.store.orphans(now, worker.owner):
            if info.graph in names and info.owner is not None:
                if info.owner.id not in is_dead:
                    is_dead[info.owner.id] = is_provably_dead(info.owner)
                lease = (info.run_id, info.epoch, info.lease_until)
                seen[lease] = self._seen.get(lease, moment + (info.lease_until - now) / 1e6)
                if is_dead[info.owner.id] or seen[lease] <= moment:
                    ended.append(worker.store.expire(info.run_id, info.epoch))
        self._seen = seen
        await asyncio.gather(*ended)  # in few commits


async def recover_stalled(worker: Worker, graphs: list[str]) -> int:
    """Drive on those runs that were set aside and that a graph of the worker fits; return how many."""
    count = 0
    for name in graphs:
        last: RunInfo | None = None
        while page := await worker.store.list(
            statuses=[Status.STALLED.value], graph=name, limit=CLAIM_PAGE, after=last
        ):
            last = page[-1]
            for info in page:
                mine = worker.graphs.of(info)
                if mine is not None and (await fit_of(worker.store, info, mine.graph.plan)).verdict != "stalled":
                    count += await _recover_one(worker, info)
    return count


async def _recover_one(worker: Worker, info: RunInfo) -> bool:
    try:
        return await worker.claim_one(info, anyway=True)
    except StoreError:
        raise
    except Exception as error:  # that of a factory of dependencies; others go on
        about = {"run": info.run_id, "graph": info.graph}
        log_exception(get_logger("perdure.engine"), "the run can't be driven", error, worker.redaction, **about)
        return False
