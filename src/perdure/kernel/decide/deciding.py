"""A decision in the making: the events so far, and what the shell has to do once they are durable.

Each event is applied as soon as it is decided, so a decision always looks at the run as its own events have left it. If
the events then can't be committed, the run in memory is ahead of its log and is discarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from perdure.events import (
    AnyEvent,
    Change,
    ErrorInfo,
    FailureOutcome,
    ForkOpened,
    ItemsTaken,
    NodeFailed,
    Route,
    Value,
)
from perdure.kernel.decide.describe import add_note
from perdure.kernel.decide.hold import Hold
from perdure.kernel.decide.results import Chunks, Succeeded
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.revival import abandoned_by
from perdure.kernel.fold.run import Arrival, Instance, OpenJoin, Run, Source, Task
from perdure.kernel.state.committed import Committed, Proposal, Transaction, refuse_conflicts
from perdure.kernel.state.operations import Operation


class ArrivalFailed(Exception):
    """User code raised in the midst of a decision: nothing of it may be kept.

    Attributes:
        source: the task whose value arrived, and whose attempt has failed; empty if it is the join's own code.
        join: the join.
        exception: what was raised.
    """

    def __init__(self, source: str, join: str, exception: Exception) -> None:
        super().__init__(source)
        self.source = source
        self.join = join
        self.exception = exception


class Closing(msgspec.Struct, frozen=True):
    """What the shell makes of a join that closes."""

    value: Value
    route: Route | None
    maps: tuple[Chunks, ...]


class Code(Protocol):
    """The user's code, as the kernel calls it."""

    def begin(self, start: Task) -> Succeeded | None:
        """Return what comes of the inputs, or None if finding out calls user code and needs an attempt."""
        ...

    def pass_on(self, task: Task) -> Succeeded | None:
        """Return what comes of a wait that is over, or None if finding out calls user code and needs an attempt."""
        ...

    def answer(self, task: Task, data: bytes) -> Value:
        """Return what has come in for a wait, as it is to be recorded.

        Raises:
            PerdureError: it doesn't fit the form, or can't be stored.
        """
        ...

    def describe(self, error: BaseException) -> ErrorInfo:
        """Return an exception as data, as it is to be recorded."""
        ...

    def expired(self, task: Task) -> Value | None:
        """Return the answer that a wait gives itself when its deadline passes, or None if it gives none."""
        ...

    def fold(
        self, join: str, current: Any, arrival: Arrival, was_cancelled: bool, state: Transaction
    ) -> tuple[Any, bool]:
        """Fold an arrival; return the new value and whether the reducer cancelled the siblings."""
        ...

    def close(self, joined: OpenJoin, state: Transaction) -> Closing:
        """Return what a join gives out, and the way it takes."""
        ...

    def failure(self, task: str, path: str, attempts: int, error: ErrorInfo) -> Value:
        """Return the failure of a task, or of an inner join, as a value for a join to get."""
        ...

    def inline(self, value: Source) -> Value:
        """Return a value that was recorded elsewhere, to be recorded again."""
        ...

    def written(self, operations: list[Operation]) -> Value:
        """Return operations on the state as they are to be recorded."""
        ...


NOTHING_BREAKS: Mapping[str, Exception] = MappingProxyType({})
NO_EXCEPTIONS: Mapping[str, BaseException] = MappingProxyType({})


class Decision(msgspec.Struct, gc=False):
    """What was decided.

    Attributes:
        events: what is to be committed, applied already.
        started: the tasks to be run once it is.
        stopped: the attempts whose bodies are to be stopped, each as its task and its number.
        exception: what made the run fail, in this process.
        consumed: the entries of the inbox that were taken up.
        come: the time that it is at least, by what has come.
    """

    events: list[AnyEvent]
    started: list[Task]
    stopped: Sequence[tuple[str, int]] = ()
    exception: BaseException | None = None
    consumed: Sequence[int] = ()
    exceptions: Mapping[str, BaseException] = NO_EXCEPTIONS
    """For what has failed and doesn't make the run fail by itself, what was raised."""
    come: int = 0


class Deciding:
    """One decision in the making."""

    def __init__(
        self,
        run: Run,
        code: Code,
        now: int,
        broken: Mapping[str, Exception] | None = None,
        hold: Hold | None = None,
        come: Sequence[int] = (),
    ) -> None:
        self.run = run
        self.code = code
        self.now = now
        self.come = come
        self.broken: Mapping[str, Exception] = broken if broken is not None else NOTHING_BREAKS
        self.hold = hold
        self.events: list[AnyEvent] = []
        self.started: list[Task] = []
        self.stopped: list[tuple[str, int]] = []
        self.consumed: list[int] = []
        self.cancelling: list[OpenJoin] = []
        self.abandoned: list[tuple[Instance, str]] = []
        """Joins that are to have no value, because a failure takes the arm they are in out of an outer one."""
        self.uncertain: list[str] = []
        """Effects that may have happened, and about which somebody has to decide."""
        self.exceptions: dict[str, BaseException] = {}
        self.failure: tuple[ErrorInfo, str, BaseException | None] | None = None
        """What makes the run fail: the error, the task, and the exception if it is at hand."""

    def record(self, event: AnyEvent) -> None:
        """Apply an event and keep it for the commit."""
        apply(self.run, event)
        self.events.append(event)

    def decision(self) -> Decision:
        """Return what was decided."""
        exception = self.failure[2] if self.failure is not None else None
        come = max(self.come) if self.come else 0
        # Of many decisions at once few hold more than events and tasks, and those keep no empty lists for the others.
        stopped, consumed = self.stopped or (), self.consumed or ()
        return Decision(self.events, self.started, stopped, exception, consumed, self.exceptions or NO_EXCEPTIONS, come)

    # --- what several parts of a decision need ---

    def change(self, state: Committed, proposal: Proposal | None) -> Change | None:
        """Merge a proposal into a state and return what is to be recorded of it.

        Raises:
            StateConflict: the graph, or a field, forbids this merge.
        """
        if proposal is None:
            return None
        merged = state.merged(proposal)
        if self.run.plan.state_conflicts == "error":
            refuse_conflicts(merged)
        if not merged.operations:
            return None
        return Change(proposal.base_seq, self.code.written(merged.operations), tuple(merged.conflicts))

    def open_forks(self, maps: Sequence[Chunks]) -> None:
        """Record the forks that the last event crossed, and the items of the maps among them."""
        chunks = iter(maps)
        for instance in list(self.run.fresh.values()):
            feed = instance.feed
            is_known = feed is None or instance.size is not None or feed.task is not None
            taken = () if is_known else next(chunks, ())
            size = instance.size if is_known else sum(items.count for items in taken)
            self.record(ForkOpened(instance.id, instance.fork.id, instance.source, size))
            first = 0
            for items in taken:
                self.record(ItemsTaken(instance.id, first, items))
                first += items.count

    def fail(
        self,
        task: Task,
        error: ErrorInfo,
        exception: BaseException,
        retry_after: int | None = None,
        *,
        is_final: bool = False,
    ) -> None:
        """Record that an attempt has failed, and what follows from that; if it is final, that the run fails."""
        if task.phase.is_running:
            self.stopped.append((task.id, task.attempt))
        if retry_after is not None:
            self.record(NodeFailed(task.id, error, "retry", self.now + retry_after))
            return
        policy, join = task.node.catch
        outcome: FailureOutcome = "fail" if is_final else policy
        if outcome == "collect" and join:
            self.abandoned += abandoned_by(self.run, task.scope, task.node, join)
            value = self.code.failure(task.id, task.shown_path, task.failures + 1, error)
            self.record(NodeFailed(task.id, error, "collect", value=value))
        elif outcome == "lose" and join:
            self.abandoned += abandoned_by(self.run, task.scope, task.node, join)
            self.record(NodeFailed(task.id, error, "lose"))
        elif outcome == "wait" or self.hold is not None:
            self.record(NodeFailed(task.id, error, "wait"))
        else:
            self.record(NodeFailed(task.id, error))
            if self.failure is None:
                self.failure = (error, task.id, exception)

    def refuse_change(self, task: Task, error: Exception) -> None:
        """Record that what a task changed in the state can't be merged or stored, as a failure of its attempt."""
        add_note(error, f"perdure: in the changes that {task.shown_path} made to the state")
        self.fail(task, self.code.describe(error), error)
