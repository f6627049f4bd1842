"""Rewriting: the log of a run, less what is to run again.

A run that is forked from another gets a log of its own: the events of its source in their order, without those of the tasks
that are dropped and of all that depends on them. It isn't worked out in advance what that is. The events are applied, one
after another, to the new run, and each is kept only if it is still true there:

    a task's events        if the task is there and isn't dropped: what a dropped task would have placed is never there
    a fold                 if its arrival is there
    a join's close         if nothing is left that could still reach it, and it has folded what it had folded then
    a cancellation         if the early end that caused it is there
    arms, items, forks     if their map, or their fork, is there

So dependence by edges and joins is what the kernel itself takes it to be. Two kinds of dependence don't show in what is
there, and are looked for: a change of the state made on a version that a dropped change was part of (its ``base_seq`` is at
or after that one) is *stale*, and so is a merge with a dropped change whose outcome was recorded and not its parts. A task
whose completion is stale just isn't complete. Where that comes too late, because its arrivals are among others already
(a stale fold, a stream whose arms have run), the task is added to those that are dropped and all is done once more.

What says how the source was driven (segments, pauses, failures, retries, its end) is left out, and the attempts of tasks
that haven't finished are too: who drives the new run concludes anew. A cancellation by the end of the run is left out for
the same reason. Nothing here calls user code, so a run can be forked by a process that doesn't have it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from perdure import events as ev
from perdure.errors import GraphRuntimeError
from perdure.graph.plan import NodePlan
from perdure.ids import identify
from perdure.kernel.fold.apply import apply, join_output_id
from perdure.kernel.fold.revival import abandoned_by
from perdure.kernel.fold.run import Instance, OpenJoin, Phase, Run
from perdure.kernel.state.operations import DELETE, ORDER, SET, SPLICE
from perdure.kernel.survey import Source

_REWRITES = frozenset({SET, DELETE, SPLICE, ORDER})


class Rewritten(msgspec.Struct):
    """A log without what is to run again.

    Attributes:
        events: the log.
        run: its fold.
        finished: the tasks that had finished in the source, as far as it was looked at.
        kept: those of them that have finished here too.
    """

    events: list[ev.AnyEvent]
    run: Run
    finished: set[str]
    kept: set[str]


def rewrite(
    source: Source, started: ev.RunStarted, new_run: Callable[[], Run], dropped: set[str], upto: int, now: int
) -> Rewritten:
    """Return a run's log without some tasks and all that depends on them.

    Args:
        source: the run.
        started: the first event of the new one.
        new_run: makes a run of the graph with nothing applied.
        dropped: the tasks, and outputs of joins, to be left out; those that have to be besides are added.
        upto: the seq up to which the log is looked at.
        now: when what waits in the new run begins to, in microseconds since 1970.
    """
    while True:
        rewriting = _Rewriting(source, new_run(), dropped, upto, now)
        if rewriting.is_done(started):
            return Rewritten(rewriting.events, rewriting.run, rewriting.finished, rewriting.kept)
        dropped |= rewriting.stale


class _Again(Exception):
    """It has turned out that more has to be dropped."""


class _Rewriting:
    """One pass over a log."""

    def __init__(self, source: Source, run: Run, dropped: set[str], upto: int, now: int) -> None:
        self.run = run
        self.events: list[ev.AnyEvent] = []
        self.stale: set[str] = set()
        self.kept: set[str] = set()
        self._source = source
        self._dropped = dropped
        self._upto = upto
        self._now = now
        self._seqs: dict[int, int] = {}
        self._attempts: dict[str, list[ev.AnyEvent]] = {}
        self._lost_since: dict[str, int] = {}
        self._lost_paths: dict[str, set[tuple[object, ...]]] = {}
        self._unfolded: set[tuple[str, str]] = set()
        self._closing: set[tuple[str, str]] = set()
        self._abandoned: set[tuple[str, str]] = set()
        self.finished = {task for task, seq in source.finished.items() if seq <= upto and seq not in source.undone}

    def is_done(self, started: ev.RunStarted) -> bool:
        """Go through the log; say whether nothing more has to be dropped."""
        try:
            self._emit(1, started)
            for seq, event in enumerate(self._source.history[1:], 2):
                if seq > self._upto and self._is_whole():
                    break
                handle = _HANDLERS.get(type(event))
                if seq in self._source.undone:
                    self._cut_short(getattr(event, "task", ""))
                elif handle is not None:
                    handle(self, seq, event)
        except _Again:
            return False
        self.stale |= {arrival.source for arrival in self.run.arrivals}
        for task in [task for task in self.run.tasks.values() if task.phase is Phase.RUNNING]:
            self._emit(0, ev.NodeInterrupted(task.id))
        return not self.stale

    def _is_whole(self) -> bool:
        """Say whether all is there that follows at once from what is there."""
        feeds = [instance.feed for instance in self.run.maps.values() if instance.feed is not None]
        is_short = any(feed.task is None and feed.total is not None and feed.taken < feed.total for feed in feeds)
        return not (self.run.arrivals or self.run.fresh or is_short)

    # --- keeping and losing ---

    def _emit(self, seq: int, event: ev.AnyEvent) -> None:
        """Keep an event, which is number ``seq`` of the source."""
        try:
            apply(self.run, event)
        except GraphRuntimeError:
            # A change that was merged with one that is gone may not fit any more.
            if not isinstance(event, ev.NodeCompleted | ev.ReducerUpdated | ev.JoinClosed) or not self._lost_since:
                raise
            self.stale.add(_source_of(event))
            raise _Again from None
        self.events.append(event)
        self._seqs[seq] = self.run.seq

    def _kept(self, change: ev.Change | None) -> ev.Change | None:
        """Return a change with the seq that what it was based on has here."""
        if change is None:
            return None
        return msgspec.structs.replace(change, base_seq=self._seqs.get(change.base_seq, 1))

    def _lose(self, seq: int, change: ev.Change | None) -> None:
        """Note that a change isn't made."""
        if change is None:
            return
        state = self._source.places[seq][0]
        self._lost_since.setdefault(state, seq)
        paths = self._lost_paths.setdefault(state, set())
        paths.update(tuple(operation.path) for operation in self.run.reading.operations(change.operations))

    def _is_stale(self, seq: int, change: ev.Change | None) -> bool:
        """Say whether a change depends on one that isn't made."""
        if change is None or not self._lost_since:
            return False
        state = self._source.places[seq][0]
        since = self._lost_since.get(state)
        if since is None:
            return False
        if change.base_seq >= since:
            return True
        if change.conflicts:
            return False  # it overwrote what is lost
        lost = self._lost_paths[state]
        return any(
            operation.verb in _REWRITES and _overlaps(tuple(operation.path), lost)
            for operation in self.run.reading.operations(change.operations)
        )

    # --- tasks ---

    def _is_live(self, task: str) -> bool:
        return task in self.run.tasks and task not in self._dropped

    def _attempted(self, seq: int, event: ev.NodeStarted | ev.NodeInterrupted | ev.NodeFailed | ev.TimerFired) -> None:
        """Put an event of an attempt by, until its task finishes."""
        if self._is_live(event.task):
            self._attempts.setdefault(event.task, []).append(event)

    def _cut_short(self, task: str) -> None:
        """Let an attempt that has come to nothing that counts here end without a trace."""
        attempts = self._attempts.get(task)
        if attempts and isinstance(attempts[-1], ev.NodeStarted):
            attempts.append(ev.NodeInterrupted(task))

    def _tell_attempts(self, task: str) -> None:
        for event in self._attempts.pop(task, ()):
            self._emit(0, event)

    def _completed(self, seq: int, event: ev.NodeCompleted) -> None:
        if not self._is_live(event.task):
            self._lose(seq, event.change)
        elif self._is_stale(seq, event.change):
            self._lose(seq, event.change)
            if self.run.tasks[event.task].feeds is not None:
                self.stale.add(event.task)
        else:
            self._tell_attempts(event.task)
            self._emit(seq, msgspec.structs.replace(event, change=self._kept(event.change)))
            self.kept.add(event.task)

    def _failed(self, seq: int, event: ev.NodeFailed) -> None:
        if event.outcome == "retry":
            self._attempted(seq, event)
        elif event.outcome in ("collect", "lose") and self._is_live(event.task):
            task = self.run.tasks[event.task]
            given_up = abandoned_by(self.run, task.scope, task.node, task.node.catch[1])
            if any(self._runs_again_within(seq, instance, join) for instance, join in given_up):
                self.stale.add(event.task)  # what is to run again there would be without a join
                return
            self._give_up(given_up)
            self._tell_attempts(event.task)
            self._emit(seq, event)
            self.kept.add(event.task)
        else:
            self._cut_short(event.task)

    def _give_up(self, given_up: list[tuple[Instance, str]]) -> None:
        self._abandoned.update((instance.id, join) for instance, join in given_up)

    def _runs_again_within(self, seq: int, instance: Instance, join: str) -> bool:
        """Say whether a task that could reach a join is there that wasn't in the source at this event, or that is dropped."""
        mark = (instance.fork.id, join)
        return any(
            task.id in self._dropped or self._source.finished.get(task.id, seq) < seq
            for task in self.run.tasks.values()
            if mark in task.node.counted and task.scope.scope.get(instance.fork.id) is instance
        )

    def _cancelled(self, seq: int, event: ev.NodeCancelled) -> None:
        if not self._is_live(event.task):
            return
        task = self.run.tasks[event.task]
        feeds_nothing = task.feeds is not None and all(
            instance.feed is None or instance.feed.task != task.id for instance in task.feeds
        )
        if feeds_nothing or self._is_ended_early(task.scope, task.node):
            self._tell_attempts(event.task)
            self._emit(seq, event)

    def _is_ended_early(self, scope: Instance, node: NodePlan) -> bool:
        """Say whether a join that a node in a scope could reach has ended its fork early, or was given up."""
        for fork, join in node.counted:
            instance = scope.scope.get(fork)
            if instance is None:
                continue
            joined = instance.joins.get(join)
            if joined is not None and (joined.cancelled or (joined.node.cancels and joined.has_enough)):
                return True
            if (instance.id, join) in self._abandoned:
                return True
        return False

    # --- waits ---

    def _waits(self, seq: int, event: ev.WaitOpened) -> None:
        if self._is_live(event.task):
            self._tell_attempts(event.task)
            self._emit(seq, msgspec.structs.replace(event, opened_at=self._now))

    def _woken(self, seq: int, event: ev.Answered | ev.SignalReceived | ev.Escalated) -> None:
        if self._is_live(event.task) and self.run.tasks[event.task].phase is Phase.WAITING:
            self._emit(seq, event)

    def _rang(self, seq: int, event: ev.TimerFired) -> None:
        if self._is_live(event.task) and self.run.tasks[event.task].phase is Phase.WAITING:
            self._emit(seq, event)
        else:
            self._attempted(seq, event)

    def _overridden(self, seq: int, event: ev.Overridden) -> None:
        instances = self.run.instances()
        if all(map(self._is_live, event.dropped)) and all(placed.instance in instances for placed in event.placed):
            self._emit(seq, event)

    # --- forks ---

    def _fork_opened(self, seq: int, event: ev.ForkOpened) -> None:
        if event.instance in self.run.fresh:
            self._emit(seq, event)

    def _streamed(self, seq: int, event: ev.StreamOpened) -> None:
        if self._is_live(event.task):
            self._tell_attempts(event.task)
            self._emit(seq, event)

    def _items_taken(self, seq: int, event: ev.ItemsTaken) -> None:
        instance = self.run.maps.get(event.instance)
        if instance is not None and instance.feed is not None and instance.feed.taken == event.first:
            self._emit(seq, event)

    def _items_ended(self, seq: int, event: ev.ItemsEnded) -> None:
        instance = self.run.maps.get(event.instance)
        if instance is None or instance.feed is None:
            return
        feed = instance.feed
        has_ended = feed.task in self.finished and feed.taken == event.count
        if has_ended or self._is_ended_early(instance, instance.fork):
            self._emit(seq, event)

    def _arms_opened(self, seq: int, event: ev.ArmsOpened) -> None:
        instance = self.run.maps.get(event.instance)
        feed = instance.feed if instance is not None else None
        if feed is not None and feed.opened < event.upto <= feed.taken:
            self._emit(seq, event)

    # --- joins ---

    def _folded(self, seq: int, event: ev.ReducerUpdated) -> None:
        detail = event.detail
        if detail is not None and detail.instance:
            self._folded_at_close(seq, event, (event.join, detail.instance))
            return
        change = detail.change if detail is not None else None
        arrival = self.run.arrivals[0] if self.run.arrivals else None
        place = (event.join, self._source.places[seq][1])
        if arrival is None or arrival.source != event.task or (arrival.join.id, arrival.scope.id) != place:
            self._unfolded.add(place)
            self._lose(seq, change)
            return
        saw_what_is_lost = place in self._unfolded and detail is not None and (change is not None or detail.cancelled)
        if saw_what_is_lost or self._is_stale(seq, change):
            self.stale.add(event.task)
            self._unfolded.add(place)
            self._lose(seq, change)
            self.run.arrivals.popleft()
            return
        kept = msgspec.structs.replace(detail, change=self._kept(change)) if detail is not None else None
        self._emit(seq, msgspec.structs.replace(event, detail=kept))

    def _folded_at_close(self, seq: int, event: ev.ReducerUpdated, place: tuple[str, str]) -> None:
        detail = event.detail
        assert detail is not None
        folds = self._source.folds[place]
        if seq == folds[0] and self._folds_the_same(place, folds):
            self._closing.add(place)
        if place not in self._closing or self._is_stale(seq, detail.change):
            self._closing.discard(place)
            self._lose(seq, detail.change)
            return
        kept = msgspec.structs.replace(detail, change=self._kept(detail.change))
        self._emit(seq, msgspec.structs.replace(event, detail=kept))

    def _folds_the_same(self, place: tuple[str, str], folds: list[int]) -> bool:
        """Say whether a join that folds when it closes would close, and fold what it had folded in the source."""
        joined = self.run.joins.get(place)
        if joined is None or not _may_close(joined):
            return False
        expected = [
            event.task for seq in folds if isinstance(event := self._source.history[seq - 1], ev.ReducerUpdated)
        ]
        enough = list(joined.kept)[: joined.node.quorum or None]
        there = sorted(enough, key=lambda arrival: (arrival.path, arrival.source))
        is_stale = any(self._is_stale(seq, _change_of(self._source.history[seq - 1])) for seq in folds)
        return not is_stale and [arrival.source for arrival in there] == expected

    def _closed(self, seq: int, event: ev.JoinClosed) -> None:
        joined = self.run.joins.get((event.join, event.instance))
        if (
            joined is None
            or not _may_close(joined)
            or joined.count != event.count
            or joined.kept
            or (event.join, event.instance) in self._unfolded
            or join_output_id(joined) in self._dropped
            or self._is_stale(seq, event.change)
        ):
            self._lose(seq, event.change)
            return
        change = self._kept(event.change)
        self._emit(seq, msgspec.structs.replace(event, first=joined.first, last=joined.last, change=change))

    def _join_cancelled(self, seq: int, event: ev.JoinCancelled) -> None:
        joined = self.run.joins.get((event.join, event.instance))
        if joined is None or self._has_more(joined):
            return
        if (event.instance, event.join) in self._abandoned or self._is_ended_early(joined.scope, joined.node):
            self._emit(seq, event)

    def _has_more(self, joined: OpenJoin) -> bool:
        """Say whether anything could still reach a join but other joins, which are cancelled after it."""
        mark = (joined.scope.fork.id, joined.node.id)
        inner = sum(
            mark in other.node.counted and other.scope.scope.get(joined.scope.fork.id) is joined.scope
            for other in self.run.joins.values()
        )
        return joined.scope.counts.get(joined.node.id, 0) > inner

    def _join_failed(self, seq: int, event: ev.JoinFailed) -> None:
        place = (event.join, event.instance)
        joined = self.run.joins.get(place)
        if (
            joined is None
            or not joined.is_lacking
            or place in self._unfolded
            or join_output_id(joined) in self._dropped
        ):
            return
        given_up = abandoned_by(self.run, joined.scope, joined.node, event.into)
        if any(self._runs_again_within(seq, instance, join) for instance, join in given_up):
            self.stale.add(join_output_id(joined))
            return
        self._give_up(given_up)
        self._emit(seq, event)


def _may_close(joined: OpenJoin) -> bool:
    return joined.has_enough or not joined.scope.counts.get(joined.node.id)


def _overlaps(path: tuple[object, ...], others: set[tuple[object, ...]]) -> bool:
    """Say whether one of some paths leads into this one, or this one into it."""
    return any(path[: len(other)] == other[: len(path)] for other in others)


def _source_of(event: ev.NodeCompleted | ev.ReducerUpdated | ev.JoinClosed) -> str:
    if isinstance(event, ev.JoinClosed):
        return identify("join", event.join, event.instance)
    return event.task


def _change_of(event: ev.AnyEvent) -> ev.Change | None:
    return event.detail.change if isinstance(event, ev.ReducerUpdated) and event.detail is not None else None


_HANDLERS: dict[type, Callable[..., None]] = {
    ev.NodeStarted: _Rewriting._attempted,
    ev.NodeInterrupted: _Rewriting._attempted,
    ev.NodeFailed: _Rewriting._failed,
    ev.NodeCompleted: _Rewriting._completed,
    ev.NodeCancelled: _Rewriting._cancelled,
    ev.WaitOpened: _Rewriting._waits,
    ev.Answered: _Rewriting._woken,
    ev.SignalReceived: _Rewriting._woken,
    ev.Escalated: _Rewriting._woken,
    ev.TimerFired: _Rewriting._rang,
    ev.SignalKept: _Rewriting._emit,
    ev.Overridden: _Rewriting._overridden,
    ev.ForkOpened: _Rewriting._fork_opened,
    ev.StreamOpened: _Rewriting._streamed,
    ev.ItemsTaken: _Rewriting._items_taken,
    ev.ItemsEnded: _Rewriting._items_ended,
    ev.ArmsOpened: _Rewriting._arms_opened,
    ev.ReducerUpdated: _Rewriting._folded,
    ev.JoinClosed: _Rewriting._closed,
    ev.JoinCancelled: _Rewriting._join_cancelled,
    ev.JoinFailed: _Rewriting._join_failed,
}
"""What is done with an event; those of other kinds say how the source was driven, and are left out."""
