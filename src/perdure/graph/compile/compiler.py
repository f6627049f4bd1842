"""The compiler: from paths, as the user wrote them, to flows, in which everything is settled.

Ordinals and ranks are part of task ids. Both are given out in the canonical order of the paths (``forks.py``), so they
don't depend on the order in which edges were added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from perdure.graph.compile.forks import ForkKey, canonical, name_forks
from perdure.graph.compile.parts import Parts
from perdure.graph.flow import Branch, Choose, Enter, Flow, Leaf, Pick, Split, Spread, Transform
from perdure.graph.nodes.decision import Decision
from perdure.graph.nodes.forms import form_schema
from perdure.graph.nodes.group import Entry
from perdure.graph.nodes.join import Join
from perdure.graph.nodes.nodes import END_ID, AnyNode, EndNode, Fork, StartNode, is_destination
from perdure.graph.nodes.paths import BroadcastItem, DestinationItem, EnterItem, LabelItem, MapItem, Path, TransformItem
from perdure.graph.nodes.policies import StepPolicies
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import Step
from perdure.graph.nodes.wait import Wait, microseconds, since_1970
from perdure.graph.plan import DEFAULT_WINDOW, NO_SCHEMA, NodeKind, NodePlan, WaitKind, WaitPlan


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
        if isinstance(node, Router):
            return self._pick(node, paths, ordinals)
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
        if isinstance(item, EnterItem):
            slot = self._slot(self.transforms, item, item.state) if item.state is not None else -1
            fork = self._fork_names[id(item)]
            return Enter(fork, self._flow(rest, ordinals, label), slot, item.state is not None)
        # What is no node has been reported; the way on from there is not to be reported as missing, too.
        target = self._parts.entry_of(item).id if is_destination(item.node) else END_ID
        ordinals[target] += 1
        return Leaf(target, ordinals[target] - 1, label)

    def _pick(self, router: Router[Any, Any, Any, Any], paths: Sequence[Path], ordinals: Counter[str]) -> Pick:
        """Compile the ways of a router, in an order that doesn't depend on when they were added."""
        ways = sorted(paths, key=lambda path: (canonical(path), canonical(path, self._fork_names)))
        arms = [self._flow(path, ordinals) for path in ways]
        targets = tuple(_name_for(router, path) for path in ways)
        for target in {target for target in targets if target and targets.count(target) > 1}:
            self._parts.report(
                f"router {router.id!r} has two edges to {target!r}, and can't tell them apart: give it one, and fork behind it"
            )
        if "" in targets:
            self._parts.report(
                f"router {router.id!r} has an edge that forks to several nodes, so that a choice can't name it: let each edge "
                "lead to one node"
            )
        empty = None
        if router.empty is not None:
            wanted = router.empty if isinstance(router.empty, str) else _known_as(router, router.empty)
            if wanted in targets:
                empty = targets.index(wanted)
            else:
                self._parts.report(
                    f"router {router.id!r}: empty={wanted!r} names no node that one of its edges leads to"
                )
        return Pick(self._fork_names[router.id], tuple(arms), targets, empty)

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
    if isinstance(node, Step | Router):
        plan = NodePlan(node.id, NodeKind.STEP, flow, label=node.label)
        if isinstance(node, Router):
            plan.kind = NodeKind.ROUTER
        elif node.is_stream:
            plan.kind, plan.resume = NodeKind.STREAM, node.resume
        plan.max_crashes = node.policies.max_crashes
        plan.effect = _effect(node.policies)
        return plan
    if isinstance(node, Wait):
        return NodePlan(node.id, NodeKind.WAIT, flow, label=node.label, wait=_wait_plan(node))
    if isinstance(node, Entry):
        return NodePlan(node.id, NodeKind.GROUP, flow, label=node.label)
    if isinstance(node, Join):
        policies = node.policies
        on_error, min_ok = policies.on_error, policies.min_ok
        quorum, cancels = policies.quorum, policies.cancels
        return NodePlan(
            node.id,
            NodeKind.JOIN,
            flow,
            order=node.order,
            quorum=quorum,
            cancels=cancels,
            on_error=on_error,
            min_ok=min_ok,
        )
    if isinstance(node, Decision):
        return NodePlan(node.id, NodeKind.DECISION, flow, note=node.note)
    assert isinstance(node, Fork)
    kind = NodeKind.MAP if node.is_map else NodeKind.ROUTES if node.is_router else NodeKind.BROADCAST
    window = node.max_concurrency or DEFAULT_WINDOW
    return NodePlan(node.id, kind, join=node.downstream_join_id, window=window)


def _effect(policies: StepPolicies) -> Literal["", "retry", "pause", "verify"]:
    if not policies.effect:
        return ""
    if callable(policies.on_uncertain):
        return "verify"
    return policies.on_uncertain


def _wait_plan(node: Wait[Any, Any, Any, Any]) -> WaitPlan:
    where = f"{node.kind.value} {node.id!r}"
    after, at = node.after, node.at
    return WaitPlan(
        node.kind,
        node.name,
        node.title if isinstance(node.title, str) else "",
        node.assignee if isinstance(node.assignee, str) else "",
        schema=form_schema(node.form) if node.kind is WaitKind.HUMAN else NO_SCHEMA,
        after=microseconds(where, after) if after is not None and not callable(after) else None,
        at=since_1970(where, at) if at is not None and not callable(at) else None,
        asks_code=node.asks_code,
        escalations=tuple(
            (step.assignee, microseconds(where, step.deadline) if step.deadline is not None else None)
            for step in node.escalations
        ),
    )


def _name_for(router: Router[Any, Any, Any, Any], path: Path) -> str:
    """Return how a router names the one node that a path leads to, or an empty string if there are several."""
    last = path[-1]
    return _known_as(router, last.node) if isinstance(last, DestinationItem) and is_destination(last.node) else ""


def _known_as(router: Router[Any, Any, Any, Any], node: AnyNode) -> str:
    """Return the id that a node has in the router's own graph, which may have become part of another one."""
    if router.prefix and node.id == f"{router.prefix[:-1]}_join":
        return END_ID
    return node.id.removeprefix(router.prefix)
