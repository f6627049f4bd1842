"""Arrivals: which spans have come together in a join.

A value goes from the task that gave it out into the join that folds it, mostly within one commit; where a join keeps what
arrives until all has come, until it closes. So long it is remembered which span the value is from. An open join then holds
the ids of the spans that have arrived, packed: a join may have a million of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import msgspec

from perdure.graph.flow import Leaf, flows_within
from perdure.graph.plan import NodeKind, NodePlan
from perdure.kernel.fold.run import Instance, Run
from perdure.telemetry.batches import Batch
from perdure.telemetry.spans import SpanRef

Sent = tuple[SpanRef, str]
"""The span of what gave out a value, and the innermost batch it was in, or an empty text."""
JoinKey = tuple[str, str]
"""A join, and the instance of its parent fork."""


class Joining(msgspec.Struct):
    """An open join: what has arrived, and what batches it came from."""

    batch: Batch | None
    opened_at: int
    last_at: int
    arrived: array[int] = msgspec.field(default_factory=lambda: array("Q"))
    inner: dict[str, SpanRef] = msgspec.field(default_factory=dict)

    def add(self, ref: SpanRef) -> None:
        """Note that a span has arrived."""
        self.arrived.extend((ref.trace_id >> 64, ref.trace_id & (1 << 64) - 1, ref.span_id))

    def refs(self) -> Iterator[SpanRef]:
        """Yield the spans that have arrived, in order."""
        for place in range(0, len(self.arrived), 3):
            high, low, span_id = self.arrived[place : place + 3]
            yield SpanRef(high << 64 | low, span_id)


class Arrivals:
    """Values on their way, and the joins that wait for them.

    Attributes:
        sources: for what has given out a value in this commit: its span.
        joins: the open joins.
    """

    def __init__(self, run: Run) -> None:
        self.sources: dict[str, Sent] = {}
        self.joins: dict[JoinKey, Joining] = {}
        self._run = run
        self._kept: dict[JoinKey, dict[str, Sent]] = {}
        self._keeping: dict[str, tuple[NodePlan, ...]] = {}

    def give_out(self, source: str, ref: SpanRef, batch: Batch | None, node: NodePlan, scope: Instance) -> None:
        """Remember whose value is on its way, until it is folded."""
        sent = self.sources[source] = (ref, batch.instance.id if batch is not None else "")
        for join in self._keeping_joins(node):
            parent = scope.scope.get(join.parent)
            if parent is not None and join.id not in parent.absorbing:
                self._kept.setdefault((join.id, parent.id), {})[source] = sent

    def _keeping_joins(self, node: NodePlan) -> tuple[NodePlan, ...]:
        """Return the joins behind a node that keep what arrives until all has come."""
        found = self._keeping.get(node.id)
        if found is None:
            nodes, seen, ways = self._run.plan.nodes, {}, [node]
            for way in ways:
                leaves = [flow for flow in flows_within(way.flow) if isinstance(flow, Leaf)] if way.flow else []
                targets = [nodes[leaf.target] for leaf in leaves]
                if node.catch[1]:
                    targets.append(nodes[node.catch[1]])
                for target in targets:
                    if target.kind is NodeKind.JOIN and target.order == "branch":
                        seen[target.id] = target
                    elif target.kind in (NodeKind.DECISION, NodeKind.GROUP) and target not in ways:
                        ways.append(target)
            found = self._keeping[node.id] = tuple(seen.values())
        return found

    def next_for(self, join: str, instance: str, source: str) -> tuple[JoinKey, Sent | None]:
        """Return what a join folds next: where, and whose value."""
        if instance:
            return (join, instance), self._kept.get((join, instance), {}).get(source)
        return (join, self._run.arrivals[0].scope.id), self.sources.get(source)

    def close(self, key: JoinKey) -> Joining:
        """Let an open join go, and return what had arrived."""
        self._kept.pop(key, None)
        return self.joins.pop(key)

    def settle(self) -> None:
        """Forget what was on its way, if nothing is any more."""
        if not self._run.arrivals and not self._run.fresh:
            self.sources.clear()
