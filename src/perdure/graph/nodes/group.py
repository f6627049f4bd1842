"""Groups: nodes that are made of forks and joins, and used on edges like any other.

A group has one way in, its *entry*, and one way out, its *exit*; what lies between is a small graph of its own, given to
``build()`` together with the first edge that mentions the group. So a group needs nothing of the kernel: it is broadcasts,
joins and edges.

    parallel(a, b, then=c)   entry ─fork─► a, b ─► join (all, in the order of the members) ─► c
    race(a, b)               entry ─fork─► a, b ─► join (the first success; the others are cancelled)
    chain(a, b)              entry ─► a ─► b
    subgraph(graph)          entry ─fork─► the graph's own nodes, under ids of their own ─► join (the graph's result)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic

from perdure.graph.types import DepsT_contra, InputT_contra, OutputT_co, StateT_contra

if TYPE_CHECKING:
    from perdure.graph.nodes.paths import EdgePath


class Entry:
    """Where a value enters a group; it goes on at once.

    Attributes:
        id: the node's id, which is the group's.
        label: what a rendering shows instead of the id, or None.
    """

    def __init__(self, id: str, label: str | None = None) -> None:
        self.id = id
        self.label = label

    def __repr__(self) -> str:
        return f"Entry(id={self.id!r})"


class Group(Generic[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """Several nodes that are used as one. Made by ``g.parallel``, ``g.race``, ``g.chain`` and ``g.subgraph``.

    Attributes:
        id: the id of its entry.
        entry: where a value enters.
        exit: the node whose output is the group's.
        edges: what lies between.
        members: the nodes that belong to it, and have no other edges.
        fork: the fork at which a subgraph begins, or an empty string.
        has_state: whether a state of its own begins there.
        inside: the nodes of a subgraph.
    """

    def __init__(
        self,
        *,
        entry: Entry,
        exit: Any,
        edges: Sequence[EdgePath[Any, Any]],
        members: Sequence[Any] = (),
        fork: str = "",
        has_state: bool = False,
        inside: Sequence[str] = (),
    ) -> None:
        self.id: str = entry.id
        self.entry = entry
        self.exit = exit
        self.edges: tuple[EdgePath[Any, Any], ...] = tuple(edges)
        self.members: tuple[Any, ...] = tuple(members)
        self.fork = fork
        self.has_state = has_state
        self.inside: tuple[str, ...] = tuple(inside)

    def _gives(self, state: StateT_contra, deps: DepsT_contra, inputs: InputT_contra) -> OutputT_co:
        raise NotImplementedError  # only here so that type checkers infer the variance

    def __repr__(self) -> str:
        return f"Group(id={self.id!r})"


AnyGroup = Group[Any, Any, Any, Any]
