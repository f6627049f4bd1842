"""One checker for simulated processes: what is in the store is all there is, and what they do has to agree with it.

A *shadow* is the fold of a run's log as it stands in the store, kept up to date row by row and never touched by any process.
After each append the run in memory has to equal it; a body may be entered only while the shadow says that it runs; and what
a join gives out has to be made of the arrivals in the order in which they were recorded.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from perdure import Graph, MemoryStore, Router, Step
from perdure.engine.calling.code import UserCode
from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.registered import new_run, registered
from perdure.events import (
    AnyEvent,
    JoinClosed,
    NodeCancelled,
    NodeCompleted,
    NodeStarted,
    ReducerUpdated,
    SignalKept,
    SignalReceived,
    decode_events,
)
from perdure.kernel.fold.apply import apply, check_complete
from perdure.kernel.fold.run import Phase, Ref, Source
from property.portrait import portrait
from sometimes import Sometimes


class Shadow:
    """The fold of one log.

    Attributes:
        run: the run, as whoever recovered it now would find it.
        started: the attempts that were allowed to begin.
        ended: the tasks that mustn't be entered any more.
    """

    def __init__(self, store: MemoryStore, graph: Graph[Any, Any, Any, Any], run_id: str, seen: Sometimes) -> None:
        known = registered(graph)
        values = CodedValues(known.codec)
        self.run = new_run(graph, run_id, values)
        self.started: set[tuple[str, int]] = set()
        self.ended: set[str] = set()
        self.found: list[str] = []
        self._store = store
        self._seen = seen
        self._code = UserCode(graph, known.flows, values, run_id, None)
        self._rows = 0
        self._arrived: dict[tuple[str, str], list[Any]] = {}
        self._kept: set[int] = set()

    def catch_up(self) -> None:
        """Fold what has been recorded since."""
        rows = self._store._logs.get(self.run.run_id, [])
        for row in rows[self._rows :]:
            events = decode_events(row.events)
            if row.first != self.run.seq + 1 or row.count != len(events):
                self.found.append(f"row {row.first} of {row.count} follows event {self.run.seq}")
            self._look_for_ties(events)
            for event in events:
                self._apply(event)
            check_complete(self.run)
        self._rows = len(rows)

    def _look_for_ties(self, events: list[AnyEvent]) -> None:
        closed = [event.join for event in events if isinstance(event, JoinClosed)]
        if not closed:
            return
        nodes = [
            self.run.tasks[e.task].node for e in events if isinstance(e, NodeCompleted) and e.task in self.run.tasks
        ]
        for join in closed:
            if self.run.plan.nodes[join].quorum:
                reaching = sum(any(other == join for _, other in node.counted) for node in nodes)
                self._seen.note("a tie at an any-join", reaching > self.run.plan.nodes[join].quorum)

    def _apply(self, event: AnyEvent) -> None:
        run = self.run
        if isinstance(event, NodeStarted):
            self._check_start(event)
        elif isinstance(event, NodeCompleted | NodeCancelled):
            if event.task in self.ended:
                self.found.append(f"task {event.task} ends twice")
            self.ended.add(event.task)
            if isinstance(event, NodeCancelled):
                task = run.tasks.get(event.task)
                self._seen.note("a running task that was cancelled", task is not None and task.phase is Phase.RUNNING)
        elif isinstance(event, JoinClosed):
            self._check_close(event)
        elif isinstance(event, SignalKept):
            self._kept.add(event.entry)
        elif isinstance(event, SignalReceived):
            self._seen.note("a signal before its wait", event.entry in self._kept)
        folding = run.arrivals[0] if isinstance(event, ReducerUpdated) and run.arrivals else None
        apply(run, event)
        if isinstance(event, ReducerUpdated):
            self._note_fold(event, folding)

    def _check_start(self, event: NodeStarted) -> None:
        if event.task in self.ended:
            self.found.append(f"task {event.task} has ended and begins again")
        if (event.task, event.attempt) in self.started:
            self.found.append(f"attempt {event.attempt} of {event.task} begins twice")
        self.started.add((event.task, event.attempt))

    def _note_fold(self, event: ReducerUpdated, folding: Any) -> None:
        for key, joined in self.run.joins.items():
            if joined.unfolded:
                arrival = joined.unfolded[-1].arrival
                if folding is not None and arrival is not folding:
                    self.found.append(f"join {event.join} folds {arrival.source} where {folding.source} was next")
                self._arrived.setdefault(key, []).append(_recorded(arrival.value))
                self._code.refold(joined)

    def _check_close(self, event: JoinClosed) -> None:
        arrived = self._arrived.pop((event.join, event.instance), [])
        if event.count != len(arrived):
            self.found.append(f"join {event.join} says it folded {event.count}, and {len(arrived)} arrived")
        if "gathered" in event.join:
            given = msgspec.json.decode(bytes(event.value))
            if given != arrived:
                self.found.append(f"join {event.join} gives out {given}, and {arrived} arrived")


def _recorded(value: Source) -> Any:
    """Return a value as it stands in the log, as plain JSON."""
    if isinstance(value, Ref):
        return msgspec.json.decode(bytes(value.value))
    return msgspec.json.decode(bytes(value.chunk.items.values))[value.offset]


class Watch:
    """Watches what processes do to the runs of one store.

    Attributes:
        now: the one that is looked at by bodies.
        found: what was wrong, a sentence each.
        seen: what has happened.
        is_strict: whether there is one process at a time, which enters no body that it knows to have ended.
        appending: how many appends are under way, of which the process doesn't know yet whether they are durable.
    """

    now: ClassVar[Watch | None] = None

    def __init__(
        self, store: MemoryStore, graphs: dict[str, Graph[Any, Any, Any, Any]], seen: Sometimes | None = None
    ) -> None:
        self.found: list[str] = []
        self.seen = seen or Sometimes()
        self.is_strict = True
        self.appending = 0
        self._store = store
        self._graphs = graphs
        self._shadows: dict[str, Shadow] = {}
        self._entered: set[tuple[str, str, int]] = set()
        Watch.now = self

    def shadow(self, run_id: str) -> Shadow:
        """Return the fold of a log as it is now."""
        shadow = self._shadows.get(run_id)
        if shadow is None:
            graph = self._graphs[self._store._runs[run_id].graph]
            shadow = self._shadows[run_id] = Shadow(self._store, graph, run_id, self.seen)
            shadow.found = self.found
        shadow.catch_up()
        return shadow

    def forget(self, run_id: str) -> None:
        """Let go of a run that is over."""
        self._shadows.pop(run_id, None)
        self._entered = {entry for entry in self._entered if entry[0] != run_id}

    def compare(self, engine: Any, run_id: str) -> None:
        """Compare a run in memory with the fold of its log, after an append."""
        driven = engine._worker.driven.get(run_id)
        if driven is None or driven.driver.has_handed_back:
            return
        live, shadow = driven.driver.run, self.shadow(run_id)
        if live.seq != shadow.run.seq:
            self.found.append(f"{run_id} is at event {live.seq} in memory, and at {shadow.run.seq} in its log")
            return
        mine, theirs = portrait(live), portrait(shadow.run)
        if mine != theirs:
            parts = [part for part in mine if mine[part] != theirs[part]]
            self.found.append(f"{run_id}, event {live.seq}: the run in memory isn't the fold of its log: {parts}")

    def enter(self, context: Any) -> None:
        """Look at a body that is about to be entered."""
        run_id, task, attempt = context.run_id, context.task_id, context.attempt
        shadow = self.shadow(run_id)
        if (task, attempt) not in shadow.started:
            self.found.append(f"attempt {attempt} of {task} is entered before its start is recorded")
        live = shadow.run.tasks.get(task)
        if (
            self.is_strict
            and not self.appending
            and (live is None or live.phase is not Phase.RUNNING or live.attempt != attempt)
        ):
            self.found.append(f"attempt {attempt} of {task} is entered, and isn't running any more")
        if (run_id, task, attempt) in self._entered:
            self.found.append(f"attempt {attempt} of {task} is entered twice")
        self._entered.add((run_id, task, attempt))


def watched(graph: Graph[Any, Any, Any, Any]) -> Graph[Any, Any, Any, Any]:
    """Let every step and router of a graph be seen when its body is entered."""
    for node in graph.nodes.values():
        if isinstance(node, Step | Router) and not hasattr(node._call, "noted"):
            node._call = _noting(node._call)
    return graph


def _noting(call: Any) -> Any:
    def noting(context: Any) -> Any:
        if Watch.now is not None:
            Watch.now.enter(context)
        return call(context)

    noting.noted = True  # type: ignore[attr-defined]
    return noting
