"""Whether a run that was driven with one graph can go on with another one.

What has happened can't be had otherwise, so everything that the log speaks of must be unchanged: the nodes that were entered,
the edges that were taken, the forks that were opened and the joins that were folded into, with their parents, orders and
policies. What lies ahead may change, with one exception: where a join has arrivals already, what its region holds decides when
it closes, so everything that can be reached from a live task in such a region must be unchanged, too.

A version is a name and nothing that a log speaks of. It keeps a run with its own graph for as long as somebody has that; who
has another one only asks here, and by then its own is gone.

A node that has begun but not ended has taken no edge yet: where it leads to may change. So the two halves of a node are
compared apart, what it is and where it leads.
"""

from __future__ import annotations

from typing import Any

from perdure import events as ev
from perdure.graph.compile.fingerprint import edges_of, nature_of
from perdure.graph.compile.topology import Topology, targets_of
from perdure.graph.flow import Flow, Leaf, flows_within
from perdure.graph.plan import NodeKind, Plan
from perdure.kernel.fold.run import OpenJoin, Run, Task

_SHOWN = 10


class Footprint:
    """What a log speaks of.

    Attributes:
        entered: the nodes, forks and joins that an event is about.
        left: those that have given something on, so that their edges were taken.
    """

    def __init__(self) -> None:
        self.entered: set[str] = {"__start__"}
        self.left: set[str] = set()

    def note(self, run: Run, event: ev.AnyEvent) -> None:
        """Note what an event is about.

        Args:
            run: the run as it was before the event.
            event: what is applied next.
        """
        task = run.tasks.get(getattr(event, "task", ""))
        for name in (task.node.id if task is not None else "", getattr(event, "node", ""), _fork_or_join(event)):
            if name:
                self.entered.add(name)
        if isinstance(event, ev.NodeCompleted | ev.StreamOpened) and task is not None:
            self._leave(run.plan, task.node.id)
        elif isinstance(event, ev.JoinClosed):
            self._leave(run.plan, event.join)
        elif isinstance(event, ev.Overridden):
            for placed in event.placed:
                self.entered.add(placed.node)
                self._leave(run.plan, placed.node)

    def _leave(self, plan: Plan, node: str) -> None:
        """Note that the edges of a node were taken, with the decisions that they pass."""
        if node in self.left:
            return
        self.left.add(node)
        flow = plan.nodes[node].flow
        for target in _passed(flow):
            if plan.nodes[target].kind is NodeKind.DECISION:
                self.entered.add(target)
                self._leave(plan, target)


def differences(run: Run, footprint: Footprint, new: Plan) -> list[str]:
    """Return why a run can't go on with another plan, a sentence each; none if it can.

    Args:
        run: the run, folded with the plan it was driven with.
        footprint: what its log speaks of.
        new: the other plan.
    """
    old = run.plan
    entered, left = set(footprint.entered), set(footprint.left)
    ahead = _bound(run)
    entered |= {task.node.id for task in run.tasks.values()} | ahead
    left |= ahead
    found = []
    if run.ends and old.end != new.end:
        found.append(f"a value has reached the end, which was end={old.end!r} and is end={new.end!r}")
    for name in sorted(entered):
        if name not in new.nodes:
            found.append(f"{old.nodes[name].kind.value} {name!r} is gone")
            continue
        found += _changed(name, nature_of(old, old.nodes[name]), nature_of(new, new.nodes[name]))
        before, after = edges_of(old.nodes[name]), edges_of(new.nodes[name])
        if name in left and before != after:
            found.append(f"what follows {name!r} was {_targets(old, name)}, and is {_targets(new, name)}")
    return found


def summary(problems: list[str]) -> str:
    """Return problems as one sentence."""
    shown = "; ".join(problems[:_SHOWN])
    return shown + (f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else "")


def _fork_or_join(event: ev.AnyEvent) -> str:
    if isinstance(event, ev.ForkOpened):
        return event.fork
    if isinstance(event, ev.ReducerUpdated | ev.JoinClosed | ev.JoinCancelled | ev.JoinFailed):
        return event.join
    return ""


def _passed(flow: Flow | None) -> list[str]:
    """Return the nodes that a flow leads to, through the forks in it."""
    return [part.target for part in flows_within(flow) if isinstance(part, Leaf)] if flow is not None else []


def _bound(run: Run) -> set[str]:
    """Return what can be reached from live tasks in whose region something has arrived already."""
    joins = [joined for joined in run.joins.values() if joined.count or joined.kept or joined.failed]
    sources = {task.node.id for task in run.tasks.values() if any(_keeps_open(task, joined) for joined in joins)}
    sources |= {
        instance.fork.id
        for instance in run.maps.values()
        if any(joined.scope.id in {outer.id for outer in instance.scope.values()} for joined in joins)
    }
    return sources | Topology(run.plan).reached_from(sources) if sources else set()


def _keeps_open(task: Task, joined: OpenJoin) -> bool:
    """Say whether a task keeps a join from closing."""
    counted = (joined.scope.fork.id, joined.node.id) in task.node.counted
    return counted and task.scope.scope.get(joined.scope.fork.id) is joined.scope


def _changed(name: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    keys = sorted(before.keys() | after.keys())
    return [
        f"{key} of {name!r} was {before.get(key)!r}, and is {after.get(key)!r}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _targets(plan: Plan, name: str) -> str:
    flow = plan.nodes[name].flow
    targets = list(dict.fromkeys(targets_of(flow) if flow is not None else []))
    return ", ".join(map(repr, targets)) or "nothing"
