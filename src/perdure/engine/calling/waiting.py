"""Waiting: what the code of a wait says, and what is told of a wait to those outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import msgspec

from perdure.engine.calling.context import AttemptContext
from perdure.errors import GraphRuntimeError, GraphSetupError, InvalidIdentifier, StoreCorrupt
from perdure.events import (
    Answered,
    AnyEvent,
    Escalated,
    NodeCancelled,
    NodeCompleted,
    NodeFailed,
    SignalReceived,
    TimerFired,
    WaitOpened,
)
from perdure.graph.nodes.wait import Wait as WaitNode
from perdure.graph.nodes.wait import microseconds, since_1970
from perdure.ids import checked_identifier, checked_text
from perdure.kernel.decide.results import Parked, Request
from perdure.kernel.fold.run import Run, Task
from perdure.store.records import Entry, Wait


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


_WAIT_EVENTS = frozenset(
    {WaitOpened, Answered, SignalReceived, TimerFired, Escalated, NodeCancelled, NodeFailed, NodeCompleted}
)


def waits_touched(events: Sequence[AnyEvent], known: Collection[str]) -> list[str]:
    """Return the tasks whose waits may have begun, changed or ended with these events."""
    touched: dict[str, None] = {}
    for event in events:
        kind = type(event)
        if kind is WaitOpened or (known and kind in _WAIT_EVENTS and event.task in known):  # type: ignore[union-attr]
            touched[event.task] = None  # type: ignore[union-attr]
    return list(touched)


def wait_of(run: Run, task: Task, now: int) -> Wait:
    """Return what the store keeps of a wait."""
    plan = task.node.wait
    assert plan is not None
    return Wait(
        run.run_id,
        task.id,
        task.node.id,
        plan.kind.value,
        plan.name,
        task.title,
        task.assignee,
        bytes(plan.schema),
        task.opened_at or now,
        task.due_at,
        task.shown_path,
    )


def waiting_of(wait: Wait) -> Waiting:
    """Return what is told of a wait."""
    return Waiting(
        wait.run_id,
        wait.task,
        wait.node,
        wait.kind,
        wait.name,
        wait.title,
        wait.assignee,
        msgspec.json.decode(wait.schema),
        wait.path,
        wait.opened_at,
        wait.due_at,
    )


def request_in(entry: Entry, run_id: str, location: str) -> Request:
    """Return what somebody wants of a run, from its inbox.

    Raises:
        StoreCorrupt: it isn't what was put in.
    """
    try:
        details = msgspec.json.decode(entry.value, type=RequestDetails)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(
            f"run {run_id!r}: entry {entry.number} of its inbox, to {entry.kind} it, isn't what is ever put in ({error})",
            location=location,
        ) from error
    verb: Literal["pause", "cancel"] = "cancel" if entry.kind == "cancel" else "pause"
    return Request(entry.number, verb, entry.by, details.reason, details.now)


class RequestDetails(msgspec.Struct, frozen=True):
    """What is said with a request, as it stands in the inbox."""

    reason: str = ""
    now: bool = False


def parked(
    wait: WaitNode[Any, Any, Any, Any], task: Task, context: AttemptContext, now: int, recorded: Callable[[str], str]
) -> Parked:
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
    try:
        title = checked_text("title", title)
        if assignee:
            assignee = checked_identifier("assignee", assignee)
    except InvalidIdentifier as error:
        raise GraphRuntimeError(f"wait {wait.id!r}: {error.message}") from None
    return Parked(task.id, context.attempt, recorded(title), recorded(assignee), due_at)


def _asked(value: Any, context: AttemptContext) -> Any:
    return value(context) if callable(value) else value
