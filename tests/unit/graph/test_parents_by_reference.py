"""Parent forks are what the definition says, tried literally on random graphs.

The reference knows no dominators and no dataflow: it walks. A fork dominates a join if the join can't be reached without
it; it is in scope if it is on every walk into the join, with the joins on the way leaving scopes as their parents tell; and
as joins depend on each other, every assignment of parents is tried, of which just one may be consistent.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

import pytest

from perdure import Graph, GraphBuilder, GraphBuildingError, reduce_sum
from perdure.graph.compile.regions import assign_parents
from perdure.graph.compile.topology import Topology
from perdure.graph.nodes.nodes import START_ID

LONGEST_WALK = 14


def random_graph(rng: Random) -> tuple[Graph[Any, Any, Any, Any], dict[str, tuple[str, str | None]]]:
    """Return a graph that needn't have an end, and for each join what it asks for."""
    g = GraphBuilder(input_type=object, output_type=object)

    async def body(ctx: Any) -> Any:
        return ctx.inputs

    steps = [g.step(body, node_id=f"s{number}") for number in range(rng.randrange(2, 6))]
    wishes: dict[str, tuple[str, str | None]] = {}
    joins = []
    for number in range(rng.randrange(1, 4)):
        wish = rng.choice(["farthest", "closest", "closest"])
        asked = rng.choice([None, None, None, None, "f0", "f1"])
        wishes[f"j{number}"] = (wish, asked)
        joins.append(
            g.join(
                reduce_sum,
                initial=0,
                node_id=f"j{number}",
                preferred_parent_fork=wish,
                parent_fork_id=asked,
            )
        )
    places: list[Any] = [*steps, *joins, g.end_node]
    forks = iter(range(100))  # some of them are asked for, whether they are there or not
    for source in [g.start_node, *steps, *joins]:
        edge = g.edge_from(source)
        kind = rng.choice(["plain", "plain", "map", "broadcast", "choice"])
        first, second = rng.choice(places), rng.choice(places)
        if kind == "plain":
            g.add(edge.to(first))
        elif kind == "map":
            g.add(edge.map(fork_id=f"f{next(forks)}").to(first))
        elif kind == "broadcast":
            g.add(edge.to(first, second, fork_id=f"f{next(forks)}"))
        else:
            taken = g.decision(node_id=f"d{next(forks)}")
            g.add(edge.to(taken.branch(g.match(int).to(first)).branch(g.match(object).to(second))))
    return g.build(validate_graph_structure=False), wishes


class Reference:
    """The definition, on one graph."""

    def __init__(self, graph: Graph[Any, Any, Any, Any], wishes: dict[str, tuple[str, str | None]]) -> None:
        self.after = Topology(graph.plan).successors
        self.forks = {START_ID, *(id_ for id_, node in graph.plan.nodes.items() if node.is_fork)}
        reached = self.reachable(START_ID, "")
        self.joins = sorted(join for join in wishes if join in reached)
        self.wishes = wishes
        self.candidates = {join: self.dominating(join) for join in self.joins}

    def reachable(self, begin: str, without: str) -> set[str]:
        """Return what can be reached on a path that has at least one edge and avoids a node."""
        found: set[str] = set()
        frontier = [begin]
        while frontier:
            for target in self.after[frontier.pop()]:
                if target != without and target not in found:
                    found.add(target)
                    frontier.append(target)
        return found

    def dominating(self, join: str) -> list[str]:
        """Return the forks on every path into a join and on every cycle through it, the closest first."""
        forks = [
            fork
            for fork in self.forks
            if (fork == START_ID or join not in self.reachable(START_ID, fork))
            and join not in self.reachable(join, fork)
        ]
        forks = [fork for fork in forks if fork == START_ID or fork in self.reachable(START_ID, "")]
        return sorted(forks, key=lambda fork: -sum(self.dominates(other, fork) for other in forks))

    def dominates(self, fork: str, node: str) -> bool:
        return fork in (START_ID, node) or (node != START_ID and node not in self.reachable(START_ID, fork))

    def scopes_at(self, target: str, parents: dict[str, str | None]) -> Iterator[dict[str, Any]]:
        """Yield the scopes of walks into a node; a scope maps each fork to that of its innermost instance."""
        root: dict[str, Any] = {}
        root[START_ID] = root
        frontier = [(START_ID, root)]
        for _ in range(LONGEST_WALK):
            beyond = {}
            for node, scope in frontier:
                for successor in self.after[node]:
                    if successor == target:
                        yield scope
                    entered = self.entered(successor, scope, parents)
                    beyond[successor, shape(entered)] = (successor, entered)
            frontier = list(beyond.values())

    def entered(self, node: str, scope: dict[str, Any], parents: dict[str, str | None]) -> dict[str, Any]:
        if node in self.forks:
            inner = dict(scope)
            inner[node] = inner
            return inner
        parent = parents.get(node)
        if parent is not None:
            return scope.get(parent, scope)
        return scope

    def is_single(self, join: str, fork: str, parents: dict[str, str | None]) -> bool:
        """Say whether all forks opened since, this one included, are joined on every walk from a fork into a join."""
        if join in self.reachable(join, fork):
            return False
        frontier: set[tuple[str, tuple[str, ...]]] = {(fork, () if fork == START_ID else (fork,))}
        for _ in range(LONGEST_WALK):
            beyond = set()
            for node, opened in frontier:
                for successor in self.after[node]:
                    if successor == fork:
                        continue
                    if successor == join:
                        if opened:
                            return False
                        continue
                    parent = parents.get(successor)
                    if successor in self.forks:
                        beyond.add((successor, (*opened, successor)))
                    elif parent in opened:
                        last = len(opened) - 1 - opened[::-1].index(parent)
                        beyond.add((successor, opened[:last]))
                    elif parent == START_ID and fork == START_ID:
                        beyond.add((successor, ()))
                    else:
                        beyond.add((successor, opened))
            frontier = beyond
        return True

    def chosen(self, join: str, parents: dict[str, str | None]) -> str | None:
        """Return the parent a join must have, given those of all joins."""
        scopes = list(self.scopes_at(join, parents))
        fit = [fork for fork in self.candidates[join] if all(fork in scope for scope in scopes)]
        wish, asked = self.wishes[join]
        if asked is not None:
            return asked if asked in fit else None
        if not fit:
            return None
        if wish == "closest":
            return next((fork for fork in fit if not self.is_single(join, fork, parents)), fit[0])
        if fit[-1] == START_ID and len(fit) > 1 and self.is_single(fit[-2], START_ID, parents):
            return fit[-2]
        return fit[-1]

    def assignments(self) -> Iterator[dict[str, str | None]]:
        """Yield every assignment in which each join has the parent it must have."""
        for choice in product(*([None, *self.candidates[join]] for join in self.joins)):
            parents = dict(zip(self.joins, choice, strict=True))
            if all(self.chosen(join, parents) == parents[join] for join in self.joins):
                yield parents


def shape(scope: dict[str, Any], depth: int = 3) -> Any:
    """Return what tells scopes apart, as deep as it can matter on a short walk."""
    if not depth:
        return frozenset(scope)
    return frozenset((fork, shape(inner, depth - 1)) for fork, inner in scope.items() if inner is not scope)


def test_parents_are_what_the_definition_says(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, str] = {}

    def remember(plan: Any, topology: Any, nodes: Any, within: Any) -> list[str]:
        assign_parents(plan, topology, nodes, within)
        found.update({id_: node.parent for id_, node in plan.nodes.items() if node.parent})
        return []

    monkeypatch.setattr("perdure.graph.compile.build.assign_parents", remember)
    tried = unfit = 0
    kinds: dict[str, int] = {}
    seed = 0
    while tried < 600:
        seed += 1
        found.clear()
        try:
            graph, wishes = random_graph(Random(seed))
        except GraphBuildingError:
            continue  # an id of a fork there is none of, or a cycle in which nothing is done
        reference = Reference(graph, wishes)
        if not reference.joins:
            continue
        tried += 1
        consistent = list(reference.assignments())
        assert len(consistent) == 1, (seed, consistent)
        expected = {join: parent for join, parent in consistent[0].items() if parent is not None}
        assert {join: fork for join, fork in found.items() if join in expected or fork} == expected, seed
        unfit += len(expected) < len(reference.joins)
        for parent in expected.values():
            kinds["start" if parent == START_ID else "fork"] = (
                kinds.get("start" if parent == START_ID else "fork", 0) + 1
            )
    assert unfit
    assert min(kinds["start"], kinds["fork"]) > 20
