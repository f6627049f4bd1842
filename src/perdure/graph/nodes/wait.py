"""Waits: nodes at which a task waits for a person, a signal or a time.

A task that waits holds no slot and runs no code; it lasts as long as it has to, over any number of restarts. What comes
becomes the node's output; a sleep gives on what it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeAlias

from perdure.errors import GraphSetupError
from perdure.graph.nodes.policies import LONGEST
from perdure.graph.nodes.step import StepContext
from perdure.graph.plan import WaitKind
from perdure.graph.types import DepsT_contra, InputT_contra, OutputT_co, StateT_contra
from perdure.ids import checked_identifier

Asked: TypeAlias = Callable[[StepContext[Any, Any, Any]], Any]
"""A function of the context that says who, what or when, in place of a fixed value."""


@dataclass(frozen=True)
class Escalate:
    """When a deadline passes, hand the task to somebody else.

    Attributes:
        assignee: who is asked now.
        deadline: how soon they have to answer, or None for no deadline.
    """

    assignee: str
    deadline: timedelta | None = None


@dataclass(frozen=True)
class Answer:
    """When a deadline passes, take this for the answer.

    Attributes:
        value: the answer, of the form's type.
    """

    value: Any


OnDeadline: TypeAlias = Escalate | Answer
"""What happens when nobody has answered in time; where nothing does, the task fails with ``DeadlineExceeded``."""


class Wait(Generic[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """A node at which a task waits. Made by ``g.human``, ``g.signal``, ``g.sleep`` and ``g.sleep_until``.

    Attributes:
        id: the node's id.
        kind: what it waits for.
        name: the name of the signal, or of the human task.
        form: the type of the answer, or a JSON schema as a dict; Any takes everything.
        title, assignee: what is to be done and by whom, as text or as functions of the context.
        after: how long a sleep lasts, or how soon a person has to answer: a timedelta, or a function of the context.
        at: when a sleep ends: a datetime with a time zone, or a function of the context.
        escalations: who is asked next, each time a deadline passes.
        answer: what is taken for the answer after the last deadline, or None.
        label: what a rendering shows instead of the id, or None.
    """

    __slots__ = ("after", "answer", "assignee", "at", "escalations", "form", "id", "kind", "label", "name", "title")

    def __init__(
        self,
        *,
        id: str,
        kind: WaitKind,
        name: str = "",
        form: Any = Any,
        title: str | Asked = "",
        assignee: str | Asked = "",
        after: timedelta | Asked | None = None,
        at: datetime | Asked | None = None,
        escalations: tuple[Escalate, ...] = (),
        answer: Answer | None = None,
        label: str | None = None,
    ) -> None:
        self.id: str = id
        self.kind: WaitKind = kind
        self.name: str = name
        self.form: Any = form
        self.title: str | Asked = title
        self.assignee: str | Asked = assignee
        self.after: timedelta | Asked | None = after
        self.at: datetime | Asked | None = at
        self.escalations: tuple[Escalate, ...] = escalations
        self.answer: Answer | None = answer
        self.label: str | None = label

    @property
    def asks_code(self) -> bool:
        """Whether functions say when, who or what."""
        return any(callable(value) for value in (self.title, self.assignee, self.after, self.at))

    @property
    def output_type(self) -> Any:
        """What the node gives out, as far as that can be told."""
        return self.form if not isinstance(self.form, dict) else Any

    def _gives(self, state: StateT_contra, deps: DepsT_contra, inputs: InputT_contra) -> OutputT_co:
        raise NotImplementedError  # only here so that type checkers infer the variance

    def __repr__(self) -> str:
        return f"Wait(id={self.id!r}, kind={self.kind.value!r})"


def microseconds(name: str, value: object) -> int:
    """Return a length of time in whole microseconds, at most the ``LONGEST``.

    Raises:
        GraphSetupError: it is no timedelta, or negative.
    """
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise GraphSetupError(f"{name}={value!r:.80}: give a timedelta that isn't negative")
    return min(value, LONGEST) // timedelta(microseconds=1)


def since_1970(name: str, value: object) -> int:
    """Return a time in microseconds since 1970.

    Raises:
        GraphSetupError: it is no datetime, or has no time zone.
    """
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise GraphSetupError(f"{name}={value!r:.80}: give a datetime with a time zone, as datetime.now(UTC) has one")
    return int(value.timestamp() * 1_000_000)


def deadline_actions(where: str, given: Any) -> tuple[tuple[Escalate, ...], Answer | None]:
    """Return what is done, one after another, when deadlines pass.

    Raises:
        GraphSetupError: something else is given, or something comes after an answer.
    """
    actions = (given,) if isinstance(given, Escalate | Answer) else tuple(given or ())
    *before, last = actions or (None,)
    if any(not isinstance(action, Escalate) for action in before) or not isinstance(last, Escalate | Answer | None):
        raise GraphSetupError(
            f"{where}: on_deadline={given!r:.80}: give Escalate(…), several of them, or Answer(…) as the last"
        )
    escalations = tuple(action for action in actions if isinstance(action, Escalate))
    for escalation in escalations:
        checked_identifier("assignee", escalation.assignee)
        if escalation.deadline is not None:
            microseconds(f"{where}: Escalate deadline", escalation.deadline)
    return escalations, last if isinstance(last, Answer) else None
