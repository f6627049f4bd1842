"""Settling: everything that follows from what was recorded, until there is nothing left to do but run tasks.

In this order, again and again: fold arrivals; end forks early; close joins, inner ones first; open arms. That inner joins
close first needs no sorting: an open inner join counts for the outer one. Arms are opened last, since an arm that goes on
behind a join of its own is taken for one that waits until that has closed.
"""

from __future__ import annotations

import msgspec

from perdure.errors import QuorumNotReached
from perdure.events import (
    ArmsOpened,
    ErrorInfo,
    Folded,
    ItemsEnded,
    JoinCancelled,
    JoinClosed,
    JoinFailed,
    NodeCancelled,
    ReducerUpdated,
    Value,
)
from perdure.graph.compile.coverage import catch_of_join
from perdure.kernel.decide.deciding import ArrivalFailed, Deciding
from perdure.kernel.fold.apply import join_output_id
from perdure.kernel.fold.revival import abandoned_by
from perdure.kernel.fold.run import AFTER, Arrival, Instance, OpenJoin, Phase, Task, shown_path
from perdure.kernel.state.committed import Transaction


def settle(deciding: Deciding) -> None:
    """Do what the run calls for.

    Raises:
        ArrivalFailed: a reducer, or the code behind a join, raised.
    """
    run = deciding.run
    while True:
        if run.arrivals:
            _fold(deciding, run.arrivals[0], "")
        elif deciding.cancelling:
            joined = deciding.cancelling.pop(0)
            _cancel_siblings(deciding, joined.scope, joined.node.id)
        elif deciding.abandoned:
            _abandon(deciding, *deciding.abandoned.pop(0))
        elif run.settled:
            instance, join = run.settled.popleft()
            settled = instance.joins.get(join)
            if settled is not None and (settled.has_enough or not instance.counts.get(join)):
                _close(deciding, settled)
        elif run.stirred:
            _open_arms(deciding, run.stirred.pop(next(iter(run.stirred))))
        else:
            return


def _open_arms(deciding: Deciding, instance: Instance) -> None:
    feed = instance.feed
    if feed is None:
        return
    room = instance.fork.window - len(feed.arms) if feed.arms is not None else feed.taken
    upto = min(feed.taken, feed.opened + room)
    if upto > feed.opened:
        deciding.record(ArmsOpened(instance.id, upto))
        deciding.open_forks(())


# --- joins ---


def _fold(deciding: Deciding, arrival: Arrival, instance: str) -> None:
    run, join = deciding.run, arrival.join
    joined = arrival.scope.joins.get(join.id)
    current = joined.value if joined is not None else msgspec.UNSET
    was_cancelled = joined is not None and joined.cancelled
    state = run.state_of(arrival.scope, join)
    transaction = Transaction(state)
    try:
        value, cancelled = deciding.code.fold(join.id, current, arrival, was_cancelled, transaction)
        change = deciding.change(state, transaction.proposal())
    except Exception as error:
        raise ArrivalFailed(arrival.source, join.id, error) from error
    is_plain = change is None and not cancelled and not instance
    deciding.record(ReducerUpdated(arrival.source, join.id, None if is_plain else Folded(change, cancelled, instance)))
    joined = arrival.scope.joins[join.id]
    joined.value = value
    joined.unfolded.clear()
    if cancelled and not was_cancelled:
        deciding.cancelling.append(joined)


def _close(deciding: Deciding, joined: OpenJoin) -> None:
    node, scope = joined.node, joined.scope
    if node.id in deciding.broken:
        _break(deciding, joined, deciding.broken[node.id])
        return
    missing = _missing_successes(joined)
    if missing is not None:
        _fall_short(deciding, joined, missing)
        return
    if joined.kept:
        joined.keep_in_branch_order()
        while joined.kept:
            _fold(deciding, joined.kept[0], scope.id)
    if node.cancels and scope.counts.get(node.id):
        _cancel_siblings(deciding, scope, node.id)
    state = deciding.run.state_of(scope, node)
    transaction = Transaction(state)
    try:
        closing = deciding.code.close(joined, transaction)
        change = deciding.change(state, transaction.proposal())
    except Exception as error:
        raise ArrivalFailed("", node.id, error) from error
    deciding.record(
        JoinClosed(node.id, scope.id, closing.value, joined.count, joined.first, joined.last, closing.route, change)
    )
    deciding.open_forks(closing.maps)


def _missing_successes(joined: OpenJoin) -> Exception | None:
    """Return why a join that nothing can reach any more mustn't close."""
    node = joined.node
    if not joined.is_lacking:
        return None
    listed = "; ".join(_told(path, error) for path, error, _ in joined.failed) or "nothing failed"
    return QuorumNotReached(
        f"join {node.id!r} has {joined.successes} of the {joined.wanted} successes it needs, and nothing can reach it any more ({listed})",
        failures=tuple((path, error) for path, error, _ in joined.failed),
    )


def _told(path: str, error: ErrorInfo) -> str:
    return f"{path}: {error.type}: {error.message}"


def _fall_short(deciding: Deciding, joined: OpenJoin, missing: Exception) -> None:
    """Let what is around a join that lacks successes take that for a failure; if nothing does, the run fails.

    A race that nobody has won fails with its last error; the others are noted on it.
    """
    run, node, scope = deciding.run, joined.node, joined.scope
    output = join_output_id(joined)
    error, source = deciding.code.describe(missing), output
    if node.on_error == "lose" and joined.failed:
        *others, (_, last, source) = joined.failed
        notes = (*last.notes, *(f"the race was lost before by {_told(path, other)}" for path, other, _ in others))
        error = msgspec.structs.replace(last, notes=notes)
    else:
        deciding.exceptions[source] = missing
    policy, into = catch_of_join(run.plan, node)
    if policy in ("collect", "lose"):
        value: Value = msgspec.Raw(b"null")
        if policy == "collect":
            value = deciding.code.failure(output, shown_path(scope, AFTER, node.id), 1, error)
        deciding.abandoned += abandoned_by(run, scope, node, into)
        deciding.record(JoinFailed(node.id, scope.id, into, policy, error, source, value))
    elif deciding.failure is None:
        deciding.failure = (error, source, deciding.exceptions.get(source))


def _break(deciding: Deciding, joined: OpenJoin, error: Exception) -> None:
    """Let the run fail at a join; it stays open, to be closed when the run is retried."""
    if deciding.failure is None:
        deciding.failure = (deciding.code.describe(error), join_output_id(joined), error)


# --- early ends ---


def _abandon(deciding: Deciding, instance: Instance, join: str) -> None:
    """End a fork whose join is to have no value, together with the join."""
    _cancel_siblings(deciding, instance, join)
    if join in instance.joins:
        deciding.record(JoinCancelled(join, instance.id))


def _cancel_siblings(deciding: Deciding, instance: Instance, join: str) -> None:
    """End a fork early: cancel what is live in its instance and could still reach the join."""
    mark = (instance.fork.id, join)
    inside = [other for other in (instance, *instance.inner.values()) if other.scope.get(instance.fork.id) is instance]
    reason = f"join {join} ended the fork early"
    for other in inside:
        if other.feed is not None and mark in other.fork.counted:
            _stop_feed(deciding, other, reason)
    tasks = [task for other in inside for task in other.tasks.values() if mark in task.node.counted]
    for task in sorted(tasks, key=lambda task: task.path):
        cancel_task(deciding, task, reason)
    for other in inside:
        for inner in list(other.joins.values()):
            if mark in inner.node.counted:
                deciding.record(JoinCancelled(inner.node.id, other.id))


def _stop_feed(deciding: Deciding, instance: Instance, reason: str) -> None:
    feed = instance.feed
    assert feed is not None
    stream = deciding.run.tasks.get(feed.task) if feed.task is not None else None
    deciding.record(ItemsEnded(instance.id, feed.opened))
    feeds = stream.feeds or () if stream is not None else ()
    if stream is not None and all(other.feed is None or other.feed.task != stream.id for other in feeds):
        cancel_task(deciding, stream, reason)


def cancel_task(deciding: Deciding, task: Task, reason: str) -> None:
    """Cancel a task for good."""
    if task.phase is Phase.RUNNING:
        deciding.stopped.append((task.id, task.attempt))
    deciding.record(NodeCancelled(task.id, reason))
