"""Starting: a new run, from its inputs to its first commit.

As much as can be decided without waiting goes into the commit that creates the run: a short run then costs one commit less.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Any

import msgspec

from perdure.codec.codec import BlobMissing, blob_digest, resolved
from perdure.engine.calling.code import UserCode
from perdure.engine.calling.steps import Steps
from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.driven import Driven
from perdure.engine.driving.journal import Journal, Position
from perdure.engine.driving.registered import Registered, new_run
from perdure.engine.driving.turns import first_waits
from perdure.engine.workers.worker import Worker
from perdure.errors import GraphSetupError
from perdure.events import Durability, RunStarted
from perdure.graph.flow import Spread
from perdure.ids import START_TASK
from perdure.kernel.decide.decide import Happening, start, take_over
from perdure.kernel.decide.deciding import ArrivalFailed, Decision
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.status import Status
from perdure.store.chain import chain_start
from perdure.store.records import NewRun, RunInfo, RunUpdate


class Starting(msgspec.Struct, frozen=True):
    """What a run is started with."""

    run_id: str
    inputs: Any
    state: Any
    deps: Any
    by: str
    durability: Durability
    deadline: int | None = None
    tags: dict[str, str] = {}
    is_given: bool = False
    """Whether the dependencies are this run's own."""
    reason: str = ""
    """Why it was forked, if it was."""
    origin: str = ""
    """The run it was forked from, or goes on from."""
    is_driven: bool = True
    """Whether the run is driven here; else it is created for whoever takes it."""
    steps: Steps | None = None
    """Where the driver meets a caller who steps through the run, if there is one."""
    in_trace: bool = False
    """Whether the run is told in the trace of its caller."""
    origin_trace: str = ""
    """The traceparent of the trace that its origin is told in, if that isn't the origin's own."""


async def create_run(worker: Worker, mine: Registered, starting: Starting) -> tuple[RunInfo, str, bool, Driven | None]:
    """Create a run and drive it, or leave that to others; if the id is taken, return what is there.

    Returns:
        What the store knows of the run, the digest of these inputs, whether the run is new, and if it is, what drives it here.

    Raises:
        CodecError: the inputs or the state can't be stored.
        GraphSetupError: the mode of durability doesn't go with the graph.
    """
    graph, values = mine.graph, CodedValues(mine.codec)
    _check_durability(mine, starting.durability)
    recorded = values.record("__start__", starting.inputs)
    digest = _digest(resolved(recorded, values.blobs))
    written = values.record_state(starting.state)
    run_id, is_driven = starting.run_id, starting.is_driven and worker.drives
    trace, sampled = worker.observing.begun(run_id, graph.name, in_trace=starting.in_trace)
    started = RunStarted(
        graph=graph.name,
        fingerprint=graph.fingerprint,
        inputs=recorded,
        inputs_digest=digest,
        state=written,
        state_digest=_digest(bytes(written.raw)),
        by=starting.by,
        durability=starting.durability,
        deadline=starting.deadline,
        tags=starting.tags,
        origin=starting.origin,
        trace=trace,
        in_trace=starting.in_trace,
        origin_trace=starting.origin_trace,
        sampled=sampled,
        is_told=worker.observing.tells and not is_driven,  # else its first segment says so
        reason=starting.reason,
    )
    run, decision, is_ahead = _first_decision(worker, mine, starting, values, started)
    position = Position(0, chain_start(run_id, graph.name), 0)
    observed = worker.observing.run(run_id, graph.plan, worker.epoch, started, worker.publisher.publish)
    journal = Journal(
        worker.store, run_id, worker.epoch, position, worker.clock, values.blobs, starting.durability, observed
    )
    rows = journal.rows(decision.events)
    new = NewRun(
        run_id=run_id,
        graph=graph.name,
        fingerprint=graph.fingerprint,
        created_at=rows[0].ts,
        inputs_digest=digest,
        state_digest=started.state_digest,
        rows=rows,
        update=RunUpdate(run.status.value),
        blobs=dict(values.blobs.unsaved),
        owner=worker.owner if run.status is not Status.FAILED and is_driven else None,
        lease_until=worker.leases.until() if is_driven else 0,
        opened=first_waits(run, decision.events, rows[0].ts),
        tags=starting.tags,
        origin=starting.origin,
    )
    began = worker.clock.monotonic()
    info, created = await worker.store.create(new)
    if created:
        values.blobs.save()
        observed.committed(rows, worker.clock.monotonic() - began)
        if is_driven:
            worker.leases.add(run_id, journal.epoch, began)
            first = decision if is_ahead else None
            given = starting.is_given
            driven = worker.drive(
                run, mine, values, journal, starting.deps, first, is_given=given, steps=starting.steps
            )
            return info, digest, created, driven
    return info, digest, created, None


def _check_durability(mine: Registered, durability: Durability) -> None:
    effects = [node.id for node in mine.graph.plan.nodes.values() if node.effect]
    if durability == "exit" and effects:
        raise GraphSetupError(
            f'durability="exit" writes nothing before the run ends or waits, so a crash would repeat the effect of step '
            f'{effects[0]!r} unseen: use "sync" or "async"'
        )


def _first_decision(
    worker: Worker, mine: Registered, starting: Starting, values: CodedValues, started: RunStarted
) -> tuple[Run, Decision, bool]:
    """Decide on a new run, as far as possible in one commit; say whether that includes the first tasks."""
    graph = mine.graph
    for ahead in (starting.is_driven and worker.drives, False):
        run = new_run(graph, starting.run_id, values)
        code = UserCode(graph, mine.flows, values, starting.run_id, starting.deps)
        now = worker.clock.now()
        decision = start(run, *_with_items(mine, code, started, starting.inputs, values), now, code)
        if not ahead:
            break
        try:
            first = take_over(
                run,
                worker.segment(graph),
                Happening(now, hold=starting.steps.hold if starting.steps is not None else None),
                code,
            )
        except (ArrivalFailed, BlobMissing):
            continue
        decision.events += first.events
        decision.started, decision.stopped, decision.exception = first.started, first.stopped, first.exception
        decision.exceptions = first.exceptions
        return run, decision, True
    return run, decision, False


def _with_items(
    mine: Registered, code: UserCode, started: RunStarted, inputs: Any, values: CodedValues
) -> tuple[RunStarted, Any]:
    """Where the inputs are mapped right away, record them as items and not twice."""
    flow = mine.graph.plan.nodes["__start__"].flow
    if not isinstance(flow, Spread) or mine.flows.calls_user_code(flow):
        return started, None
    begun = code.pass_value(START_TASK, "__start__", inputs)
    if begun is None:
        return started, None
    values.blobs.unsaved.pop(blob_digest(started.inputs) or "", None)
    return msgspec.structs.replace(started, inputs=values.nothing), begun


def _digest(data: bytes | msgspec.Raw) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def made_up_id() -> str:
    """Return an id that no other run has."""
    return secrets.token_hex(8)
