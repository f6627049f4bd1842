"""Parts: what the edges given to a builder mention, gathered before it is made into a plan.

Gathering never stops at the first mistake. An edge with a wrong end is kept as far as it makes sense, so that what else
is wrong can still be told; but whether joins have a parent can't be judged before every edge is in place
(``is_whole``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from perdure.errors import InvalidIdentifier
from perdure.graph.nodes.decision import Decision
from perdure.graph.nodes.group import AnyGroup, Entry, Group
from perdure.graph.nodes.join import Join, reduce_list_append
from perdure.graph.nodes.nodes import AnyNode, EndNode, Fork, StartNode, is_destination, is_source
from perdure.graph.nodes.paths import BroadcastItem, DestinationItem, EdgePath, Path
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import Step
from perdure.graph.nodes.wait import Wait
from perdure.graph.types import callable_name
from perdure.ids import checked_identifier

LOST = "\0"
"""Begins the ids that stand for sources that aren't nodes; no node has such an id, for it can't be printed."""


class Parts:
    """Nodes and the paths between them.

    Attributes:
        nodes: every node by id; forks are added once they are named.
        outgoing: the paths out of each node, those of a decision in the order of its branches.
        lost: the paths out of what is no node.
        problems: what is wrong, a sentence each.
        is_whole: whether every edge is in place.
        within: for each node of a subgraph: the fork at which the innermost one begins.
        own_state: for each node of a subgraph with a state of its own: the fork at which that begins.
    """

    def __init__(
        self, edges: Iterable[EdgePath[Any, Any]], start: StartNode[Any], end: EndNode[Any], problems: Iterable[str]
    ) -> None:
        self.nodes: dict[str, AnyNode] = {start.id: start, end.id: end}
        self.outgoing: dict[str, list[Path]] = defaultdict(list)
        self.lost: dict[str, list[Path]] = defaultdict(list)
        self.problems: list[str] = list(problems)
        self.is_whole: bool = True
        self.within: dict[str, str] = {}
        self.own_state: dict[str, str] = {}
        self._groups: dict[str, Group[Any, Any, Any, Any]] = {}
        self._joining: dict[str, Join[Any, Any, Any, Any]] = {}
        self._ends: list[tuple[Any, AnyGroup | None]] = []
        """Every node that an edge starts from or leads to, as it was given, and the group the edge belongs to."""
        for edge in edges:
            self._add(edge, None)
        self._lead_from_routers_that_choose_nothing()
        self._check_members()

    def _add(self, edge: EdgePath[Any, Any], group: AnyGroup | None) -> None:
        for given in edge.sources:
            self._ends.append((given, group))
            if is_source(given):
                self._insert(given)
                source = self.exit_of(given)
                ways = _ways(edge.path) if isinstance(source, Router) else [edge.path]
                self.outgoing[source.id] += ways
            else:
                self._refuse(_why_no_source(given))
                self.lost[f"{LOST}{len(self.lost)}"].append(edge.path)
            self._visit(named(given), edge.path, group)

    def entry_of(self, item: DestinationItem) -> AnyNode:
        """Return where a value arrives that goes to a node: at the entry of a group, at the join before a step."""
        node: AnyNode = item.node.entry if isinstance(item.node, Group) else item.node
        return node if item.is_direct else self._joining.get(node.id, node)

    def exit_of(self, node: Any) -> Any:
        """Return the node whose output goes on when a node has finished: for a group its exit."""
        while isinstance(node, Group):
            node = node.exit
        return node

    def report(self, problem: str) -> None:
        """Note a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def _refuse(self, problem: str) -> None:
        self.is_whole = False
        self.report(problem)

    def _insert(self, node: AnyNode) -> None:
        if isinstance(node, Group):
            self._insert_group(node)
            return
        known = self.nodes.get(node.id)
        if known is None:
            try:
                checked_identifier("node id", node.id)
            except InvalidIdentifier as error:
                self.report(str(error))
            self.nodes[node.id] = node
            if isinstance(node, Decision):
                self._visit_decision(node)
            elif isinstance(node, Step | Router):
                self._insert_what_belongs_to(node)
        elif known is not node and not (type(known) is type(node) and isinstance(node, StartNode | EndNode)):
            self._refuse(f"two different nodes have the id {node.id!r}: give one of them another node_id")

    def _insert_group(self, group: Group[Any, Any, Any, Any]) -> None:
        known = self._groups.get(group.id)
        if known is group:
            return
        if known is not None:
            self._refuse(f"two different groups have the id {group.id!r}: give one of them another node_id")
            return
        self._groups[group.id] = group
        self._insert(group.entry)
        self._insert(group.exit)
        for edge in group.edges:
            self._add(edge, group)
        # Inner subgraphs have been here before, with the edges.
        for inside in (*group.inside, *(f"{id_}_join" for id_ in group.inside if id_ in self._joining)):
            self.within.setdefault(inside, group.fork)
            if group.has_state:
                self.own_state.setdefault(inside, group.fork)

    def _insert_what_belongs_to(self, node: Step[Any, Any, Any, Any] | Router[Any, Any, Any, Any]) -> None:
        """Add the join before a node with a join policy."""
        policies = node.joining
        if policies is not None:
            join: Join[Any, Any, Any, Any] = Join(
                id=f"{node.id}_join",
                reducer=_taken if policies.gives_one else reduce_list_append,
                initial_factory=list,
                preferred_parent_fork="closest",
                order="branch",
                policies=policies,
            )
            self._joining[node.id] = join
            self._insert(join)
            self.outgoing[join.id].append((DestinationItem(node, is_direct=True),))

    def _lead_from_routers_that_choose_nothing(self) -> None:
        for node in list(self.nodes.values()):
            if not isinstance(node, Router) or node.empty is None or isinstance(node.empty, str):
                continue
            if not any(
                isinstance(path[-1], DestinationItem) and path[-1].node is node.empty for path in self.outgoing[node.id]
            ):
                self._add(EdgePath((node,), (DestinationItem(node.empty),)), None)

    def _check_members(self) -> None:
        """See to it that members of groups have no edges but those of their group."""
        for group in self._groups.values():
            for end, owner in self._ends:
                if owner is not group and any(end is member for member in group.members):
                    beside = f"of {named(owner)}" if owner is not None else "of its own"
                    self.report(
                        f"{named(end)} is a member of {named(group)} and has an edge {beside} besides: let the edge start "
                        "from the group, or lead to it, or give the group a node that nobody else uses"
                    )

    def _visit_decision(self, decision: Decision[Any, Any, Any]) -> None:
        for branch in decision.branches:
            self.outgoing[decision.id].append(branch.path)
            self._visit(named(decision), branch.path, None)

    def _visit(self, owner: str, path: Path, group: AnyGroup | None) -> None:
        for item in path:
            if isinstance(item, BroadcastItem):
                for arm in item.paths:
                    self._visit(owner, arm, group)
            elif isinstance(item, DestinationItem):
                self._ends.append((item.node, group))
                if is_destination(item.node):
                    self._insert(item.node)
                else:
                    self._refuse(_why_no_destination(item.node, owner))

    def insert_fork(self, fork: Fork[Any, Any]) -> None:
        """Add a fork that has got its id."""
        taken = self.nodes.get(fork.id)
        if taken is not None:
            self._refuse(f"the fork id {fork.id!r} is taken by {named(taken)}: give the edge another fork_id")
            return
        self._insert(fork)


def _ways(path: Path) -> list[Path]:
    """Return the ways that a router has along an edge: each node it leads to is one."""
    for place, item in enumerate(path):
        if isinstance(item, BroadcastItem) and item.fork_id is None:
            return [way for arm in item.paths for way in _ways((*path[:place], *arm))]
    return [path]


def _taken(current: Any, item: Any) -> Any:
    return item


def named(node: object) -> str:
    """Return what a message calls a node, or something that was given for one."""
    if isinstance(node, StartNode):
        return "the start"
    if isinstance(node, EndNode):
        return "the end"
    if isinstance(node, Step):
        return f"step {node.id!r}"
    if isinstance(node, Join):
        return f"join {node.id!r}"
    if isinstance(node, Decision):
        return f"decision {node.id!r}"
    if isinstance(node, Fork):
        return f"fork {node.id!r}"
    if isinstance(node, Router):
        return f"router {node.id!r}"
    if isinstance(node, Wait):
        return f"wait {node.id!r}"
    if isinstance(node, Group | Entry):
        return f"group {node.id!r}"
    return repr(callable_name(node)) if callable(node) else f"{node!r:.80}"


def _why_no_source(node: object) -> str:
    if isinstance(node, Decision):
        return f"no edge can start from {named(node)}: give it ways out with .branch(g.match(…).to(…))"
    if isinstance(node, EndNode):
        return "no edge can start from the end: a run is over there"
    return f"an edge starts from {named(node)}, which is no node: {_remedy(node)}"


def _why_no_destination(node: object, owner: str) -> str:
    if isinstance(node, StartNode):
        return f"the edge from {owner} leads to the start, where runs only begin: let it lead to the node after it"
    return f"the edge from {owner} leads to {named(node)}, which is no node: {_remedy(node)}"


def _remedy(node: object) -> str:
    if isinstance(node, str):
        return "give the node itself, as @g.step or g.join returns it, not its name"
    if isinstance(node, list | tuple):
        return "give several nodes one after another, as in .to(a, b)"
    if isinstance(node, Fork):
        return "forks are made by edges, of .map(), .broadcast(…) and .to(a, b)"
    if callable(node):
        return "decorate it with @g.step"
    return "give a node that @g.step, g.join or g.decision made, or g.start_node or g.end_node"
