"""Timelines: when everything in a run began and ended, and what it followed from.

A chronicler folds a log like recovery does, and writes down beside it what the fold forgets: for each task and each join's
output, its attempts and waits, when it was placed, and what it was placed by. The last of these is what the critical path is
found with: from the end back, each thing to the one it had to wait for.

Times are those of commits. An attempt that a crash cut short ends with the last commit before the next worker took over.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import islice
from typing import Any

import msgspec

from perdure import events as ev
from perdure.ids import ROOT_INSTANCE, START_TASK, identify
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.run import AFTER, Instance, Run, Task, shown_path
from perdure.kernel.fold.status import OVER

CLIPPED = 200
"""How many characters of an output are kept."""

ENDS: dict[type, str] = {
    ev.NodeCompleted: "completed",
    ev.NodeFailed: "failed",
    ev.NodeInterrupted: "interrupted",
    ev.NodeCancelled: "cancelled",
    ev.Answered: "answered",
    ev.SignalReceived: "received",
    ev.TimerFired: "fired",
}
"""What an attempt or a wait has come to when an event of a kind follows."""

JOIN_ENDS: dict[type, str] = {ev.JoinClosed: "closed", ev.JoinCancelled: "cancelled", ev.JoinFailed: "failed"}
"""What an open join has come to when an event of a kind follows."""


class Span(msgspec.Struct):
    """An attempt of a task, or a wait.

    Attributes:
        task, path, node: whose it is.
        kind: ``"attempt"``; or ``"human"``, ``"signal"`` or ``"sleep"``.
        attempt: its number; 0 for a wait.
        batch: the id of the innermost fork instance it is a member of.
        started_at: when it began.
        ended_at: when it ended; None while it goes on.
        outcome: what it came to: ``"completed"``, ``"failed"``, ``"interrupted"``, ``"cancelled"``, ``"lost"`` in a crash, ``"waits"``;
            of a wait ``"answered"``, ``"received"`` or ``"fired"``.
        error: what it raised, or nothing.
        by: who answered.
    """

    task: str
    path: str
    node: str
    kind: str
    attempt: int
    batch: str
    started_at: int
    ended_at: int | None = None
    outcome: str = ""
    error: str = ""
    by: str = ""


class Batch(msgspec.Struct):
    """The tasks of one fork instance.

    Attributes:
        instance: its id.
        fork: the fork.
        path: where it was opened, as text.
        outer: the id of the batch around it, or an empty text.
        size: how many arms it has; None for a stream that goes on.
        tasks: how many tasks there were in it, those of inner batches included.
        opened_at: when it began.
        ended_at: when its last task was settled; None while there is one that isn't.
    """

    instance: str
    fork: str
    path: str
    outer: str
    size: int | None
    tasks: int
    opened_at: int
    ended_at: int | None = None


class Joining(msgspec.Struct):
    """A join instance.

    Attributes:
        join: the join.
        path: where it is, as text.
        batch: the id of the instance of its parent fork.
        arrived: how many values it has folded.
        first_at: when it folded the first; None before.
        closed_at: when it closed; None before.
        outcome: ``"closed"`` or ``"cancelled"``; empty before.
    """

    join: str
    path: str
    batch: str
    arrived: int = 0
    first_at: int | None = None
    closed_at: int | None = None
    outcome: str = ""


class Thing(msgspec.Struct):
    """A task, or what a join gives out.

    Attributes:
        cause: the id of the thing it was placed by; of a join: of the arrival that was settled last.
        settled_at: when it was over.
        outcome: what it came to.
        chosen: the branches that were taken behind it.
        digest: a hash of what it gave out.
        output: the beginning of it, as JSON.
    """

    id: str
    path: str
    node: str
    batch: str
    cause: str
    placed_at: int
    settled_at: int | None = None
    outcome: str = ""
    spans: list[Span] = msgspec.field(default_factory=list)
    chosen: tuple[int, ...] = ()
    digest: str = ""
    output: str = ""


class Chronicler:
    """Writes down what happens in a run.

    Attributes:
        run: the fold.
        things: all tasks and outputs of joins, by id, in the order in which they were placed.
        batches: all fork instances, by id.
        joins: all join instances, by the id of what they give out.
        end: what the run ended with: the id of the thing whose output is the result, or that failed.
        last: the time of the last event.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.things: dict[str, Thing] = {}
        self.batches: dict[str, Batch] = {}
        self.joins: dict[str, Joining] = {}
        self.end = ""
        self.last = 0
        self._open: dict[str, Span] = {}
        self._trigger = ""
        self._latest: dict[str, int] = {}  # of each batch: when a task in it was last settled

    def take(self, event: ev.AnyEvent, ts: int) -> None:
        """Take up the next event of the log."""
        run, placed = self.run, self.run.placed
        task = run.tasks.get(getattr(event, "task", ""))
        instance = run.maps.get(getattr(event, "instance", ""))
        before, fresh = self._join_before(event), run.fresh.get(getattr(event, "instance", ""))
        apply(run, event)
        if isinstance(event, ev.SegmentStarted):
            self._lose_all()
        self.last = ts
        if isinstance(event, ev.RunStarted):
            self._place(run.tasks[START_TASK], "", ts)
        elif isinstance(event, ev.NodeStarted | ev.WaitOpened) and task is not None:
            self._begin(event, task, ts)
        elif type(event) in ENDS and task is not None:
            self._finish(event, task, ts)
        elif isinstance(event, ev.ItemsTaken) and instance is not None and instance.feed is not None:
            self._trigger = instance.feed.task or instance.source
            self._note_items(self._trigger, event.items)
        elif isinstance(event, ev.ForkOpened) and fresh is not None:
            path, around = shown_path(fresh, AFTER, event.fork), _outside(fresh)
            outer = around[0] if around else ""
            self.batches[event.instance] = Batch(event.instance, event.fork, path, outer, event.size, 0, ts)
        elif isinstance(event, ev.ItemsEnded) and event.instance in self.batches:
            self.batches[event.instance].size = event.count
        elif isinstance(event, ev.ReducerUpdated | ev.JoinClosed | ev.JoinCancelled | ev.JoinFailed):
            self._note_join(event, before, ts)
        elif isinstance(event, ev.RunCompleted):
            self.end = event.outputs[0].source
        elif isinstance(event, ev.RunFailed):
            self.end = event.task
        if run.placed > placed:
            for new in [*islice(reversed(run.tasks.values()), run.placed - placed)][::-1]:
                self._place(new, self._trigger, ts)

    # --- tasks ---

    def _place(self, task: Task, cause: str, ts: int) -> None:
        around = _around(task)
        if (known := self.things.get(task.id)) is not None:  # a retry has brought it back
            known.settled_at, known.outcome = None, ""
            return
        self.things[task.id] = Thing(task.id, task.shown_path, task.node.id, around[0] if around else "", cause, ts)

    def _begin(self, event: ev.NodeStarted | ev.WaitOpened, task: Task, ts: int) -> None:
        self._close(task.id, "waits", ts)
        if isinstance(event, ev.NodeStarted):
            kind, attempt = "attempt", event.attempt
        else:
            kind, attempt = event.kind, 0
        thing = self.things[task.id]
        span = Span(task.id, thing.path, thing.node, kind, attempt, thing.batch, ts)
        thing.spans.append(span)
        self._open[task.id] = span

    def _close(self, task_id: str, outcome: str, ts: int) -> Span | None:
        span = self._open.pop(task_id, None)
        if span is not None:
            span.ended_at, span.outcome = ts, outcome
        return span

    def _lose_all(self) -> None:
        """A worker takes over: what ran when the last one ended without a word is lost."""
        for task_id in [id_ for id_, span in self._open.items() if span.kind == "attempt"]:
            self._close(task_id, "lost", self.last)

    def _finish(self, event: Any, task: Task, ts: int) -> None:
        outcome = ENDS[type(event)]
        span = self._close(task.id, outcome, ts)
        thing = self.things[task.id]
        if span is not None and isinstance(event, ev.NodeFailed):
            span.error = f"{event.error.type}: {event.error.message}"
        if span is not None and isinstance(event, ev.Answered | ev.SignalReceived):
            span.by = event.by
        if isinstance(event, ev.Answered | ev.SignalReceived):
            self._note_output(thing, event.value)
        if isinstance(event, ev.NodeCompleted):
            if not thing.digest:
                self._note_output(thing, event.output)
            self._note_route(thing, event.route)
        if task.id in self.run.tasks and not (isinstance(event, ev.NodeFailed) and event.retry_at is None):
            return
        thing.settled_at, thing.outcome = ts, outcome
        self._trigger = task.id
        for id_ in _around(task):
            self._latest[id_] = ts

    # --- values ---

    def _note_output(self, thing: Thing, value: Any) -> None:
        data = bytes(value)
        thing.output = data[: 4 * CLIPPED].decode(errors="replace")[:CLIPPED]
        thing.digest = _mixed(thing.digest, data)

    def _note_route(self, thing: Thing, route: ev.Route | None) -> None:
        if route is not None:
            thing.chosen = route.chosen
            for value in route.values:
                thing.digest = _mixed(thing.digest, bytes(value))
            for items in route.spreads:
                self._note_items(thing.id, items)

    def _note_items(self, id_: str, items: ev.Items) -> None:
        thing = self.things.get(id_)
        if thing is not None:
            thing.digest = _mixed(thing.digest, msgspec.json.encode(items))

    # --- forks and joins ---

    def _join_before(self, event: ev.AnyEvent) -> tuple[str, Instance, str] | None:
        """Return of a join that an event changes: the id of what it gives out, its scope, and what arrives.

        None for any other event, and for one that doesn't fit the run: that can't be applied, either.
        """
        run = self.run
        if isinstance(event, ev.ReducerUpdated):
            instance = event.detail.instance if event.detail is not None else ""
        elif isinstance(event, ev.JoinClosed | ev.JoinCancelled | ev.JoinFailed):
            instance = event.instance
        else:
            return None
        if instance:
            joined = run.joins.get((event.join, instance))
            scope = joined.scope if joined is not None else None
        else:
            scope = run.arrivals[0].scope if run.arrivals else None
        if scope is None:
            return None
        source = event.task if isinstance(event, ev.ReducerUpdated) else ""
        return identify("join", event.join, scope.id), scope, source

    def _note_join(
        self,
        event: ev.ReducerUpdated | ev.JoinClosed | ev.JoinCancelled | ev.JoinFailed,
        before: tuple[str, Instance, str] | None,
        ts: int,
    ) -> None:
        assert before is not None
        id_, scope, source = before
        path = shown_path(scope, AFTER, event.join)
        joined = self.joins.setdefault(id_, Joining(event.join, path, scope.id))
        around = _outside(scope)
        thing = self.things.setdefault(id_, Thing(id_, path, event.join, around[0] if around else "", source, ts))
        if isinstance(event, ev.ReducerUpdated):
            joined.arrived += 1
            joined.first_at = joined.first_at or ts
            if self._settled(source) >= self._settled(thing.cause):
                thing.cause = source
            return
        thing.settled_at, thing.outcome = ts, JOIN_ENDS[type(event)]
        thing.cause = thing.cause or self._trigger
        thing.placed_at = self._settled(thing.cause) or ts
        joined.closed_at, joined.outcome = ts, thing.outcome
        if isinstance(event, ev.JoinClosed):
            self._note_output(thing, event.value)
            self._note_route(thing, event.route)
            self._trigger = id_

    def _settled(self, id_: str) -> int:
        thing = self.things.get(id_)
        return (thing.settled_at or 0) if thing is not None else 0

    def finish(self) -> None:
        """Tell, at the end of the log, how large the batches are and which are over."""
        for thing in self.things.values():
            batch = self.batches.get(thing.batch) if thing.id not in self.joins else None
            while batch is not None:
                batch.tasks += 1
                batch = self.batches.get(batch.outer)
        live = {} if self.run.status in OVER else self.run.instances()
        for id_, ended in self.batches.items():
            if id_ not in live:
                ended.ended_at = self._latest.get(id_, ended.opened_at)


def _around(task: Task) -> list[str]:
    """Return the ids of the fork instances a task is a member of, innermost first."""
    scope = task.scope
    inside = [scope.id] if task.index != AFTER and scope.id != ROOT_INSTANCE else []
    return inside + _outside(scope)


def _outside(scope: Instance) -> list[str]:
    """Return the ids of the fork instances that one is inside of, innermost first; the start of the run isn't told."""
    around = [scope.scope[fork].id for fork, index in reversed(scope.trail) if index != AFTER]
    return [id_ for id_ in around if id_ != ROOT_INSTANCE]


def _mixed(digest: str, data: bytes) -> str:
    return blake2b(digest.encode() + data, digest_size=16).hexdigest()
