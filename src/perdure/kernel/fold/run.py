"""What a run is, at one point of its log.

A run is a set of live *tasks*, each in a scope; the fork *instances* they are in; the *joins* that are open; and the
committed state. Nothing else is true of it: what has ended is in the log and not here, so memory goes with what is live.

A scope maps each fork to its innermost instance. All tasks of one instance share it, so it is kept once, on the instance
that was opened last in it, and a task names that instance and its own index there. Crossing a fork again replaces its
instance, so a scope never grows in loops.

How long a join stays open is counted: an instance holds, for every join whose parent fork is its own, the number of
live *tokens* (tasks, open inner joins, maps with items left) that could still reach it. Tokens are added before the one
they come from is removed, so the count reaches zero exactly once, when the last is gone.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from heapq import heappop
from typing import Any, Protocol, TypeAlias

import msgspec

from perdure.events import Durability, ErrorInfo, Items, RunContinued, SegmentStarted, Value
from perdure.graph.flow import Flow
from perdure.graph.plan import NodePlan, Plan
from perdure.ids import ROOT_INSTANCE
from perdure.kernel.fold.status import Status
from perdure.kernel.state.committed import Committed
from perdure.kernel.state.operations import Operation

SHOWN_ENDS = 20
"""How many of the arms that led nowhere are named."""

AFTER = 1 << 62
"""The index of what follows a join: after all arms, a member of none."""


class Ref(msgspec.Struct, frozen=True):
    """A value where it was recorded."""

    value: Value
    by: str
    """The node whose output type describes it; empty if only the value itself does."""
    seq: int
    """The event that recorded it, or 0 if it isn't that event's one value."""


class Chunk(msgspec.Struct):
    """Items that were recorded together."""

    items: Items
    first: int
    by: str
    seq: int
    """The event that recorded them, or 0 if they stand inside another one."""
    decoded: list[Any] | None = None
    """The items as Python objects, each until an arm has taken it; the shell fills this."""


class Item(msgspec.Struct, frozen=True):
    """One item of a map, where it was recorded."""

    chunk: Chunk
    offset: int


Source: TypeAlias = Ref | Item


class Origin(msgspec.Struct, frozen=True):
    """What the placed tokens come from."""

    id: str
    """The task, or the join's output, that has finished."""
    depth: int
    """The depth of what is placed."""


class Phase(IntEnum):
    """What a live task is doing."""

    READY = 0
    """It may start, as soon as there is room."""
    RUNNING = 1
    WAITING = 2
    """It waits for a person, a signal or a time."""
    RETRYING = 3
    """Its last attempt failed, and another one is due at a time."""
    FAILED = 4
    """It has failed, and the run fails with it or has done so."""

    @property
    def is_running(self) -> bool:
        """Whether a body runs."""
        return self is Phase.RUNNING


class Task(msgspec.Struct, eq=False):
    """One activation of a node."""

    id: str
    node: NodePlan
    scope: Instance
    index: int
    value: Source
    depth: int
    phase: Phase = Phase.READY
    attempt: int = 0
    failures: int = 0
    """How many attempts have failed since the run was last retried."""
    crashes: int = 0
    """How many processes it is known to have taken down with it."""
    is_suspect: bool = False
    """Whether it was in flight when a process died, and hasn't finished since."""
    is_uncertain: bool = False
    """Whether it is an effect that was in flight when its attempt was cut short, so that it may have happened."""
    due_at: int | None = None
    """When it retries, or its wait ends, in microseconds since 1970."""
    is_answered: bool = False
    """Whether what it waited for has come."""
    escalations: int = 0
    opened: int = 0
    """The event by which it began to wait, while it does; who waits for the same signal is served in this order."""
    opened_at: int = 0
    """Since when it does, in microseconds since 1970; 0 if the log doesn't say so."""
    title: str = ""
    """What somebody is asked to do, while it waits for them."""
    assignee: str = ""
    feeds: list[Instance] | None = None
    """The maps a stream feeds, once it has given out its first item."""

    @property
    def path(self) -> tuple[int, ...]:
        """The indices of the arms the task is inside of, outermost first: the order in which tasks start."""
        return (*(index for _, index in self.scope.trail), self.index)

    @property
    def shown_path(self) -> str:
        """The path as text, as in ``load_map[17]/check``."""
        return shown_path(self.scope, self.index, self.node.id)


class Feed(msgspec.Struct, eq=False):
    """The items of a map: recorded up to ``taken``, their arms opened up to ``opened``."""

    by: str
    """The node whose output type describes the items; empty if only they themselves do."""
    then: Flow
    """What each item goes through, as part of the walk that began at ``origin`` and crossed forks on its way."""
    origin: Origin
    hops: tuple[str, ...]
    total: int | None = None
    taken: int = 0
    opened: int = 0
    chunks: deque[Chunk] = msgspec.field(default_factory=deque)
    task: str | None = None
    """The stream that feeds the map, while it does."""
    arms: dict[int, int] | None = None
    """The number of live tokens in each unsettled arm; None where all arms may be open at once."""

    @property
    def is_exhausted(self) -> bool:
        """Whether every item there will ever be has its arm."""
        return self.opened == self.total


class OpenJoin(msgspec.Struct, eq=False):
    """A join instance that waits for more."""

    node: NodePlan
    scope: Instance
    """The instance of the parent fork."""
    value: Any = msgspec.UNSET
    """What was folded so far, unset before the first fold."""
    unfolded: deque[Unfolded] = msgspec.field(default_factory=deque)
    """Arrivals that are folded according to the log but not in ``value``: live none, after a replay all; where nobody folds them
    again, they are only counted."""
    kept: deque[Arrival] = msgspec.field(default_factory=deque)
    """Arrivals that are kept until all have come, with ``order="branch"``."""
    failed: list[tuple[str, ErrorInfo, str]] = msgspec.field(default_factory=list)
    """The failures it has been told of, each with the path and the id of its task."""
    aside: Aside | None = None
    """What those have taken out of its region, if it may come to lack successes."""
    count: int = 0
    first: int = 0
    last: int = 0
    depth: int = 0
    cancelled: bool = False

    @property
    def has_enough(self) -> bool:
        """Whether a join that doesn't wait for all has what it waits for."""
        return 0 < self.node.quorum <= len(self.kept) + self.count

    @property
    def successes(self) -> int:
        """How many of those it waits for have come; failures count only where all are waited for."""
        return self.count + len(self.kept) - (0 if self.node.quorum else len(self.failed))

    @property
    def wanted(self) -> int:
        """How many successes it needs."""
        return self.node.quorum or self.node.min_ok

    @property
    def is_lacking(self) -> bool:
        """Whether nothing can reach it any more, and it has fewer successes than it needs."""
        return self.successes < self.wanted and not self.has_enough and not self.scope.counts.get(self.node.id)

    @property
    def is_doomed(self) -> bool:
        """Whether it lacks successes, or will when all the arms that are left succeed."""
        size = self.scope.size
        return self.is_lacking or (size is not None and size - len(self.failed) < self.wanted)

    def keep_in_branch_order(self) -> None:
        """Keep only as many arrivals as the join waits for, the first ones, and sort them by the arms they come from."""
        enough = list(self.kept)[: self.node.quorum or None]
        self.kept = deque(sorted(enough, key=lambda arrival: (arrival.path, arrival.source)))


class Aside(msgspec.Struct, eq=False):
    """What failures have taken out of the region of a join, to be brought back if the run fails for lack of successes."""

    given_up: set[tuple[str, str]] = msgspec.field(default_factory=set)
    """The joins inside of it that can't have a value any more, each as the id of its instance and its own."""
    tasks: list[Task] = msgspec.field(default_factory=list)
    joins: list[OpenJoin] = msgspec.field(default_factory=list)
    feeds: list[tuple[Instance, Feed]] = msgspec.field(default_factory=list)


class Unfolded(msgspec.Struct, frozen=True, eq=False):
    """An arrival that a reducer has seen in the past, and what else it saw then."""

    arrival: Arrival
    state: Committed
    was_cancelled: bool


class Arrival(msgspec.Struct, eq=False):
    """A value that has reached a join."""

    join: NodePlan
    scope: Instance
    """The instance of the join's parent fork."""
    value: Source
    source: str
    path: tuple[int, ...]
    depth: int


class Instance(msgspec.Struct, eq=False):
    """A fork that was activated: what its tasks share."""

    id: str
    fork: NodePlan
    source: str
    """The task, or the join's output, whose value was forked."""
    trail: tuple[tuple[str, int], ...]
    """For each outer fork in scope, outermost first: its id and the index of the arm this instance is in."""
    scope: dict[str, Instance] = msgspec.field(default_factory=dict)
    """The innermost instance of each fork, this one included."""
    size: int | None = None
    tasks: dict[str, Task] = msgspec.field(default_factory=dict)
    inner: dict[str, Instance] = msgspec.field(default_factory=dict)
    """The instances that have this one in scope."""
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    """For each join whose parent fork is this one: the live tokens that could still reach it."""
    joins: dict[str, OpenJoin] = msgspec.field(default_factory=dict)
    absorbing: dict[str, None] = msgspec.field(default_factory=dict)
    """Joins that had enough before all had come, and take no more."""
    arriving: int = 0
    """The values that have reached joins of this one and are yet to be folded, in the same commit."""
    aside: int = 0
    """The things of this one that are put aside, and may be brought back."""
    feed: Feed | None = None
    windows: tuple[tuple[Instance, int], ...] = ()
    """The windowed maps around this instance, each with the index of the arm this one is in."""

    @property
    def is_live(self) -> bool:
        """Whether anything is left in it."""
        return bool(self.tasks or self.joins or self.feed is not None or self.arriving or self.aside)


def shown_path(scope: Instance, index: int, node: str) -> str:
    """Return where something is, as text."""
    steps = [f"{fork}[{place}]" for fork, place in (*scope.trail, (scope.fork.id, index)) if place != AFTER]
    return "/".join([*(step for step in steps if not step.startswith("__start__")), node])


class KeptSignal(msgspec.Struct, frozen=True):
    """A signal that came before anybody waited for it."""

    entry: int
    name: str
    data: bytes
    by: str


class Reading(Protocol):
    """How the recorded values that the fold itself looks into are read; live they need no decoding."""

    @property
    def refolds(self) -> bool:
        """Whether reducers may be called again with what open joins have folded, so that their arrivals are kept for them."""
        ...

    def state(self, value: Value) -> Any:
        """Return the initial state."""
        ...

    def own_state(self, value: Value) -> Any:
        """Return the initial state of a subgraph."""
        ...

    def operations(self, value: Value) -> list[Operation]:
        """Return operations on the state."""
        ...

    def load(self, source: Source) -> Any:
        """Return what a join had folded when a snapshot was taken."""
        ...


def limit_keys(task: Task) -> tuple[tuple[str, int], ...]:
    """Return the limits a task runs under, each as its key and its capacity."""
    return tuple(
        (f"{limit.key}@{task.scope.scope[limit.fork].id}" if limit.fork else limit.key, limit.capacity)
        for limit in task.node.limits
    )


class Run:
    """The fold of a log so far.

    Attributes:
        plan: the structure of the graph.
        run_id: the id of the run.
        seq: the seq of the last event applied.
        status: where the run is in its life.
        root: the instance that the start of the run is.
        tasks: every live task by id.
        ready: those that may start, in the order in which they were placed.
        maps: every map instance by id that has items left to record or arms left to open.
        joins: every open join, by its id and that of the instance of its parent fork.
        state: the committed state.
        states: those of subgraphs that have their own, by the instance of the fork they were entered by.
        running: for each limit, by its key, how many bodies run under it.
        signals: those that came in before anybody waited for them, the oldest first.
        alarms: when tasks are due, as (time, task); one whose task says otherwise is void.
        deadline: when the run fails if it isn't over.
        freed: the limits under which there is room again.
        queues: tasks that are ready and have found no room, by the limits they run under; live only.
        crashes: how many processes have died with tasks of this run in flight.
        segment: how the last worker began to drive the run, if one ever did.
        placed: how many tasks there have been.
        ends: the values that have reached the end, each with where it came from.
        loose_ends: where the first few arms ended that led nowhere.
        lost: how many arms led nowhere.
        failures: what the run will fail with when the others have finished, each with its task.
        successor: what the run goes on as, once that was decided.
        settled: joins whose count has reached zero.
        stirred: maps that may have arms to open: items came in, or arms were settled.
    """

    __slots__ = (
        "alarms",
        "arrivals",
        "crashes",
        "deadline",
        "durability",
        "ends",
        "failures",
        "freed",
        "fresh",
        "joins",
        "loose_ends",
        "lost",
        "maps",
        "max_steps",
        "placed",
        "plan",
        "queues",
        "reading",
        "ready",
        "root",
        "run_id",
        "running",
        "segment",
        "seq",
        "settled",
        "signals",
        "state",
        "states",
        "status",
        "stirred",
        "successor",
        "tasks",
    )

    def __init__(self, plan: Plan, run_id: str, reading: Reading) -> None:
        self.plan = plan
        self.run_id = run_id
        self.reading = reading
        self.seq = 0
        self.status = Status.PENDING
        self.root: Instance = Instance(ROOT_INSTANCE, plan.nodes["__start__"], "", ())
        self.root.scope["__start__"] = self.root
        self.tasks: dict[str, Task] = {}
        self.ready: dict[str, Task] = {}
        self.maps: dict[str, Instance] = {}
        self.state: Committed = Committed()
        self.states: dict[str, Committed] = {}
        self.running: dict[str, int] = {}
        self.signals: tuple[KeptSignal, ...] = ()
        self.alarms: list[tuple[int, str]] = []
        self.deadline: int | None = None
        self.crashes = 0
        self.segment: SegmentStarted | None = None
        self.freed: dict[str, None] = {}
        self.queues: dict[tuple[str, ...], list[tuple[tuple[int, ...], str, Task]]] = {}
        self.placed = 0
        self.max_steps: int = plan.max_steps
        self.durability: Durability = "sync"
        self.ends: list[tuple[Source, str]] = []
        self.loose_ends: tuple[str, ...] = ()
        self.lost: int = 0
        self.failures: tuple[tuple[ErrorInfo, str], ...] = ()
        self.successor: RunContinued | None = None
        self.joins: dict[tuple[str, str], OpenJoin] = {}
        # What one event leaves for the next ones of the same commit to take up.
        self.arrivals: deque[Arrival] = deque()
        self.fresh: dict[str, Instance] = {}
        # What there may be to decide, in the order in which it came up.
        self.settled: deque[tuple[Instance, str]] = deque()
        self.stirred: dict[str, Instance] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left that could lead to anything."""
        return not self.tasks and not self.maps and not self.joins

    def instances(self) -> dict[str, Instance]:
        """Return every fork instance that something live is inside of, by id."""
        scopes = [task.scope for task in self.tasks.values()] + [joined.scope for joined in self.joins.values()]
        scopes += [self.root, *self.maps.values()]
        return {instance.id: instance for scope in scopes for instance in scope.scope.values()}

    def let_go(self) -> None:
        """Take apart what refers to itself: many runs that are over shouldn't wait for the garbage collector."""
        self.root.scope.clear()

    def lose(self, where: str) -> None:
        """Note that an arm has ended and led nowhere."""
        self.lost += 1
        if len(self.loose_ends) < SHOWN_ENDS:
            self.loose_ends += (where,)

    def state_of(self, scope: Instance, node: NodePlan) -> Committed:
        """Return the state that a node in a scope works on."""
        return self.states[scope.scope[node.state].id] if node.state else self.state

    def times(self) -> list[int]:
        """Return all times at which the run has something to do."""
        due = [at for at, task_id in self.alarms if (task := self.tasks.get(task_id)) is not None and task.due_at == at]
        return due if self.deadline is None else [*due, self.deadline]

    def next_alarm(self) -> int | None:
        """Return when the run next has something to do because of the time."""
        if not self.alarms:
            return self.deadline
        while self.alarms:
            at, task_id = self.alarms[0]
            task = self.tasks.get(task_id)
            if task is not None and task.due_at == at:
                break
            heappop(self.alarms)
        if not self.alarms:
            return self.deadline
        due = self.alarms[0][0]
        return due if self.deadline is None else min(due, self.deadline)
