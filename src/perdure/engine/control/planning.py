"""Planning: what a verb would let run again, told before anybody says it.

Nothing is written, and no user code is needed: the log is folded with the plan that is stored with it.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Literal, TypeAlias

import msgspec

from perdure.engine.control.control import check_accepts
from perdure.engine.control.forking import Forking, prepared
from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import find, stored_plan
from perdure.engine.inspection.untyped import NoValues
from perdure.engine.workers.worker import Worker
from perdure.errors import GraphSetupError
from perdure.events import NodeCompleted
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.revival import revive
from perdure.kernel.fold.run import Phase, Run, Task
from perdure.kernel.verbs import Verb

PlannedVerb: TypeAlias = Literal["resume", "recover", "retry", "fork"]
STARTS: tuple[Verb, ...] = ("resume", "recover", "retry")


class PlannedTask(msgspec.Struct, frozen=True):
    """A task that would run.

    Attributes:
        task, path, node: which it is.
        why: ``"failed"``, ``"in flight"`` (it had begun), ``"ready"`` (it hasn't), ``"retry due"``, or, in a fork, ``"again"``
            (it had finished in the source).
        attempt: how often it has begun so far.
    """

    task: str
    path: str
    node: str
    why: str
    attempt: int = 0


class Planned(msgspec.Struct, frozen=True):
    """What a verb would do.

    Attributes:
        verb: the verb.
        tasks: what would run, in path order; what comes after them, and hasn't run yet, isn't known.
        kept: how many tasks have finished and wouldn't run again.
        waiting: the paths of the tasks that would wait on.
    """

    verb: str
    tasks: tuple[PlannedTask, ...]
    kept: int
    waiting: tuple[str, ...] = ()


_WHY = {Phase.READY: "ready", Phase.RUNNING: "in flight", Phase.RETRYING: "retry due", Phase.FAILED: "failed"}


async def planned(worker: Worker, verb: PlannedVerb, forking: Forking) -> Planned:
    """Return what a verb would do.

    Raises:
        RunNotFound: there is no such run.
        RunConflict: the run doesn't accept the verb.
        GraphSetupError: there is no such verb, or it takes none of the arguments.
    """
    if verb == "fork":
        return await _planned_fork(worker, forking)
    if verb not in STARTS or forking.at is not None or forking.outputs:
        raise GraphSetupError(
            f'{verb!r:.40} can\'t be planned so: give "resume", "recover" or "retry"; or "fork", which alone takes at= and outputs='
        )
    info = await find(worker.store, forking.run_id)
    check_accepts(info, verb)
    run, kept = Run(await stored_plan(worker.store, info), info.run_id, NoValues()), 0
    async for recorded in read_history(worker.store, info):
        apply(run, recorded.event)
        kept += isinstance(recorded.event, NodeCompleted)
    lost = set(revive(run)) if verb == "retry" else set()
    return Planned(verb, _live(run, lost), kept, _waiting(run))


def _in_order(run: Run) -> list[Task]:
    return sorted(run.tasks.values(), key=lambda task: (task.path, task.node.id))


def _live(run: Run, lost: Container[str] = ()) -> tuple[PlannedTask, ...]:
    return tuple(
        PlannedTask(
            task.id, task.shown_path, task.node.id, "failed" if task.id in lost else _WHY[task.phase], task.attempt
        )
        for task in _in_order(run)
        if task.phase in _WHY
    )


def _waiting(run: Run) -> tuple[str, ...]:
    return tuple(task.shown_path for task in _in_order(run) if task.phase is Phase.WAITING)


async def _planned_fork(worker: Worker, forking: Forking) -> Planned:
    forked = await prepared(worker, forking)
    rewritten, forking = forked.rewritten, forked.forking
    told = forked.source.tasks
    again = [
        PlannedTask(task, *told[task], "again")
        for task in told
        if task in rewritten.finished - rewritten.kept and task not in forking.outputs
    ]
    others = [task for task in _live(rewritten.run) if task.task not in {*rewritten.finished, *forking.outputs}]
    kept = len(rewritten.kept) + len(rewritten.finished.intersection(forking.outputs))
    return Planned("fork", (*again, *others), kept, _waiting(rewritten.run))
