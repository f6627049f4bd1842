"""Outcomes: what bodies have come to, and what has come in from outside, recorded with all that follows at once."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from perdure.errors import DeadlineExceeded, PerdureError
from perdure.events import (
    Answered,
    AnswerRefused,
    ErrorInfo,
    Escalated,
    ItemsEnded,
    ItemsTaken,
    NodeCompleted,
    RunContinued,
    SignalKept,
    SignalReceived,
    StreamOpened,
    TimerFired,
    WaitOpened,
)
from perdure.graph.plan import WaitKind
from perdure.kernel.decide.deciding import Deciding
from perdure.kernel.decide.results import Continued, Delivery, Failed, Parked, Result, Streaming, Succeeded, Yielded
from perdure.kernel.fold.run import Phase, Task

MAX_KEPT = 1_000
"""How many signals that nobody waits for yet a run keeps."""


def take_results(deciding: Deciding, results: Iterable[Result]) -> None:
    """Record results, in the order in which they came, and place what comes of them."""
    tasks = deciding.run.tasks
    for result in results:
        task = tasks.get(result.task)
        if task is None or task.phase is not Phase.RUNNING or task.attempt != result.attempt:
            continue  # it was cancelled, or interrupted, while its result was on the way
        if type(result) is Succeeded:
            _succeeded(deciding, task, result)
        elif type(result) is Yielded:
            _yielded(deciding, task, result)
        elif type(result) is Streaming:
            deciding.record(StreamOpened(task.id, result.route))
            deciding.open_forks(())
        elif type(result) is Failed:
            deciding.fail(task, result.error, result.exception, result.retry_after, is_final=result.is_final)
        elif type(result) is Continued and deciding.run.successor is None:
            deciding.record(RunContinued(task.id, result.successor, result.inputs, result.state))
        elif type(result) is Parked:
            open_wait(deciding, task, result)


def _succeeded(deciding: Deciding, task: Task, result: Succeeded) -> None:
    change = None
    if result.proposal is not None:
        try:
            change = deciding.change(deciding.run.state_of(task.scope, task.node), result.proposal)
        except Exception as error:  # a conflict, or a value that can't be stored
            deciding.refuse_change(task, error)
            return
    if task.feeds is not None:
        for instance in task.feeds:
            feed = instance.feed
            if feed is not None and feed.task is not None:
                deciding.record(ItemsEnded(instance.id, feed.taken, result.short_of))
    deciding.record(NodeCompleted(task.id, result.output, result.route, change))
    if deciding.run.fresh:
        deciding.open_forks(result.maps)


def _yielded(deciding: Deciding, task: Task, result: Yielded) -> None:
    for instance, chunks in zip(task.feeds or (), result.items, strict=True):
        for items in chunks:
            feed = instance.feed
            if feed is not None and feed.task == task.id:
                deciding.record(ItemsTaken(instance.id, feed.taken, items))


# --- waits ---


def open_wait(deciding: Deciding, task: Task, parked: Parked | None = None) -> bool:
    """Let a task wait for what its node says, or what the node's own code has said; say whether it need not any more."""
    wait = task.node.wait
    assert wait is not None
    due_at = parked.due_at if parked is not None else None
    if due_at is None and wait.after is not None:
        due_at = deciding.now + wait.after
    deciding.record(
        WaitOpened(
            task.id,
            task.node.id,
            wait.kind.value,
            wait.name,
            (parked.title if parked is not None else "") or wait.title,
            (parked.assignee if parked is not None else "") or wait.assignee,
            wait.schema,
            wait.at if due_at is None else due_at,
            deciding.now,
        )
    )
    if wait.kind is WaitKind.SIGNAL:
        for kept in deciding.run.signals:
            if kept.name == wait.name:
                _answer(deciding, task, Delivery(kept.entry, "", kept.name, kept.data, kept.by))
                if task.phase is not Phase.WAITING:
                    return True
    return False


def deliver(deciding: Deciding, deliveries: Iterable[Delivery]) -> None:
    """Hand over what has come in.

    An answer goes to its task, if that still waits. A signal goes to the task that has waited longest for its name; one that
    nobody waits for is kept for the first that will.
    """
    run = deciding.run
    for delivery in deliveries:
        deciding.consumed.append(delivery.entry)
        if delivery.task:
            task = run.tasks.get(delivery.task)
            if task is not None and task.phase is Phase.WAITING:
                _answer(deciding, task, delivery)
            else:
                reason = "nothing waits for it any more"
                deciding.record(AnswerRefused(delivery.task, reason, delivery.by, delivery.entry))
        elif (waiting := _waiting_for(deciding, delivery.name)) is not None:
            _answer(deciding, waiting, delivery)
        elif len(run.signals) >= MAX_KEPT:
            reason = f"{MAX_KEPT:,} signals that nobody waits for are kept already"
            deciding.record(AnswerRefused("", reason, delivery.by, delivery.entry))
        else:
            deciding.record(SignalKept(delivery.name, msgspec.Raw(delivery.data), delivery.by, delivery.entry))


def _answer(deciding: Deciding, task: Task, delivery: Delivery) -> None:
    try:
        value = deciding.code.answer(task, delivery.data)
    except PerdureError as error:
        deciding.record(AnswerRefused(task.id, error.message, delivery.by, delivery.entry))
        return
    if delivery.task:
        deciding.record(Answered(task.id, value, delivery.by, delivery.entry))
    else:
        deciding.record(SignalReceived(task.id, delivery.name, value, delivery.by, delivery.entry))
    pass_on(deciding, task)


def _waiting_for(deciding: Deciding, name: str) -> Task | None:
    """Return the task that has waited longest for a signal."""
    waiting = (
        task
        for task in deciding.run.tasks.values()
        if task.phase is Phase.WAITING
        and (wait := task.node.wait) is not None
        and wait.kind is WaitKind.SIGNAL
        and wait.name == name
    )
    return min(waiting, key=lambda task: task.opened, default=None)


def pass_on(deciding: Deciding, task: Task) -> bool:
    """Let a wait that is over go on at once, unless what follows it calls user code: then it is run like a step."""
    passed = deciding.code.pass_on(task)
    if passed is None:
        return False
    deciding.record(NodeCompleted(task.id, passed.output, passed.route))
    deciding.open_forks(passed.maps)
    return True


def ring(deciding: Deciding) -> None:
    """Do what is due: retries become ready, sleeps end, deadlines pass."""
    run = deciding.run
    run.next_alarm()
    early = {at for at in deciding.come if at > deciding.now}
    come = [alarm for alarm in run.alarms if alarm[0] in early] if early else []
    while run.alarms and run.alarms[0][0] <= deciding.now:
        _ring_for(deciding, run.tasks[run.alarms[0][1]])
        run.next_alarm()
    for at, task_id in sorted(come):
        task = run.tasks.get(task_id)
        if task is not None and task.due_at == at:
            _ring_for(deciding, task)


def _ring_for(deciding: Deciding, task: Task) -> None:
    if task.phase is Phase.RETRYING:
        deciding.record(TimerFired(task.id))
    elif task.node.wait is not None and task.node.wait.kind is WaitKind.SLEEP:
        deciding.record(TimerFired(task.id))
        pass_on(deciding, task)
    else:
        _expire(deciding, task)


def _expire(deciding: Deciding, task: Task) -> None:
    """Do what a wait does when its deadline passes: escalate, answer itself, or fail."""
    wait = task.node.wait
    assert wait is not None
    if task.escalations < len(wait.escalations):
        assignee, after = wait.escalations[task.escalations]
        due_at = deciding.now + after if after is not None else None
        deciding.record(Escalated(task.id, assignee, due_at))
        return
    answer = deciding.code.expired(task)
    if answer is not None:
        deciding.record(Answered(task.id, answer, "deadline"))
        pass_on(deciding, task)
        return
    error = DeadlineExceeded(
        f"run {deciding.run.run_id!r}: nobody has answered {task.shown_path} in time", run_id=deciding.run.run_id
    )
    deciding.fail(task, ErrorInfo("DeadlineExceeded", error.message), error)
