"""Stalled runs: those that were set aside because no graph fitted, and that one of this worker's graphs fits again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.engine.fitting import fit_of
from perdure.engine.leases import CLAIM_PAGE
from perdure.engine.logging import get_logger
from perdure.errors import StoreError
from perdure.kernel.status import Status
from perdure.store.port import RunInfo

if TYPE_CHECKING:
    from perdure.engine.worker import Worker


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
