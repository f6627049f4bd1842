"""Plans: a graph's structure as plain data, all that the kernel needs to fold a log.

A plan holds no functions and no types, so it is stored with the runs: a log can be folded, shown and explained by a
process that can't import the user's code.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from perdure.graph.flow import Flow

EndPolicy = Literal["first", "all"]
ConflictPolicy = Literal["record", "error"]


class NodeKind(StrEnum):
    """What a node is."""

    START = "start"
    END = "end"
    STEP = "step"
    STREAM = "stream"
    JOIN = "join"
    DECISION = "decision"
    BROADCAST = "broadcast"
    MAP = "map"
    ROUTER = "router"
    ROUTES = "routes"
    WAIT = "wait"
    GROUP = "group"


FORKS = frozenset({NodeKind.BROADCAST, NodeKind.MAP, NodeKind.ROUTES})
TASKS = frozenset({NodeKind.STEP, NodeKind.STREAM, NodeKind.ROUTER, NodeKind.WAIT})
"""Nodes at which a token is a task."""

FailurePolicy = Literal["fail", "collect", "wait", "lose"]
DEFAULT_WINDOW = 1000
"""How many arms of a map may be unsettled at once, where nothing else is said."""


class WaitKind(StrEnum):
    """What a wait waits for."""

    HUMAN = "human"
    SIGNAL = "signal"
    SLEEP = "sleep"


NO_SCHEMA = msgspec.Raw(b"null")
"""Nobody is asked."""


class WaitPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a wait node says; times are in microseconds."""

    kind: WaitKind
    name: str = ""
    title: str = ""
    assignee: str = ""
    schema: msgspec.Raw = NO_SCHEMA
    after: int | None = None
    """How long a sleep lasts, or how soon a person has to answer."""
    at: int | None = None
    """When a sleep ends, since 1970."""
    asks_code: bool = False
    """Whether the node's own code says when, who or what."""
    escalations: tuple[tuple[str, int | None], ...] = ()
    """Who is asked next when the deadline passes, and how soon they have to answer."""


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many bodies may run at once under something."""

    key: str
    capacity: int
    fork: str = ""
    """The fork whose instances are limited each on its own; empty for the run."""


class NodePlan(msgspec.Struct, omit_defaults=True, eq=True, dict=False):
    """One node.

    ``counted`` names, as (fork, join), every join whose region holds this node: a task here, in an instance of that
    fork, keeps that join from closing. For a map fork it is where an unexhausted map counts.
    """

    id: str
    kind: NodeKind
    flow: Flow | None = None
    label: str | None = None
    note: str | None = None
    counted: tuple[tuple[str, str], ...] = ()
    # joins
    parent: str = ""
    order: Literal["arrival", "branch"] = "arrival"
    # maps
    join: str | None = None
    window: int = DEFAULT_WINDOW
    # streams
    resume: str = "skip"
    # joins that stand for a policy
    quorum: int = 0
    """How many arrivals are enough; 0 for all."""
    cancels: bool = False
    """Whether what is left is cancelled when there are enough."""
    on_error: FailurePolicy | None = None
    min_ok: int = 0
    # tasks
    catch: tuple[FailurePolicy, str] = ("fail", "")
    """What a failure comes to, and the join that gets it."""
    wait: WaitPlan | None = None
    limits: tuple[Limit, ...] = ()
    effect: Literal["", "retry", "pause", "verify"] = ""
    """What is done about an effect that was in flight in a crash; empty for a step that is no effect."""
    max_crashes: int = 3
    state: str = ""
    """The fork of the subgraph whose own state the node works on; empty for the run's."""

    @property
    def is_fork(self) -> bool:
        """Whether the node makes several tasks of one."""
        return self.kind in FORKS


class Plan(msgspec.Struct, omit_defaults=True):
    """The structure of a graph."""

    name: str
    nodes: dict[str, NodePlan]
    fingerprint: str = ""
    end: EndPolicy = "first"
    state_conflicts: ConflictPolicy = "record"
    max_steps: int = 10_000
    max_tasks: int | None = None
    max_concurrency: int | None = None
    on_error: FailurePolicy = "fail"
    version: str = ""

    def encoded(self) -> bytes:
        """Return the plan as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decoded(cls, data: bytes) -> Plan:
        """Read a plan that was stored as JSON."""
        return _decoder.decode(data)


_decoder: msgspec.json.Decoder[Plan] = msgspec.json.Decoder(Plan)


def structure_of(node: NodePlan) -> dict[str, Any]:
    """Return what makes a node what it is to a running run; labels, notes and slots are left out."""
    return {
        "kind": node.kind.value,
        "flow": _structure(node.flow) if node.flow is not None else None,
        "parent": node.parent,
        "order": node.order,
        "join": node.join,
        **(
            {"quorum": node.quorum, "cancels": node.cancels, "min_ok": node.min_ok}
            if node.kind is NodeKind.JOIN
            else {}
        ),
        **({"catch": node.catch} if node.catch != ("fail", "") else {}),
        **({"wait": [node.wait.kind.value, node.wait.name]} if node.wait is not None else {}),
        **({"state": node.state} if node.state else {}),
    }


def _structure(flow: Flow) -> Any:
    """Return a flow as nested lists in which the arms of a broadcast stand in order of rank."""
    kind = type(flow).__name__
    fields = msgspec.structs.asdict(flow)
    if kind == "Leaf":
        return ["leaf", fields["target"], fields["ordinal"]]
    if kind == "Split":
        arms = sorted(zip(fields["ranks"], fields["arms"], strict=True), key=lambda arm: arm[0])
        return ["split", fields["fork"], [_structure(arm) for _, arm in arms]]
    if kind == "Spread":
        return ["spread", fields["fork"], fields["join"], _structure(fields["then"])]
    if kind == "Transform":
        return ["transform", _structure(fields["then"])]
    if kind == "Pick":
        return ["pick", fields["fork"], fields["targets"], fields["empty"], [_structure(arm) for arm in fields["arms"]]]
    if kind == "Enter":
        return ["enter", fields["fork"], fields["has_state"], _structure(fields["then"])]
    return ["choose", [_structure(branch.then) for branch in fields["branches"]]]
