"""Forking: a new run that goes on from a point of another one.

Its log is the source's, less what is to run again (``kernel/rewrite.py``). Outputs that are given in the place of others are
recorded last, as completions of their tasks, with all that follows from them at once; that is the only part that calls user
code, as what lies behind those tasks decides on the new values. Then the run is created, in one commit, and whoever knows
its graph drives it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from perdure.codec.codec import BlobMissing, blob_digest
from perdure.codec.refusal import Refusal
from perdure.engine.calling.code import UserCode
from perdure.engine.calling.context import JoinContext
from perdure.engine.calling.values import CodedValues
from perdure.engine.control.starting import Starting, create_run
from perdure.engine.driving.journal import Journal, Position
from perdure.engine.driving.recovery import refold_joins
from perdure.engine.driving.registered import Registered, new_run
from perdure.engine.driving.turns import first_waits
from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import find, stored_plan
from perdure.engine.inspection.untyped import NoValues, UntypedValues
from perdure.engine.workers.worker import Worker
from perdure.errors import CodecError, GraphRuntimeError, GraphSetupError, RunConflict, RunStalled
from perdure.events import Answered, AnyEvent, NodeCompleted, NodeStarted, RunRetried, RunStarted, SignalKept
from perdure.graph.graph import Graph
from perdure.graph.nodes.forms import plain_answer
from perdure.graph.plan import NodeKind, Plan, WaitKind
from perdure.graph.types import Missing, membership, type_name
from perdure.ids import START_TASK
from perdure.kernel.decide.deciding import ArrivalFailed, Deciding
from perdure.kernel.decide.outcomes import pass_on
from perdure.kernel.decide.settle import settle
from perdure.kernel.fold.run import Run, Task
from perdure.kernel.rewrite import Rewritten, rewrite
from perdure.kernel.state.committed import Transaction
from perdure.kernel.survey import Source, survey, undone
from perdure.store.chain import chain_start
from perdure.store.encryption import stored
from perdure.store.records import NewRun, RunInfo, RunUpdate

_SHOWN = 5


class Forking(msgspec.Struct, frozen=True):
    """What a fork is to be.

    Attributes:
        run_id: the source.
        at: the seq of an event, or a task.
        inputs: other inputs.
        outputs: for tasks, by id, what they give out instead.
        new_run_id: the id of the new run.
        by: who forks it.
        reason: why.
        drive: whether this worker drives it.
    """

    run_id: str
    at: int | str | None
    inputs: Any
    outputs: Mapping[str, Any]
    new_run_id: str
    by: str
    reason: str = ""
    drive: bool = False


class Forked(msgspec.Struct):
    """A log that isn't written yet.

    Attributes:
        forking: what it is to be, each task named by its id.
        info: the source.
        source: its log.
        rewritten: the new one.
        values: how the state in it is read.
        digests: the large values that it refers to.
    """

    forking: Forking
    info: RunInfo
    source: Source
    rewritten: Rewritten
    values: CodedValues | UntypedValues | NoValues
    digests: list[str]


async def fork(worker: Worker, forking: Forking) -> RunInfo:
    """Create the run; it isn't driven yet.

    Raises:
        RunNotFound: there is no such source.
        RunConflict: the new id is taken, or the source has no such event or task.
        RunStalled: other inputs or outputs are given, and this worker wasn't given the graph.
        GraphSetupError: the arguments don't go together.
    """
    if not isinstance(forking.inputs, Missing):
        return await _with_inputs(worker, forking)
    forked = await prepared(worker, forking)
    forking, info = forked.forking, forked.info
    events, run = forked.rewritten.events, forked.rewritten.run
    beneath = stored(worker.store)
    blobs = {digest: await beneath.blob(info.run_id, digest) for digest in forked.digests}
    values = forked.values if isinstance(forked.values, CodedValues) else None
    if values is not None:
        values.blobs.unsaved.update(blobs)
    if forking.outputs:
        assert values is not None
        mine = _graph_of(worker, info, "other outputs")
        code = UserCode(mine.graph, mine.flows, values, forking.new_run_id, worker.deps_of(mine.graph))
        await refold_joins(run, code, worker.store, values.blobs)
        events += await _replaced(worker, mine, run, code, values, forking)
        blobs.update(values.blobs.unsaved)
    started = events[0]
    assert isinstance(started, RunStarted)
    trace, sampled = worker.observing.begun(forking.new_run_id, info.graph, in_trace=False)
    started = events[0] = msgspec.structs.replace(started, trace=trace, sampled=sampled)
    position = Position(0, chain_start(forking.new_run_id, info.graph), 0)
    held = (values or UntypedValues()).blobs
    journal = Journal(worker.store, forking.new_run_id, worker.epoch, position, worker.clock, held, started.durability)
    rows = journal.rows(events)
    new = NewRun(
        run_id=forking.new_run_id,
        graph=info.graph,
        fingerprint=info.fingerprint,
        created_at=rows[0].ts,
        inputs_digest=info.inputs_digest,
        state_digest=info.state_digest,
        rows=rows,
        update=RunUpdate(run.status.value),
        blobs=blobs,
        opened=first_waits(run, events, rows[0].ts),
        tags=started.tags,
        origin=forking.run_id,
    )
    created = _created(*await worker.store.create(new))
    worker.publisher.publish(forking.new_run_id, rows)
    return created


def _created(info: RunInfo, created: bool) -> RunInfo:
    if not created:
        raise RunConflict(
            f"there is a run {info.run_id!r} already: give the fork another new_run_id", run_id=info.run_id
        )
    return info


async def _with_inputs(worker: Worker, forking: Forking) -> RunInfo:
    """Create a run of the same graph, from the same state, with other inputs: all of it runs again."""
    if forking.at is not None or forking.outputs:
        raise GraphSetupError("with other inputs= all of a run runs again, so at= and outputs= don't go with them")
    info = await find(worker.store, forking.run_id)
    mine = _graph_of(worker, info, "other inputs")
    history = read_history(worker.store, info)
    started = (await anext(history)).event
    await history.aclose()  # type: ignore[attr-defined]
    assert isinstance(started, RunStarted)
    values = CodedValues(mine.codec)
    if (digest := blob_digest(started.state)) is not None:
        values.blobs.add(digest, await worker.store.blob(info.run_id, digest))
    starting = Starting(
        run_id=forking.new_run_id,
        inputs=forking.inputs,
        state=values.state(started.state),
        deps=worker.deps_of(mine.graph),
        by=forking.by,
        reason=forking.reason,
        durability=started.durability,
        tags=started.tags,
        origin=info.run_id,
        origin_trace=started.outer_trace,
        is_driven=forking.drive,
    )
    found, _, created, _ = await create_run(worker, mine, starting)
    return _created(found, created)


def _graph_of(worker: Worker, info: RunInfo, what: str) -> Registered:
    mine = worker.graphs.of(info)
    if mine is None or mine.graph.fingerprint != info.fingerprint:
        which = "wasn't given" if mine is None else "knows in another version"
        raise RunStalled(
            f"{what} need the code of graph {info.graph!r} of run {info.run_id!r}, which this engine {which}",
            run_id=info.run_id,
        )
    return mine


# --- the log ---


async def prepared(worker: Worker, forking: Forking) -> Forked:
    """Work out the log of a fork, but for what follows from outputs that are given; write nothing.

    Raises:
        RunNotFound, RunConflict, RunStalled: as for :func:`fork`.
    """
    store = worker.store
    info = await find(store, forking.run_id)
    mine = worker.graphs.of(info)
    if forking.outputs:
        mine = _graph_of(worker, info, "other outputs")
    elif mine is not None and mine.graph.fingerprint != info.fingerprint:
        mine = None
    history = [recorded.event async for recorded in read_history(store, info)]
    plan = mine.graph.plan if mine is not None else await stored_plan(store, info)
    source = survey(history, Run(plan, info.run_id, NoValues()))
    forking = _by_ids(source, forking, plan)
    dropped, upto = await _point(worker, info, source, forking)
    source.undone = undone(history[:upto], Run(plan, info.run_id, NoValues()))
    first = history[0]
    assert isinstance(first, RunStarted)
    started = _started(first, history[:upto], forking)
    needed = list(dict.fromkeys(digest for event in history for digest in _digests(event)))
    readings: list[CodedValues | UntypedValues | NoValues]
    readings = [CodedValues(mine.codec)] if mine is not None else [UntypedValues(), NoValues()]
    for values in readings:
        if not isinstance(values, NoValues):
            for digest in needed:
                values.blobs.add(digest, await store.blob(info.run_id, digest))
        make = _maker(mine.graph if mine is not None else None, plan, forking.new_run_id, values)
        try:
            rewritten = rewrite(source, started, make, set(dropped), upto, worker.clock.now())
        except (GraphRuntimeError, CodecError, BlobMissing, Refusal, LookupError, TypeError, ValueError):
            if values is readings[-1]:
                raise
            continue  # the state can't be read without its classes; nothing else needs it
        digests = list(dict.fromkeys(digest for event in rewritten.events for digest in _digests(event)))
        return Forked(forking, info, source, rewritten, values, digests)
    raise AssertionError("the last reading has returned or raised")


def _maker(
    graph: Graph[Any, Any, Any, Any] | None, plan: Any, run_id: str, values: CodedValues | UntypedValues | NoValues
) -> Callable[[], Run]:
    return lambda: new_run(graph, run_id, values) if graph is not None else Run(plan, run_id, values)


def _started(first: RunStarted, history: list[AnyEvent], forking: Forking) -> RunStarted:
    max_steps = first.max_steps
    for event in history:
        if isinstance(event, RunRetried) and event.max_steps is not None:
            max_steps = event.max_steps
    return msgspec.structs.replace(
        first,
        by=forking.by,
        reason=forking.reason,
        origin=forking.run_id,
        origin_trace=first.outer_trace,
        in_trace=False,
        is_told=False,
        max_steps=max_steps,
        deadline=None,
    )


def _by_ids(source: Source, forking: Forking, plan: Plan) -> Forking:
    """Return what a fork is to be with its tasks named by their ids, also those that were named by their paths.

    Raises:
        RunConflict: there is no such task, or there are several.
        GraphSetupError: an output of a join is given.
    """
    outputs = {_id_of(source, task, forking.run_id): output for task, output in forking.outputs.items()}
    for task in outputs:
        path = source.named.get(task, "")
        node = plan.nodes.get(path.rpartition("/")[2])
        if node is not None and node.kind is NodeKind.JOIN:
            raise GraphSetupError(
                f"the output of {path} can't be given: a join gives out what it has folded. Give the outputs of the tasks that "
                "it folds, or that of the task behind it"
            )
    at = _id_of(source, forking.at, forking.run_id) if isinstance(forking.at, str) else forking.at
    return msgspec.structs.replace(forking, outputs=outputs, at=at)


def _id_of(source: Source, task: str, run_id: str) -> str:
    if task in source.named or task == START_TASK:
        return task
    ids = [id_ for id_, path in source.named.items() if path == task]
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise RunConflict(
            f"{task!r} is the path of {len(ids)} tasks of run {run_id!r}: say which by its id, {', '.join(ids[:_SHOWN])}",
            run_id=run_id,
        )
    near = get_close_matches(task, [*source.named.values(), *source.named], _SHOWN)
    hint = f"; there are {', '.join(map(repr, dict.fromkeys(near)))}" if near else ""
    raise RunConflict(f"run {run_id!r} has no task {task!r} that has begun{hint}", run_id=run_id)


async def _point(worker: Worker, info: RunInfo, source: Source, forking: Forking) -> tuple[set[str], int]:
    """Return the tasks that are dropped, and up to which event the source is looked at."""
    at, last = forking.at, len(source.history)
    dropped = set(forking.outputs)
    if isinstance(at, int):
        if not 1 <= at <= last:
            raise RunConflict(
                f"run {info.run_id!r} has no event {at}: its log goes from 1 to {last}", run_id=info.run_id
            )
        row = (await worker.store.read(info.run_id, at - 1, 1))[0]
        return dropped, row.first + row.count - 1
    if at == START_TASK:
        # Inputs that are mapped right away are recorded as items, behind the completion of the start.
        was_tried = any(isinstance(event, NodeStarted) and event.task == START_TASK for event in source.history)
        return dropped, 1 if was_tried else source.finished.get(START_TASK, 1)
    return dropped if at is None else {*dropped, at}, last


def _digests(event: AnyEvent) -> Iterator[str]:
    """Yield which large values an event refers to."""
    if not isinstance(event, SignalKept):
        for value in _raws(event):
            digest = blob_digest(value)
            if digest is not None:
                yield digest


def _raws(part: Any) -> Iterator[msgspec.Raw]:
    if isinstance(part, msgspec.Raw):
        yield part
    elif isinstance(part, tuple):
        for inner in part:
            yield from _raws(inner)
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            value = getattr(part, name)
            if not isinstance(value, str | int):
                yield from _raws(value)


# --- outputs in the place of others ---


async def _replaced(
    worker: Worker, mine: Registered, run: Run, code: UserCode, values: CodedValues, forking: Forking
) -> list[AnyEvent]:
    """Decide what follows from the outputs that are given, each as soon as its task is there."""
    deciding = Deciding(run, code, worker.clock.now())
    left = dict(forking.outputs)
    while left:
        task = next((run.tasks[id_] for id_ in left if id_ in run.tasks), None)
        if task is None:
            raise RunConflict(
                f"the output of task {next(iter(left))!r} can't be given: it comes after what runs again, or another task "
                "in its place. Fork the run in two steps",
                run_id=forking.run_id,
            )
        await _complete(deciding, mine, task, left.pop(task.id), values, forking.by)
        try:
            settle(deciding)
        except ArrivalFailed as failed:
            raise failed.exception from None
    return deciding.events


def _check_type(mine: Registered, task: Task, output: Any) -> None:
    """Refuse what the step could never have given out, as far as its annotation tells."""
    declared = getattr(mine.graph.nodes[task.node.id], "output_type", Any)
    try:
        is_member = membership(declared, widely=True)
    except TypeError:
        return
    if is_member is not None and not is_member(output):
        raise CodecError(
            "the output that is given isn't what the step gives out",
            path="$",
            type_name=type(output).__name__,
            remedy=f"Give one of type {type_name(declared)}",
            where=task.shown_path,
        )


def _answer(deciding: Deciding, task: Task, output: Any, by: str) -> None:
    """Record what is to have come in for a wait."""
    assert task.node.wait is not None
    if task.node.wait.kind is WaitKind.SLEEP:
        raise GraphSetupError(
            f"the output of {task.shown_path} can't be given: it sleeps, and gives on what reaches it"
        )
    deciding.record(Answered(task.id, deciding.code.answer(task, plain_answer(output)), by))
    pass_on(deciding, task)


async def _complete(
    deciding: Deciding, mine: Registered, task: Task, output: Any, values: CodedValues, by: str
) -> None:
    """Record what a task is to have given out, and the ways on from there."""
    run, node = deciding.run, task.node
    if node.kind is NodeKind.WAIT:
        _answer(deciding, task, output, by)
        return
    if node.kind is NodeKind.ROUTER:
        raise GraphSetupError(f"the output of {task.shown_path} can't be given: a router gives on what reaches it")
    if task.feeds is not None or node.id not in mine.graph.nodes or node.flow is None:
        raise GraphSetupError(f"the output of {task.shown_path} can't be given: give those of its arms")
    _check_type(mine, task, output)
    transaction = Transaction(run.state_of(task.scope, node))
    context = JoinContext(run_id=run.run_id, transaction=transaction, deps=None, inputs=output)
    evaluated = await mine.flows.evaluate(node.id, output, context, values)
    if evaluated.stream is not None:
        raise GraphSetupError(f"the output of {task.shown_path} is mapped: give it as a list")
    change = deciding.change(run.state_of(task.scope, node), transaction.proposal())
    deciding.record(NodeStarted(task.id, node.id, task.attempt + 1))
    deciding.record(NodeCompleted(task.id, values.record(node.id, output), evaluated.route, change))
    deciding.open_forks(evaluated.maps)
