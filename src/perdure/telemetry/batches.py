"""Batches: which tasks ran together, and when the last of them was through.

A batch is a fork instance. It is over when nothing is left in it: no live task, no inner batch, no inner join that is open,
and no item that has no arm yet. That is counted, each thing in the innermost batch it is in, as it appears and goes; an inner
batch counts in the one around it. What follows a join is in the scope of its fork and no member of its batch.

Counts may touch zero in the midst of a decision, while a value is on its way from a task into a join. So they are looked
at only when nothing is on its way.
"""

from __future__ import annotations

from itertools import islice

import msgspec

from perdure.kernel.fold.run import AFTER, Instance, OpenJoin, Run, Task
from perdure.telemetry.spans import SpanRef


class Batch(msgspec.Struct, eq=False):
    """A fork instance, as far as it has come."""

    instance: Instance
    outer: Batch | None
    opened_at: int
    source: SpanRef | None
    """The span of what was forked."""
    size: int | None = None
    live: int = 0
    """How many things are left in it."""
    has_feed: bool = False
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    parts: int = 0
    """How many spans tell of it already."""
    part_from: int = 0
    is_touched: bool = False
    """Whether a span has named it as its parent since the last one that told of it."""

    def touch(self) -> None:
        """Note that something is told of it, and so of those around it."""
        batch: Batch | None = self
        while batch is not None and not batch.is_touched:
            batch.is_touched = True
            batch = batch.outer


def innermost(scope: Instance, index: int) -> Instance | None:
    """Return the innermost fork instance that something is a member of; None if it is in none but the run itself."""
    if index != AFTER:
        return scope if scope.trail or scope.source else None
    for fork, place in reversed(scope.trail):
        if place != AFTER:
            instance = scope.scope[fork]
            return instance if instance.trail or instance.source else None
    return None


class Batches:
    """The batches of a run that aren't over."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._joins: set[tuple[str, str]] = set()
        self._may_be_over: list[Batch] = []
        self.open: dict[str, Batch] = {}

    def of(self, task: Task) -> Batch | None:
        """Return the batch a task is a member of."""
        return self._at(task.scope, task.index)

    def around(self, joined: OpenJoin) -> Batch | None:
        """Return the batch that an open join is inside of."""
        return self._at(joined.scope, AFTER)

    def _at(self, scope: Instance, index: int) -> Batch | None:
        instance = innermost(scope, index)
        return self.open.get(instance.id) if instance is not None else None

    def appeared(self, placed_before: int, ts: int, sources: dict[str, tuple[SpanRef, str]]) -> list[Task]:
        """Count what the last event has brought up; return the tasks among that."""
        run = self._run
        for instance in run.fresh.values():
            if instance.id not in self.open:
                self._open(instance, ts, sources)
        tasks = list(islice(reversed(run.tasks.values()), run.placed - placed_before))
        for task in tasks:
            batch = self.of(task)
            if batch is not None:
                batch.live += 1
        return tasks

    def joins_opened(self) -> list[tuple[str, str]]:
        """Count the joins that the last event has opened, and return them."""
        opened: list[tuple[str, str]] = []
        if len(self._run.joins) == len(self._joins):
            return opened
        for key in reversed(self._run.joins):
            if key in self._joins:
                break
            opened.append(key)
            batch = self.around(self._run.joins[key])
            if batch is not None:
                batch.live += 1
        self._joins.update(opened)
        return opened

    def _open(self, instance: Instance, ts: int, sources: dict[str, tuple[SpanRef, str]]) -> None:
        outer = self._at(instance, AFTER)
        source = sources.get(instance.source)
        batch = Batch(instance, outer, ts, source[0] if source is not None else None, instance.size, part_from=ts)
        self.open[instance.id] = batch
        self._may_be_over.append(batch)
        if outer is not None:
            outer.live += 1
        if instance.feed is not None:
            batch.has_feed = True
            batch.live += 1

    def left(self, batch: Batch | None) -> None:
        """Count that something is gone from a batch."""
        if batch is not None:
            batch.live -= 1
            self._may_be_over.append(batch)

    def forget_join(self, key: tuple[str, str]) -> None:
        """Take note that the next event ends an open join; it may open it, or another one, again."""
        self._joins.discard(key)

    def look_at_feed(self, instance: str, count: int | None) -> None:
        """See whether a map has items left; ``count`` is how many it has had in all, if it was a stream that has ended."""
        batch = self.open.get(instance)
        if batch is None:
            return
        batch.size = batch.instance.size if batch.instance.size is not None else batch.size
        if batch.size is None:
            batch.size = count
        if batch.has_feed and batch.instance.feed is None:
            batch.has_feed = False
            self.left(batch)

    def over(self) -> list[Batch]:
        """Return the batches that are over now, inner ones first."""
        if not self._may_be_over or self._run.arrivals or self._run.fresh:
            return []
        over = []
        while self._may_be_over:
            batch = self._may_be_over.pop()
            if not batch.live and self.open.pop(batch.instance.id, None) is not None:
                over.append(batch)
                self.left(batch.outer)
        return over
