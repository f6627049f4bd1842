"""Stepping: a caller stands between what is ready and what starts, and may decide otherwise.

A run that is stepped through is decided on and committed as any other, with three exceptions. A task that is ready starts
only when the caller has let it go; a value at the end ends the run only when the caller has accepted it; and a failure that
would fail the run stays with its task until the caller has accepted that. Everything else (folding, closing joins, opening
arms, retries, answers) needs nobody's leave.

What the caller decides instead is one event, ``Overridden``: the tasks that don't start, those put in their place, the
value that ends the run. So a run that was stepped through is the fold of its log like any other.

A task may be placed wherever the graph could have put one: in a fork instance that is live, at a node all of whose joins are
still open there. Anything else would let a join close twice.
"""

from __future__ import annotations

from perdure.events import ItemsEnded, Overridden
from perdure.graph.flow import Enter, Flow, Leaf, Pick, Split, Spread, subflows
from perdure.graph.plan import TASKS, NodeKind, NodePlan
from perdure.kernel.decide.deciding import Deciding
from perdure.kernel.decide.hold import Hold
from perdure.kernel.fold.run import Instance, Phase, Run


def override(deciding: Deciding, hold: Hold) -> None:
    """Record what the caller has decided."""
    run = deciding.run
    if hold.override is None:
        return
    said, before = hold.override, set(run.tasks)
    dropped = [
        task for id_ in said.dropped if (task := run.tasks.get(id_)) and task.phase in (Phase.READY, Phase.FAILED)
    ]
    placed = tuple(placement.placed for placement in said.placements)
    takes_back = said.takes_back or (said.output is not None and bool(run.ends))
    deciding.record(Overridden(tuple(task.id for task in dropped), placed, said.output, takes_back))
    deciding.open_forks(tuple(chunks for placement in said.placements for chunks in placement.maps))
    hold.released |= run.tasks.keys() - before
    for task in dropped:
        for instance in task.feeds or ():
            if instance.feed is not None and instance.feed.task == task.id:
                deciding.record(ItemsEnded(instance.id, instance.feed.taken))


def why_not_placed(run: Run, target: str, instance_id: str) -> str | None:
    """Return why a task can't be placed at a node in a fork instance, or None if it can."""
    node = run.plan.nodes.get(target)
    if node is None or node.kind not in TASKS | {NodeKind.JOIN, NodeKind.DECISION, NodeKind.GROUP, NodeKind.END}:
        return f"{target!r} is no node that a task can be placed at: name a step, a join, a decision or the end"
    instance = run.instances().get(instance_id)
    if instance is None:
        return f"the fork instance {instance_id} has ended: use the fork_stack of a task that is still to start"
    return _why_not_at(run, node, instance, frozenset(), frozenset())


def _why_not_at(
    run: Run, node: NodePlan, instance: Instance, crossed: frozenset[str], seen: frozenset[str]
) -> str | None:
    if node.id in seen:
        return None
    around = ((node.parent, node.id), *node.counted) if node.kind is NodeKind.JOIN else node.counted
    for fork, join in around:
        if fork in crossed:
            continue
        outer = instance.scope.get(fork)
        if outer is None:
            return f"{node.id!r} leads to join {join!r}, and the fork_stack isn't inside of its fork {fork!r}"
        if not outer.counts.get(join) and join not in outer.joins:
            return f"{node.id!r} leads to join {join!r}, which has closed there, and a join closes once"
    if node.state and node.state not in crossed and node.state not in instance.scope:
        return f"{node.id!r} is inside of a subgraph with a state of its own, and the fork_stack isn't"
    if node.kind in (NodeKind.DECISION, NodeKind.GROUP) and node.flow is not None:
        return _why_not_along(run, node.flow, instance, crossed, seen | {node.id})
    return None


def _why_not_along(
    run: Run, flow: Flow, instance: Instance, crossed: frozenset[str], seen: frozenset[str]
) -> str | None:
    if isinstance(flow, Leaf):
        return _why_not_at(run, run.plan.nodes[flow.target], instance, crossed, seen)
    if isinstance(flow, Split | Spread | Pick | Enter):
        crossed |= {flow.fork}
    reasons = (_why_not_along(run, part, instance, crossed, seen) for part in subflows(flow))
    return next((reason for reason in reasons if reason is not None), None)
