"""Revival: what lost arms leave behind, and how a retry brings them back.

A failure that a join is told of is settled at once: the task is gone, and so is all that ran beside it on the way to an
inner join that can't have a value any more. As a rule that is for good. But a join that needs a number of successes may come
to lack them, and then the run fails there; if it is retried, the arms that were lost have to run again, or it would fail
again at once.

So what is taken out of the region of such a join is put aside in it: the tasks, the inner joins with what they had folded, the
maps with the items they had left. It counts for nothing there, and its fork instances are remembered as long as it is. When
the join closes, or is cancelled, it is forgotten; when the run is retried and the join can't get what it needs without it, it
is live again, and what the join had been told of the failures is taken back.
"""

from __future__ import annotations

from collections import deque

from perdure.graph.plan import NodePlan
from perdure.ids import identify
from perdure.kernel.fold.run import AFTER, Aside, Feed, Instance, OpenJoin, Phase, Run, Task
from perdure.kernel.fold.tokens import count_token, release


def abandoned_by(run: Run, scope: Instance, node: NodePlan, join: str) -> list[tuple[Instance, str]]:
    """Return the joins between a node that has failed, in a scope, and the one that is told.

    Each comes with the instance of its parent fork.
    """
    nodes = run.plan.nodes
    return [
        (scope.scope[fork], inner)
        for fork, inner in node.counted
        if inner != join and any(outer == join for _, outer in nodes[inner].counted)
    ]


def begin_aside(joined: OpenJoin, given_up: list[tuple[Instance, str]]) -> Aside | None:
    """Return where what a failure takes out of a join's region is put, or None if the join can't come to lack successes.

    Args:
        joined: the join that is told of the failure.
        given_up: the joins between it and what has failed, each with the instance of its parent fork.
    """
    if not joined.wanted:
        return None
    if joined.aside is None:
        joined.aside = Aside()
    joined.aside.given_up.update((instance.id, join) for instance, join in given_up)
    return joined.aside


def aside_of(scope: Instance, node: NodePlan, own: tuple[str, str] | None = None) -> Aside | None:
    """Return where something at a node, in a scope, is put that goes because a join it could reach is given up.

    Args:
        scope: the innermost instance it is in.
        node: its node.
        own: of a join, the id of its instance and its own.
    """
    marks = [(scope.scope[fork].id, join) for fork, join in node.counted]
    for fork, join in node.counted:
        around = scope.scope[fork].joins.get(join)
        if around is not None and around.aside is not None and not around.aside.given_up.isdisjoint([*marks, own]):
            return around.aside
    return None


def put_aside_task(aside: Aside, task: Task) -> None:
    """Put a task aside that is about to be removed."""
    aside.tasks.append(task)
    task.scope.aside += 1


def put_aside_join(aside: Aside, joined: OpenJoin) -> None:
    """Put an open join aside that is about to be removed."""
    aside.joins.append(joined)
    joined.scope.aside += 1


def put_aside_feed(aside: Aside, instance: Instance, feed: Feed) -> None:
    """Put what is left of a map aside that is about to be stopped."""
    aside.feeds.append((instance, feed))
    instance.aside += 1


def forget(run: Run, joined: OpenJoin) -> None:
    """Let go of what was put aside in a join."""
    aside, joined.aside = joined.aside, None
    if aside is None:
        return
    for inner in aside.joins:
        forget(run, inner)
    for scope in _scopes(aside):
        scope.aside -= 1
        release(run, scope)


def revive(run: Run) -> list[str]:
    """Bring back what was put aside in the joins that can't get the successes they need; return what had failed."""
    return [id_ for joined in list(run.joins.values()) if joined.is_doomed for id_ in _bring_back(run, joined)]


def _bring_back(run: Run, joined: OpenJoin) -> list[str]:
    aside, joined.aside = joined.aside, None
    if aside is None:
        return []
    failed = [id_ for _, _, id_ in joined.failed]
    _take_back(joined, {*failed, *(identify("join", inner.node.id, inner.scope.id) for inner in aside.joins)})
    for instance, feed in aside.feeds:
        instance.feed = feed
        feed.arms = {} if feed.arms is not None else None
        run.maps[instance.id] = run.stirred[instance.id] = instance
    for instance, _ in aside.feeds:
        count_token(instance, instance.fork, AFTER)
    for inner in aside.joins:
        run.joins[inner.node.id, inner.scope.id] = inner.scope.joins[inner.node.id] = inner
        count_token(inner.scope, inner.node, AFTER)
    for task in aside.tasks:
        _place_again(run, task)
    for scope in _scopes(aside):
        scope.aside -= 1
    return failed + [id_ for inner in aside.joins if inner.is_doomed for id_ in _bring_back(run, inner)]


def _take_back(joined: OpenJoin, failed: set[str]) -> None:
    """Let a join forget the failures it was told of, also those that were folded: what it holds is folded anew."""
    if joined.node.order == "arrival" and not joined.node.quorum:
        joined.count -= len(joined.failed)
    joined.failed.clear()
    joined.kept = deque(arrival for arrival in joined.kept if arrival.source not in failed)
    joined.unfolded = deque(one for one in joined.unfolded if one.arrival.source not in failed)


def _place_again(run: Run, task: Task) -> None:
    task.phase, task.due_at = Phase.READY, None
    task.failures = task.crashes = 0
    task.is_suspect = task.is_uncertain = False
    count_token(task.scope, task.node, task.index)
    run.tasks[task.id] = run.ready[task.id] = task.scope.tasks[task.id] = task
    run.placed += 1


def _scopes(aside: Aside) -> list[Instance]:
    return [
        *(task.scope for task in aside.tasks),
        *(joined.scope for joined in aside.joins),
        *(instance for instance, _ in aside.feeds),
    ]
