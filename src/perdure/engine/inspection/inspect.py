"""Inspection: a run as its log tells it, without the user's code.

A plan, the structure of a graph as plain data, is stored beside the runs. With it a log folds in any process: the same
``apply`` as ever, only with a reading that leaves values as they are. So what is shown here is what recovery would find.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from perdure.codec.codec import BlobMissing
from perdure.codec.refusal import Refusal
from perdure.engine.driving.recovery import blobs_of
from perdure.engine.inspection.history import Recorded, read_history
from perdure.engine.inspection.reach import Reach
from perdure.engine.inspection.results import recorded_value
from perdure.engine.inspection.untyped import NoValues, UntypedValues, shown
from perdure.errors import CodecError, GraphRuntimeError, RunNotFound, StoreCorrupt
from perdure.events import ErrorInfo, RunCompleted, RunFailed, RunStarted, SegmentStarted, Value
from perdure.graph.plan import Plan
from perdure.kernel.fold.apply import apply, check_complete
from perdure.kernel.fold.run import AFTER, Reading, Run, shown_path
from perdure.kernel.state.tree import thaw
from perdure.store.port import Store
from perdure.store.records import RunInfo


class LiveTask(msgspec.Struct, frozen=True):
    """A task that has started or may start, and hasn't finished."""

    task: str
    path: str
    node: str
    phase: str
    attempt: int
    due_at: int | None = None


class WaitingJoin(msgspec.Struct, frozen=True):
    """A join that waits for more."""

    join: str
    path: str
    folded: int


class Segment(msgspec.Struct, frozen=True):
    """A stretch of a run that one worker drove."""

    worker: str
    version: str
    seq: int
    started_at: int


class Inspection(msgspec.Struct):
    """A run, as its log tells it; values are JSON.

    Attributes:
        info: what the store knows of it.
        plan: the structure of its graph.
        run: the fold.
        counts: how many events of each kind there are.
        segments: who drove it, in order.
        state: the committed state.
        state_problem: why that can't be told without the user's classes, or empty.
        inputs: what it was started with.
        started_by: by whom, as far as that is known.
        origin: the run it was forked from, or goes on from.
        result: what it gave out, if it is complete.
        error: why it failed, if it did.
        problem: how far its log can be folded and why no further, if it is damaged; then all else is told as it was there.
    """

    info: RunInfo
    plan: Plan
    run: Run
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    segments: list[Segment] = msgspec.field(default_factory=list)
    state: Any = None
    state_problem: str = ""
    inputs: Any = None
    started_by: str = ""
    origin: str = ""
    result: Any = None
    error: ErrorInfo | None = None
    error_path: str = ""
    problem: str = ""

    def live_tasks(self) -> list[LiveTask]:
        """Return what is unfinished, in path order."""
        return [
            LiveTask(task.id, task.shown_path, task.node.id, task.phase.name.lower(), task.attempt, task.due_at)
            for task in sorted(self.run.tasks.values(), key=lambda task: (task.path, task.node.id))
        ]

    def open_joins(self) -> list[WaitingJoin]:
        """Return the joins that wait for more."""
        joins = self.run.joins.values()
        return [
            WaitingJoin(
                joined.node.id, shown_path(joined.scope, AFTER, joined.node.id), joined.count + len(joined.kept)
            )
            for joined in joins
        ]


async def find(store: Store, run_id: str) -> RunInfo:
    """Return what a store knows of a run.

    Raises:
        RunNotFound: there is no such run.
    """
    info = await store.get(run_id)
    if info is None:
        raise RunNotFound(f"{store.location} holds no run {run_id!r}", run_id=run_id)
    return info


async def stored_plan(store: Store, info: RunInfo) -> Plan:
    """Return the structure of a run's graph.

    Raises:
        StoreCorrupt: it isn't there, or can't be read.
    """
    data = await store.plan(info.fingerprint)
    if data is None:
        raise StoreCorrupt(f"run {info.run_id!r}: the plan of its graph is missing", location=store.location)
    try:
        return Plan.decoded(data)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(
            f"run {info.run_id!r}: the plan of its graph can't be read ({error})", location=store.location
        ) from error


async def inspect_run(store: Store, run_id: str) -> Inspection:
    """Fold a run's log, as far as that can be done, and return all that can be told of it.

    Raises:
        RunNotFound: there is no such run.
        StoreCorrupt: the plan of its graph can't be read.
    """
    info = await find(store, run_id)
    plan = await stored_plan(store, info)
    values = UntypedValues()
    try:
        inspection, reach = await _folded(store, info, plan, values, values)
        if isinstance(reach.error, GraphRuntimeError):
            raise reach.error
        inspection.state = shown(thaw(inspection.run.state.tree))
    except (GraphRuntimeError, CodecError, BlobMissing, Refusal, LookupError, TypeError, ValueError) as error:
        inspection, reach = await _folded(store, info, plan, values, NoValues())
        inspection.state_problem = str(error)
    inspection.problem = reach.text
    return inspection


async def _folded(
    store: Store, info: RunInfo, plan: Plan, values: UntypedValues, reading: Reading
) -> tuple[Inspection, Reach]:
    run = Run(plan, info.run_id, reading)
    inspection = Inspection(info, plan, run)
    with Reach(info, store.location) as reach:
        async for recorded in read_history(store, info):
            await _take(store, inspection, values, recorded)
            reach.seq = recorded.seq
        check_complete(run)
    run.seq = reach.seq
    return inspection, reach


async def _take(store: Store, inspection: Inspection, values: UntypedValues, recorded: Recorded) -> None:
    info, event = inspection.info, recorded.event
    for digest in blobs_of([event], inspection.plan):
        values.blobs.add(digest, await store.blob(info.run_id, digest))
    apply(inspection.run, event)
    inspection.counts[recorded.kind] += 1
    if isinstance(event, SegmentStarted):
        inspection.segments.append(Segment(event.worker, event.version, recorded.seq, recorded.ts))
    elif isinstance(event, RunStarted):
        inspection.inputs = await _shown(store, info, values, event.inputs)
        inspection.started_by, inspection.origin = event.by, event.origin
    elif isinstance(event, RunCompleted) and event.outputs:
        output = await recorded_value(store, info, event.outputs[0])
        inspection.result = await _shown(store, info, values, output)
    elif isinstance(event, RunFailed):
        inspection.error, inspection.error_path = event.error, event.path


async def _shown(store: Store, info: RunInfo, values: UntypedValues, value: Value) -> Any:
    while True:
        try:
            return shown(values.value(value))
        except BlobMissing as missing:
            values.blobs.add(missing.digest, await store.blob(info.run_id, missing.digest))
