"""Tokens: what keeps a join from closing, and what keeps a map from opening more arms.

A token is a live task, an open inner join, or a map that has items left. Each counts for the joins it could still reach,
in their instance, and, but for joins, for the arms of windowed maps it is inside of: where an open join is all there is
beside tasks that wait, the arm waits. It is counted when it appears, and taken off after what comes of it has been counted,
so a count reaches zero exactly once: when the last is gone. A value that has arrived at an inner join, and is folded later in
the same commit, isn't counted: that join may open only then, and the count rise again from zero. So who looks at a count of
zero while values are arriving has to look at these, too.
"""

from __future__ import annotations

from heapq import heappush

from perdure.errors import GraphRuntimeError
from perdure.graph.plan import NodeKind, NodePlan
from perdure.kernel.fold.run import AFTER, Instance, OpenJoin, Phase, Run, Task, limit_keys

SETTLED = frozenset({Phase.WAITING, Phase.FAILED})
"""The phases in which a task holds no place in a map's window, so that further arms can be opened."""


def count_token(scope: Instance, node: NodePlan, index: int) -> None:
    """Count a token at a node, in a scope."""
    for fork, join in node.counted:
        counts = scope.scope[fork].counts
        counts[join] = counts.get(join, 0) + 1
    if (scope.feed is not None or scope.windows) and node.kind is not NodeKind.JOIN:
        for instance, arm in ((scope, index), *scope.windows):
            if arm != AFTER and instance.feed is not None and (arms := instance.feed.arms) is not None:
                arms[arm] = arms.get(arm, 0) + 1


def uncount_token(run: Run, scope: Instance, node: NodePlan, index: int) -> None:
    """Take a token off; note the joins that nothing can reach any more, and the maps that have an arm settled."""
    for fork, join in node.counted:
        instance = scope.scope[fork]
        left = instance.counts[join] - 1
        if left:
            instance.counts[join] = left
        else:
            del instance.counts[join]
            if join in instance.absorbing and not _is_on_its_way(run, instance, fork, join):
                instance.absorbing.pop(join)
            run.settled.append((instance, join))
    if (scope.feed is not None or scope.windows) and node.kind is not NodeKind.JOIN:
        change_arms(run, scope, index, -1)


def _is_on_its_way(run: Run, instance: Instance, fork: str, join: str) -> bool:
    """Say whether a value that is about to be folded by an inner join could still come to a join."""
    return any(
        (fork, join) in arrival.join.counted and arrival.scope.scope.get(fork) is instance for arrival in run.arrivals
    )


def change_arms(run: Run, scope: Instance, index: int, change: int) -> None:
    """Count a token in or out of the arms it is in; note the maps that have one settled."""
    for instance, arm in ((scope, index), *scope.windows):
        feed = instance.feed
        if arm == AFTER or feed is None or feed.arms is None:
            continue
        left = feed.arms.get(arm, 0) + change
        if left:
            feed.arms[arm] = left
        else:
            feed.arms.pop(arm, None)
            run.stirred[instance.id] = instance


# --- tasks ---


def place(run: Run, task: Task) -> None:
    """Add a task.

    Raises:
        GraphRuntimeError: there is one with the same id.
    """
    if task.id in run.tasks:
        raise GraphRuntimeError(f"run {run.run_id!r}: two tasks have the id {task.id}; please report this")
    count_token(task.scope, task.node, task.index)
    run.tasks[task.id] = run.ready[task.id] = task.scope.tasks[task.id] = task
    run.placed += 1


def remove(run: Run, task: Task) -> None:
    """Take a task away, after what comes of it was placed."""
    leave_phase(run, task)
    del run.tasks[task.id]
    del task.scope.tasks[task.id]
    uncount_token(run, task.scope, task.node, task.index)
    if not task.scope.is_live:
        release(run, task.scope)


def enter_phase(run: Run, task: Task, phase: Phase, due_at: int | None = None) -> None:
    """Let a task go over to doing something else."""
    leave_phase(run, task)
    task.phase = phase
    task.due_at = due_at
    if due_at is not None:
        heappush(run.alarms, (due_at, task.id))
    if phase is Phase.READY:
        run.ready[task.id] = task
    elif phase is Phase.RUNNING and task.node.limits:
        for key, _ in limit_keys(task):
            run.running[key] = run.running.get(key, 0) + 1
    elif phase in SETTLED:
        change_arms(run, task.scope, task.index, -1)


def leave_phase(run: Run, task: Task) -> None:
    """Undo what a task's phase means to the rest of the run."""
    if task.phase is Phase.READY:
        run.ready.pop(task.id, None)
    elif task.phase is Phase.RUNNING and task.node.limits:
        for key, _ in limit_keys(task):
            run.running[key] -= 1
            if not run.running[key]:
                del run.running[key]
            run.freed[key] = None
    elif task.phase in SETTLED:
        change_arms(run, task.scope, task.index, 1)


# --- joins and instances ---


def open_join(run: Run, node: NodePlan, scope: Instance) -> OpenJoin:
    """Return the instance of a join for a scope, opened if it isn't."""
    instance = scope.scope[node.parent]
    joined = instance.joins.get(node.id)
    if joined is None:
        joined = run.joins[node.id, instance.id] = instance.joins[node.id] = OpenJoin(node, instance)
        count_token(instance, node, AFTER)
        if not instance.counts.get(node.id):
            run.settled.append((instance, node.id))
    return joined


def remove_join(run: Run, joined: OpenJoin) -> None:
    """Take an open join away, after what comes of it was placed."""
    instance = joined.scope
    del instance.joins[joined.node.id]
    del run.joins[joined.node.id, instance.id]
    if instance.counts.get(joined.node.id):
        instance.absorbing[joined.node.id] = None
    uncount_token(run, instance, joined.node, AFTER)
    release(run, instance)


def release(run: Run, instance: Instance) -> None:
    """Forget an instance in which nothing is left, and those around it that had nothing else."""
    if instance.is_live or instance.inner:
        return
    run.states.pop(instance.id, None)
    for outer in instance.scope.values():
        if outer.inner.pop(instance.id, None) is not None:
            release(run, outer)
