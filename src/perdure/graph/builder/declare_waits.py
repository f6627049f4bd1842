"""Declaring waits: for a person, for a signal, for a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, overload

from perdure.errors import GraphSetupError
from perdure.graph.builder.declare_nodes import NodeDeclarations
from perdure.graph.nodes.forms import form_schema, is_open
from perdure.graph.nodes.step import StepContext
from perdure.graph.nodes.wait import OnDeadline, Wait, deadline_actions, microseconds, since_1970
from perdure.graph.plan import WaitKind
from perdure.graph.types import DepsT, InputT, OutputT, StateT, T, TypeExpression, optional_text, text, unwrapped
from perdure.ids import checked_identifier


class WaitDeclarations(NodeDeclarations[StateT, DepsT]):
    """The part of the builder that makes nodes which wait."""

    @overload
    def human(
        self,
        name: str,
        *,
        form: type[TypeExpression[OutputT]],
        title: str | Callable[[StepContext[StateT, DepsT, Any]], str] = "",
        assignee: str | Callable[[StepContext[StateT, DepsT, Any]], str] = "",
        deadline: timedelta | Callable[[StepContext[StateT, DepsT, Any]], timedelta] | None = None,
        on_deadline: OnDeadline | Sequence[OnDeadline] | None = None,
        node_id: str | None = None,
        label: str | None = None,
    ) -> Wait[StateT, DepsT, Any, OutputT]: ...

    @overload
    def human(
        self,
        name: str,
        *,
        form: type[OutputT],
        title: str | Callable[[StepContext[StateT, DepsT, Any]], str] = "",
        assignee: str | Callable[[StepContext[StateT, DepsT, Any]], str] = "",
        deadline: timedelta | Callable[[StepContext[StateT, DepsT, Any]], timedelta] | None = None,
        on_deadline: OnDeadline | Sequence[OnDeadline] | None = None,
        node_id: str | None = None,
        label: str | None = None,
    ) -> Wait[StateT, DepsT, Any, OutputT]: ...

    @overload
    def human(
        self,
        name: str,
        *,
        form: dict[str, Any] | None = None,
        title: str | Callable[[StepContext[StateT, DepsT, Any]], str] = "",
        assignee: str | Callable[[StepContext[StateT, DepsT, Any]], str] = "",
        deadline: timedelta | Callable[[StepContext[StateT, DepsT, Any]], timedelta] | None = None,
        on_deadline: OnDeadline | Sequence[OnDeadline] | None = None,
        node_id: str | None = None,
        label: str | None = None,
    ) -> Wait[StateT, DepsT, Any, Any]: ...

    def human(
        self,
        name: str,
        *,
        form: Any = None,
        title: str | Callable[[StepContext[StateT, DepsT, Any]], str] = "",
        assignee: str | Callable[[StepContext[StateT, DepsT, Any]], str] = "",
        deadline: timedelta | Callable[[StepContext[StateT, DepsT, Any]], timedelta] | None = None,
        on_deadline: OnDeadline | Sequence[OnDeadline] | None = None,
        node_id: str | None = None,
        label: str | None = None,
    ) -> Wait[StateT, DepsT, Any, Any]:
        """Make a node that waits for a person; their answer becomes its output.

        Args:
            name: what the task is called in lists.
            form: what an answer has to look like: a msgspec Struct, a dataclass, a pydantic model, a builtin type, or a JSON
                schema as a dict; without it every JSON value will do.
            title: what is asked, as text or as a function of the context.
            assignee: who is asked, as text or as a function of the context.
            deadline: how soon they have to answer.
            on_deadline: what happens if they don't: ``Escalate(…)``, several of them, and ``Answer(…)`` as the last; without
                one the task fails with ``DeadlineExceeded``.
            node_id: the node's id; the name if it isn't given.
            label: what renderings show instead of the id.

        Raises:
            GraphSetupError: the form can't be described as a JSON schema, or an argument is of a wrong type.
        """
        form = Any if form is None else unwrapped(form)
        form_schema(form)
        where = f"g.human({name!r})"
        if deadline is not None and not callable(deadline):
            microseconds(f"{where}: deadline", deadline)
        if deadline is None and on_deadline is not None:
            raise GraphSetupError(f"{where}: on_deadline= needs a deadline=")
        escalations, answer = deadline_actions(where, on_deadline)
        return Wait(
            id=text("node_id", node_id if node_id is not None else name),
            kind=WaitKind.HUMAN,
            name=checked_identifier("name", text("name", name)),
            form=form,
            title=title,
            assignee=assignee,
            after=deadline,
            escalations=escalations,
            answer=answer,
            label=optional_text("label", label),
        )

    @overload
    def signal(
        self, name: str, form: type[TypeExpression[T]], *, node_id: str | None = None, label: str | None = None
    ) -> Wait[StateT, DepsT, Any, T]: ...

    @overload
    def signal(
        self, name: str, form: type[T], *, node_id: str | None = None, label: str | None = None
    ) -> Wait[StateT, DepsT, Any, T]: ...

    @overload
    def signal(
        self, name: str, form: None = None, *, node_id: str | None = None, label: str | None = None
    ) -> Wait[StateT, DepsT, Any, Any]: ...

    def signal(
        self, name: str, form: Any = None, *, node_id: str | None = None, label: str | None = None
    ) -> Wait[StateT, DepsT, Any, Any]:
        """Make a node that waits for a signal of a name; its payload becomes the output.

        A signal that comes before its wait is kept. Each is taken by one wait, that which has waited longest.

        Args:
            name: the name of the signal.
            form: the type of the payload; without it every JSON value will do.
            node_id: the node's id; the name if it isn't given.
            label: what renderings show instead of the id.

        Raises:
            GraphSetupError: an argument is of a wrong type.
        """
        form = Any if form is None else unwrapped(form)
        if not is_open(form):
            form_schema(form)
        return Wait(
            id=text("node_id", node_id if node_id is not None else name),
            kind=WaitKind.SIGNAL,
            name=checked_identifier("name", text("name", name)),
            form=form,
            label=optional_text("label", label),
        )

    def sleep(
        self,
        duration: timedelta | Callable[[StepContext[StateT, DepsT, InputT]], timedelta],
        *,
        node_id: str | None = None,
        label: str | None = None,
    ) -> Wait[StateT, DepsT, InputT, InputT]:
        """Make a node that waits for a while and then gives on what it was given.

        Args:
            duration: for how long, or a function of the context that says so.
            node_id: the node's id; ``sleep``, ``sleep_2`` … if it isn't given.
            label: what renderings show instead of the id.

        Raises:
            GraphSetupError: the duration is of a wrong type, or negative.
        """
        if not callable(duration):
            microseconds("g.sleep: duration", duration)
        return Wait(
            id=self._id_for(node_id, "sleep"),
            kind=WaitKind.SLEEP,
            after=duration,
            label=optional_text("label", label),
        )

    def sleep_until(
        self,
        when: datetime | Callable[[StepContext[StateT, DepsT, InputT]], datetime],
        *,
        node_id: str | None = None,
        label: str | None = None,
    ) -> Wait[StateT, DepsT, InputT, InputT]:
        """Make a node that waits until a time and then gives on what it was given.

        Args:
            when: until when, with a time zone, or a function of the context that says so.
            node_id: the node's id; ``sleep``, ``sleep_2`` … if it isn't given.
            label: what renderings show instead of the id.

        Raises:
            GraphSetupError: the time is of a wrong type, or has no time zone.
        """
        if not callable(when):
            since_1970("g.sleep_until: when", when)
        return Wait(
            id=self._id_for(node_id, "sleep"),
            kind=WaitKind.SLEEP,
            at=when,
            label=optional_text("label", label),
        )
