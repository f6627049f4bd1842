"""The compiler: from paths, as the user wrote them, to flows, in which everything is settled.

Ordinals and ranks are part of task ids. Both are given out in the canonical order of the paths (``forks.py``), so they
don't depend on the order in which edges were added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from perdure.graph.decision import Decision
from perdure.graph.flow import Branch, Choose, Flow, Leaf, Split, Spread, Transform
from perdure.graph.forks import ForkKey, canonical, name_forks
from perdure.graph.join import Join
from perdure.graph.nodes import END_ID, AnyNode, EndNode, StartNode, is_destination
from perdure.graph.parts import Parts
from perdure.graph.paths import BroadcastItem, LabelItem, MapItem, Path, TransformItem
from perdure.graph.plan import NodeKind, NodePlan
from perdure.graph.step import Step


class Compiler:
    """Turns paths into flows.

    Attributes:
        transforms, matches: the functions that the flows refer to by slot.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._fork_names = name_forks(parts)
        self.transforms: list[Callable[..., Any]] = []
        self.matches: list[Callable[[Any], bool]] = []
        self._slots: dict[int, int] = {}

    def node_plans(self) -> dict[str, NodePlan]:
        """Return the plan of every node, in the order of their ids."""
        parts = self._parts
        return {id_: _node_plan(node, self._flow_out_of(id_, node)) for id_, node in sorted(parts.nodes.items())}

    def lost_plans(self) -> dict[str, NodePlan]:
        """Return plans that stand for what edges start from, but is no node."""
        return {
            id_: NodePlan(id_, NodeKind.STEP, self._flow(paths[0], Counter()))
            for id_, paths in self._parts.lost.items()
        }

    def _flow_out_of(self, id_: str, node: AnyNode) -> Flow | None:
        """Return what a value goes through after a node, or None where nothing leads on."""
        paths = self._parts.outgoing.get(id_, [])
        ordinals: Counter[str] = Counter()
        if isinstance(node, Decision):
            return Choose(
                tuple(
                    Branch(self._slot(self.matches, branch, branch.test), self._flow(branch.path, ordinals))
                    for branch in node.branches
                )
            )
        if not paths:
            return None
        if len(paths) == 1:
            return self._flow(paths[0], ordinals)
        return self._split(id_, paths, ordinals, None)

    def _slot(self, table: list[Callable[..., Any]], described_by: object, function: Callable[..., Any]) -> int:
        """Return the place of a function in a table; the same description gets the same place."""
        slot = self._slots.get(id(described_by))
        if slot is None:
            slot = self._slots[id(described_by)] = len(table)
            table.append(function)
        return slot

    def _flow(self, path: Path, ordinals: Counter[str], label: str | None = None) -> Flow:
        item, rest = path[0], path[1:]
        if isinstance(item, LabelItem):
            return self._flow(rest, ordinals, item.label)
        if isinstance(item, TransformItem):
            slot = self._slot(self.transforms, item, item.function)
            return Transform(slot, self._flow(rest, ordinals, label))
        if isinstance(item, MapItem):
            then = self._flow(rest, ordinals)
            return Spread(self._fork_names[id(item)], then, item.downstream_join_id, label)
        if isinstance(item, BroadcastItem):
            return self._split(id(item), item.paths, ordinals, label)
        # What is no node has been reported; the way on from there is not to be reported as missing, too.
        target = item.node.id if is_destination(item.node) else END_ID
        ordinals[target] += 1
        return Leaf(target, ordinals[target] - 1, label)

    def _split(self, fork: ForkKey, paths: Sequence[Path], ordinals: Counter[str], label: str | None) -> Split:
        # The names come second, so that a fork that gets another one doesn't move the arms beside it.
        keys = [(canonical(path), canonical(path, self._fork_names)) for path in paths]
        in_rank_order = sorted(range(len(paths)), key=keys.__getitem__)
        arms = {place: self._flow(paths[place], ordinals) for place in in_rank_order}
        ranks = {place: rank for rank, place in enumerate(in_rank_order)}
        places = range(len(paths))
        name = self._fork_names[fork]
        return Split(name, tuple(arms[place] for place in places), tuple(ranks[place] for place in places), label)


def _node_plan(node: AnyNode, flow: Flow | None) -> NodePlan:
    if isinstance(node, StartNode):
        return NodePlan(node.id, NodeKind.START, flow)
    if isinstance(node, EndNode):
        return NodePlan(node.id, NodeKind.END)
    if isinstance(node, Step):
        kind = NodeKind.STREAM if node.is_stream else NodeKind.STEP
        return NodePlan(node.id, kind, flow, label=node.label, resume=node.resume)
    if isinstance(node, Join):
        return NodePlan(node.id, NodeKind.JOIN, flow, order=node.order)
    if isinstance(node, Decision):
        return NodePlan(node.id, NodeKind.DECISION, flow, note=node.note)
    kind = NodeKind.MAP if node.is_map else NodeKind.BROADCAST
    return NodePlan(node.id, kind, join=node.downstream_join_id)
