"""Snapshots: a run as plain data, to go on from without folding its log from the beginning.

A snapshot holds what is live, and nothing that follows from it:

    held      tasks, fork instances, maps with items left, open joins with what they have folded, the committed states,
              values that have reached the end, counters of the whole run
    derived   the tokens that keep a join open and the unsettled arms of a map (counted anew, by the code that counts
              them live), alarms, bodies running under a limit

A value that several tasks refer to is held once; so is a chunk of items of which some are still to be run. Values stand in a
snapshot itself as they stand in the log, so nothing but the snapshot has to be read to go on from it.

It is taken between two decisions, when everything that one has given rise to is settled. ``load(dump(run))`` goes on
exactly like ``run``.
"""

from __future__ import annotations

from collections import deque
from heapq import heappush
from typing import Any, Protocol

import msgspec

from perdure.events import Value
from perdure.graph.flow import Flow, Spread, flows_within
from perdure.graph.plan import Plan
from perdure.kernel.fold.run import (
    AFTER,
    Arrival,
    Chunk,
    Feed,
    Instance,
    Item,
    KeptSignal,
    OpenJoin,
    Phase,
    Ref,
    Run,
    Source,
    Task,
    limit_keys,
)
from perdure.kernel.fold.saved import (
    Saved,
    SavedArrival,
    SavedChunk,
    SavedFeed,
    SavedInstance,
    SavedJoin,
    SavedSource,
    SavedState,
    SavedTask,
    decode,
    encode,
)
from perdure.kernel.fold.status import Status
from perdure.kernel.fold.tokens import SETTLED, change_arms, count_token
from perdure.kernel.state.committed import Committed
from perdure.kernel.state.tree import thaw

_NULL: Value = msgspec.Raw(b"null")

FORMAT = 4
"""Counted up with every change of what is held, so that older snapshots are dropped and the log is folded instead."""


class Writing(Protocol):
    """How the values are written that the log doesn't hold as they are."""

    def record(self, by: str, value: Any) -> Value:
        """Return what a join has folded so far."""
        ...

    def record_state(self, value: Any) -> Value:
        """Return a state."""
        ...


def can_dump(run: Run) -> bool:
    """Say whether a run is between two decisions, with all its joins folded and nothing put aside in them."""
    is_settled = not (run.arrivals or run.fresh or run.settled or run.stirred)
    joins = run.joins.values()
    return is_settled and run.successor is None and not any(joined.unfolded or joined.aside for joined in joins)


def dump(run: Run, writing: Writing) -> bytes:
    """Return a snapshot of a run.

    Raises:
        CodecError: what a join has folded can't be stored.
    """
    return encode(_Dump(run, writing).saved())


class _Dump:
    """A snapshot in the making: what is held once, by identity."""

    def __init__(self, run: Run, writing: Writing) -> None:
        self._run = run
        self._writing = writing
        self._chunks: list[SavedChunk] = []
        self._sources: list[SavedSource] = []
        self._known: dict[int, int] = {}

    def saved(self) -> Saved:
        run = self._run
        queued = [task.id for task in run.tasks.values() if task.phase is Phase.READY and task.id not in run.ready]
        return Saved(
            seq=run.seq,
            status=run.status.value,
            durability=run.durability,
            deadline=run.deadline,
            max_steps=run.max_steps,
            crashes=run.crashes,
            segment=run.segment,
            placed=run.placed,
            state=self._state(run.state),
            states={id_: (self._writing.record("", thaw(own.tree)), own.seq) for id_, own in run.states.items()},
            signals=[(kept.entry, kept.name, msgspec.Raw(kept.data), kept.by) for kept in run.signals],
            instances=[self._instance(instance) for instance in _instances(run)],
            tasks=[self._task(task) for task in run.tasks.values()],
            ready=[*run.ready, *queued],
            maps=[*run.maps],
            joins=[self._join(joined) for joined in run.joins.values()],
            ends=[(self._source(value), source) for value, source in run.ends],
            loose_ends=list(run.loose_ends),
            failures=list(run.failures),
            lost=run.lost,
            chunks=self._chunks,
            sources=self._sources,
        )

    def _state(self, state: Committed) -> SavedState:
        return self._writing.record_state(thaw(state.tree)), state.seq

    def _source(self, source: Source) -> int:
        place = self._known.get(id(source))
        if place is None:
            place = self._known[id(source)] = len(self._sources)
            if isinstance(source, Item):
                self._sources.append(SavedSource(_NULL, chunk=self._chunk(source.chunk), offset=source.offset))
            else:
                self._sources.append(SavedSource(source.value, source.by, source.seq))
        return place

    def _chunk(self, chunk: Chunk) -> int:
        place = self._known.get(id(chunk))
        if place is None:
            place = self._known[id(chunk)] = len(self._chunks)
            self._chunks.append(SavedChunk(chunk.items, chunk.first, chunk.by, chunk.seq))
        return place

    def _instance(self, instance: Instance) -> SavedInstance:
        feed = instance.feed
        return SavedInstance(
            id=instance.id,
            fork=instance.fork.id,
            source=instance.source,
            trail=instance.trail,
            scope=tuple(other.id for other in instance.scope.values()),
            size=instance.size,
            inner=tuple(instance.inner),
            absorbing=tuple(sorted(instance.absorbing)),
            windows=tuple((other.id, arm) for other, arm in instance.windows),
            feed=self._feed(feed) if feed is not None else None,
        )

    def _feed(self, feed: Feed) -> SavedFeed:
        return SavedFeed(
            by=feed.by,
            origin=feed.origin,
            hops=feed.hops,
            total=feed.total,
            taken=feed.taken,
            opened=feed.opened,
            chunks=tuple(self._chunk(chunk) for chunk in feed.chunks),
            task=feed.task,
            is_limited=feed.arms is not None,
        )

    def _task(self, task: Task) -> SavedTask:
        return SavedTask(
            id=task.id,
            node=task.node.id,
            scope=task.scope.id,
            index=task.index,
            value=self._source(task.value),
            depth=task.depth,
            phase=task.phase.value,
            attempt=task.attempt,
            failures=task.failures,
            crashes=task.crashes,
            is_suspect=task.is_suspect,
            is_uncertain=task.is_uncertain,
            due_at=task.due_at,
            is_answered=task.is_answered,
            escalations=task.escalations,
            opened=task.opened,
            opened_at=task.opened_at,
            title=task.title,
            assignee=task.assignee,
            feeds=tuple(instance.id for instance in task.feeds) if task.feeds is not None else None,
        )

    def _join(self, joined: OpenJoin) -> SavedJoin:
        has_value = joined.value is not msgspec.UNSET
        return SavedJoin(
            node=joined.node.id,
            instance=joined.scope.id,
            value=self._writing.record(joined.node.id, joined.value) if has_value else _NULL,
            has_value=has_value,
            kept=tuple(
                SavedArrival(self._source(arrival.value), arrival.source, arrival.path, arrival.depth)
                for arrival in joined.kept
            ),
            failed=tuple(joined.failed),
            count=joined.count,
            first=joined.first,
            last=joined.last,
            depth=joined.depth,
            cancelled=joined.cancelled,
        )


def _instances(run: Run) -> list[Instance]:
    """Return every fork instance that something live can come upon, the root first."""
    found: dict[str, Instance] = {}
    left = [run.root, *(joined.scope for joined in run.joins.values()), *run.maps.values()]
    for task in run.tasks.values():
        left += [task.scope, *(task.feeds or ())]
    for instance in left:
        if instance.id not in found:
            found[instance.id] = instance
            left += [*instance.scope.values(), *instance.inner.values(), *(other for other, _ in instance.windows)]
    return list(found.values())


def load(data: bytes, run: Run) -> None:
    """Make a run that has nothing applied yet what another one was when it was dumped.

    Raises:
        msgspec.DecodeError: the data is no snapshot.
        CodecError: what is in it can't be read by this process.
    """
    _Load(decode(data), run)


class _Load:
    """A run in the making. What may fail because of the user's types comes first, before the run is touched."""

    def __init__(self, saved: Saved, run: Run) -> None:
        reading = run.reading
        state = Committed(reading.state(saved.state[0]), run.state.declared, saved.state[1])
        states = {id_: Committed(reading.own_state(value), seq=seq) for id_, (value, seq) in saved.states.items()}
        folded = [
            reading.load(Ref(joined.value, joined.node, 0)) if joined.has_value else msgspec.UNSET
            for joined in saved.joins
        ]
        self._run = run
        self._chunks = [Chunk(chunk.items, chunk.first, chunk.by, chunk.seq) for chunk in saved.chunks]
        self._sources = [self._source(source) for source in saved.sources]
        self._instances: dict[str, Instance] = {run.root.id: run.root}
        run.seq = saved.seq
        run.status = Status(saved.status)
        run.durability = saved.durability
        run.deadline = saved.deadline
        run.max_steps = saved.max_steps
        run.crashes, run.segment = saved.crashes, saved.segment
        run.placed = saved.placed
        run.state, run.states = state, states
        run.signals = tuple(KeptSignal(entry, name, bytes(data), by) for entry, name, data, by in saved.signals)
        run.loose_ends, run.failures, run.lost = (*saved.loose_ends,), (*saved.failures,), saved.lost
        run.ends = [(self._sources[value], source) for value, source in saved.ends]
        self._load_instances(saved.instances)
        run.maps = {id_: self._instances[id_] for id_ in saved.maps}
        for joined, value in zip(saved.joins, folded, strict=True):
            self._load_join(joined, value)
        for task in saved.tasks:
            self._load_task(task)
        run.ready = {id_: run.tasks[id_] for id_ in saved.ready}
        self._count()

    def _source(self, source: SavedSource) -> Source:
        if source.chunk >= 0:
            return Item(self._chunks[source.chunk], source.offset)
        return Ref(source.value, source.by, source.seq)

    def _load_instances(self, instances: list[SavedInstance]) -> None:
        nodes, known = self._run.plan.nodes, self._instances
        spreads = _spreads(self._run.plan)
        for saved in instances:
            if saved.id not in known:
                known[saved.id] = Instance(saved.id, nodes[saved.fork], saved.source, saved.trail)
        for saved in instances:
            instance = known[saved.id]
            instance.scope = {known[id_].fork.id: known[id_] for id_ in saved.scope}
            instance.size = saved.size
            instance.inner = {id_: known[id_] for id_ in saved.inner}
            instance.absorbing = dict.fromkeys(saved.absorbing)
            instance.windows = tuple((known[id_], arm) for id_, arm in saved.windows)
            feed = saved.feed
            if feed is not None:
                instance.feed = Feed(
                    feed.by,
                    spreads[saved.fork],
                    feed.origin,
                    feed.hops,
                    feed.total,
                    feed.taken,
                    feed.opened,
                    deque(self._chunks[place] for place in feed.chunks),
                    feed.task,
                    {} if feed.is_limited else None,
                )

    def _load_join(self, saved: SavedJoin, value: Any) -> None:
        node, instance = self._run.plan.nodes[saved.node], self._instances[saved.instance]
        joined = OpenJoin(node, instance, value)
        joined.kept = deque(
            Arrival(node, instance, self._sources[kept.value], kept.source, kept.path, kept.depth)
            for kept in saved.kept
        )
        joined.count, joined.first, joined.last = saved.count, saved.first, saved.last
        joined.failed, joined.depth, joined.cancelled = [*saved.failed], saved.depth, saved.cancelled
        self._run.joins[node.id, instance.id] = instance.joins[node.id] = joined

    def _load_task(self, saved: SavedTask) -> None:
        run, scope = self._run, self._instances[saved.scope]
        task = Task(
            id=saved.id,
            node=run.plan.nodes[saved.node],
            scope=scope,
            index=saved.index,
            value=self._sources[saved.value],
            depth=saved.depth,
            phase=Phase(saved.phase),
            attempt=saved.attempt,
            failures=saved.failures,
            crashes=saved.crashes,
            is_suspect=saved.is_suspect,
            is_uncertain=saved.is_uncertain,
            due_at=saved.due_at,
            is_answered=saved.is_answered,
            escalations=saved.escalations,
            opened=saved.opened,
            opened_at=saved.opened_at,
            title=saved.title,
            assignee=saved.assignee,
            feeds=[self._instances[id_] for id_ in saved.feeds] if saved.feeds is not None else None,
        )
        run.tasks[task.id] = scope.tasks[task.id] = task
        if task.due_at is not None:
            heappush(run.alarms, (task.due_at, task.id))
        if task.phase is Phase.RUNNING:
            for key, _ in limit_keys(task):
                run.running[key] = run.running.get(key, 0) + 1

    def _count(self) -> None:
        """Count the tokens, as they were counted when they appeared."""
        run = self._run
        for instance in run.maps.values():
            count_token(instance, instance.fork, AFTER)
        for joined in run.joins.values():
            count_token(joined.scope, joined.node, AFTER)
        for task in run.tasks.values():
            count_token(task.scope, task.node, task.index)
        for task in run.tasks.values():
            if task.phase in SETTLED:
                change_arms(run, task.scope, task.index, -1)
        run.stirred.clear()


def _spreads(plan: Plan) -> dict[str, Flow]:
    """Return, for each map, what its items go through."""
    flows = [flow for node in plan.nodes.values() if node.flow is not None for flow in flows_within(node.flow)]
    return {flow.fork: flow.then for flow in flows if isinstance(flow, Spread)}
