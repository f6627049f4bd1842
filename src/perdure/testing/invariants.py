"""One checker for what holds of every log, whatever happened to the processes that wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from perdure.engine.inspection.history import Recorded
from perdure.events import (
    ArmsOpened,
    ForkOpened,
    ItemsEnded,
    ItemsTaken,
    JoinCancelled,
    JoinClosed,
    JoinFailed,
    NodeCancelled,
    NodeCompleted,
    NodeStarted,
    RunCancelled,
    RunCompleted,
    RunRetried,
    RunStarted,
)


def violations(history: Sequence[Recorded]) -> list[str]:
    """Return how a log breaks what every log keeps, a sentence each; none if it is sound.

    Seqs have no gaps; time and epochs never go back; the run begins once and nothing follows its end; a task's attempts
    are counted without gaps, and none begins after the task has finished, or was cancelled before a retry; a task finishes once; a join
    instance closes once; items are recorded once, and arms opened in order.
    """
    return _Checker().check(history)


class _Checker:
    def __init__(self) -> None:
        self.found: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.ended: dict[str, int] = {}
        self.joins: set[tuple[str, str]] = set()
        self.cancelled: set[str] = set()
        self.lost: set[tuple[str, str]] = set()
        self.forks: set[str] = set()
        self.taken: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()

    def check(self, history: Sequence[Recorded]) -> list[str]:
        previous: Recorded | None = None
        for recorded in history:
            self._order(previous, recorded)
            self._event(recorded)
            previous = recorded
        return self.found

    def _complain(self, recorded: Recorded, what: str) -> None:
        self.found.append(f"event {recorded.seq} ({recorded.kind}): {what}")

    def _order(self, previous: Recorded | None, recorded: Recorded) -> None:
        if recorded.seq != (previous.seq + 1 if previous is not None else 1):
            self._complain(recorded, f"it follows event {previous.seq if previous is not None else 0}")
        if isinstance(recorded.event, RunStarted) != (recorded.seq == 1):
            self._complain(recorded, "a log begins with RunStarted, and holds no other")
        if previous is None:
            return
        if recorded.ts < previous.ts:
            self._complain(recorded, "time goes back")
        if recorded.epoch < previous.epoch:
            self._complain(recorded, "the epoch goes back")
        if isinstance(previous.event, RunCompleted | RunCancelled):
            self._complain(recorded, f"it follows {previous.kind}, which ends a run for good")

    def _event(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, NodeStarted):
            self.attempts[event.task] += 1
            if event.task in self.ended:
                self._complain(recorded, f"task {event.task} ended at event {self.ended[event.task]} and begins again")
            if event.attempt != self.attempts[event.task]:
                self._complain(
                    recorded, f"attempt {event.attempt} of task {event.task} is the {self.attempts[event.task]}."
                )
        elif isinstance(event, NodeCompleted | NodeCancelled):
            if event.task in self.ended:
                self._complain(recorded, f"task {event.task} ended at event {self.ended[event.task]} already")
            self.ended[event.task] = recorded.seq
            if isinstance(event, NodeCancelled):
                self.cancelled.add(event.task)
        elif isinstance(event, RunRetried):
            self._bring_back()
        elif isinstance(event, JoinClosed | JoinCancelled | JoinFailed):
            self._join(recorded, event)
        elif isinstance(event, ForkOpened):
            if event.instance in self.forks:
                self._complain(recorded, f"fork instance {event.instance} was opened already")
            self.forks.add(event.instance)
        else:
            self._items(recorded)

    def _join(self, recorded: Recorded, event: JoinClosed | JoinCancelled | JoinFailed) -> None:
        key = (event.join, event.instance)
        if key in self.joins:
            self._complain(recorded, f"join {event.join} of {event.instance} has closed already")
        self.joins.add(key)
        if not isinstance(event, JoinClosed):
            self.lost.add(key)

    def _bring_back(self) -> None:
        """A retry may run again what was cancelled in arms that had failed."""
        for task in self.cancelled:
            del self.ended[task]
        self.joins -= self.lost
        self.cancelled.clear()
        self.lost.clear()

    def _items(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, ItemsTaken):
            if event.first != self.taken[event.instance]:
                self._complain(recorded, f"items from {event.first} on follow {self.taken[event.instance]} of them")
            self.taken[event.instance] += event.items.count
        elif isinstance(event, ArmsOpened):
            if event.upto <= self.opened[event.instance]:
                self._complain(recorded, f"arms up to {self.opened[event.instance]} are open already")
            self.opened[event.instance] = event.upto
        elif isinstance(event, ItemsEnded) and event.count < self.opened[event.instance]:
            self._complain(recorded, f"{self.opened[event.instance]} arms are open, and only {event.count} items exist")
