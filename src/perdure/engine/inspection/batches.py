"""Batches: what ran together, for how long, what failed, and what a join waited for, told by the events of a run.

It is a projection: it takes events one by one, live or from the log, and folds them with the plan of the graph as recovery
does, only without values.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.engine.inspection.history import Recorded
from perdure.engine.inspection.untyped import NoValues
from perdure.events import (
    ForkOpened,
    JoinClosed,
    NodeCancelled,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    ReducerUpdated,
    RunStarted,
    WaitOpened,
)
from perdure.graph.graph import Graph
from perdure.graph.plan import NodeKind
from perdure.ids import ROOT_INSTANCE
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.run import AFTER, Run, Task


class Member(msgspec.Struct):
    """A task of a batch.

    Attributes:
        task: its id.
        node: the id of its node.
        path: where it is, as text: ``load_map[17]/check``.
        started_at: when its first attempt was started, in microseconds since 1970.
        ended_at: when it was settled, or None.
        outcome: ``"running"``, ``"completed"``, ``"failed"``, ``"retrying"`` or ``"cancelled"``.
        error: what it has failed with last, or empty.
    """

    task: str
    node: str
    path: str
    started_at: int
    ended_at: int | None = None
    outcome: str = "running"
    error: str = ""


class Meeting(msgspec.Struct):
    """A join of a batch.

    Attributes:
        join: the id of the join.
        waited_for: the paths of what has arrived, in order of arrival.
        closed_at: when it gave out its value, in microseconds since 1970; None while it is open.
    """

    join: str
    waited_for: list[str] = msgspec.field(default_factory=list)
    closed_at: int | None = None


class Batch(msgspec.Struct):
    """What ran together: the tasks of one fork instance.

    Attributes:
        instance: the id of the fork instance.
        fork: the id of the fork.
        opened_at: when it was opened, in microseconds since 1970.
        size: the number of its arms; None for a stream.
        members: its tasks, in the order in which they started.
        joins: its joins, by id.
    """

    instance: str
    fork: str
    opened_at: int
    size: int | None = None
    members: dict[str, Member] = msgspec.field(default_factory=dict)
    joins: dict[str, Meeting] = msgspec.field(default_factory=dict)

    @property
    def took_s(self) -> float | None:
        """How many seconds it was from its opening until its last task was settled; None while one isn't."""
        ends = [member.ended_at for member in self.members.values()]
        known = [end for end in ends if end is not None]
        return (max(known) - self.opened_at) / 1e6 if known and len(known) == len(ends) else None

    @property
    def failed(self) -> list[Member]:
        """The tasks that have failed."""
        return [member for member in self.members.values() if member.outcome == "failed"]


class Batches:
    """The batches of one run, as far as its events have been seen.

    Args:
        graph: the graph of the run.
    """

    def __init__(self, graph: Graph[Any, Any, Any, Any]) -> None:
        self.by_instance: dict[str, Batch] = {}
        self._run = Run(graph.plan, "", NoValues())
        self._paths: dict[str, str] = {}
        self._inside: dict[str, list[Member]] = {}

    def of(self, fork: str) -> list[Batch]:
        """Return the batches of a fork, in the order in which they were opened."""
        return [batch for batch in self.by_instance.values() if batch.fork == fork]

    def add(self, recorded: Recorded) -> None:
        """Take in the next event of the run; they have to come from the first one on.

        Raises:
            GraphRuntimeError: the event is of another graph.
        """
        event, at = recorded.event, recorded.ts
        if isinstance(event, ReducerUpdated):
            self._arrived(event)
        task = self._run.tasks.get(getattr(event, "task", ""))
        apply(self._run, event)
        if isinstance(event, RunStarted):
            self.by_instance[ROOT_INSTANCE] = Batch(ROOT_INSTANCE, "__start__", at, 1)
        elif isinstance(event, ForkOpened):
            self.by_instance[event.instance] = Batch(event.instance, event.fork, at, event.size)
        elif isinstance(event, JoinClosed):
            self._meeting(event.instance, event.join).closed_at = at
        elif task is not None:
            self._settle(event, task, at)

    def _settle(self, event: object, task: Task, at: int) -> None:
        if isinstance(event, NodeStarted | WaitOpened):
            self._start(task, at)
        for member in self._inside.get(task.id, ()):
            if isinstance(event, NodeCompleted):
                member.outcome, member.ended_at = "completed", at
            elif isinstance(event, NodeCancelled):
                member.outcome, member.ended_at = "cancelled", at
            elif isinstance(event, NodeFailed):
                member.error = f"{event.error.type}: {event.error.message}"
                member.outcome = "retrying" if event.outcome == "retry" else "failed"
                member.ended_at = None if event.outcome == "retry" else at
        if isinstance(event, NodeCompleted | NodeCancelled):
            self._inside.pop(task.id, None)

    def _start(self, task: Task, at: int) -> None:
        known = self._inside.get(task.id)
        if known is not None:
            for member in known:
                member.outcome, member.ended_at = "running", None
        elif task.node.kind is not NodeKind.START:
            scope = task.scope
            around = ((scope, task.index), *((scope.scope[fork], index) for fork, index in scope.trail))
            self._paths[task.id] = task.shown_path
            self._inside[task.id] = members = []
            for instance, index in around:
                if index != AFTER:
                    member = Member(task.id, task.node.id, task.shown_path, at)
                    self.by_instance[instance.id].members[task.id] = member
                    members.append(member)

    def _arrived(self, event: ReducerUpdated) -> None:
        detail = event.detail
        instance = detail.instance if detail is not None and detail.instance else self._run.arrivals[0].scope.id
        self._meeting(instance, event.join).waited_for.append(self._paths.get(event.task, event.task))

    def _meeting(self, instance: str, join: str) -> Meeting:
        return self.by_instance[instance].joins.setdefault(join, Meeting(join))
