"""Decisions: one of several ways on, chosen by the type of a value and by tests on it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, Never, Self, TypeVar, cast, overload

from perdure.errors import GraphSetupError
from perdure.graph.nodes.conditions import Condition
from perdure.graph.nodes.paths import (
    LabelItem,
    Path,
    PathItem,
    TransformFunction,
    arms_of,
    broadcast_to,
    destination_path,
    map_item,
    transform_item,
)
from perdure.graph.types import DepsT_contra, OutputT_co, StateT_contra, T, TypeOrTypeExpression, membership, text

if TYPE_CHECKING:
    from perdure.graph.nodes.class_node import BaseNode
    from perdure.graph.nodes.nodes import DestinationNode

HandledT_contra = TypeVar("HandledT_contra", contravariant=True)
SourceT = TypeVar("SourceT")
NewOutputT = TypeVar("NewOutputT")


class DecisionBranch(Generic[SourceT]):
    """One way out of a decision.

    Attributes:
        source: the type a value must have to take this way.
        matches: a further test of the value, or None.
        path: what the value goes through.
    """

    __slots__ = ("matches", "path", "source", "test")

    def __init__(
        self, *, source: TypeOrTypeExpression[SourceT], matches: Callable[[Any], bool] | None, path: Path
    ) -> None:
        self.source: TypeOrTypeExpression[SourceT] = source
        self.matches: Callable[[Any], bool] | None = matches
        self.path: Path = path
        self.test: Callable[[Any], bool] = _tested(source, matches)


def _tested(source: Any, matches: Callable[[Any], bool] | None) -> Callable[[Any], bool]:
    if matches is not None and (not callable(matches) or iscoroutinefunction(matches)):
        raise GraphSetupError(f"g.match: matches={matches!r:.80} is no plain function of the value")
    try:
        is_member = membership(source, widely=matches is not None)
    except TypeError as error:
        if matches is not None:
            return matches  # it alone can tell
        raise GraphSetupError(f"g.match: {error}") from None
    if is_member is None:
        return matches or (lambda value: True)
    if matches is None:
        return is_member
    if isinstance(matches, Condition):
        return matches.only_for(is_member)
    return lambda value: is_member(value) and bool(matches(value))


class Decision(Generic[StateT_contra, DepsT_contra, HandledT_contra]):
    """A node that sends a value down the first of its branches that takes it. Made by ``g.decision``.

    Attributes:
        id: the node's id.
        note: text shown beside the node in renderings, or None.
        branches: the ways out, in the order they are tried.
    """

    __slots__ = ("branches", "id", "note")

    def __init__(self, *, id: str, note: str | None = None) -> None:
        self.id: str = id
        self.note: str | None = note
        self.branches: list[DecisionBranch[Any]] = []

    def branch(self, branch: DecisionBranch[T]) -> Decision[StateT_contra, DepsT_contra, HandledT_contra | T]:
        """Add a way out; it is tried after those added before it.

        Raises:
            GraphSetupError: the branch isn't finished.
        """
        if not isinstance(branch, DecisionBranch):
            raise GraphSetupError(
                f"branch: {branch!r:.80} is no finished branch: begin it with g.match(…), end it with .to(…) or .broadcast(…)"
            )
        self.branches.append(branch)
        return cast("Decision[StateT_contra, DepsT_contra, HandledT_contra | T]", self)

    def _takes(self, inputs: HandledT_contra) -> Never:
        raise NotImplementedError  # only here so that type checkers infer the variance

    def __repr__(self) -> str:
        return f"Decision(id={self.id!r})"


class DecisionBranchBuilder(Generic[StateT_contra, DepsT_contra, OutputT_co, SourceT, HandledT_contra]):
    """A way out of a decision that is being described; ends with ``to`` or ``broadcast``."""

    __slots__ = ("_items", "_matches", "_source")

    def __init__(
        self,
        *,
        source: TypeOrTypeExpression[SourceT],
        matches: Callable[[Any], bool] | None,
        items: Path = (),
    ) -> None:
        self._source = source
        self._matches = matches
        self._items = items

    def _with(self, item: PathItem) -> DecisionBranchBuilder[Any, Any, Any, SourceT, HandledT_contra]:
        return DecisionBranchBuilder(source=self._source, matches=self._matches, items=(*self._items, item))

    def _ended(self, end: Path) -> DecisionBranch[SourceT]:
        return DecisionBranch(source=self._source, matches=self._matches, path=(*self._items, *end))

    def to(
        self,
        destination: DestinationNode[StateT_contra, DepsT_contra, OutputT_co]
        | type[BaseNode[StateT_contra, DepsT_contra, Any]],
        /,
        *extra_destinations: DestinationNode[StateT_contra, DepsT_contra, OutputT_co]
        | type[BaseNode[StateT_contra, DepsT_contra, Any]],
        fork_id: str | None = None,
    ) -> DecisionBranch[SourceT]:
        """End the branch at a node, or at several that all get the value."""
        return self._ended(destination_path(destination, extra_destinations, fork_id))

    def broadcast(
        self, get_forks: Callable[[Self], Sequence[DecisionBranch[SourceT]]], /, *, fork_id: str | None = None
    ) -> DecisionBranch[SourceT]:
        """End the branch in several paths that all get the value."""
        fresh = cast("Self", DecisionBranchBuilder(source=self._source, matches=self._matches))
        arms: list[DecisionBranch[Any]] = arms_of(get_forks(fresh), DecisionBranch, "with .to(…) or .broadcast(…)")
        if any(arm.source is not self._source or arm.matches is not self._matches for arm in arms):
            raise GraphSetupError(
                "broadcast: an arm has a g.match of its own; begin each arm with the argument of the function, as in "
                ".broadcast(lambda e: [e.to(a), e.map().to(b)])"
            )
        return self._ended(broadcast_to([arm.path for arm in arms], fork_id))

    def transform(
        self, func: TransformFunction[StateT_contra, DepsT_contra, OutputT_co, NewOutputT], /
    ) -> DecisionBranchBuilder[StateT_contra, DepsT_contra, NewOutputT, SourceT, HandledT_contra]:
        """Change the value on its way."""
        return self._with(transform_item(func))

    @overload
    def map(
        self: DecisionBranchBuilder[StateT_contra, DepsT_contra, Iterable[T], SourceT, HandledT_contra],
        *,
        fork_id: str | None = None,
        downstream_join_id: str | None = None,
        max_concurrency: int | None = None,
    ) -> DecisionBranchBuilder[StateT_contra, DepsT_contra, T, SourceT, HandledT_contra]: ...

    @overload
    def map(
        self: DecisionBranchBuilder[StateT_contra, DepsT_contra, AsyncIterable[T], SourceT, HandledT_contra],
        *,
        fork_id: str | None = None,
        downstream_join_id: str | None = None,
        max_concurrency: int | None = None,
    ) -> DecisionBranchBuilder[StateT_contra, DepsT_contra, T, SourceT, HandledT_contra]: ...

    @overload
    def map(
        self: DecisionBranchBuilder[
            StateT_contra, DepsT_contra, Iterable[T] | AsyncIterable[T], SourceT, HandledT_contra
        ],
        *,
        fork_id: str | None = None,
        downstream_join_id: str | None = None,
        max_concurrency: int | None = None,
    ) -> DecisionBranchBuilder[StateT_contra, DepsT_contra, T, SourceT, HandledT_contra]: ...

    def map(
        self, *, fork_id: str | None = None, downstream_join_id: str | None = None, max_concurrency: int | None = None
    ) -> DecisionBranchBuilder[StateT_contra, DepsT_contra, Any, SourceT, HandledT_contra]:
        """Send each item of the value on its own way."""
        return self._with(map_item(fork_id, downstream_join_id, max_concurrency))

    def label(
        self, label: str
    ) -> DecisionBranchBuilder[StateT_contra, DepsT_contra, OutputT_co, SourceT, HandledT_contra]:
        """Name the edge in renderings."""
        return self._with(LabelItem(text("label", label)))
