"""Coverage: which nodes lie inside a fork, and which policies that puts them under.

*Inside* a fork are the nodes that its arms run through until they meet: forwards from the fork, up to the joins whose parent
is the fork itself or one outside of it. There the fork is in scope, and a task belongs to its batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from perdure.graph.compile.topology import Topology
from perdure.graph.nodes.nodes import Fork
from perdure.graph.nodes.policies import StepPolicies
from perdure.graph.plan import TASKS, FailurePolicy, Limit, NodeKind, NodePlan, Plan


def nodes_inside(plan: Plan, topology: Topology, fork: str) -> set[str]:
    """Return the nodes inside a fork, without the fork itself and the joins at its end."""
    return nodes_behind(plan, topology, fork, topology.successors[fork])


def nodes_behind(plan: Plan, topology: Topology, fork: str, first: list[str]) -> set[str]:
    """Return the nodes inside a fork that can be reached from some of its arms."""
    found: set[str] = set()
    frontier = list(first)
    while frontier:
        node = frontier.pop()
        if node in found or node == fork or _ends(plan, topology, node, fork):
            continue
        found.add(node)
        frontier += topology.successors[node]
    return found


def _ends(plan: Plan, topology: Topology, node: str, fork: str) -> bool:
    """Say whether a node is a join of a fork, or of one outside of it."""
    parent = plan.nodes[node].parent
    return bool(parent) and (parent == fork or parent not in topology.dominated_by(fork))


def assign_states(plan: Plan, own_state: Mapping[str, str]) -> None:
    """Write into every node of a subgraph which state it works on."""
    for id_, fork in own_state.items():
        if id_ in plan.nodes:
            plan.nodes[id_].state = fork


def assign_failures(plan: Plan) -> None:
    """Write into every task what a failure of it comes to, and which join gets it.

    The innermost join that says something decides, and gets what is collected; joins between the task and that one are
    abandoned, for what they were to give out has failed. Where none says anything, the graph decides; one that collects
    sends a failure to the join with the smallest region around the task. A join that waits for a number of successes takes
    none.
    """
    sizes = _region_sizes(plan)
    for node in plan.nodes.values():
        if node.kind in TASKS or node.kind is NodeKind.START:
            node.catch = _catch(plan, node, sizes)


def catch_of_join(plan: Plan, join: NodePlan) -> tuple[FailurePolicy, str]:
    """Return what it comes to if a join lacks successes, and which join around it is told: as if it were a task there."""
    return _catch(plan, join, _region_sizes(plan))


def _region_sizes(plan: Plan) -> dict[str, int]:
    """Return how many nodes could still lead to each join."""
    return Counter(join for node in plan.nodes.values() for _, join in node.counted)


def _catch(plan: Plan, node: NodePlan, sizes: Mapping[str, int]) -> tuple[FailurePolicy, str]:
    around = sorted((join for _, join in node.counted), key=lambda join: (sizes[join], join))
    deciding = next((join for join in around if plan.nodes[join].on_error is not None), None)
    join = deciding or (around[0] if around else "")
    policy: FailurePolicy = (plan.nodes[deciding].on_error if deciding is not None else None) or plan.on_error
    if policy == "collect" and join and plan.nodes[join].quorum:
        policy = "lose"
    if policy == "collect" and not join:
        policy = "fail"
    return policy, join if policy in ("collect", "lose") else ""


def assign_limits(
    plan: Plan, topology: Topology, forks: Mapping[str, Fork[Any, Any]], steps: Mapping[str, StepPolicies]
) -> None:
    """Write into every task that runs code the limits it runs under: of the run, the forks around it, and its own."""
    limits: dict[str, list[Limit]] = {id_: [] for id_ in plan.nodes}
    if plan.max_concurrency is not None:
        for found in limits.values():
            found.append(Limit("run", plan.max_concurrency))
    for id_, fork in sorted(forks.items()):
        if fork.max_concurrency is not None and id_ in topology.place:
            for inside in nodes_inside(plan, topology, id_):
                limits[inside].append(Limit(id_, fork.max_concurrency, id_))
    for id_, policies in steps.items():
        if policies.max_concurrency is not None:
            limits[id_].append(Limit(f"step {id_}", policies.max_concurrency))
    for id_, found in limits.items():
        node = plan.nodes[id_]
        if node.kind in TASKS and node.kind is not NodeKind.WAIT:
            node.limits = tuple(found)
