"""Applying events: the fold.

``apply`` is the only thing that changes a run. Live, the kernel decides on an event and applies it; on recovery, the
events are read from the log and applied: it is the same code, so what a process had in memory and what another rebuilds
can't differ. Nothing here calls user code or looks at a clock.

One commit holds what one decision recorded, so some facts only live between the events of a commit: an arrival placed
by a completion is taken up by a ``ReducerUpdated``, a fork that was crossed by its ``ForkOpened``. If they are still
there when the log ends, it doesn't fit the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure import events as ev
from perdure.errors import GraphRuntimeError
from perdure.graph.flow import Leaf
from perdure.graph.plan import TASKS, NodeKind
from perdure.ids import START_TASK, identify
from perdure.kernel.fold.placing import Walk, arrive, end_feed, limit_arms, open_arms, set_total, take
from perdure.kernel.fold.revival import (
    abandoned_by,
    aside_of,
    begin_aside,
    forget,
    put_aside_feed,
    put_aside_join,
    put_aside_task,
    revive,
)
from perdure.kernel.fold.run import (
    AFTER,
    Arrival,
    KeptSignal,
    OpenJoin,
    Origin,
    Phase,
    Ref,
    Run,
    Source,
    Task,
    Unfolded,
    shown_path,
)
from perdure.kernel.fold.status import MAY_FOLLOW, OVER, Status
from perdure.kernel.fold.tokens import enter_phase, open_join, place, release, remove, remove_join
from perdure.kernel.state.committed import Committed

PASSING = frozenset({NodeKind.START, NodeKind.WAIT, NodeKind.ROUTER})
"""Nodes that give on what reached them; their completions record no output."""


def apply(run: Run, event: ev.AnyEvent) -> None:
    """Fold one event into a run.

    Raises:
        GraphRuntimeError: the event doesn't fit: the log is of another graph, or damaged.
    """
    run.seq += 1
    try:
        _APPLY[type(event)](run, event)
    except (KeyError, IndexError, AttributeError) as error:
        raise GraphRuntimeError(
            f"run {run.run_id!r}: event {run.seq} ({type(event).__name__}) doesn't fit the graph {run.plan.name!r}: "
            f"{type(error).__name__} {error}. The graph has changed since the event was recorded"
        ) from error


def _enter(run: Run, status: Status) -> None:
    if status not in MAY_FOLLOW[run.status]:
        raise GraphRuntimeError(f"run {run.run_id!r}: {status} can't follow {run.status}")
    run.status = status


# --- the run ---


def _run_started(run: Run, event: ev.RunStarted) -> None:
    run.durability = event.durability
    run.deadline = event.deadline
    if event.max_steps is not None:
        run.max_steps = event.max_steps
    run.state = Committed(run.reading.state(event.state), run.state.declared, run.seq)
    start = Task(START_TASK, run.plan.nodes["__start__"], run.root, 0, Ref(event.inputs, "__start__", run.seq), 0)
    run.tasks[START_TASK] = run.ready[START_TASK] = run.root.tasks[START_TASK] = start


def _segment_started(run: Run, event: ev.SegmentStarted) -> None:
    """A worker takes over: what was running when the last one ended without a word was there when it crashed.

    The tasks in flight are suspects until they finish. From the second crash on suspects run one at a time, so that a
    crash with a single suspect running counts against that one.

    Nothing has crashed where the process before is known to live: it was stopped, or slow, and lost its lease. What isn't
    known is taken for a crash, else a task that takes its host down with it would do so for ever.
    """
    _enter(run, Status.RUNNING)
    run.segment = event
    in_flight = [task for task in run.tasks.values() if task.phase is Phase.RUNNING]
    has_crashed = bool(in_flight) and event.before != "lives"
    if has_crashed:
        run.crashes += 1
        suspects = [task for task in in_flight if task.is_suspect]
        if run.crashes > 1 and len(suspects) == 1:
            suspects[0].crashes += 1
    for task in in_flight:
        task.is_suspect = task.is_suspect or has_crashed
        task.is_uncertain = bool(task.node.effect)
        enter_phase(run, task, Phase.READY)
    run.settled.extend((instance, join) for (join, _), joined in run.joins.items() for instance in (joined.scope,))
    run.stirred.update(run.maps)


def _segment_ended(run: Run, event: ev.SegmentEnded) -> None:
    """The tasks that ran were recorded as interrupted; a run in which all is waiting is nobody's until it is woken."""
    if event.reason == ev.WAITS:
        _enter(run, Status.WAITING)


def _run_paused(run: Run, event: ev.RunPaused) -> None:
    _enter(run, Status.PAUSED)


def _run_resumed(run: Run, event: ev.RunResumed) -> None:
    _enter(run, Status.RUNNING)
    for task in run.tasks.values():
        task.is_uncertain = False


def _run_retried(run: Run, event: ev.RunRetried) -> None:
    _enter(run, Status.RUNNING)
    if event.max_steps is not None:
        run.max_steps = event.max_steps
    run.deadline = None
    run.crashes = 0
    run.failures = ()
    for task in run.tasks.values():
        task.failures = task.crashes = 0
        task.is_suspect = task.is_uncertain = False
        if task.phase is Phase.FAILED:
            enter_phase(run, task, Phase.READY)
    revive(run)


def _run_accepted(run: Run, event: ev.RunAccepted) -> None:
    _enter(run, Status.RUNNING)


def _run_completed(run: Run, event: ev.RunCompleted) -> None:
    _enter(run, Status.COMPLETED)


def _run_continued(run: Run, event: ev.RunContinued) -> None:
    run.successor = event


def _run_failed(run: Run, event: ev.RunFailed) -> None:
    _enter(run, Status.FAILED)


def _run_cancelled(run: Run, event: ev.RunCancelled) -> None:
    _enter(run, Status.CANCELLED)


# --- tasks ---


def _node_started(run: Run, event: ev.NodeStarted) -> None:
    task = run.tasks[event.task]
    task.attempt = event.attempt
    enter_phase(run, task, Phase.RUNNING)


def _node_completed(run: Run, event: ev.NodeCompleted) -> None:
    task = run.tasks[event.task]
    node, scope = task.node, task.scope
    if event.change is not None:
        _change(run, run.state_of(scope, node), event.change)
    if task.feeds is None:
        flow = node.flow
        value: Source = task.value if node.kind in PASSING else Ref(event.output, node.id, run.seq)
        depth = task.depth + 1
        # The most frequent ways on, from a step to another one and from an arm of a map into a join, are spelled out.
        if type(flow) is Leaf and (target := run.plan.nodes[flow.target]).kind in TASKS:
            task_id = identify(task.id, flow.target, str(flow.ordinal))
            place(run, Task(task_id, target, scope, task.index, value, depth))
        elif type(flow) is Leaf and target.kind is NodeKind.JOIN and target.order == "arrival":
            path = (*(index for _, index in scope.trail), task.index)
            joining = scope.scope[target.parent]
            joining.arriving += 1
            run.arrivals.append(Arrival(target, joining, value, task.id, path, depth))
        elif flow is not None:
            Walk(run, Origin(task.id, depth), event.route).follow(flow, value, scope, task.index, ())
        else:
            run.lose(f"nothing follows {task.shown_path}")
    remove(run, task)


def _node_failed(run: Run, event: ev.NodeFailed) -> None:
    task = run.tasks[event.task]
    task.failures += 1
    task.is_uncertain = False
    if event.outcome == "retry":
        enter_phase(run, task, Phase.RETRYING, event.retry_at)
    elif event.outcome in ("fail", "wait"):
        enter_phase(run, task, Phase.FAILED)
        if event.outcome == "wait":
            run.failures += ((event.error, task.id),)
    else:
        node = run.plan.nodes[task.node.catch[1]]
        joined = open_join(run, node, task.scope)
        joined.failed.append((task.shown_path, event.error, task.id))
        aside = begin_aside(joined, abandoned_by(run, task.scope, task.node, node.id))
        if aside is not None:
            put_aside_task(aside, task)
        if event.outcome == "collect":
            arrive(run, node, task.scope, task.index, Ref(event.value, "", 0), Origin(task.id, task.depth + 1))
        remove(run, task)


def _node_interrupted(run: Run, event: ev.NodeInterrupted) -> None:
    task = run.tasks[event.task]
    task.is_uncertain = bool(task.node.effect)
    enter_phase(run, task, Phase.READY)


def _node_cancelled(run: Run, event: ev.NodeCancelled) -> None:
    task = run.tasks[event.task]
    aside = aside_of(task.scope, task.node)
    if aside is not None:
        put_aside_task(aside, task)
    remove(run, task)


def _change(run: Run, state: Committed, change: ev.Change) -> None:
    state.apply(run.reading.operations(change.operations), run.seq)


# --- waits ---


def _wait_opened(run: Run, event: ev.WaitOpened) -> None:
    task = run.tasks[event.task]
    task.title, task.assignee = event.title, event.assignee
    task.opened, task.opened_at, task.escalations = run.seq, event.opened_at, 0
    enter_phase(run, task, Phase.WAITING, event.due_at)


def _answered(run: Run, event: ev.Answered | ev.SignalReceived) -> None:
    task = run.tasks[event.task]
    task.value = Ref(event.value, task.node.id, run.seq)
    enter_phase(run, task, Phase.READY)
    task.is_answered = True


def _signal_kept(run: Run, event: ev.SignalKept) -> None:
    run.signals += (KeptSignal(event.entry, event.name, bytes(event.data), event.by),)


def _signal_received(run: Run, event: ev.SignalReceived) -> None:
    run.signals = tuple(kept for kept in run.signals if kept.entry != event.entry)
    _answered(run, event)


def _answer_refused(run: Run, event: ev.AnswerRefused) -> None:
    """The task waits on; a signal that doesn't fit is dropped."""
    run.signals = tuple(kept for kept in run.signals if kept.entry != event.entry)


def _timer_fired(run: Run, event: ev.TimerFired) -> None:
    task = run.tasks[event.task]
    task.is_answered = task.phase is Phase.WAITING
    enter_phase(run, task, Phase.READY)


def _escalated(run: Run, event: ev.Escalated) -> None:
    task = run.tasks[event.task]
    task.escalations += 1
    task.assignee = event.assignee
    enter_phase(run, task, Phase.WAITING, event.due_at)


def _overridden(run: Run, event: ev.Overridden) -> None:
    """A caller decides what comes next: what is placed counts for its joins before what is dropped ceases to."""
    if event.takes_back:
        run.ends.clear()
    instances = run.instances()
    for number, placed in enumerate(event.placed):
        origin = Origin(identify("override", str(run.seq), str(number)), placed.depth)
        walk = Walk(run, origin, placed.route)
        walk.follow(Leaf(placed.node), Ref(placed.value, "", 0), instances[placed.instance], placed.index, ())
    for task_id in event.dropped:
        remove(run, run.tasks[task_id])
    run.failures = tuple(failure for failure in run.failures if failure[1] not in event.dropped)
    if event.output is not None:
        run.ends.append((Ref(event.output.value, "", 0), ""))


# --- forks ---


def _fork_opened(run: Run, event: ev.ForkOpened) -> None:
    instance = run.fresh.pop(event.instance)
    if instance.feed is not None and instance.size is None:
        instance.size = event.size
        limit_arms(instance.feed, event.size, instance.fork.window)
        if event.size is not None:
            set_total(run, instance, event.size)
    release(run, instance)


def _stream_opened(run: Run, event: ev.StreamOpened) -> None:
    task = run.tasks[event.task]
    assert task.node.flow is not None
    known = set(run.fresh)
    origin = Origin(task.id, task.depth + 1)
    nothing = Ref(None, task.node.id, run.seq)
    Walk(run, origin, event.route).follow(task.node.flow, nothing, task.scope, task.index, ())
    task.feeds = [instance for id_, instance in run.fresh.items() if id_ not in known and instance.feed is not None]
    for instance in task.feeds:
        assert instance.feed is not None
        instance.feed.task = task.id


def _items_taken(run: Run, event: ev.ItemsTaken) -> None:
    instance = run.maps[event.instance]
    feed = instance.feed
    assert feed is not None
    if event.first != feed.taken:
        raise GraphRuntimeError(f"run {run.run_id!r}: items from {event.first} on follow items up to {feed.taken}")
    take(feed, event.items, run.seq)
    run.stirred[instance.id] = instance


def _items_ended(run: Run, event: ev.ItemsEnded) -> None:
    instance = run.maps[event.instance]
    feed = instance.feed
    assert feed is not None
    aside = aside_of(instance, instance.fork)
    if aside is not None:
        put_aside_feed(aside, instance, feed)
    if event.count == feed.opened:
        end_feed(run, instance)
    else:
        set_total(run, instance, event.count)


def _arms_opened(run: Run, event: ev.ArmsOpened) -> None:
    open_arms(run, run.maps[event.instance], event.upto)


# --- joins ---


def _reducer_updated(run: Run, event: ev.ReducerUpdated) -> None:
    detail = event.detail
    if detail is not None and detail.instance:
        joined = run.joins[event.join, detail.instance]
        if not joined.count:
            joined.keep_in_branch_order()
        arrival = joined.kept.popleft()
    else:
        arrival = run.arrivals.popleft()
        joined = open_join(run, arrival.join, arrival.scope)
        arrival.scope.arriving -= 1
    if arrival.source != event.task or joined.node.id != event.join:
        raise GraphRuntimeError(
            f"run {run.run_id!r}: join {event.join!r} folds {event.task} where {arrival.source} arrived"
        )
    state = run.state_of(joined.scope, joined.node)
    if run.reading.refolds:
        joined.unfolded.append(Unfolded(arrival, state.frozen(), joined.cancelled))
    joined.count += 1
    joined.first = joined.first or run.seq
    joined.last = run.seq
    joined.depth = max(joined.depth, arrival.depth)
    if detail is not None:
        joined.cancelled = joined.cancelled or detail.cancelled
        if detail.change is not None:
            _change(run, state, detail.change)


def _join_closed(run: Run, event: ev.JoinClosed) -> None:
    joined = run.joins[event.join, event.instance]
    node = joined.node
    if event.change is not None:
        _change(run, run.state_of(joined.scope, node), event.change)
    if node.flow is not None:
        origin = Origin(join_output_id(joined), joined.depth + 1)
        value = Ref(event.value, node.id, run.seq)
        Walk(run, origin, event.route).follow(node.flow, value, joined.scope, AFTER, ())
    else:
        run.lose(f"nothing follows {shown_path(joined.scope, AFTER, node.id)}")
    remove_join(run, joined)
    forget(run, joined)


def join_output_id(joined: OpenJoin) -> str:
    """Return the identity of what a join instance gives out."""
    return identify("join", joined.node.id, joined.scope.id)


def _join_cancelled(run: Run, event: ev.JoinCancelled) -> None:
    joined = run.joins[event.join, event.instance]
    aside = aside_of(joined.scope, joined.node, (event.instance, event.join))
    if aside is not None:
        put_aside_join(aside, joined)
    remove_join(run, joined)
    if aside is None:
        forget(run, joined)


def _join_failed(run: Run, event: ev.JoinFailed) -> None:
    joined = run.joins[event.join, event.instance]
    node, scope = run.plan.nodes[event.into], joined.scope
    around = open_join(run, node, scope)
    around.failed.append((shown_path(scope, AFTER, event.join), event.error, event.task))
    aside = begin_aside(around, abandoned_by(run, scope, joined.node, node.id))
    if aside is not None:
        put_aside_join(aside, joined)
    if event.outcome == "collect":
        arrive(run, node, scope, AFTER, Ref(event.value, "", 0), Origin(join_output_id(joined), joined.depth + 1))
    remove_join(run, joined)
    if aside is None:
        forget(run, joined)


_APPLY: dict[type, Callable[[Run, Any], None]] = {
    ev.RunStarted: _run_started,
    ev.SegmentStarted: _segment_started,
    ev.SegmentEnded: _segment_ended,
    ev.RunPaused: _run_paused,
    ev.RunResumed: _run_resumed,
    ev.RunRetried: _run_retried,
    ev.RunAccepted: _run_accepted,
    ev.RunCompleted: _run_completed,
    ev.RunContinued: _run_continued,
    ev.RunFailed: _run_failed,
    ev.RunCancelled: _run_cancelled,
    ev.NodeStarted: _node_started,
    ev.NodeCompleted: _node_completed,
    ev.NodeFailed: _node_failed,
    ev.NodeInterrupted: _node_interrupted,
    ev.NodeCancelled: _node_cancelled,
    ev.WaitOpened: _wait_opened,
    ev.Answered: _answered,
    ev.SignalKept: _signal_kept,
    ev.SignalReceived: _signal_received,
    ev.AnswerRefused: _answer_refused,
    ev.TimerFired: _timer_fired,
    ev.Escalated: _escalated,
    ev.Overridden: _overridden,
    ev.ForkOpened: _fork_opened,
    ev.StreamOpened: _stream_opened,
    ev.ItemsTaken: _items_taken,
    ev.ItemsEnded: _items_ended,
    ev.ArmsOpened: _arms_opened,
    ev.ReducerUpdated: _reducer_updated,
    ev.JoinClosed: _join_closed,
    ev.JoinCancelled: _join_cancelled,
    ev.JoinFailed: _join_failed,
}


def check_complete(run: Run) -> None:
    """Check, at the end of a log, that its last commit recorded all that the graph asks for.

    Raises:
        GraphRuntimeError: an arrival wasn't folded, or a fork not recorded.
    """
    if run.status not in OVER and (run.arrivals or run.fresh):
        missing = "a fold" if run.arrivals else "a fork"
        raise GraphRuntimeError(
            f"run {run.run_id!r}: the commit that ends at event {run.seq} doesn't record {missing} that the graph "
            f"{run.plan.name!r} asks for. The graph has changed since"
        )
