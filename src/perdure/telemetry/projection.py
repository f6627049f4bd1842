"""The projection: from the events of a run to its spans.

It folds the log with the same ``apply`` as the engine, and looks at the run before and after each event: that is how it knows
which batch a task is in. A span comes out with the event that ends it. Nothing is asked of the clock and nothing is made
up: times are those of the commits, ids are hashes (``spans.py``). So a log gives the same spans whoever reads it, as a whole
or in pieces, live or years later.

What is told of                   id is made of            comes out with
``start``                         the run                  its first event
``step``                          task, attempt            the end of the attempt; of one that a crash cut short, with the
                                                           segment that takes over (``error.type=lost``), ended when the
                                                           log last gave a sign of life
``batch``                         fork instance, chapter   the end of its last member
``join``, ``branches``            join, fork instance      its closing
``wait``                          task, seq, chapter       the answer, the signal, the time, or the end of the waiting
``segment``                       seq                      the end of the driving
``run``                           retries                  the end of the run

A *chapter* is a stretch at whose end everything has to be told, since what follows may be told elsewhere or never: a life of
the run up to its end (a failed run may be retried), or with ``trace_scope="segment"`` a segment, which then is a trace of
its own. A batch that is unfinished at the end of a chapter is told of in parts, so that no span ever names a parent that
isn't there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from perdure import events as ev
from perdure.engine.inspection.untyped import NoValues
from perdure.graph.plan import Plan
from perdure.kernel.fold.apply import apply, join_output_id
from perdure.kernel.fold.run import OpenJoin, Phase, Run, Task
from perdure.telemetry.arrivals import Arrivals, Joining
from perdure.telemetry.attributes import about_batch, about_join, about_task, about_wait
from perdure.telemetry.batches import Batch, Batches
from perdure.telemetry.chapters import Chapters
from perdure.telemetry.spans import (
    LINKS,
    Attribute,
    Link,
    Span,
    SpanKind,
    SpanRef,
    TraceScope,
    step_span_id,
)

LOST = "lost"
"""The ``error.type`` of an attempt that a crash cut short."""
UNFINISHED = "unfinished"
"""The outcome of what is under way, where it is shown all the same."""


class _Attempts(msgspec.Struct):
    """The attempts of a live task, or its waiting."""

    started_at: int = 0
    previous: SpanRef | None = None
    wait_seq: int = 0


class Projection:
    """The spans of one run."""

    def __init__(self, plan: Plan, run_id: str, trace_scope: TraceScope = "run") -> None:
        """Begin with an empty log.

        Args:
            plan: the structure of the run's graph.
            run_id: the id of the run.
            trace_scope: whether the run is one trace, or each of its segments.
        """
        self._run = Run(plan, run_id, NoValues())
        self._chapters = Chapters(run_id, plan.name, trace_scope)
        self._batches = Batches(self._run)
        self._attempts: dict[str, _Attempts] = {}
        self._placed_at: dict[str, int] = {}
        self._arrivals = Arrivals(self._run)
        self._ts = 0
        self._spans: list[Span] = []
        self.timer_lag_s: float | None = None
        """How late the last event came, if it was one that a time was set for."""

    @property
    def seq(self) -> int:
        """The seq of the last event taken."""
        return self._run.seq

    @property
    def graph(self) -> str:
        """The name of the run's graph."""
        return self._run.plan.name

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, so that nothing can follow but a retry."""
        return self._chapters.is_run_over

    def take(self, event: ev.AnyEvent, ts: int, epoch: int) -> list[Span]:
        """Take the next event; return the spans that end with it.

        Raises:
            GraphRuntimeError: the event doesn't fit the graph.
        """
        run = self._run
        self._spans = []
        self.timer_lag_s = None
        kind = type(event)
        self._chapters.seq, self._chapters.epoch = run.seq + 1, epoch
        before: Callable[[Projection, Any, int], Callable[[], None] | None] | None = _BEFORE.get(kind)
        then = before(self, event, ts) if before is not None else None
        placed = run.placed
        apply(run, event)
        for task in self._batches.appeared(placed, ts, self._arrivals.sources):
            self._placed_at[task.id] = ts
        for key in self._batches.joins_opened():
            self._arrivals.joins[key] = Joining(self._batches.around(run.joins[key]), ts, ts)
        if then is not None:
            then()
        if kind in _FEEDS:
            count = event.count if isinstance(event, ev.ItemsEnded) else None
            self._batches.look_at_feed(event.instance, count)  # type: ignore[union-attr]
        for batch in self._batches.over():
            self._tell_batch(batch, ts, "completed")
        self._forget()
        self._ts = ts
        after: Callable[[Projection, Any, int], None] | None = _AFTER.get(kind)
        if after is not None:
            after(self, event, ts)
        return self._spans

    def unfinished(self) -> list[Span]:
        """Return spans of what is under way, as though it ended with the last event; nothing can be taken afterwards."""
        self._spans = []
        run, ts = self._run, self._ts
        if not run.seq or self.is_over:
            return []
        for task in run.tasks.values():
            self._tell_attempt(task, ts, UNFINISHED)
            self._tell_wait(task, ts, UNFINISHED, {})
        for joined in run.joins.values():
            self._tell_join(joined, ts, UNFINISHED, joined.count)
        self._tell_parts(ts, UNFINISHED)
        self._spans += self._chapters.end_segment(ts, UNFINISHED)
        self._spans.append(self._chapters.end_run(ts, {"perdure.outcome": UNFINISHED, "perdure.events": run.seq}, None))
        return self._spans

    def _forget(self) -> None:
        """Let go of what the kernel keeps for a decision, and the projection for a value on its way."""
        run = self._run
        run.settled.clear()
        run.stirred.clear()
        run.freed.clear()
        run.alarms.clear()
        run.failures = ()
        run.ends.clear()
        self._arrivals.settle()

    # --- spans ---

    def _tell(
        self,
        kind: SpanKind,
        name: str,
        ref: SpanRef,
        parent: SpanRef | None,
        times: tuple[int, int],
        attributes: dict[str, Attribute],
        links: tuple[Link, ...] = (),
        error: ev.ErrorInfo | None = None,
    ) -> None:
        self._spans.append(self._chapters.span(kind, name, ref, parent, times, attributes, links, error))

    def _parent(self, batch: Batch | None) -> SpanRef:
        if batch is None:
            return self._chapters.parent
        batch.touch()
        return self._chapters.batch_ref(batch.instance.id)

    def _tell_batch(self, batch: Batch, ts: int, outcome: str) -> None:
        batch.parts += 1
        attributes = about_batch(batch, outcome)
        start = batch.opened_at if batch.parts == 1 else max(batch.part_from, self._chapters.began_at)
        parent = self._parent(batch.outer)
        links = (Link(batch.source, "forked from"),) if batch.source is not None else ()
        ref = self._chapters.batch_ref(batch.instance.id)
        self._tell("batch", f"batch {batch.instance.fork.id}", ref, parent, (start, ts), attributes, links)
        batch.is_touched = False
        batch.part_from = ts

    def _tell_attempt(
        self,
        task: Task,
        ts: int,
        outcome: str,
        error: ev.ErrorInfo | None = None,
        more: dict[str, Attribute] | None = None,
    ) -> None:
        """Tell of the attempt that a task is in."""
        attempts = self._attempts.get(task.id)
        if attempts is None or task.phase is not Phase.RUNNING:
            return
        ref = self._chapters.ref(step_span_id(self._run.run_id, task.id, task.attempt))
        attributes: dict[str, Attribute] = {
            **about_task(task, self._batches.of(task)),
            "perdure.attempt": task.attempt,
            "perdure.outcome": outcome,
            **(more or {}),
        }
        if task.id in self._placed_at:
            attributes["perdure.queued_s"] = (attempts.started_at - self._placed_at.pop(task.id)) / 1e6
        links = (Link(attempts.previous, "previous attempt"),) if attempts.previous is not None else ()
        parent = self._parent(self._batches.of(task))
        times = (attempts.started_at, ts)
        self._tell("step", f"step {task.node.id}", ref, parent, times, attributes, links, error)
        attempts.previous = ref

    def _tell_wait(self, task: Task, ts: int, outcome: str, more: dict[str, Attribute], lasts: bool = False) -> None:
        """Tell of what a task waits for."""
        attempts = self._attempts.get(task.id)
        if attempts is None or task.phase is not Phase.WAITING or task.node.wait is None:
            return
        ref = self._chapters.part_ref("wait", task.id, str(attempts.wait_seq))
        attributes: dict[str, Attribute] = {
            **about_task(task, self._batches.of(task)),
            **about_wait(task),
            "perdure.outcome": outcome,
            **more,
        }
        times = (attempts.started_at, ts)
        self._tell("wait", f"wait {task.node.wait.kind.value}", ref, self._chapters.parent, times, attributes)
        if lasts:
            attempts.started_at = ts
        attempts.previous = ref

    def _settle(self, task: Task) -> Callable[[], None]:
        """Return what is to be done once a task is gone: it gives out a value, and is no member any more."""
        batch = self._batches.of(task)
        attempts = self._attempts.pop(task.id, None)
        self._placed_at.pop(task.id, None)
        if attempts is not None and attempts.previous is not None:
            self._arrivals.give_out(task.id, attempts.previous, batch, task.node, task.scope)
        return lambda: self._batches.left(batch)

    # --- before an event is applied ---

    def _before_segment(self, event: ev.SegmentStarted, ts: int) -> None:
        """Tell of what a crash has cut short; it ended when the log last gave a sign of life."""
        if self._chapters.segment is not None:
            lost = ev.ErrorInfo(LOST, "the process that ran it has ended without a word")
            for task in self._run.tasks.values():
                if task.phase is Phase.RUNNING:
                    self._tell_attempt(task, self._ts, LOST, lost)
            self._end_segment(self._ts, "crashed")

    def _before_completed(self, event: ev.NodeCompleted, ts: int) -> Callable[[], None]:
        task = self._run.tasks[event.task]
        more: dict[str, Attribute] = {}
        if event.change is not None and event.change.conflicts:
            more["perdure.state.conflicts"] = ", ".join(event.change.conflicts)
        self._tell_attempt(task, ts, "completed", None, more)
        batch = self._batches.of(task)
        if batch is not None:
            batch.completed += 1
        return self._settle(task)

    def _before_failed(self, event: ev.NodeFailed, ts: int) -> Callable[[], None] | None:
        task = self._run.tasks[event.task]
        more: dict[str, Attribute] = {"perdure.failure": event.outcome}
        if event.outcome == "retry" and event.retry_at is not None:
            more["perdure.retry_in_s"] = (event.retry_at - ts) / 1e6
        self._tell_attempt(task, ts, "failed", event.error, more)
        self._tell_wait(task, ts, "failed", {"error.type": event.error.type})
        batch = self._batches.of(task)
        if batch is not None and event.outcome != "retry":
            batch.failed += 1
        return self._settle(task) if event.outcome in ("collect", "lose") else None

    def _before_interrupted(self, event: ev.NodeInterrupted, ts: int) -> None:
        self._tell_attempt(self._run.tasks[event.task], ts, "interrupted")

    def _before_cancelled(self, event: ev.NodeCancelled, ts: int) -> Callable[[], None]:
        task = self._run.tasks[event.task]
        more: dict[str, Attribute] = {"perdure.cancel.reason": event.reason} if event.reason else {}
        self._tell_attempt(task, ts, "cancelled", None, more)
        self._tell_wait(task, ts, "cancelled", more)
        batch = self._batches.of(task)
        if batch is not None:
            batch.cancelled += 1
        return self._settle(task)

    def _before_wait(self, event: ev.WaitOpened, ts: int) -> Callable[[], None]:
        task = self._run.tasks[event.task]
        self._tell_attempt(task, ts, "parked")
        attempts = self._attempts.setdefault(task.id, _Attempts())
        self._placed_at.pop(task.id, None)

        def opened() -> None:
            attempts.started_at, attempts.wait_seq = ts, self._run.seq

        return opened

    def _before_answer(self, event: ev.Answered | ev.SignalReceived, ts: int) -> None:
        more: dict[str, Attribute] = {"perdure.wait.by": event.by} if event.by else {}
        self._tell_wait(self._run.tasks[event.task], ts, "answered", more)

    def _before_timer(self, event: ev.TimerFired, ts: int) -> None:
        task = self._run.tasks[event.task]
        self._tell_wait(task, ts, "elapsed", {})
        self._placed_at[task.id] = ts
        if task.due_at is not None:
            self.timer_lag_s = max(0, ts - task.due_at) / 1e6

    def _before_overridden(self, event: ev.Overridden, ts: int) -> Callable[[], None]:
        gone = [self._settle(self._run.tasks[task]) for task in event.dropped]

        def left() -> None:
            for leave in gone:
                leave()

        return left

    def _before_arms(self, event: ev.ArmsOpened, ts: int) -> None:
        """Items of a map may lead straight into a join: then what was forked is what arrives there."""
        batch = self._batches.open.get(event.instance)
        if batch is None or batch.source is None or batch.instance.feed is None:
            return
        source = batch.instance.feed.origin.id
        self._arrivals.give_out(source, batch.source, batch, batch.instance.fork, batch.instance)

    def _before_fold(self, event: ev.ReducerUpdated, ts: int) -> Callable[[], None]:
        """Note which span has arrived at a join."""
        detail = event.detail
        key, sent = self._arrivals.next_for(event.join, detail.instance if detail is not None else "", event.task)

        def folded() -> None:
            joining = self._arrivals.joins[key]
            joining.last_at = ts
            if sent is None:
                return
            joining.add(sent[0])
            if sent[1] and sent[1] != key[1] and sent[1] not in joining.inner:
                joining.inner[sent[1]] = self._chapters.batch_ref(sent[1])

        return folded

    def _before_closed(self, event: ev.JoinClosed, ts: int) -> Callable[[], None]:
        joined = self._run.joins[event.join, event.instance]
        ref = self._tell_join(joined, ts, "completed", event.count)
        batch = self._batches.open.get(event.instance)
        self._arrivals.give_out(join_output_id(joined), ref, batch, joined.node, joined.scope)
        return self._join_gone(joined)

    def _before_join_cancelled(self, event: ev.JoinCancelled, ts: int) -> Callable[[], None]:
        joined = self._run.joins[event.join, event.instance]
        self._tell_join(joined, ts, "cancelled", joined.count)
        return self._join_gone(joined)

    def _before_join_failed(self, event: ev.JoinFailed, ts: int) -> Callable[[], None]:
        joined = self._run.joins[event.join, event.instance]
        ref = self._tell_join(joined, ts, "failed", joined.count)
        if event.outcome == "collect":
            batch = self._batches.open.get(event.instance)
            self._arrivals.give_out(join_output_id(joined), ref, batch, joined.node, joined.scope)
        return self._join_gone(joined)

    def _join_gone(self, joined: OpenJoin) -> Callable[[], None]:
        key = (joined.node.id, joined.scope.id)
        joining = self._arrivals.close(key)
        self._batches.forget_join(key)
        return lambda: self._batches.left(joining.batch)

    def _tell_join(self, joined: OpenJoin, ts: int, outcome: str, count: int) -> SpanRef:
        node, instance = joined.node, joined.scope
        joining = self._arrivals.joins[node.id, instance.id]
        ref = self._chapters.part_ref("join", node.id, instance.id)
        attributes = about_join(joined, count, (ts - joining.opened_at) / 1e6) | {"perdure.outcome": outcome}
        links = []
        batch = self._batches.open.get(instance.id)
        if batch is not None:
            batch.touch()
        if instance.source:
            links.append(Link(self._chapters.batch_ref(instance.id), "batch"))
        links += [Link(inner, "batch") for inner in joining.inner.values()]
        links += [Link(branch, "branch") for branch in joining.refs()]
        times = (joining.last_at if joining.arrived else ts, ts)
        self._tell("join", f"join {node.id}", ref, self._chapters.parent, times, attributes, tuple(links[:LINKS]))
        for place in range(LINKS, len(links), LINKS):
            part = self._chapters.part_ref("branches", node.id, instance.id, str(place))
            some = tuple(links[place : place + LINKS])
            self._tell("branches", f"join {node.id} branches", part, ref, times, dict(attributes), some)
        return ref

    def _before_end(self, event: ev.RunCompleted | ev.RunFailed | ev.RunCancelled, ts: int) -> None:
        """Tell of what the end of the run leaves unfinished."""
        outcome = "cancelled" if isinstance(event, ev.RunCancelled) else "interrupted"
        for task in self._run.tasks.values():
            self._tell_attempt(task, ts, outcome)
            self._tell_wait(task, ts, outcome, {}, lasts=True)

    # --- after an event was applied ---

    def _after_run_started(self, event: ev.RunStarted, ts: int) -> None:
        self._spans += self._chapters.begin_run(event, ts)

    def _after_segment_started(self, event: ev.SegmentStarted, ts: int) -> None:
        self._spans += self._chapters.begin_segment(event, ts)

    def _after_node_started(self, event: ev.NodeStarted, ts: int) -> None:
        self._attempts.setdefault(event.task, _Attempts()).started_at = ts

    def _after_retried(self, event: ev.RunRetried, ts: int) -> None:
        self._chapters.begin_retry(ts)
        for task in self._run.tasks.values():
            if task.phase is Phase.WAITING:
                self._attempts.setdefault(task.id, _Attempts()).started_at = ts

    def _after_segment_ended(self, event: ev.SegmentEnded, ts: int) -> None:
        self._end_segment(ts, event.reason or "ended")

    def _after_paused(self, event: ev.RunPaused, ts: int) -> None:
        self._end_segment(ts, "paused")

    def _after_end(self, event: ev.RunCompleted | ev.RunFailed | ev.RunCancelled, ts: int) -> None:
        error = event.error if isinstance(event, ev.RunFailed) else None
        ended = {ev.RunCompleted: "completed", ev.RunFailed: "failed", ev.RunCancelled: "cancelled"}[type(event)]
        self._tell_parts(ts, "cancelled" if ended == "cancelled" else "interrupted")
        self._end_segment(ts, ended)
        more: dict[str, Attribute] = {"perdure.outcome": ended, "perdure.events": self._run.seq}
        if isinstance(event, ev.RunFailed) and event.path:
            more["perdure.task.path"] = event.path
        self._spans.append(self._chapters.end_run(ts, more, error))

    def _end_segment(self, ts: int, reason: str) -> None:
        if self._chapters.trace_scope == "segment":
            self._tell_parts(ts, "interrupted")
        self._spans += self._chapters.end_segment(ts, reason)

    def _tell_parts(self, ts: int, outcome: str) -> None:
        """Tell of the batches that are unfinished at the end of a chapter, as far as something names them."""
        for batch in reversed(self._batches.open.values()):
            if batch.is_touched:
                self._tell_batch(batch, ts, outcome)


_BEFORE: dict[type, Any] = {
    ev.SegmentStarted: Projection._before_segment,
    ev.NodeCompleted: Projection._before_completed,
    ev.NodeFailed: Projection._before_failed,
    ev.NodeInterrupted: Projection._before_interrupted,
    ev.NodeCancelled: Projection._before_cancelled,
    ev.WaitOpened: Projection._before_wait,
    ev.Answered: Projection._before_answer,
    ev.SignalReceived: Projection._before_answer,
    ev.TimerFired: Projection._before_timer,
    ev.Overridden: Projection._before_overridden,
    ev.ArmsOpened: Projection._before_arms,
    ev.ReducerUpdated: Projection._before_fold,
    ev.JoinClosed: Projection._before_closed,
    ev.JoinCancelled: Projection._before_join_cancelled,
    ev.JoinFailed: Projection._before_join_failed,
    ev.RunCompleted: Projection._before_end,
    ev.RunFailed: Projection._before_end,
    ev.RunCancelled: Projection._before_end,
}
_AFTER: dict[type, Any] = {
    ev.RunStarted: Projection._after_run_started,
    ev.SegmentStarted: Projection._after_segment_started,
    ev.NodeStarted: Projection._after_node_started,
    ev.RunRetried: Projection._after_retried,
    ev.SegmentEnded: Projection._after_segment_ended,
    ev.RunPaused: Projection._after_paused,
    ev.RunCompleted: Projection._after_end,
    ev.RunFailed: Projection._after_end,
    ev.RunCancelled: Projection._after_end,
}
_FEEDS = frozenset({ev.ForkOpened, ev.ItemsEnded, ev.ArmsOpened})
