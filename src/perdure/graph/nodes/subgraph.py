"""Subgraphs: a graph as a node of another one.

Its nodes and edges are copied under the id of the group, so that a graph can be used twice, and run in the same run as what
is around them. Its start becomes an entry, its end a join that takes the first value, and ends the rest unless the graph
was built with ``end="all"``. It works on a state of its own where it is given one, and then sees nothing of the outer one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from perdure.errors import GraphSetupError
from perdure.graph.nodes.decision import Decision, DecisionBranch
from perdure.graph.nodes.group import Entry, Group
from perdure.graph.nodes.grouping import exit_join
from perdure.graph.nodes.join import Join, ReducerContext
from perdure.graph.nodes.nodes import START_ID, EndNode, StartNode
from perdure.graph.nodes.paths import (
    BroadcastItem,
    DestinationItem,
    EdgePath,
    EnterItem,
    MapItem,
    Path,
    PathItem,
    TransformItem,
)
from perdure.graph.nodes.policies import JoinPolicies
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import StepContext
from perdure.graph.types import MISSING, callable_name

NodeT = TypeVar("NodeT")

SHARED = "shared"
"""Says that a subgraph works on the state of the graph around it."""


def subgraph_group(
    id: str,
    graph: Any,
    *,
    state: str | Callable[[StepContext[Any, Any, Any]], Any] | None,
    on_end: Callable[[Any, Any], None] | None,
) -> Group[Any, Any, Any, Any]:
    """Return a group that is another graph, run inside the same run."""
    has_state = graph.state_type not in (None, type(None))
    if has_state and state is None:
        raise GraphSetupError(
            f"g.subgraph: graph {graph.name!r} has a state of type {graph.state_type!r}: say what it starts from, "
            'state=lambda ctx: …, or let it work on the state of this graph, state="shared"'
        )
    if state is not None and state != SHARED and not callable(state):
        raise GraphSetupError(f'g.subgraph: state={state!r:.80}: give a function of the context, or "shared"')
    begins = state if callable(state) else None
    if on_end is not None and begins is None:
        raise GraphSetupError("g.subgraph: on_end= is about a state of the subgraph's own: give state=, a function")
    return _Inlining(id, graph).group(begins, on_end)


class _Inlining:
    """The nodes and edges of a graph, copied under the id of a group."""

    def __init__(self, id: str, graph: Any) -> None:
        self._id = id
        self._graph = graph
        self._entry = Entry(f"{id}/__start__")
        self._fork = f"{id}_fork"
        self._copies: dict[int, Any] = {}
        self._exit: Any = None
        self._leave: TransformItem | None = None

    def group(
        self, begins: Callable[[StepContext[Any, Any, Any]], Any] | None, on_end: Callable[[Any, Any], None] | None
    ) -> Group[Any, Any, Any, Any]:
        graph = self._graph
        self._leave = TransformItem(_left_with_state) if on_end is not None else None
        takes_first = graph.plan.end == "first"
        self._exit = exit_join(
            self._id,
            _ended_by(on_end),
            lambda: MISSING,
            JoinPolicies(quorum=1 if takes_first else 0, cancels=takes_first),
            "branch"
            if takes_first
            else "arrival",  # of the first ones at the end; or of all, in the order they came in
        )
        entry = Entry(self._id, graph.name)
        way_in = (EnterItem(self._fork, begins, graph.plan.max_concurrency), DestinationItem(self._entry))
        edges: list[EdgePath[Any, Any]] = [EdgePath((entry,), way_in)]
        edges += [
            EdgePath(tuple(self._copied(source) for source in edge.sources), self._path(edge.path))
            for edge in graph.edges
        ]
        inside = [node.id for node in self._copies.values()]
        has_state = begins is not None
        return Group(entry=entry, exit=self._exit, edges=edges, fork=self._fork, has_state=has_state, inside=inside)

    def _copied(self, node: Any) -> Any:
        if isinstance(node, StartNode):
            return self._entry
        if isinstance(node, EndNode):
            return self._exit
        known = self._copies.get(id(node))
        if known is not None:
            return known
        if isinstance(node, Group):
            return self._copied_group(node)
        made = self._copies[id(node)] = _renamed(node, f"{self._id}/{node.id}")
        if isinstance(made, Decision):
            made.branches = [self._branch(branch) for branch in made.branches]
        elif isinstance(made, Join) and made.parent_fork_id is not None:
            at_start = made.parent_fork_id == START_ID
            made.parent_fork_id = self._fork if at_start else f"{self._id}/{made.parent_fork_id}"
        elif isinstance(made, Router):
            made.prefix = f"{self._id}/{made.prefix}"
            if made.empty is not None and not isinstance(made.empty, str):
                made.empty = self._copied(made.empty)
        return made

    def _copied_group(self, group: Group[Any, Any, Any, Any]) -> Group[Any, Any, Any, Any]:
        made: Group[Any, Any, Any, Any] = _renamed(group, f"{self._id}/{group.id}")
        self._copies[id(group)] = made
        made.entry = self._copies[id(group.entry)] = _renamed(group.entry, made.id)
        made.edges = tuple(
            EdgePath(tuple(self._copied(source) for source in edge.sources), self._path(edge.path))
            for edge in group.edges
        )
        made.exit = self._copied(group.exit)
        made.members = tuple(self._copied(member) for member in group.members)
        made.fork = f"{self._id}/{group.fork}" if group.fork else ""
        made.inside = tuple(f"{self._id}/{node}" for node in group.inside)
        return made

    def _branch(self, branch: DecisionBranch[Any]) -> DecisionBranch[Any]:
        return DecisionBranch(source=branch.source, matches=branch.matches, path=self._path(branch.path))

    def _path(self, path: Path) -> Path:
        items: list[PathItem] = []
        for item in path:
            if isinstance(item, DestinationItem):
                if isinstance(item.node, EndNode) and self._leave is not None:
                    items.append(self._leave)
                items.append(DestinationItem(self._copied(item.node)))
            elif isinstance(item, BroadcastItem):
                arms = tuple(self._path(arm) for arm in item.paths)
                items.append(BroadcastItem(self._named(item.fork_id), arms, item.max_concurrency))
            elif isinstance(item, MapItem):
                join = self._named(item.downstream_join_id)
                items.append(MapItem(self._named(item.fork_id), join, item.max_concurrency))
            elif isinstance(item, EnterItem):
                items.append(EnterItem(f"{self._id}/{item.fork_id}", item.state, item.max_concurrency))
            else:
                items.append(item)
        return tuple(items)

    def _named(self, id_: str | None) -> str | None:
        return f"{self._id}/{id_}" if id_ is not None else None


def _renamed(node: NodeT, id_: str) -> NodeT:
    made: Any = copy.copy(node)
    made.id = id_
    renamed: NodeT = made
    return renamed


def _left_with_state(ctx: StepContext[Any, Any, Any]) -> tuple[Any, Any]:
    """Take the state of a subgraph along to its end."""
    return ctx.inputs, ctx.state


def _ended_by(on_end: Callable[[Any, Any], None] | None) -> Callable[..., Any]:
    """Return the reducer of a subgraph's exit: it keeps the first value that has reached the end."""
    if on_end is None:
        return lambda current, item: item if current is MISSING else current

    def end(ctx: ReducerContext[Any, Any], current: Any, item: tuple[Any, Any]) -> Any:
        if current is not MISSING:
            return current
        value, state = item
        on_end(ctx.state, state)
        return value

    end.__name__ = f"end_with_{callable_name(on_end)}"
    return end
