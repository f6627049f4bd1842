"""Topology: a plan as a directed graph whose nodes are steps, joins, decisions and forks.

Dominators: Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm" (2001).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perdure.graph.flow import Enter, Flow, Leaf, Pick, Split, Spread, subflows
from perdure.graph.nodes.nodes import START_ID
from perdure.graph.plan import NodePlan, Plan


class Topology:
    """The edges of a plan, forwards and backwards.

    Attributes:
        successors: the nodes an edge leads to, from each node.
        predecessors: the nodes an edge comes from, to each node.
        order: the nodes that can be reached, each before those that can only be reached through it, and what an edge
            that was added earlier leads to first.
        place: the place of each of these in the order.
    """

    def __init__(self, plan: Plan, lost: Mapping[str, NodePlan] | None = None) -> None:
        nodes = {**plan.nodes, **(lost or {})}
        edges: dict[str, dict[str, None]] = {id_: {} for id_ in nodes}
        for id_, node in nodes.items():
            if node.flow is not None:
                _connect(edges, id_, node.flow)
        self.successors: dict[str, list[str]] = {id_: list(targets) for id_, targets in edges.items()}
        self.predecessors: dict[str, list[str]] = {id_: [] for id_ in edges}
        for source, targets in self.successors.items():
            for target in targets:
                self.predecessors[target].append(source)
        self.order: list[str] = self._reverse_postorder([*(lost or ()), START_ID])
        self.place: dict[str, int] = {id_: place for place, id_ in enumerate(self.order)}
        self._dominated: dict[str, set[str]] = {}

    def _reverse_postorder(self, roots: list[str]) -> list[str]:
        finished: list[str] = []
        seen: set[str] = set()
        for root in roots:
            if root in seen:
                continue
            seen.add(root)
            stack = [(root, reversed(self.successors[root]))]
            while stack:
                node, targets = stack[-1]
                for target in targets:
                    if target not in seen:
                        seen.add(target)
                        stack.append((target, reversed(self.successors[target])))
                        break
                else:
                    finished.append(node)
                    stack.pop()
        return finished[::-1]

    def dominated_by(self, node: str) -> set[str]:
        """Return the nodes that can only be reached through a node, itself included."""
        known = self._dominated.get(node)
        if known is None:
            seen = {START_ID} if node != START_ID else set()
            frontier = [START_ID] if node != START_ID else []
            while frontier:
                for target in self.successors[frontier.pop()]:
                    if target not in seen and target != node:
                        seen.add(target)
                        frontier.append(target)
            known = self._dominated[node] = set(self.order) - seen
        return known

    def dominators(self) -> dict[str, str]:
        """Return the immediate dominator of every node that can be reached; the start's is itself."""
        immediate = {START_ID: START_ID}
        changed = True
        while changed:
            changed = False
            for node in self.order[1:]:
                known = [source for source in self.predecessors[node] if source in immediate]
                best = known[0]
                for other in known[1:]:
                    best = self._common(immediate, best, other)
                if immediate.get(node) != best:
                    immediate[node] = best
                    changed = True
        return immediate

    def _common(self, immediate: Mapping[str, str], left: str, right: str) -> str:
        while left != right:
            if self.place[left] > self.place[right]:
                left = immediate[left]
            else:
                right = immediate[right]
        return left

    def reaching(self, target: str, without: str | None = None) -> set[str]:
        """Return the nodes from which ``target`` can be reached on a path that doesn't go through ``without``.

        ``target`` itself is in it if it lies on such a cycle; ``without`` is in it if it leads to the target.
        """
        found: set[str] = set()
        frontier = [target]
        while frontier:
            for source in self.predecessors[frontier.pop()]:
                if source not in found:
                    found.add(source)
                    if source != without:
                        frontier.append(source)
        return found

    def reached_from(self, sources: Iterable[str]) -> set[str]:
        """Return the nodes that can be reached from any of the sources; a source itself if it lies on a cycle."""
        found: set[str] = set()
        frontier = list(sources)
        while frontier:
            for target in self.successors[frontier.pop()]:
                if target not in found:
                    found.add(target)
                    frontier.append(target)
        return found


def targets_of(flow: Flow) -> list[str]:
    """Return the nodes that a flow leads to at once: the next nodes, or the forks before them."""
    if isinstance(flow, Leaf):
        return [flow.target]
    if isinstance(flow, Split | Spread | Pick | Enter):
        return [flow.fork]
    return [target for part in subflows(flow) for target in targets_of(part)]


def _connect(edges: dict[str, dict[str, None]], source: str, flow: Flow) -> None:
    if isinstance(flow, Leaf):
        edges[source][flow.target] = None
        return
    if isinstance(flow, Split | Spread | Pick | Enter):
        edges[source][flow.fork] = None
        source = flow.fork
    for part in subflows(flow):
        _connect(edges, source, part)
