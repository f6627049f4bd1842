"""Joins: where the arms of a fork meet again, and the reducers that fold what arrives.

A reducer takes ``(current, item)``, or ``(ctx, current, item)`` if it wants the state, the dependencies, or to end
the fork early. It is called once for each arrival, in the order of arrival (``order="branch"``: when all have come, in
the order of the branches), and returns the new current value; changing ``current`` in place and returning it is fine.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

from typing_extensions import TypeAliasType

from perdure.errors import GraphSetupError
from perdure.graph.nodes.class_node import JoinNode
from perdure.graph.nodes.policies import JoinPolicies
from perdure.graph.types import (
    DepsT,
    DepsT_co,
    DepsT_contra,
    InputT,
    InputT_contra,
    OutputT,
    OutputT_co,
    StateT,
    StateT_co,
    StateT_contra,
    T,
    callable_name,
)

K = TypeVar("K")
V = TypeVar("V")

FoldOrder = Literal["arrival", "branch"]


class ReducerContext(Generic[StateT_co, DepsT_co]):
    """What a reducer is given besides the current value and the item."""

    __slots__ = ("_cancel", "_deps", "_state", "_was_cancelled")

    def __init__(
        self,
        *,
        state: StateT_co,
        deps: DepsT_co,
        cancel: Callable[[], None] | None = None,
        was_cancelled: bool = False,
    ) -> None:
        self._state = state
        self._deps = deps
        self._cancel = cancel
        self._was_cancelled = was_cancelled

    @property
    def state(self) -> StateT_co:
        """The state of the run as it is now; changes commit with the arrival that is being folded."""
        return self._state

    @property
    def deps(self) -> DepsT_co:
        """The dependencies given to this process."""
        return self._deps

    @property
    def was_cancelled(self) -> bool:
        """Whether an earlier arrival of the same decision has already cancelled the siblings."""
        return self._was_cancelled

    def cancel_sibling_tasks(self) -> None:
        """End the fork early: what is still live in it and could reach this join is cancelled, for good.

        Raises:
            GraphRuntimeError: the join folds in the order of the branches, so all of them must arrive.
        """
        if self._cancel is not None:
            self._cancel()


PlainReducerFunction = TypeAliasType(
    "PlainReducerFunction", Callable[[OutputT, InputT], OutputT], type_params=(InputT, OutputT)
)
ContextReducerFunction = TypeAliasType(
    "ContextReducerFunction",
    Callable[[ReducerContext[StateT, DepsT], OutputT, InputT], OutputT],
    type_params=(StateT, DepsT, InputT, OutputT),
)
ReducerFunction = TypeAliasType(
    "ReducerFunction",
    ContextReducerFunction[StateT, DepsT, InputT, OutputT] | PlainReducerFunction[InputT, OutputT],
    type_params=(StateT, DepsT, InputT, OutputT),
)


class SupportsSum(Protocol):
    """A value that can be added to another of its kind."""

    @abstractmethod
    def __add__(self, other: Self, /) -> Self: ...


NumericT = TypeVar("NumericT", bound=SupportsSum)


def reduce_null(current: None, item: Any) -> None:
    """Drop the item; for joins that only wait."""


def reduce_list_append(current: list[T], item: T) -> list[T]:
    """Append the item to a list."""
    current.append(item)
    return current


def reduce_list_extend(current: list[T], item: Iterable[T]) -> list[T]:
    """Extend a list with the elements of the item."""
    current.extend(item)
    return current


def reduce_dict_update(current: dict[K, V], item: Mapping[K, V]) -> dict[K, V]:
    """Update a dict with the item."""
    current.update(item)
    return current


def reduce_sum(current: NumericT, item: NumericT) -> NumericT:
    """Add the item."""
    return current + item


class ReduceFirstValue(Generic[T]):
    """Take the first value that arrives and cancel what is still live in the fork: ``ReduceFirstValue[str]()``."""

    def __call__(self, ctx: ReducerContext[object, object], current: T, item: T) -> T:
        """Return the item if it is the first one."""
        if ctx.was_cancelled:
            return current
        ctx.cancel_sibling_tasks()
        return item


class Join(Generic[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """A node where the arms of a fork meet and are folded into one value. Made by ``g.join``.

    Attributes:
        id: the node's id.
        reducer: the function that folds arrivals.
        takes_context: whether it wants a :class:`ReducerContext`.
        initial_factory: a function that returns what an instance of the join starts from.
        parent_fork_id: the fork asked for, or None to let ``preferred_parent_fork`` decide.
        preferred_parent_fork: which of the forks that qualify becomes the parent, ``"farthest"`` or ``"closest"``.
        order: ``"arrival"`` folds as values come; ``"branch"`` when all have come, in the order of the branches.
        policies: when it has enough, and what failures of its arms come to.
    """

    __slots__ = (
        "_initial_factory",
        "id",
        "order",
        "parent_fork_id",
        "policies",
        "preferred_parent_fork",
        "reducer",
        "takes_context",
    )

    def __init__(
        self,
        *,
        id: str,
        reducer: Callable[..., Any],
        initial_factory: Callable[[], OutputT_co],
        parent_fork_id: str | None = None,
        preferred_parent_fork: Literal["farthest", "closest"] = "farthest",
        order: FoldOrder = "arrival",
        policies: JoinPolicies | None = None,
    ) -> None:
        self.id: str = id
        self.reducer: Callable[..., Any] = reducer
        self.takes_context: bool = takes_context(reducer)
        self._initial_factory = initial_factory
        self.parent_fork_id: str | None = parent_fork_id
        self.preferred_parent_fork: Literal["farthest", "closest"] = preferred_parent_fork
        self.order: FoldOrder = order
        self.policies: JoinPolicies = policies or JoinPolicies()

    @property
    def initial_factory(self) -> Callable[[], OutputT_co]:
        """A function that returns what an instance of the join starts from."""
        return self._initial_factory

    def as_node(self, inputs: InputT_contra = None) -> JoinNode[StateT_contra, DepsT_contra]:  # type: ignore[assignment]
        """Return this join with a value to fold, for a node that is a class to return."""
        return JoinNode(self, inputs)

    def reduce(self, ctx: ReducerContext[Any, Any], current: Any, item: InputT_contra) -> OutputT_co:
        """Fold one arrival."""
        folded: OutputT_co
        folded = self.reducer(ctx, current, item) if self.takes_context else self.reducer(current, item)
        return folded

    def _in(self, state: StateT_contra, deps: DepsT_contra) -> None:
        raise NotImplementedError  # only here to use the type variables

    def __repr__(self) -> str:
        return f"Join(id={self.id!r})"


def takes_context(reducer: Callable[..., Any]) -> bool:
    """Say whether a reducer takes three positional arguments.

    Raises:
        GraphSetupError: it takes neither two nor three.
    """
    try:
        signature = inspect.signature(reducer)
    except (TypeError, ValueError):
        return False  # a builtin without a signature, such as max
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return False
    required = sum(
        1
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    )
    accepted = sum(
        kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds
    )
    if required == 3:
        return True
    if required <= 2 <= accepted:
        return False
    raise GraphSetupError(
        f"the reducer {callable_name(reducer)!r} takes {required} arguments: "
        "write it as (current, item) or as (ctx, current, item)"
    )


AnyJoin = Join[Any, Any, Any, Any]
