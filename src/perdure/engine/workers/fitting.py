"""Fitting: whether a run goes on with the graph that this process has for it.

The log is folded with the plan that was stored with the run, and again with the present one: what is live then must be the
same. A run that doesn't fit is left as it is, with the reason.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import stored_plan
from perdure.engine.inspection.untyped import NoValues
from perdure.errors import GraphRuntimeError, StoreCorrupt
from perdure.graph.plan import Plan
from perdure.kernel.fit import Footprint, differences, summary
from perdure.kernel.fold.apply import apply, check_complete
from perdure.kernel.fold.run import Run
from perdure.store.port import Store
from perdure.store.records import RunInfo


class Fit(msgspec.Struct, frozen=True):
    """Whether a run goes on with a graph.

    Attributes:
        run_id: the run.
        verdict: ``"same"``: the graph hasn't changed for it; ``"compatible"``: it has, and the run goes on; ``"stalled"``: the run
            is left alone until it is accepted, or a graph comes that fits.
        reason: why it would be left alone.
    """

    run_id: str
    verdict: Literal["same", "compatible", "stalled"]
    reason: str = ""


async def fit_of(store: Store, info: RunInfo, plan: Plan) -> Fit:
    """Say whether a run goes on with a plan.

    Raises:
        StoreError: the store can't be used.
    """
    try:
        if info.fingerprint == plan.fingerprint:
            await _folded(store, info, plan, None)
            return Fit(info.run_id, "same")
        footprint = Footprint()
        run = await _folded(store, info, await stored_plan(store, info), footprint)
        problems = differences(run, footprint, plan)
        if problems:
            return Fit(info.run_id, "stalled", f"the graph has changed since: {summary(problems)}")
        again = await _folded(store, info, plan, None)
        if again.tasks.keys() != run.tasks.keys() or again.joins.keys() != run.joins.keys():
            return Fit(info.run_id, "stalled", "with the present graph its log leads to other tasks")
    except (StoreCorrupt, GraphRuntimeError) as error:
        return Fit(info.run_id, "stalled", error.message)
    return Fit(info.run_id, "compatible")


async def _folded(store: Store, info: RunInfo, plan: Plan, footprint: Footprint | None) -> Run:
    """Fold a log without looking into its values."""
    run = Run(plan, info.run_id, NoValues())
    async for recorded in read_history(store, info):
        if footprint is not None:
            footprint.note(run, recorded.event)
        apply(run, recorded.event)
    check_complete(run)
    return run
