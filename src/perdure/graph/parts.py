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
from perdure.graph.decision import Decision
from perdure.graph.join import Join
from perdure.graph.nodes import AnyNode, EndNode, Fork, StartNode, is_destination, is_source
from perdure.graph.paths import BroadcastItem, DestinationItem, EdgePath, Path
from perdure.graph.step import Step
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
    """

    def __init__(
        self, edges: Iterable[EdgePath[Any, Any]], start: StartNode[Any], end: EndNode[Any], problems: Iterable[str]
    ) -> None:
        self.nodes: dict[str, AnyNode] = {start.id: start, end.id: end}
        self.outgoing: dict[str, list[Path]] = defaultdict(list)
        self.lost: dict[str, list[Path]] = defaultdict(list)
        self.problems = list(problems)
        self.is_whole = True
        for edge in edges:
            for source in edge.sources:
                if is_source(source):
                    self._insert(source)
                    self.outgoing[source.id].append(edge.path)
                else:
                    self._refuse(_why_no_source(source))
                    self.lost[f"{LOST}{len(self.lost)}"].append(edge.path)
                self._visit(named(source), edge.path)

    def report(self, problem: str) -> None:
        """Note a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def _refuse(self, problem: str) -> None:
        self.is_whole = False
        self.report(problem)

    def _insert(self, node: AnyNode) -> None:
        known = self.nodes.get(node.id)
        if known is None:
            try:
                checked_identifier("node id", node.id)
            except InvalidIdentifier as error:
                self.report(str(error))
            self.nodes[node.id] = node
            if isinstance(node, Decision):
                self._visit_decision(node)
        elif known is not node and not (type(known) is type(node) and isinstance(node, StartNode | EndNode)):
            self._refuse(f"two different nodes have the id {node.id!r}: give one of them another node_id")

    def _visit_decision(self, decision: Decision[Any, Any, Any]) -> None:
        for branch in decision.branches:
            self.outgoing[decision.id].append(branch.path)
            self._visit(named(decision), branch.path)

    def _visit(self, owner: str, path: Path) -> None:
        for item in path:
            if isinstance(item, BroadcastItem):
                for arm in item.paths:
                    self._visit(owner, arm)
            elif isinstance(item, DestinationItem):
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
