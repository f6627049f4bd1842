"""Convergence: where arms of a fork reach the same node one by one, though nobody said that they should.

A node that two arms lead to runs once for each of them. That is often what is meant, and often a join was forgotten; so
``build()`` warns, and says how to choose. The branches of a decision are no arms: only one of them is taken.
"""

from __future__ import annotations

from perdure.graph.compile.coverage import nodes_behind
from perdure.graph.compile.topology import Topology, targets_of
from perdure.graph.flow import Pick, Split, flows_within
from perdure.graph.nodes.nodes import END_ID
from perdure.graph.plan import TASKS, NodeKind, Plan


def convergences(plan: Plan, topology: Topology) -> list[str]:
    """Return where arms of a broadcast or a router meet without a join, a sentence each."""
    found = []
    for node in plan.nodes.values():
        for flow in flows_within(node.flow) if node.flow is not None else []:
            if isinstance(flow, Split | Pick) and flow.fork in topology.place:
                # Two arms that lead to the very same nodes were asked for: there the step is to run twice.
                ways = sorted({tuple(targets_of(arm)) for arm in flow.arms})
                arms = [nodes_behind(plan, topology, flow.fork, list(way)) for way in ways]
                found += [_told(plan, flow.fork, id_) for id_ in _first_met(plan, topology, arms)]
    return sorted(set(found))


def _first_met(plan: Plan, topology: Topology, arms: list[set[str]]) -> list[str]:
    """Return the nodes that several arms reach, and that no such node lies before."""
    met = {id_ for index, arm in enumerate(arms) for other in arms[:index] for id_ in arm & other}
    running = {id_ for id_ in met if plan.nodes[id_].kind in TASKS or plan.nodes[id_].kind is NodeKind.GROUP}
    if plan.end == "first" and END_ID in met:
        running.add(END_ID)
    return [id_ for id_ in sorted(running) if not _before(plan, topology, id_, running)]


def _before(plan: Plan, topology: Topology, id_: str, running: set[str]) -> bool:
    """Say whether one of the nodes leads to a node, other than round a loop."""
    return any(
        other != id_ and other in topology.reaching(id_) and id_ not in topology.reaching(other) for other in running
    )


def _told(plan: Plan, fork: str, id_: str) -> str:
    kind = "router" if plan.nodes[fork].kind is NodeKind.ROUTES else "broadcast"
    if id_ == END_ID:
        return (
            f"several arms of {kind} {fork!r} lead to the end, and the first that gets there ends the run: put a join before "
            'the end, or build the graph with end="all"'
        )
    return (
        f"several arms of {kind} {fork!r} lead to {id_!r}, which runs once for each: put a join before it, or declare it "
        'with join="all" (or "any", or a number)'
    )
