"""Paths: what a value goes through on its way from one node to the next ones.

A path is a tuple of items: transforms, labels and maps, ended by one destination or by a broadcast into further paths.
Paths are only descriptions, made while the builder is used; ``build()`` compiles them (``flow.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar, cast, overload

from perdure.errors import GraphSetupError
from perdure.graph.nodes.class_step import is_class_node, node_step
from perdure.graph.nodes.policies import optional_count
from perdure.graph.nodes.step import StepContext
from perdure.graph.types import (
    DepsT,
    DepsT_contra,
    InputT,
    OutputT,
    OutputT_co,
    StateT,
    StateT_contra,
    T,
    callable_name,
    optional_text,
    text,
)

if TYPE_CHECKING:
    from perdure.graph.nodes.class_node import BaseNode
    from perdure.graph.nodes.nodes import DestinationNode, SourceNode


ArmT = TypeVar("ArmT")


TransformFunction: TypeAlias = Callable[[StepContext[StateT, DepsT, InputT]], OutputT]
"""A function that changes a value on its way along an edge: it returns the new value, ``ctx.inputs`` is the old one."""

# Items are compared by identity: one item that several sources share is one fork, two equal items are two.


@dataclass(frozen=True, eq=False)
class TransformItem:
    """The value is replaced by what ``function`` makes of it."""

    function: TransformFunction[Any, Any, Any, Any]


@dataclass(frozen=True, eq=False)
class LabelItem:
    """The next edge carries this text in renderings."""

    label: str


@dataclass(frozen=True, eq=False)
class MapItem:
    """Each item of the value goes on alone."""

    fork_id: str | None
    downstream_join_id: str | None
    max_concurrency: int | None = None


@dataclass(frozen=True, eq=False)
class BroadcastItem:
    """The value goes on along each of several paths."""

    fork_id: str | None
    paths: tuple[Path, ...] = field(repr=False)
    max_concurrency: int | None = None


@dataclass(frozen=True, eq=False)
class EnterItem:
    """The value enters a subgraph, which may have a state of its own."""

    fork_id: str
    state: TransformFunction[Any, Any, Any, Any] | None
    max_concurrency: int | None = None


@dataclass(frozen=True, eq=False)
class DestinationItem:
    """The value has arrived."""

    node: Any
    is_direct: bool = False
    """Whether it is past the join that a step with a join policy has before it."""


PathItem: TypeAlias = TransformItem | LabelItem | MapItem | BroadcastItem | EnterItem | DestinationItem
Path: TypeAlias = tuple[PathItem, ...]


def destination_path(destination: Any, extra: Sequence[Any], fork_id: str | None) -> Path:
    """Return the path that ends at one node, or forks to several."""
    ends = [DestinationItem(node_step(node) if is_class_node(node) else node) for node in (destination, *extra)]
    return (ends[0],) if len(ends) == 1 else broadcast_to([(end,) for end in ends], fork_id)


def broadcast_to(paths: Sequence[Path], fork_id: str | None) -> Path:
    """Return the path that ends in a broadcast."""
    return (BroadcastItem(optional_text("fork_id", fork_id), tuple(paths)),)


def map_item(fork_id: str | None, downstream_join_id: str | None, max_concurrency: int | None) -> MapItem:
    """Return the item that is a map.

    Raises:
        GraphSetupError: an argument is of a wrong type, or out of range.
    """
    return MapItem(
        optional_text("fork_id", fork_id),
        optional_text("downstream_join_id", downstream_join_id),
        optional_count("map: max_concurrency", max_concurrency),
    )


def transform_item(function: TransformFunction[Any, Any, Any, Any]) -> TransformItem:
    """Return the item that is a transform.

    Raises:
        GraphSetupError: what is given can't be called, or is async.
    """
    if not callable(function):
        raise GraphSetupError(f"transform: {function!r:.80} is no function; give one that takes a StepContext")
    if iscoroutinefunction(function):
        raise GraphSetupError(
            f"transform: {callable_name(function)!r} is async; make it a plain function, or a step of its own"
        )
    return TransformItem(function)


def arms_of(forks: object, kind: type[ArmT], how: str) -> list[ArmT]:
    """Return what the function given to ``broadcast`` has returned.

    Raises:
        GraphSetupError: it isn't a list of finished arms, with at least one.
    """
    if isinstance(forks, list | tuple) and forks and all(isinstance(fork, kind) for fork in forks):
        return list(forks)
    raise GraphSetupError(
        f"broadcast: the function has to return a list of at least one arm, each finished {how}; it returned {forks!r:.80}"
    )


@dataclass(frozen=True, eq=False)
class EdgePath(Generic[StateT_contra, DepsT_contra]):
    """Edges from one or several sources along one path; what ``g.add`` takes.

    Attributes:
        sources: the nodes the edges start from.
        path: what the value goes through.
    """

    sources: tuple[Any, ...]
    path: Path

    def _for(self, state: StateT_contra, deps: DepsT_contra) -> None:
        raise NotImplementedError  # only here so that type checkers infer the variance


class EdgePathBuilder(Generic[StateT_contra, DepsT_contra, OutputT_co]):
    """Edges that are being described; ends with ``to`` or ``broadcast``."""

    __slots__ = ("_items", "_sources")

    def __init__(self, sources: Sequence[SourceNode[StateT_contra, DepsT_contra, Any]], items: Path = ()) -> None:
        self._sources = sources if isinstance(sources, tuple) else tuple(sources)
        self._items = items

    def _with(self, item: PathItem) -> EdgePathBuilder[Any, Any, Any]:
        return EdgePathBuilder(self._sources, (*self._items, item))

    def to(
        self,
        destination: DestinationNode[StateT_contra, DepsT_contra, OutputT_co]
        | type[BaseNode[StateT_contra, DepsT_contra, Any]],
        /,
        *extra_destinations: DestinationNode[StateT_contra, DepsT_contra, OutputT_co]
        | type[BaseNode[StateT_contra, DepsT_contra, Any]],
        fork_id: str | None = None,
    ) -> EdgePath[StateT_contra, DepsT_contra]:
        """End at a node, or at several that all get the value."""
        end = destination_path(destination, extra_destinations, fork_id)
        return EdgePath(self._sources, (*self._items, *end))

    def broadcast(
        self,
        get_forks: Callable[[Self], Sequence[EdgePath[StateT_contra, DepsT_contra]]],
        /,
        *,
        fork_id: str | None = None,
    ) -> EdgePath[StateT_contra, DepsT_contra]:
        """End in several paths that all get the value: ``.broadcast(lambda e: [e.to(a), e.map().to(b)])``."""
        fresh = cast("Self", EdgePathBuilder(self._sources))
        arms: list[EdgePath[Any, Any]] = arms_of(get_forks(fresh), EdgePath, "with .to(…) or .broadcast(…)")
        if any(arm.sources is not self._sources for arm in arms):
            raise GraphSetupError(
                "broadcast: an arm starts from a node of its own; begin each arm with the argument of the function, as in "
                ".broadcast(lambda e: [e.to(a), e.map().to(b)])"
            )
        return EdgePath(self._sources, (*self._items, *broadcast_to([arm.path for arm in arms], fork_id)))

    @overload
    def map(
        self: EdgePathBuilder[StateT_contra, DepsT_contra, Iterable[T]],
        *,
        fork_id: str | None = None,
        downstream_join_id: str | None = None,
        max_concurrency: int | None = None,
    ) -> EdgePathBuilder[StateT_contra, DepsT_contra, T]: ...

    @overload
    def map(
        self: EdgePathBuilder[StateT_contra, DepsT_contra, AsyncIterable[T]],
        *,
        fork_id: str | None = None,
        downstream_join_id: str | None = None,
        max_concurrency: int | None = None,
    ) -> EdgePathBuilder[StateT_contra, DepsT_contra, T]: ...

    @overload
    def map(
        self: EdgePathBuilder[StateT_contra, DepsT_contra, Iterable[T] | AsyncIterable[T]],
        *,
        fork_id: str | None = None,
        downstream_join_id: str | None = None,
        max_concurrency: int | None = None,
    ) -> EdgePathBuilder[StateT_contra, DepsT_contra, T]: ...

    def map(
        self, *, fork_id: str | None = None, downstream_join_id: str | None = None, max_concurrency: int | None = None
    ) -> EdgePathBuilder[StateT_contra, DepsT_contra, Any]:
        """Send each item of the value on its own way.

        Args:
            fork_id: the id of the fork node this makes; by default made of the ids of the sources.
            downstream_join_id: a join that is to fire even if there are no items.
            max_concurrency: how many steps may run at once in its arms; as many arms are open at a time.
        """
        return self._with(map_item(fork_id, downstream_join_id, max_concurrency))

    def transform(
        self, func: TransformFunction[StateT_contra, DepsT_contra, OutputT_co, T], /
    ) -> EdgePathBuilder[StateT_contra, DepsT_contra, T]:
        """Change the value on its way."""
        return self._with(transform_item(func))

    def label(self, label: str) -> EdgePathBuilder[StateT_contra, DepsT_contra, OutputT_co]:
        """Name the edge in renderings."""
        return self._with(LabelItem(text("label", label)))
