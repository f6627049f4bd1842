"""Waiting: what the code of a wait says, and what is told of a wait to those outside."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.engine.context import AttemptContext
from perdure.errors import GraphRuntimeError, GraphSetupError
from perdure.graph.wait import Wait, microseconds, since_1970
from perdure.kernel.results import Parked
from perdure.kernel.run import Task


class Waiting(msgspec.Struct, frozen=True):
    """An open wait.

    Attributes:
        run_id: the run.
        task_id: the task that waits; what ``respond`` answers.
        node: the id of its node.
        kind: ``"human"``, ``"signal"`` or ``"sleep"``.
        name: the name of the human task, or of the signal.
        title: what is to be done.
        assignee: by whom.
        form: what an answer has to look like, as a JSON schema; None where nobody is asked.
        path: where the task is, as text: ``load_map[17]/approve``.
        opened_at: since when it waits, in microseconds since 1970.
        due_at: when the sleep ends, or the deadline passes; None if there is none.
    """

    run_id: str
    task_id: str
    node: str
    kind: str
    name: str
    title: str
    assignee: str
    form: Any
    path: str
    opened_at: int
    due_at: int | None


def parked(wait: Wait[Any, Any, Any, Any], task: Task, context: AttemptContext, now: int) -> Parked:
    """Return what the code of a wait says: who is asked what, and until when.

    Raises:
        GraphRuntimeError: a function returned something of a wrong type.
    """
    after, at = _asked(wait.after, context), _asked(wait.at, context)
    try:
        due_at = now + microseconds(f"wait {wait.id!r}", after) if after is not None else None
        if at is not None:
            due_at = since_1970(f"wait {wait.id!r}", at)
    except GraphSetupError as error:
        raise GraphRuntimeError(error.message) from error
    title, assignee = _asked(wait.title, context), _asked(wait.assignee, context)
    for what, text in (("title", title), ("assignee", assignee)):
        if not isinstance(text, str):
            raise GraphRuntimeError(
                f"wait {wait.id!r}: the function of {what}= returned {text!r:.80}, and not a string"
            )
    return Parked(task.id, context.attempt, title, assignee, due_at)


def _asked(value: Any, context: AttemptContext) -> Any:
    return value(context) if callable(value) else value
