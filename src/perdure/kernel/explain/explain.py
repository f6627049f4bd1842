"""Explaining: every reason for which a run makes no progress, from its fold alone.

What the log can't know, who drives the run and whether they live, is added by the shell (``engine/inspection/standstill.py``). The order
is that of weight: what stands above has to be done away with before what stands below it can matter. So the first reason is
the one to look at, and joins, which only wait for others, come last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from perdure.events import RunCancelled, RunCompleted, RunFailed, RunPaused
from perdure.graph.plan import NodeKind, WaitKind
from perdure.kernel.explain.circumstances import Circumstances
from perdure.kernel.explain.reasons import (
    AnswerAwaited,
    BodyRuns,
    Cancelled,
    Completed,
    DeadlineAhead,
    EffectUncertain,
    Failed,
    JoinWaits,
    LeasesLost,
    LimitFull,
    Paused,
    Pending,
    ReadyToStart,
    Reason,
    RetryDue,
    SignalAwaited,
    StreamRuns,
    SuspectsInTurn,
    TaskFailed,
    TimerSet,
    WindowFull,
    moment,
    since,
)
from perdure.kernel.fold.run import AFTER, Instance, Phase, Run, Task, limit_keys, shown_path
from perdure.kernel.fold.status import FINAL, OVER

SHOWN = 20
"""How many reasons of one kind are told, and how many tasks are named in one."""


class Reasons(msgspec.Struct, frozen=True):
    """Why a run makes no progress.

    Attributes:
        found: the reasons, the weightiest first.
        omitted: for each kind of which there are too many to tell: how many were left out.
    """

    found: tuple[Reason, ...]
    omitted: dict[str, int]


def explain(run: Run, circumstances: Circumstances, now: int, *, is_driven: bool, limit: int = SHOWN) -> Reasons:
    """Return every reason for which a run makes no progress.

    Args:
        run: the fold.
        circumstances: what was gathered beside it.
        now: the time, in microseconds since 1970.
        is_driven: whether somebody drives the run.
        limit: how many reasons of one kind are told, and how many tasks are named in one.
    """
    counts: dict[str, int] = defaultdict(int)
    found = []
    for reason in _reasons(run, circumstances, now, is_driven, limit):
        kind = type(reason).__name__
        counts[kind] += 1
        if counts[kind] <= limit:
            found.append(reason)
    return Reasons(tuple(found), {kind: count - limit for kind, count in counts.items() if count > limit})


def _reasons(run: Run, known: Circumstances, now: int, is_driven: bool, limit: int) -> Iterator[Reason]:
    yield from _decided(known)
    if run.status in FINAL:
        return
    tasks = sorted(run.tasks.values(), key=lambda task: (task.path, task.node.id))
    yield from (EffectUncertain(task.id, task.shown_path) for task in tasks if _is_uncertain(task))
    yield from _of_phase(tasks, Phase.FAILED, known, now, is_driven)
    if run.status in OVER:
        return
    yield from _held_back(run, tasks, is_driven, limit)
    if known.losses > 1:
        yield LeasesLost(known.losses, known.lost_at)
    for phase in (Phase.WAITING, Phase.RETRYING, Phase.RUNNING):
        yield from _of_phase(tasks, phase, known, now, is_driven, tuple(kept.name for kept in run.signals))
    yield from _full_windows(run)
    yield from _waiting_joins(run, tasks, known, is_driven, limit)
    if run.deadline is not None:
        yield DeadlineAhead(run.deadline)


def _decided(known: Circumstances) -> Iterator[Reason]:
    """Yield what was decided about the run as a whole."""
    event, at = known.stopped, known.at
    if isinstance(event, RunCompleted):
        yield Completed(at, event.successor)
    elif isinstance(event, RunFailed):
        yield Failed(event.error, event.task, event.path, at)
    elif isinstance(event, RunCancelled):
        yield Cancelled(event.by, event.reason, at)
    elif isinstance(event, RunPaused):
        yield Paused(event.by, event.reason, at)


# --- tasks ---


def _is_uncertain(task: Task) -> bool:
    return task.is_uncertain and task.node.effect == "pause" and task.phase is Phase.READY


def _of_phase(
    tasks: Iterable[Task],
    phase: Phase,
    known: Circumstances,
    now: int,
    is_driven: bool,
    signals: tuple[str, ...] = (),
) -> Iterator[Reason]:
    for task in tasks:
        if task.phase is not phase:
            continue
        path, began = task.shown_path, known.since.get(task.id)
        if phase is Phase.FAILED:
            yield TaskFailed(task.id, path, task.attempt, known.errors.get(task.id))
        elif phase is Phase.RETRYING:
            error = known.errors.get(task.id)
            yield RetryDue(task.id, path, task.attempt, task.due_at, error, _is_past(task, now))
        elif phase is Phase.RUNNING and is_driven and (task.feeds or task.node.kind is NodeKind.STREAM):
            yield _stream(task, path, began, known)
        elif phase is Phase.RUNNING:
            yield BodyRuns(task.id, path, task.attempt, began, not is_driven)
        else:
            yield _wait(task, path, began, known, now, signals)


def _stream(task: Task, path: str, began: int | None, known: Circumstances) -> Reason:
    fed = [instance for instance in task.feeds or () if instance.feed is not None]
    taken = max((instance.feed.taken for instance in fed if instance.feed is not None), default=0)
    last = max((known.yielded.get(instance.id, 0) for instance in fed), default=0)
    return StreamRuns(task.id, path, task.attempt, began, taken, last if last >= (began or 0) and last else None)


def _wait(task: Task, path: str, began: int | None, known: Circumstances, now: int, signals: tuple[str, ...]) -> Reason:
    plan = task.node.wait
    assert plan is not None
    refused = known.refused[task.id].reason if task.id in known.refused else ""
    began = task.opened_at or began
    if plan.kind is WaitKind.HUMAN:
        return AnswerAwaited(task.id, path, plan.name, task.title, task.assignee, began, task.due_at, refused)
    if plan.kind is WaitKind.SIGNAL:
        return SignalAwaited(task.id, path, plan.name, began, task.due_at, signals, refused)
    return TimerSet(task.id, path, began, task.due_at, _is_past(task, now))


def _is_past(task: Task, now: int) -> bool:
    return task.due_at is not None and task.due_at <= now


def _held_back(run: Run, tasks: list[Task], is_driven: bool, limit: int) -> Iterator[Reason]:
    """Yield why tasks that are ready don't start."""
    full: dict[str, list[Task]] = {}
    capacities: dict[str, int] = {}
    suspects, free = [], []
    running = [task for task in tasks if task.phase is Phase.RUNNING]
    running_suspects = [task for task in running if task.is_suspect] if run.crashes > 1 else []
    for task in tasks:
        if task.phase is not Phase.READY or _is_uncertain(task):
            continue
        keys = [(key, capacity) for key, capacity in limit_keys(task) if run.running.get(key, 0) >= capacity]
        for key, capacity in keys:
            full.setdefault(key, []).append(task)
            capacities[key] = capacity
        if task.is_suspect and running_suspects:
            suspects.append(task)
        elif not keys:
            free.append(task)
    if suspects:
        yield SuspectsInTurn(run.crashes, _paths(suspects, limit), len(suspects), _paths(running_suspects, limit))
    for key, held in full.items():
        holders = [task for task in running if any(key == other for other, _ in limit_keys(task))]
        name = key.partition("@")[0]
        yield LimitFull(name, capacities[key], _paths(held, limit), len(held), _paths(holders, limit))
    if free and not is_driven:
        yield ReadyToStart(_paths(free, limit), len(free))


def _paths(tasks: list[Task], limit: int) -> tuple[str, ...]:
    return tuple(task.shown_path for task in tasks[:limit])


# --- forks and joins ---


def _full_windows(run: Run) -> Iterator[Reason]:
    for instance in run.maps.values():
        feed = instance.feed
        assert feed is not None
        window = instance.fork.window
        if feed.arms is not None and len(feed.arms) >= window and feed.opened < feed.taken:
            path = shown_path(instance, AFTER, instance.fork.id)
            yield WindowFull(instance.fork.id, path, window, len(feed.arms), feed.opened, feed.taken)


def _waiting_joins(run: Run, tasks: list[Task], known: Circumstances, is_driven: bool, limit: int) -> Iterator[Reason]:
    """Yield the joins that something could still reach, or that are open, each with what could."""
    pending: dict[tuple[str, str], list[Pending]] = {key: [] for key in run.joins}
    scopes: dict[tuple[str, str], Instance] = {key: joined.scope for key, joined in run.joins.items()}

    def add(counted: tuple[tuple[str, str], ...], scope: Instance, task: Task | None, path: str, state: str) -> None:
        for fork, join in counted:
            instance = scope.scope[fork]
            key = (join, instance.id)
            scopes[key] = instance
            if len(parts := pending.setdefault(key, [])) < limit:
                words = _doing(task, known, is_driven) if task is not None else state
                parts.append(Pending(task.id if task is not None else "", path or task.shown_path, words))  # type: ignore[union-attr]

    for task in tasks:
        add(task.node.counted, task.scope, task, "", "")
    for joined in run.joins.values():
        path = shown_path(joined.scope, AFTER, joined.node.id)
        add(joined.node.counted, joined.scope, None, path, "waits for others itself")
    for instance in run.maps.values():
        assert instance.feed is not None
        path = shown_path(instance, AFTER, instance.fork.id)
        add(instance.fork.counted, instance, None, path, f"has opened {instance.feed.opened} arms, and more may come")
    for (name, id_), parts in pending.items():
        instance = scopes[name, id_]
        open_ = run.joins.get((name, id_))
        arrived = open_.count + len(open_.kept) if open_ is not None else 0
        left = instance.counts.get(name, 0)
        path = shown_path(instance, AFTER, name)
        yield JoinWaits(name, path, arrived, left, instance.size, tuple(parts))


def _doing(task: Task, known: Circumstances, is_driven: bool) -> str:
    """Return what a task does, in words."""
    is_waiting = task.phase is Phase.WAITING
    began = since((task.opened_at if is_waiting else 0) or known.since.get(task.id))
    due = f" at {moment(task.due_at)}" if task.due_at is not None else ""
    if task.phase is Phase.READY:
        return "may have had its effect" if _is_uncertain(task) else "hasn't started"
    if task.phase is Phase.RUNNING:
        return f"runs{began}" if is_driven else "was running, and runs again"
    if task.phase is Phase.RETRYING:
        return f"is tried again{due}"
    if task.phase is Phase.FAILED:
        return "has failed"
    assert task.node.wait is not None
    kind = task.node.wait.kind
    what = {WaitKind.HUMAN: "waits for an answer", WaitKind.SIGNAL: f"waits for signal {task.node.wait.name!r}"}
    return what.get(kind, f"sleeps until{due.removeprefix(' at')}") + (began if kind is not WaitKind.SLEEP else "")
