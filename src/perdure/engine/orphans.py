"""Orphans: runs whose worker has died, and runs that were set aside because no graph fitted and that one fits again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure.engine.fitting import fit_of
from perdure.engine.leases import CLAIM_PAGE
from perdure.engine.logging import get_logger
from perdure.engine.owner import is_provably_dead
from perdure.errors import StoreError
from perdure.kernel.status import Status
from perdure.store.port import RunInfo

if TYPE_CHECKING:
    from perdure.engine.worker import Worker


async def expire_dead(worker: Worker, graphs: Iterable[str]) -> None:
    """End the leases of workers that are known to be dead."""
    names = set(graphs)
    is_dead: dict[str, bool] = {worker.owner.id: False}
    ended = []
    for info in await worker.store.orphans(worker.clock.now(), worker.owner):
        if info.graph in names and info.owner is not None:
            if info.owner.id not in is_dead:
                is_dead[info.owner.id] = is_provably_dead(info.owner)
            if is_dead[info.owner.id]:
                ended.append(worker.store.expire(info.run_id, info.epoch))
    await asyncio.gather(*ended)  # in few commits


async def recover_stalled(worker: Worker, graphs: list[str]) -> int:
    """Drive on those runs that were set aside and that a graph of the worker fits; return how many."""
    count = 0
    for name in graphs:
        for info in await worker.store.list(statuses=[Status.STALLED.value], graph=name, limit=CLAIM_PAGE):
            mine = worker.graphs.of(info)
            if mine is not None and (await fit_of(worker.store, info, mine.graph.plan)).verdict != "stalled":
                count += await _recover_one(worker, info)
    return count


async def _recover_one(worker: Worker, info: RunInfo) -> bool:
    try:
        return await worker.claim_one(info, anyway=True)
    except StoreError:
        raise
    except Exception:  # that of a factory of dependencies; others go on
        get_logger("perdure.engine").exception("the run can't be driven", run=info.run_id, graph=info.graph)
        return False
