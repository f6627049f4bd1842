"""Resuming: a run that a worker has claimed, rebuilt so that it can be driven on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.engine.calling.steps import Steps
from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.journal import Journal
from perdure.engine.driving.recovery import check_goes_on, rebuild
from perdure.engine.driving.registered import Registered, new_run
from perdure.engine.workers.fitting import fit_of
from perdure.errors import GraphRuntimeError, PerdureError, StoreCorrupt, StoreError
from perdure.events import SegmentStarted
from perdure.kernel.fold.run import Run
from perdure.store.records import Claimed, Lease, RunInfo

if TYPE_CHECKING:
    from perdure.engine.workers.worker import Worker


async def resume(
    worker: Worker,
    mine: Registered,
    info: RunInfo,
    given: Any,
    steps: Steps | None = None,
    segment: SegmentStarted | None = None,
) -> bool:
    """Rebuild a claimed run and drive it; park it if its log or its graph doesn't allow that.

    Raises:
        StoreError: the store can't be used.
        Exception: its dependencies can't be made.
    """
    try:
        return await _resume(worker, mine, info, given, steps, segment)
    finally:
        if info.run_id not in worker.driven:
            worker.leases.drop(info.run_id, info.epoch)


async def _resume(
    worker: Worker, mine: Registered, info: RunInfo, given: Any, steps: Steps | None, segment: SegmentStarted | None
) -> bool:
    values = CodedValues(mine.codec)
    # While an earlier driver is waited for, that one is told of what comes in.
    mail = info.inbox if isinstance(info, Claimed) and info.run_id not in worker.driven else None
    await worker.part(info.run_id)
    if info.fingerprint != mine.graph.fingerprint and await worker.colleagues.have(info.fingerprint):
        await worker.store.release([Lease(info.run_id, info.epoch, 0)])
        return False
    try:
        if not worker.leases.holds(info.run_id, info.epoch):
            return False  # lost while those claimed with it were rebuilt
        run, journal = await rebuilt(worker, mine, info, values)
        check_goes_on(run, info, worker.store.location)
        if not worker.leases.holds(info.run_id, info.epoch):
            return False
    except Exception as error:
        if isinstance(error, StoreError) and not isinstance(error, StoreCorrupt):
            raise
        said = values.describe(error)
        reason = said.message if isinstance(error, PerdureError) else f"{said.type}: {said.message}"
        await worker.set_aside(info.run_id, info.epoch, info.graph, reason)
        return False
    deps = worker.deps_of(mine.graph, given)
    worker.log.info("run recovered", run=info.run_id, graph=info.graph, seq=run.seq)
    is_given = run.run_id in worker.known
    worker.drive(run, mine, values, journal, deps, None, is_given=is_given, segment=segment, steps=steps, mail=mail)
    return True


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
