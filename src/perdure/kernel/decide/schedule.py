"""Scheduling: which of the tasks that are ready start now.

They start in the order of their paths: older arms first. Without limits all of them do. With limits a task starts only if
there is room under every one it runs under, and takes its place under all of them at once; what finds no room is kept in
one queue for each set of limits, and looked at again when one of them has room.

After two crashes in a row suspects, the tasks that were there, run one at a time (``kernel/fold/apply.py``). A stream waits for
its arms when too many of them are unsettled, so it comes after the other suspects, and never holds back those in its arms.
"""

from __future__ import annotations

from heapq import heappop, heappush

from perdure.errors import CrashLoop, MaxStepsError
from perdure.events import ErrorInfo, NodeCompleted, NodeStarted
from perdure.graph.plan import NodeKind
from perdure.kernel.decide.deciding import Deciding
from perdure.kernel.decide.outcomes import open_wait, pass_on
from perdure.kernel.fold.run import Phase, Run, Task, limit_keys


def start_ready(deciding: Deciding) -> bool:
    """Start what may start; return whether that has given rise to more to settle."""
    run = deciding.run
    ready = list(run.ready.values())
    if (hold := deciding.hold) is not None:
        ready = [task for task in ready if not hold.holds(task)]
    if not ready and not run.freed and not (run.crashes > 1 and run.queues):
        return False
    if ready and not _in_order(ready):
        ready.sort(key=lambda task: task.path)
    has_more = False
    suspects = _running_suspects(run) if run.crashes > 1 else None
    if suspects is not None:
        ready.sort(key=_after_its_arms)
    for task in ready:
        if deciding.failure is not None:
            return False
        if suspects and task.is_suspect and any(_holds_back(other, task) for other in suspects):
            continue
        if task.node.limits:
            _enqueue(run, task)
            if suspects is not None and task.is_suspect:
                has_more = _start_queued(deciding) or has_more
                suspects = _running_suspects(run)
            continue
        if _start(deciding, task):
            has_more = True
        elif suspects is not None and task.is_suspect and task.phase is Phase.RUNNING:
            suspects.append(task)
    return _start_queued(deciding) or has_more


def _in_order(tasks: list[Task]) -> bool:
    """Say whether tasks of one scope are in the order of their indices, so that there is nothing to sort."""
    previous = tasks[0]
    for task in tasks:
        if task.scope is not previous.scope or task.index < previous.index:
            return False
        previous = task
    return True


def _running_suspects(run: Run) -> list[Task]:
    return [task for task in run.tasks.values() if task.is_suspect and task.phase is Phase.RUNNING]


def _after_its_arms(task: Task) -> tuple[bool, int, tuple[int, ...]]:
    """Return a place in an order in which suspects that feed maps come last, inner ones before those around them."""
    path = task.path
    is_feeding = task.is_suspect and bool(task.feeds)
    return is_feeding, -len(path) if is_feeding else 0, path


def _holds_back(suspect: Task, task: Task) -> bool:
    """Say whether a suspect that runs keeps another one from running beside it."""
    return not any(task.scope.scope.get(fed.fork.id) is fed for fed in suspect.feeds or ())


def _start(deciding: Deciding, task: Task) -> bool:
    """Start a task, or do what is to be done instead; return whether that has given rise to more to settle."""
    kind = task.node.kind
    run = deciding.run
    if task.depth > run.max_steps or (run.plan.max_tasks is not None and run.placed > run.plan.max_tasks):
        _stop_at_limit(deciding, task)
    elif kind is NodeKind.START and (begun := deciding.code.begin(task)) is not None:
        deciding.record(NodeCompleted(task.id, begun.output, begun.route))
        deciding.open_forks(begun.maps)
        return True
    elif kind is NodeKind.WAIT and not task.is_answered and not (task.node.wait and task.node.wait.asks_code):
        return open_wait(deciding, task)
    elif kind is NodeKind.WAIT and task.is_answered and pass_on(deciding, task):
        return True
    elif task.crashes >= task.node.max_crashes:
        _give_up_on(deciding, task)
        return True
    elif task.is_uncertain and task.node.effect == "pause":
        deciding.uncertain.append(task.shown_path)
        run.ready[task.id] = task  # also if it was queued: it stands in the way of nobody
    else:
        deciding.record(NodeStarted(task.id, task.node.id, task.attempt + 1))
        deciding.started.append(task)
    return False


# --- limits ---


def _enqueue(run: Run, task: Task) -> None:
    del run.ready[task.id]
    keys = tuple(key for key, _ in limit_keys(task))
    heappush(run.queues.setdefault(keys, []), (task.path, task.id, task))
    run.freed.update(dict.fromkeys(keys))


def _start_queued(deciding: Deciding) -> bool:
    """Start the oldest of the tasks that have room under all their limits, one after another."""
    run = deciding.run
    if not run.freed and not (run.crashes > 1 and run.queues):
        return False
    has_more = False
    candidates = [keys for keys in run.queues if run.crashes > 1 or not run.freed.keys().isdisjoint(keys)]
    run.freed.clear()
    while deciding.failure is None:
        best: tuple[str, ...] | None = None
        for keys in candidates:
            head = _head(run, keys)
            if (
                head is not None
                and _has_room(run, head)
                and (best is None or run.queues[keys][0] < run.queues[best][0])
            ):
                best = keys
        if best is None:
            break
        _, _, task = heappop(run.queues[best])
        has_more = _start(deciding, task) or has_more
    for keys in candidates:
        if not run.queues[keys]:
            del run.queues[keys]
    return has_more


def _head(run: Run, keys: tuple[str, ...]) -> Task | None:
    """Return the oldest task of a queue that is still to be started."""
    queue = run.queues[keys]
    while queue:
        task: Task = queue[0][2]
        if task.phase is Phase.READY and run.tasks.get(task.id) is task:
            return task
        heappop(queue)
    return None


def _has_room(run: Run, task: Task) -> bool:
    if run.crashes > 1 and task.is_suspect and any(_holds_back(other, task) for other in _running_suspects(run)):
        return False
    return all(run.running.get(key, 0) < capacity for key, capacity in limit_keys(task))


# --- what isn't started ---


def _stop_at_limit(deciding: Deciding, task: Task) -> None:
    run = deciding.run
    if task.depth > run.max_steps:
        what = (
            f"{task.shown_path} would be step {task.depth} of one lineage, and max_steps is {run.max_steps}. If the loop is "
            "meant to be that long, retry the run with a greater max_steps"
        )
    else:
        what = f"the run has come to more than its {run.plan.max_tasks} tasks, GraphBuilder(max_tasks=…)"
    error = MaxStepsError(f"run {run.run_id!r}: {what}", run_id=run.run_id)
    deciding.failure = (ErrorInfo("MaxStepsError", error.message), task.id, error)


def _give_up_on(deciding: Deciding, task: Task) -> None:
    run = deciding.run
    error = CrashLoop(
        f"run {run.run_id!r}: the process died {task.crashes} times while {task.shown_path} was the only suspect running",
        run_id=run.run_id,
    )
    deciding.fail(task, ErrorInfo("CrashLoop", error.message), error)
