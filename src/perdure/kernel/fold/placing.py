"""Placing: from a node that has finished to the tokens behind it.

``Walk`` follows a flow with the route that was recorded for it. It calls nobody: live and on replay it does the same.
A token that lands on a step or a wait becomes a task; one that lands on a join is an arrival, taken up by the next
``ReducerUpdated``; one that lands on the end is kept as an output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from perdure.errors import GraphRuntimeError
from perdure.events import Items, Route
from perdure.graph.flow import Choose, Enter, Flow, Leaf, Pick, Split, Spread, Transform
from perdure.graph.plan import TASKS, NodeKind, NodePlan
from perdure.ids import digest, identify, prefix
from perdure.kernel.fold.run import (
    AFTER,
    Arrival,
    Chunk,
    Feed,
    Instance,
    Item,
    Origin,
    Ref,
    Run,
    Source,
    Task,
    shown_path,
)
from perdure.kernel.fold.tokens import count_token, open_join, place, release, uncount_token
from perdure.kernel.state.committed import Committed

T = TypeVar("T")

_NO_ROUTE = Route()


class Walk:
    """One walk: the route being used up."""

    __slots__ = ("chosen", "origin", "run", "spreads", "values")

    def __init__(self, run: Run, origin: Origin, route: Route | None) -> None:
        route = route or _NO_ROUTE
        self.run: Run = run
        self.origin: Origin = origin
        self.chosen: Iterator[int] = iter(route.chosen)
        self.values = iter(route.values)
        self.spreads: Iterator[Items] = iter(route.spreads)

    def follow(self, flow: Flow, value: Source, scope: Instance, index: int, hops: tuple[str, ...]) -> None:
        """Send a value along a flow; ``hops`` are the indices of the forks crossed so far."""
        if isinstance(flow, Leaf):
            self._arrive(flow, value, scope, index, hops)
        elif isinstance(flow, Choose):
            branch = flow.branches[_next(self.chosen)]
            self.follow(branch.then, value, scope, index, hops)
        elif isinstance(flow, Split):
            self._split(flow, value, scope, index, hops)
        elif isinstance(flow, Spread):
            self._spread(flow, value, scope, index, hops)
        elif isinstance(flow, Transform):
            self.follow(flow.then, Ref(_next(self.values), "", 0), scope, index, hops)
        elif isinstance(flow, Pick):
            self._pick(flow, value, scope, index, hops)
        else:
            self._enter(flow, value, scope, index, hops)

    def _split(self, flow: Split, value: Source, scope: Instance, index: int, hops: tuple[str, ...]) -> None:
        fork = self.run.plan.nodes[flow.fork]
        instance = open_instance(self.run, fork, self.origin.id, scope, index, hops)
        instance.size = len(flow.arms)
        for arm_index, arm in enumerate(flow.arms):
            self.follow(arm, value, instance, arm_index, (*hops, str(flow.ranks[arm_index])))

    def _pick(self, flow: Pick, value: Source, scope: Instance, index: int, hops: tuple[str, ...]) -> None:
        """Follow the ways a router has chosen, in its order; it may choose one twice, and send along another value."""
        fork = self.run.plan.nodes[flow.fork]
        instance = open_instance(self.run, fork, self.origin.id, scope, index, hops)
        instance.size = _next(self.chosen)
        for arm_index in range(instance.size):
            way, has_own = divmod(_next(self.chosen), 2)
            sent = Ref(_next(self.values), "", 0) if has_own else value
            self.follow(flow.arms[way], sent, instance, arm_index, (*hops, str(arm_index)))

    def _enter(self, flow: Enter, value: Source, scope: Instance, index: int, hops: tuple[str, ...]) -> None:
        """Enter a subgraph, with a state of its own if it has one."""
        run = self.run
        instance = open_instance(run, run.plan.nodes[flow.fork], self.origin.id, scope, index, hops)
        instance.size = 1
        if flow.has_state:
            run.states[instance.id] = Committed(run.reading.own_state(_next(self.values)), seq=run.seq)
        self.follow(flow.then, value, instance, 0, (*hops, "0"))

    def _spread(self, flow: Spread, value: Source, scope: Instance, index: int, hops: tuple[str, ...]) -> None:
        run = self.run
        fork = run.plan.nodes[flow.fork]
        instance = open_instance(run, fork, self.origin.id, scope, index, hops)
        by = value.by if isinstance(value, Ref) else ""
        feed = instance.feed = Feed(by, flow.then, self.origin, hops)
        run.maps[instance.id] = run.stirred[instance.id] = instance
        count_token(instance, fork, AFTER)
        if flow.join is not None:
            open_join(run, run.plan.nodes[flow.join], instance)
        items: Items | None = next(self.spreads, None)
        if items is not None:
            instance.size = items.count
            limit_arms(feed, items.count, fork.window)
            take(feed, items, 0)
            set_total(run, instance, items.count)

    def _arrive(self, leaf: Leaf, value: Source, scope: Instance, index: int, hops: tuple[str, ...]) -> None:
        run = self.run
        node = run.plan.nodes[leaf.target]
        kind = node.kind
        if kind in TASKS:
            task_id = identify(self.origin.id, leaf.target, str(leaf.ordinal), *hops)
            place(run, Task(task_id, node, scope, index, value, self.origin.depth))
        elif kind is NodeKind.JOIN:
            arrive(run, node, scope, index, value, self.origin)
        elif kind is NodeKind.DECISION or kind is NodeKind.GROUP:
            assert node.flow is not None
            self.follow(node.flow, value, scope, index, hops)
        else:
            run.ends.append((value, self.origin.id))


def _next(recorded: Iterator[T]) -> T:
    try:
        return next(recorded)
    except StopIteration:
        raise GraphRuntimeError("a recorded route is shorter than the graph's flow: the graph has changed") from None


def arrive(run: Run, node: NodePlan, scope: Instance, index: int, value: Source, origin: Origin) -> None:
    """Let a value arrive at a join; one that has had enough already takes no more."""
    instance = scope.scope[node.parent]
    if node.id in instance.absorbing:
        return
    path = (*(position for _, position in scope.trail), index)
    arrival = Arrival(node, instance, value, origin.id, path, origin.depth)
    if node.order == "arrival":
        instance.arriving += 1
        run.arrivals.append(arrival)
        return
    joined = open_join(run, node, scope)
    joined.kept.append(arrival)
    if joined.has_enough:
        run.settled.append((instance, node.id))


# --- instances ---


def open_instance(
    run: Run, fork: NodePlan, source: str, scope: Instance, index: int, hops: tuple[str, ...]
) -> Instance:
    """Activate a fork."""
    id_ = identify("fork", source, fork.id, *hops)
    outer = {name: instance for name, instance in scope.scope.items() if name != fork.id}
    trail = tuple(entry for entry in (*scope.trail, (scope.fork.id, index)) if entry[0] != fork.id)
    instance = Instance(id_, fork, source, trail, outer)
    windows = []
    for name, arm_index in trail:
        around = outer[name]
        around.inner[id_] = instance
        if around.feed is not None and around.feed.arms is not None:
            windows.append((around, arm_index))
    instance.windows = tuple(windows)
    outer[fork.id] = instance
    run.fresh[id_] = instance
    return instance


# --- maps ---


def take(feed: Feed, items: Items, seq: int) -> None:
    """Add recorded items; ``seq`` is the event that holds nothing else, or 0."""
    if items.count:
        feed.chunks.append(Chunk(items, feed.taken, feed.by, seq))
    feed.taken += items.count


def limit_arms(feed: Feed, size: int | None, window: int) -> None:
    """Begin to count the unsettled arms of a map that may have more of them than may be open at once."""
    if size is None or size > window:
        feed.arms = {}


def set_total(run: Run, instance: Instance, total: int) -> None:
    """Settle how many items a map has."""
    feed = instance.feed
    assert feed is not None
    feed.total = total
    feed.task = None
    if feed.is_exhausted:
        end_feed(run, instance)


def open_arms(run: Run, instance: Instance, upto: int) -> None:
    """Open the arms of a map up to an index.

    Raises:
        GraphRuntimeError: their items haven't been recorded.
    """
    feed = instance.feed
    if feed is None or upto > feed.taken:
        raise GraphRuntimeError(
            f"run {run.run_id!r}: arms of {instance.fork.id!r} are opened before their items are recorded"
        )
    then, origin, hops = feed.then, feed.origin, feed.hops
    node = run.plan.nodes[then.target] if isinstance(then, Leaf) else None
    if node is not None and node.kind in TASKS and isinstance(then, Leaf):
        head = prefix(origin.id, node.id, str(then.ordinal), *hops)
        depth = origin.depth
        for index in range(feed.opened, upto):
            place(run, Task(digest(head + prefix(str(index))), node, instance, index, _item(feed, index), depth))
    else:
        for index in range(feed.opened, upto):
            item = _item(feed, index)
            routes = item.chunk.items.routes
            walk = Walk(run, origin, routes[item.offset] if routes is not None else None)
            walk.follow(then, item, instance, index, (*hops, str(index)))
    feed.opened = upto
    if feed.is_exhausted:
        end_feed(run, instance)


def _item(feed: Feed, index: int) -> Item:
    chunk = feed.chunks[0]
    item = Item(chunk, index - chunk.first)
    if item.offset + 1 == chunk.items.count:
        feed.chunks.popleft()
    return item


def end_feed(run: Run, instance: Instance) -> None:
    """Let a map go that has no arms left to open."""
    assert instance.feed is not None
    if not instance.feed.opened:
        run.lose(f"{shown_path(instance, AFTER, instance.fork.id)} had no items")
    del run.maps[instance.id]
    instance.feed = None
    uncount_token(run, instance, instance.fork, AFTER)
    release(run, instance)
