"""Progress: how far the batches of a run are, kept up with event by event.

An arm of a batch is done when nothing live is left in it. That is counted from what is live, so it costs what is live and not
what has been; batches inside of others are forgotten when they are done.
"""

from __future__ import annotations

import msgspec

from perdure import events as ev
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.run import AFTER, Instance, Phase, Run, Task, shown_path

KEPT = 20
"""How many batches that are done, and inside of no other, are still told."""


class BatchProgress(msgspec.Struct):
    """How far a batch is.

    Attributes:
        instance: the id of the fork instance.
        fork: the fork.
        path: where it is, as text.
        outer: the id of the batch around it, or an empty text.
        size: how many arms there will be; None while nobody knows.
        opened: how many have begun.
        done: in how many of these nothing is left to do.
        running, ready, waiting, retrying, failed: how many tasks in them do what, those of inner batches included.
        is_done: whether nothing is left in it.
        opened_at: when it was opened, in microseconds since 1970.
        moved_at: when ``done`` was last seen to change.
    """

    instance: str
    fork: str
    path: str
    outer: str
    size: int | None
    opened: int = 0
    done: int = 0
    running: int = 0
    ready: int = 0
    waiting: int = 0
    retrying: int = 0
    failed: int = 0
    is_done: bool = False
    opened_at: int = 0
    moved_at: int = 0


class LoneTask(msgspec.Struct, frozen=True):
    """A live task that is in no batch."""

    path: str
    phase: str
    attempt: int


class Picture(msgspec.Struct, frozen=True):
    """How far a run is.

    Attributes:
        seq: up to which event it was followed.
        batches: those with something left in them, and the last few that are done, in the order in which they were opened.
        tasks: the live tasks that are in none.
        at: when the last event was recorded.
    """

    seq: int
    batches: tuple[BatchProgress, ...]
    tasks: tuple[LoneTask, ...]
    at: int = 0


_COUNTED = {
    Phase.RUNNING: "running",
    Phase.READY: "ready",
    Phase.WAITING: "waiting",
    Phase.RETRYING: "retrying",
    Phase.FAILED: "failed",
}


class Progress:
    """Follows a run.

    Attributes:
        run: the fold.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._batches: dict[str, BatchProgress] = {}
        self._instances: dict[str, Instance] = {}
        self._at = 0

    def take(self, event: ev.AnyEvent, at: int = 0) -> None:
        """Take up the next event of the log, and when it was recorded."""
        self._at = at
        fresh = self.run.fresh.get(event.instance) if isinstance(event, ev.ForkOpened) else None
        apply(self.run, event)
        if isinstance(event, ev.ForkOpened) and fresh is not None:
            path, around = shown_path(fresh, AFTER, event.fork), members_of(fresh, AFTER)
            outer = around[0][0].id if around else ""
            opened = (event.size or 0) if fresh.feed is None else fresh.feed.opened
            self._batches[fresh.id] = BatchProgress(
                fresh.id, event.fork, path, outer, event.size, opened, opened_at=at, moved_at=at
            )
            self._instances[fresh.id] = fresh
        elif isinstance(event, ev.ArmsOpened) and event.instance in self._batches:
            self._batches[event.instance].opened = event.upto
        elif isinstance(event, ev.ItemsEnded) and event.instance in self._batches:
            self._batches[event.instance].size = event.count

    def picture(self) -> Picture:
        """Return how far the run is."""
        arms: dict[str, set[int]] = {id_: set() for id_ in self._batches}
        for batch in self._batches.values():
            batch.running = batch.ready = batch.waiting = batch.retrying = batch.failed = 0
        alone = []
        for task in self.run.tasks.values():
            inside = members_of(task.scope, task.index)
            if not inside:
                alone.append(task)
            for instance, index in inside:
                if instance.id in arms:
                    arms[instance.id].add(index)
                    counted, name = self._batches[instance.id], _COUNTED[task.phase]
                    setattr(counted, name, getattr(counted, name) + 1)
        for scope in (*(joined.scope for joined in self.run.joins.values()), *self.run.maps.values()):
            for instance, index in members_of(scope, AFTER):
                if instance.id in arms:
                    arms[instance.id].add(index)
        for id_, batch in self._batches.items():
            done = batch.opened - len(arms[id_])
            if done != batch.done:
                batch.done, batch.moved_at = done, self._at
            batch.is_done = batch.done == batch.opened and self._instances[id_].feed is None
        self._forget()
        return Picture(
            self.run.seq,
            tuple(self._batches.values()),
            tuple(_lone(task) for task in sorted(alone, key=_place)),
            self._at,
        )

    def _forget(self) -> None:
        """Let batches go that are done: inner ones, and outer ones of long ago."""
        done = [batch for batch in self._batches.values() if batch.is_done]
        outer = [batch for batch in done if batch.outer not in self._batches]
        kept = {batch.instance for batch in outer[-KEPT:]}
        for batch in done:
            if batch.instance not in kept:
                del self._batches[batch.instance], self._instances[batch.instance]


def members_of(scope: Instance, index: int) -> list[tuple[Instance, int]]:
    """Return the batches that something in a scope is a member of, innermost first, each with the index of its arm."""
    around = [(scope, index), *((scope.scope[fork], arm) for fork, arm in reversed(scope.trail))]
    return [(instance, arm) for instance, arm in around if arm != AFTER and instance.trail]


def _place(task: Task) -> tuple[int, ...]:
    return task.path


def _lone(task: Task) -> LoneTask:
    return LoneTask(task.shown_path, task.phase.name.lower(), task.attempt)
