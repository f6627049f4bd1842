"""Validation: what is wrong with a plan, a sentence each.

*Structure* is whether everything can be reached and leads somewhere. A graph at fault there can still run, as long as no
value takes the wrong way, so ``build(validate_graph_structure=False)`` lets it pass. Ids that name nothing and nodes that
are put to a use they can't serve are errors in any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.graph.compile.topology import Topology
from perdure.graph.flow import Choose, Flow, Spread, subflows
from perdure.graph.nodes.join import Join, ReduceFirstValue
from perdure.graph.nodes.nodes import END_ID, START_ID
from perdure.graph.plan import NodeKind, NodePlan, Plan

_PASSES_ON = frozenset({NodeKind.DECISION, NodeKind.JOIN, NodeKind.BROADCAST, NodeKind.GROUP})


def unknown_ids(plan: Plan, nodes: Mapping[str, Any]) -> list[str]:
    """Return which ids of forks and joins name none."""
    forks = [id_ for id_, node in plan.nodes.items() if node.is_fork]
    joins = [id_ for id_, node in plan.nodes.items() if node.kind is NodeKind.JOIN]
    problems = []
    for id_, node in plan.nodes.items():
        original = nodes[id_]
        if isinstance(original, Join) and original.parent_fork_id not in (None, START_ID, *forks):
            wanted = original.parent_fork_id
            problems.append(f"join {id_!r}: no fork has the id {wanted!r} of parent_fork_id; the forks are {forks}")
        if node.kind is NodeKind.MAP and node.join is not None and node.join not in joins:
            problems.append(
                f"map {id_!r}: no join has the id {node.join!r} of downstream_join_id; the joins are {joins}"
            )
    return problems


def misuse_problems(plan: Plan, nodes: Mapping[str, Any], topology: Topology) -> list[str]:
    """Return which nodes are used in a way that can't work."""
    problems = []
    for id_, node in plan.nodes.items():
        original = nodes[id_]
        if node.kind is NodeKind.STREAM and node.flow is not None and not _is_mapped(node.flow):
            problems.append(f"stream {id_!r}: its items have to be mapped: write g.edge_from({id_}).map().to(…)")
        if isinstance(original, Join) and node.order == "branch" and isinstance(original.reducer, ReduceFirstValue):
            problems.append(
                f'join {id_!r}: ReduceFirstValue ends the fork at the first arrival, and order="branch" waits for all: '
                "drop one of them"
            )
    return problems + _idle_cycles(plan, topology)


def _is_mapped(flow: Flow) -> bool:
    """Say whether every way a value can take leads through a map."""
    if isinstance(flow, Spread):
        return True
    parts = subflows(flow)
    return bool(parts) and all(_is_mapped(part) for part in parts)


def _idle_cycles(plan: Plan, topology: Topology) -> list[str]:
    """Return which cycles call no step and take no value apart, so that a run would go round in them for ever."""
    problems = []
    seen: set[str] = set()
    for start, node in plan.nodes.items():
        if node.kind not in (NodeKind.DECISION, NodeKind.JOIN) or start in seen:
            continue
        cycle = _idle_cycle(plan, topology, start)
        if cycle:
            seen.update(cycle)
            through = [
                f"{plan.nodes[id_].kind} {id_!r}" for id_ in cycle if id_ != start and not plan.nodes[id_].is_fork
            ]
            problems.append(
                f"{node.kind} {start!r} leads back to itself{' through ' + ' and '.join(through) if through else ''} "
                "without a step or a map in between: put a step into the loop"
            )
    return problems


def _idle_cycle(plan: Plan, topology: Topology, start: str) -> list[str]:
    """Return a shortest cycle through a node on which nothing is done, or an empty list."""
    came_from: dict[str, str] = {}
    frontier = [start]
    for node in frontier:
        for target in topology.successors[node]:
            if target in came_from or plan.nodes[target].kind not in _PASSES_ON:
                continue
            came_from[target] = node
            frontier.append(target)
    if start not in came_from:
        return []
    cycle = [start]
    while (before := came_from[cycle[-1]]) != start:
        cycle.append(before)
    return cycle[::-1]


def structure_problems(plan: Plan, lost: Mapping[str, NodePlan]) -> list[str]:
    """Return what is wrong with the structure of a graph.

    Args:
        plan: the plan.
        lost: what stands for sources that are no nodes: what they lead to is reported as it would be if they were.
    """
    topology = Topology(plan, lost)
    reachable = set(topology.order)
    problems = []
    has_start = plan.nodes[START_ID].flow is not None
    if not has_start:
        problems.append("nothing leads on from the start: add g.edge_from(g.start_node).to(…)")
    elif END_ID not in reachable:
        problems.append("nothing leads to the end: add an edge .to(g.end_node)")
    dead_ends = [id_ for id_, node in plan.nodes.items() if _is_dead_end(node)]
    escaping = {END_ID, *dead_ends}.union(*(topology.reaching(id_) for id_ in (END_ID, *dead_ends)))
    # An arm may go round for ever beside others, the first of which to reach the end cancels it.
    ends_early = plan.end == "first"
    beside_others = topology.reached_from(id_ for id_, node in plan.nodes.items() if node.is_fork)
    for id_, node in plan.nodes.items():
        if node.is_fork or id_ in (START_ID, END_ID):
            continue
        if has_start and id_ not in reachable:
            problems.append(f"{node.kind} {id_!r} can't be reached from the start: add an edge that leads to it")
        if id_ in dead_ends:
            way_on = (
                "add .branch(g.match(…).to(…))"
                if node.kind is NodeKind.DECISION
                else "add an edge from it, to g.end_node if its value is the result"
            )
            problems.append(f"{node.kind} {id_!r} is a dead end: {way_on}")
        elif END_ID in reachable and id_ not in escaping and not (ends_early and id_ in beside_others):
            problems.append(
                f"{node.kind} {id_!r} can never reach the end: it only leads into a cycle without a way out; add one, as a "
                "decision in the cycle with a branch that leads out of it"
            )
    return problems


def _is_dead_end(node: NodePlan) -> bool:
    if node.kind in (NodeKind.START, NodeKind.END) or node.is_fork:
        return False
    return node.flow is None or (isinstance(node.flow, Choose) and not node.flow.branches)
