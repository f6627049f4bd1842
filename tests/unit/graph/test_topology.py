"""Dominators and reachability, against their definitions on random graphs."""

from __future__ import annotations

from random import Random
from typing import Any

from perdure.graph.compile.topology import Topology
from perdure.graph.flow import Branch, Choose, Leaf
from perdure.graph.nodes.nodes import END_ID, START_ID
from perdure.graph.plan import NodeKind, NodePlan, Plan


def random_plan(rng: Random) -> Plan:
    names = [f"n{number}" for number in range(rng.randrange(1, 12))]
    nodes: dict[str, Any] = {END_ID: NodePlan(END_ID, NodeKind.END)}
    for name in [START_ID, *names]:
        targets = [rng.choice([*names, END_ID]) for _ in range(rng.randrange(1, 4))]
        flow = Choose(tuple(Branch(0, Leaf(target)) for target in targets))
        nodes[name] = NodePlan(name, NodeKind.STEP, flow)
    return Plan("random", nodes)


def reachable(topology: Topology, begin: str, without: str | None) -> set[str]:
    found: set[str] = set()
    frontier = [begin]
    while frontier:
        for target in topology.successors[frontier.pop()]:
            if target not in found:
                found.add(target)
                if target != without:
                    frontier.append(target)
    return found


def test_a_dominator_is_on_every_path_and_the_immediate_one_is_the_last() -> None:
    for seed in range(200):
        topology = Topology(random_plan(Random(seed)))
        immediate = topology.dominators()
        inside = {START_ID, *reachable(topology, START_ID, None)}
        assert set(topology.order) == set(immediate) == inside
        for node in inside - {START_ID}:
            others = inside - {START_ID, node}
            strict = {START_ID} | {other for other in others if node not in avoiding(topology, other)}
            climbed = set()
            above = node
            while above != START_ID:
                above = immediate[above]
                climbed.add(above)
            assert climbed == strict, (seed, node)


def avoiding(topology: Topology, without: str) -> set[str]:
    found = reachable(topology, START_ID, without)
    return found - {without}


def test_what_reaches_a_node_is_what_it_can_be_reached_from() -> None:
    for seed in range(100):
        topology = Topology(random_plan(Random(seed)))
        for target in topology.order:
            for without in (None, *topology.order):
                expected = {node for node in topology.successors if target in reachable_past(topology, node, without)}
                if without != target:
                    assert topology.reaching(target, without) == expected, (seed, target, without)
            assert topology.reached_from([target]) == reachable(topology, target, None)


def reachable_past(topology: Topology, begin: str, without: str | None) -> set[str]:
    """Return what can be reached from a node on paths with nothing else of ``without`` than their beginning."""
    found: set[str] = set()
    frontier = [begin]
    while frontier:
        for target in topology.successors[frontier.pop()]:
            if target not in found and target != without:
                found.add(target)
                frontier.append(target)
    return found


def test_nodes_stand_after_what_they_can_only_be_reached_through() -> None:
    for seed in range(100):
        topology = Topology(random_plan(Random(seed)))
        for node, above in topology.dominators().items():
            assert node == START_ID or topology.place[above] < topology.place[node]
