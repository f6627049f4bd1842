"""The user's code as the kernel calls it: reducers, what lies behind joins, and the start."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from perdure.engine.calling.context import JoinContext
from perdure.engine.calling.evaluate import Flows, run_now
from perdure.engine.calling.values import Values
from perdure.errors import AnswerRefused, GraphRuntimeError
from perdure.events import ErrorInfo, Value
from perdure.failure import Failure
from perdure.graph.graph import Graph
from perdure.graph.nodes.forms import answered
from perdure.graph.nodes.join import Join, ReducerContext
from perdure.graph.nodes.wait import Wait
from perdure.kernel.decide.deciding import Closing
from perdure.kernel.decide.results import Succeeded
from perdure.kernel.fold.run import Arrival, OpenJoin, Ref, Source, Task
from perdure.kernel.state.committed import Committed, Transaction

_NO_STATE = Committed()


class UserCode:
    """The code of one graph, for one run."""

    __slots__ = (
        "_deps",
        "_flows",
        "_graph",
        "_run_id",
        "_values",
    )

    def __init__(self, graph: Graph[Any, Any, Any, Any], flows: Flows, values: Values, run_id: str, deps: Any) -> None:
        self._graph = graph
        self._flows = flows
        self._values = values
        self._run_id = run_id
        self._deps = deps

    def begin(self, start: Task) -> Succeeded | None:
        """Return what comes of the inputs, or None if finding out calls user code, or has to wait for items."""
        return self._passed(start)

    def pass_on(self, task: Task) -> Succeeded | None:
        """Return what comes of a wait that is over, or None if finding out calls user code, or has to wait."""
        return self._passed(task)

    def _passed(self, task: Task) -> Succeeded | None:
        node = task.node
        if self._flows.is_static[node.id]:
            return Succeeded(task.id, 1, self._values.nothing)
        if self._flows.calls_user_code(node.flow):
            return None
        return self.pass_value(task.id, node.id, self._values.load(task.value))

    def pass_value(self, task: str, node: str, value: Any) -> Succeeded | None:
        """Return what comes of a value that a node gives on, where that calls no user code."""
        context = JoinContext(run_id=self._run_id, transaction=Transaction(_NO_STATE), deps=self._deps, inputs=value)
        evaluated = run_now(self._flows.evaluate(node, value, context, self._values), f"mapping what {node} gives on")
        if evaluated.stream is not None:
            return None
        return Succeeded(task, 1, self._values.nothing, evaluated.route, evaluated.maps)

    def expired(self, task: Task) -> Value | None:
        """Return the answer that a wait gives itself when its deadline passes, or None if it gives none."""
        wait = self._graph.nodes[task.node.id]
        if not isinstance(wait, Wait) or wait.answer is None:
            return None
        return self._values.record(task.node.id, wait.answer.value)

    def answer(self, task: Task, data: bytes) -> Value:
        """Return what has come in for a wait, as it is to be recorded.

        Raises:
            PerdureError: it doesn't fit the form, or can't be stored.
        """
        wait = self._graph.nodes[task.node.id]
        assert isinstance(wait, Wait)
        try:
            return self._values.record(task.node.id, answered(wait.form, data))
        except AnswerRefused as error:
            raise AnswerRefused(self._values.describe(error).message) from None

    def describe(self, error: BaseException) -> ErrorInfo:
        """Return an exception as data, as it is to be recorded."""
        return self._values.describe(error)

    def failure(self, task: str, path: str, attempts: int, error: ErrorInfo) -> Value:
        """Return the failure of a task, or of an inner join, as a value for a join to get."""
        return self._values.record("", Failure(task, path, error.type, error.message, attempts))

    def fold(
        self, join: str, current: Any, arrival: Arrival, was_cancelled: bool, state: Transaction
    ) -> tuple[Any, bool]:
        """Fold an arrival; return the new value and whether the reducer cancelled the siblings."""
        node = cast("Join[Any, Any, Any, Any]", self._graph.nodes[join])
        if current is msgspec.UNSET:
            current = node.initial_factory()
        item = self._values.load(arrival.value)
        if not node.takes_context:
            return node.reducer(current, item), False
        cancelled = False

        def cancel() -> None:
            nonlocal cancelled
            if node.order == "branch":
                raise GraphRuntimeError(
                    f"join {join!r} folds in the order of the branches, so all of them have come when it does: "
                    'cancel_sibling_tasks() goes with order="arrival"'
                )
            cancelled = True

        context = _LazyReducerContext(state, self._deps, cancel, was_cancelled)
        return node.reducer(context, current, item), cancelled

    def close(self, joined: OpenJoin, state: Transaction) -> Closing:
        """Return what a join gives out, and the way it takes."""
        node = joined.node
        value = joined.value
        if value is msgspec.UNSET:
            value = cast("Join[Any, Any, Any, Any]", self._graph.nodes[node.id]).initial_factory()
        if self._flows.is_static[node.id]:
            return Closing(self._values.record(node.id, value), None, ())
        context = JoinContext(run_id=self._run_id, transaction=state, deps=self._deps, inputs=value)
        evaluated = run_now(self._flows.evaluate(node.id, value, context, self._values), f"join {node.id!r}")
        if evaluated.stream is not None:
            raise GraphRuntimeError(
                f"join {node.id!r}: its value of type {type(value).__name__} is mapped, and has to be a list or another "
                "collection"
            )
        recorded = self._values.record(node.id, value) if self._flows.needs_output[node.id] else self._values.nothing
        return Closing(recorded, evaluated.route, evaluated.maps)

    def inline(self, value: Source) -> Value:
        """Return a value that was recorded elsewhere, to be recorded again."""
        return value.value if isinstance(value, Ref) else self._values.record("", self._values.load(value))

    def written(self, operations: Any) -> Value:
        """Return operations on the state as they are to be recorded."""
        return self._values.written(operations)

    def refold(self, joined: OpenJoin) -> None:
        """Rebuild the value of an open join from the arrivals that the log says were folded."""
        while joined.unfolded:
            past = joined.unfolded[0]
            discarded = Transaction(past.state)
            joined.value, _ = self.fold(joined.node.id, joined.value, past.arrival, past.was_cancelled, discarded)
            joined.unfolded.popleft()


class _LazyReducerContext(ReducerContext[Any, Any]):
    """A reducer's context that makes a draft of the state only if it is asked for."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: Transaction, deps: Any, cancel: Any, was_cancelled: bool) -> None:
        super().__init__(state=None, deps=deps, cancel=cancel, was_cancelled=was_cancelled)
        self._transaction = transaction

    @property
    def state(self) -> Any:
        """The state as it is now, with the changes of this fold."""
        return self._transaction.state
