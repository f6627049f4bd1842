"""Regions: which fork is the parent of a join, and which nodes lie between the two.

A join closes when nothing is left that could still reach it from its parent fork. Both halves of that sentence are
settled when the graph is built, so that a run only has to count.

*Parent.* Every path into the join must pass the parent, so it is one of the join's dominators. A fork F qualifies if

  (a) the join is on no cycle that avoids F: else the join would be reached again and again within one instance of F;
  (b) F is in scope on every path into the join. The output of another join K leaves the scope of every fork inside K's
      parent, so F drops out where a K whose parent lies outside F stands between F and the join.

The start of a run is an instance like any other, so the start is the outermost fork. It qualifies for every join that is
on no cycle. For what lies inside a subgraph the fork by which it is entered takes the place of the start: nothing in there
looks beyond it, so a graph does as a node of another one what it does alone.

(b) depends on the parents of other joins, which depend on theirs: parents are assigned in rounds until nothing changes,
which takes at most one round for each level of nesting. Every graph has just one assignment in which each join has the
parent these rules give it (tests/unit/graph/test_parents_by_reference.py tries all assignments of random graphs).

A join that isn't told its parent has one if any fork satisfies (a): where K takes F out of scope, K's own parent lies
outside F and qualifies for the join, too. So only ``parent_fork_id`` can ask for what another join stands in the way of.

*Preference.* By default the farthest fork is the parent. That is the start, unless the farthest of the other forks is
opened just once in a run: then both mean the same, and the fork is taken, since what comes before it is none of the join's
business. With ``"closest"`` a fork is passed over if no more than one value can reach the join in an instance of it,
because its arms have been joined already; see docs/explanation/decisions/010-parent-forks.md.

*Region.* The nodes from which the join can be reached without passing the parent fork again. A task in the region, in
an instance of the parent fork, keeps the instance of the join from closing; so does an inner join that is open, and a
map that has items left. The parent is in scope everywhere in the region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from perdure.graph.compile.topology import Topology
from perdure.graph.nodes.join import AnyJoin
from perdure.graph.nodes.nodes import START_ID
from perdure.graph.plan import NodeKind, Plan


def assign_parents(
    plan: Plan, topology: Topology, nodes: Mapping[str, Any], within: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Find the parent fork of every join and write it into the plan; return what is wrong, a sentence each.

    Args:
        plan: the plan.
        topology: its shape.
        nodes: its nodes, with what joins ask for.
        within: for each node of a subgraph, the fork by which that is entered.
    """
    joins = [id_ for id_ in topology.order if plan.nodes[id_].kind is NodeKind.JOIN]
    immediate = topology.dominators()
    candidates = {join: _candidates(plan, topology, immediate, join, within.get(join)) for join in joins}
    parents: dict[str, str] = {}
    for _ in range(len(joins) + 1):
        in_scope = _scopes(plan, topology, parents)
        is_single = partial(_is_single, plan, topology, parents, frozenset(within.values()))
        chosen = {
            join: _choose(nodes[join], candidates[join], in_scope[join], is_single, within.get(join, START_ID))
            for join in joins
        }
        settled = {join: fork for join, fork in chosen.items() if fork is not None}
        if settled == parents:
            break
        parents = settled
    problems = []
    for join in joins:
        if join in parents:
            plan.nodes[join].parent = parents[join]
        elif (wanted := nodes[join].parent_fork_id) is None:
            problems.append(
                f"join {join!r} has no parent: no fork (broadcast or map) lies on every path into it and on every cycle "
                "through it. Put a fork into the cycle, or connect the join's sources to the next step directly"
            )
        elif wanted in plan.nodes and _is_fork(plan, wanted):
            problems.append(_unfit(wanted, join, topology, candidates[join], parents))
    return problems + _unjoined_maps(plan, topology)


def _candidates(
    plan: Plan, topology: Topology, immediate: Mapping[str, str], join: str, outermost: str | None
) -> list[str]:
    """Return the forks that dominate a join and satisfy (a), the closest first and the start, or its like, last."""
    forks = []
    node = join
    while node not in (START_ID, outermost):
        node = immediate[node]
        if _is_fork(plan, node) and join not in topology.reaching(join, node):
            forks.append(node)
    return forks


def _is_fork(plan: Plan, node: str) -> bool:
    return node == START_ID or plan.nodes[node].is_fork


def _scopes(plan: Plan, topology: Topology, parents: Mapping[str, str]) -> dict[str, set[str]]:
    """Return, for every node, the forks that are in scope on every path into it, given the parents known so far."""
    forks = {id_ for id_ in plan.nodes if _is_fork(plan, id_)}
    before: dict[str, set[str]] = {id_: set(forks) for id_ in topology.order}
    before[START_ID] = set()

    def after(node: str) -> set[str]:
        if node in forks:
            return before[node] | {node}
        parent = parents.get(node)
        if parent is not None:
            return before[parent] | {parent}
        return before[node]

    changed = True
    while changed:
        changed = False
        for node in topology.order[1:]:
            scopes = [after(source) for source in topology.predecessors[node] if source in topology.place]
            scope = set.intersection(*scopes)
            if scope != before[node]:
                before[node] = scope
                changed = True
    return before


def _is_single(
    plan: Plan, topology: Topology, parents: Mapping[str, str], entered: frozenset[str], node: str, fork: str
) -> bool:
    """Say whether no more than one value can reach a node in an instance of a fork that dominates it.

    Only forks make several values of one, and a join makes one of all there are in an instance of its parent. So there is
    one where no fork that was opened since, this one included, is still to be joined, whichever way was taken. A fork by
    which a subgraph is entered has but one arm.
    """
    region = topology.reaching(node, fork) & topology.place.keys()
    if node in region:
        return False
    unjoined: dict[str, set[str]] = {id_: set() for id_ in (*region, node)}

    def after(id_: str) -> set[str]:
        parent = parents.get(id_)
        if id_ == START_ID or parent == fork:
            return set()
        if id_ in entered:
            return unjoined[id_]
        if id_ == fork:
            return {fork}
        if plan.nodes[id_].is_fork:
            return unjoined[id_] | {id_}
        return unjoined[parent] if parent in unjoined else unjoined[id_]

    order = [id_ for id_ in topology.order if id_ in unjoined and id_ != fork]
    changed = True
    while changed:
        changed = False
        for id_ in order:
            found = set().union(*(after(source) for source in topology.predecessors[id_] if source in region))
            if found != unjoined[id_]:
                unjoined[id_] = found
                changed = True
    return not unjoined[node]


def _choose(
    join: AnyJoin,
    candidates: list[str],
    in_scope: set[str],
    is_single: Callable[[str, str], bool],
    outermost: str,
) -> str | None:
    qualified = [fork for fork in candidates if fork in in_scope]
    if join.parent_fork_id is not None:
        return join.parent_fork_id if join.parent_fork_id in qualified else None
    if not qualified:
        return None
    if join.preferred_parent_fork == "closest":
        return next((fork for fork in qualified if not is_single(join.id, fork)), qualified[0])
    farthest = qualified[-1]
    if farthest == outermost and len(qualified) > 1 and is_single(qualified[-2], outermost):
        return qualified[-2]
    return farthest


def _unfit(wanted: str, join: str, topology: Topology, candidates: list[str], parents: Mapping[str, str]) -> str:
    """Say why the fork that a join asks for can't be its parent, and what to do."""
    if wanted not in candidates:
        fit = f"those that can be are {candidates}" if candidates else "no other fork can be, either"
        return (
            f"join {join!r}: the fork {wanted!r} of parent_fork_id can't be its parent, because not every path into the "
            f"join, or not every cycle through it, passes the fork; {fit}"
        )
    between = topology.reaching(join, wanted)
    other, parent = next(
        (other, parent)
        for other, parent in sorted(parents.items())
        if other in between and parent != wanted and parent not in between
    )
    return (
        f"join {join!r}: the fork {wanted!r} of parent_fork_id can't be its parent, because the output of join {other!r}, "
        f"whose parent is {parent!r}, leaves the scope of {wanted!r} on its way to {join!r}. Set parent_fork_id={wanted!r} "
        f"on {other!r}, or parent_fork_id={parent!r} on {join!r}"
    )


def _unjoined_maps(plan: Plan, topology: Topology) -> list[str]:
    problems = []
    for id_, node in plan.nodes.items():
        if node.kind is not NodeKind.MAP or node.join not in plan.nodes or not plan.nodes[node.join].parent:
            continue
        parent = plan.nodes[node.join].parent
        if id_ not in topology.reaching(node.join, parent):
            problems.append(
                f"map {id_!r}: downstream_join_id={node.join!r} names a join that the map's items can't reach from "
                f"fork {parent!r}; name the join they do meet in"
            )
    return problems


def mark_regions(plan: Plan, topology: Topology) -> None:
    """Write into every node the joins it keeps open, as (parent fork, join)."""
    counted: dict[str, list[tuple[str, str]]] = {id_: [] for id_ in plan.nodes}
    for join, node in plan.nodes.items():
        if node.parent:
            for inside in topology.reaching(join, node.parent) - {START_ID}:
                counted[inside].append((node.parent, join))
    for id_, pairs in counted.items():
        plan.nodes[id_].counted = tuple(sorted(pairs))
