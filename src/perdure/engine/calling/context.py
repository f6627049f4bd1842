"""The contexts that user code is given."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NoReturn

from perdure.graph.nodes.step import StepContext
from perdure.ids import identify
from perdure.kernel.fold.run import Task
from perdure.kernel.state.committed import Transaction

current_attempt: ContextVar[list[AttemptContext | None]] = ContextVar("perdure_attempt")
"""A cell that holds the attempt this code runs in; a cell, so that changing it leaves no trace in the context."""


class AttemptContext(StepContext[Any, Any, Any]):
    """The context of one attempt of a task."""

    __slots__ = ("_attempt", "_offset", "_run_id", "_task", "_transaction")

    def __init__(
        self, *, run_id: str, task: Task, transaction: Transaction, deps: Any, inputs: Any, offset: int = 0
    ) -> None:
        self._run_id = run_id
        self._task = task
        self._attempt = task.attempt
        self._transaction = transaction
        self._deps = deps
        self._inputs = inputs
        self._offset = offset

    @property
    def state(self) -> Any:
        """The state, as committed when first touched, with the attempt's own changes."""
        return self._transaction.state

    @state.setter
    def state(self, value: Any) -> NoReturn:
        raise AttributeError("ctx.state can't be assigned: change what is in it, as in `ctx.state.count = 1`")

    @property
    def committed_tree(self) -> Any:
        """The state as it was committed when it was first touched, without this attempt's changes."""
        return self._transaction.base

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._run_id

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self._task.id

    @property
    def task_path(self) -> str:
        """Where the task is, as text: ``load_map[17]/check``."""
        return self._task.shown_path

    @property
    def attempt(self) -> int:
        """The number of this try of the task; the first is 1."""
        return self._attempt

    @property
    def idempotency_key(self) -> str:
        """A key that is the same over attempts, recoveries and retries of this run."""
        return identify(self._run_id, self._task.id)

    @property
    def stream_offset(self) -> int:
        """How many items of this stream step are recorded already."""
        return self._offset

    def with_inputs(self, inputs: Any) -> AttemptContext:
        """Return the context of a transform in the same attempt."""
        return AttemptContext(
            run_id=self._run_id, task=self._task, transaction=self._transaction, deps=self._deps, inputs=inputs
        )


class EntryContext(StepContext[Any, Any, Any]):
    """The context of a transform behind the entry of a subgraph: the outer one, with the state that begins there.

    What it changes in that state is part of what the subgraph starts from.
    """

    __slots__ = ("_outer",)

    def __init__(self, outer: StepContext[Any, Any, Any], state: Any, inputs: Any) -> None:
        super().__init__(state=state, deps=outer.deps, inputs=inputs)
        self._outer = outer

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._outer.run_id

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self._outer.task_id

    @property
    def attempt(self) -> int:
        """The number of this try of the task; the first is 1."""
        return self._outer.attempt

    @property
    def idempotency_key(self) -> str:
        """A key that is the same over attempts, recoveries and retries of this run."""
        return self._outer.idempotency_key

    def with_inputs(self, inputs: Any) -> EntryContext:
        """Return the context of a further transform."""
        return EntryContext(self._outer, self._state, inputs)


class JoinContext(StepContext[Any, Any, Any]):
    """The context of a transform behind a join, which runs in no attempt."""

    __slots__ = ("_run_id", "_transaction")

    def __init__(self, *, run_id: str, transaction: Transaction, deps: Any, inputs: Any) -> None:
        self._run_id = run_id
        self._transaction = transaction
        self._deps = deps
        self._inputs = inputs

    @property
    def state(self) -> Any:
        """The state as it is now, with the changes of this transform."""
        return self._transaction.state

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._run_id

    def with_inputs(self, inputs: Any) -> JoinContext:
        """Return the context of a further transform."""
        return JoinContext(run_id=self._run_id, transaction=self._transaction, deps=self._deps, inputs=inputs)
