"""Resuming: a run that a worker has claimed, rebuilt so that it can be driven on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.journal import Journal
from perdure.engine.driving.recovery import rebuild
from perdure.engine.driving.registered import Registered, new_run
from perdure.engine.workers.fitting import fit_of
from perdure.errors import GraphRuntimeError
from perdure.kernel.fold.run import Run
from perdure.store.records import RunInfo

if TYPE_CHECKING:
    from perdure.engine.workers.worker import Worker


async def rebuilt(
    worker: Worker, mine: Registered, info: RunInfo, values: CodedValues, *, accepting: bool = False
) -> tuple[Run, Journal]:
    """Rebuild a claimed run from its log, with a graph that may have changed in what lies ahead of the run.

    Args:
        worker: who has claimed it.
        mine: the graph.
        info: the run.
        values: what is recorded in it.
        accepting: whether the run goes on even if more has changed, as long as its log can be folded.

    Raises:
        GraphRuntimeError: the log doesn't fit the graph.
        StoreCorrupt: it isn't what was written.
    """
    graph = mine.graph
    has_changed = info.fingerprint != graph.fingerprint
    if has_changed and not accepting:
        fit = await fit_of(worker.store, info, graph.plan)
        if fit.verdict == "stalled":
            raise GraphRuntimeError(f"run {info.run_id!r}: {fit.reason}")
    if has_changed:
        await worker.store.save_plan(graph.fingerprint, graph.name, graph.plan.encoded())
    run = new_run(graph, info.run_id, values)
    position = await rebuild(worker.store, info, run, values.blobs)
    publish = worker.publisher.publish
    observed = await worker.observing.run_in(worker.store, info.run_id, graph.plan, info.epoch, publish)
    journal = Journal(
        worker.store,
        info.run_id,
        info.epoch,
        position,
        worker.clock,
        values.blobs,
        run.durability,
        observed,
    )
    journal.fingerprint = graph.fingerprint if has_changed else None
    return run, journal
