"""Concluding: whether a run is over, and how."""

from __future__ import annotations

from typing import Literal, TypeAlias

from perdure.errors import DeadlineExceeded, NoResult, PerdureError, RunConflict
from perdure.events import ErrorInfo, JoinCancelled, NodeInterrupted, Output, RunCompleted, RunFailed
from perdure.kernel.decide.deciding import Deciding
from perdure.kernel.decide.settle import cancel_task
from perdure.kernel.fold.run import Phase, Ref, Source
from perdure.kernel.fold.status import Status

Successor: TypeAlias = Literal["", "there", "taken"]
"""What has become of the run that another one goes on as: it isn't made yet, it is there, or its id is a stranger's."""


def conclude(deciding: Deciding) -> None:
    """End the run if it has failed, has reached its end, or has nothing left to run."""
    run, hold = deciding.run, deciding.hold
    if run.status is not Status.RUNNING:
        return
    if run.deadline is not None and (deciding.now >= run.deadline or run.deadline in deciding.come):
        message = f"run {run.run_id!r} wasn't over by its deadline"
        give_up(deciding, DeadlineExceeded(message, run_id=run.run_id))
    elif deciding.failure is not None:
        end_in_failure(deciding, deciding.failure[0], deciding.failure[1])
    elif hold is not None and hold.override is not None and hold.override.output is not None:
        _complete(deciding)
    elif run.failures and hold is not None:
        if hold.accepts_failure:
            end_in_failure(deciding, *run.failures[0])
    elif run.failures and all(task.phase is Phase.FAILED for task in run.tasks.values()):
        end_in_failure(deciding, *run.failures[0])
    elif run.ends and not run.failures and (run.plan.end == "first" or run.is_idle):
        if hold is None or hold.accepts_end:
            _complete(deciding)
    elif run.is_idle:
        where = "; ".join(run.loose_ends) or "no value got past the start"
        if run.lost > len(run.loose_ends):
            where += f"; and {run.lost - len(run.loose_ends)} more"
        message = f"run {run.run_id!r}: nothing is left to run and no value has reached the end ({where})"
        give_up(deciding, NoResult(message, run_id=run.run_id))


def _complete(deciding: Deciding) -> None:
    run = deciding.run
    _cancel_the_rest(deciding, "the run has reached its end")
    values = run.ends if run.plan.end == "all" else run.ends[:1]
    deciding.record(RunCompleted(tuple(_output(deciding, value, source) for value, source in values)))


def go_on_as_new(deciding: Deciding, successor: Successor) -> None:
    """End a run that goes on as a new one, once that is there; until then nothing runs."""
    run = deciding.run
    assert run.successor is not None
    if successor == "taken":
        message = f"run {run.run_id!r} can't go on as {run.successor.successor!r}: another run has that id"
        give_up(deciding, RunConflict(message, run_id=run.run_id))
    elif successor == "there":
        _cancel_the_rest(deciding, f"the run goes on as {run.successor.successor}")
        deciding.record(RunCompleted((), run.successor.successor))
    else:
        interrupt_all(deciding)


def _cancel_the_rest(deciding: Deciding, reason: str) -> None:
    run = deciding.run
    for task in sorted(run.tasks.values(), key=lambda task: task.path):
        cancel_task(deciding, task, reason)
    for joined in list(run.joins.values()):
        deciding.record(JoinCancelled(joined.node.id, joined.scope.id))


def _output(deciding: Deciding, value: Source, source: str) -> Output:
    by = value.by if isinstance(value, Ref) else ""
    if isinstance(value, Ref) and value.seq:
        return Output(value.seq, source=source, by=by)
    return Output(0, deciding.code.inline(value), source, by)


def interrupt_all(deciding: Deciding) -> None:
    """Stop every body that runs; its task runs again when the run goes on."""
    for task in [task for task in deciding.run.tasks.values() if task.phase is Phase.RUNNING]:
        deciding.stopped.append((task.id, task.attempt))
        deciding.record(NodeInterrupted(task.id))


def end_in_failure(deciding: Deciding, error: ErrorInfo, task_id: str) -> None:
    """Let the run fail; what finished is kept."""
    interrupt_all(deciding)
    failed = deciding.run.tasks.get(task_id)
    deciding.record(RunFailed(error, task_id, failed.shown_path if failed is not None else ""))


def give_up(deciding: Deciding, error: PerdureError) -> None:
    """Let the run fail with an error of perdure's own."""
    info = ErrorInfo(type(error).__name__, error.message)
    deciding.failure = (info, "", error)
    end_in_failure(deciding, info, "")
