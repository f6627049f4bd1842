"""Standstill: why a run doesn't go on, from its log and from what is known of those who could drive it.

The log says what the run waits for (``kernel/explain/explain.py``). Whether somebody drives it, whether that process lives, whether
what came in was taken up, and whether the graph is there: that is known of the store and of this process, and is added here.
No user code is needed: the log folds with the plan that is stored beside it. A log that can't be read to its end is explained
as far as it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import find, stored_plan
from perdure.engine.inspection.reach import Reach
from perdure.engine.inspection.untyped import NoValues
from perdure.engine.owner import is_provably_dead
from perdure.errors import StoreCorrupt, StoreError
from perdure.graph.changes import plan_changes
from perdure.graph.plan import Plan
from perdure.kernel.explain.circumstances import Circumstances
from perdure.kernel.explain.explain import SHOWN, Reasons, explain
from perdure.kernel.explain.reasons import Reason, moment
from perdure.kernel.fold.apply import apply, check_complete
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.status import Status
from perdure.store.port import Store
from perdure.store.records import DRIVEN, Entry, RunInfo


class LogUnreadable(Reason, frozen=True):
    """The log can't be read beyond an event."""

    seq: int
    """The last event that could be folded."""
    problem: str

    @property
    def text(self) -> str:
        """The reason in words."""
        return f"the log can't be folded beyond event {self.seq}: {self.problem}"


class Stalled(Reason, frozen=True):
    """Whoever tried to drive the run on has parked it."""

    problem: str

    @property
    def text(self) -> str:
        """The reason in words."""
        return f"the run is stalled: {self.problem}"


class GraphChanged(Reason, frozen=True):
    """The graph of this process isn't the one the run was driven with."""

    graph: str
    changes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reason in words."""
        what = "; ".join(self.changes) or "its declared types or policies differ"
        return f"graph {self.graph!r} isn't here what it was when the run was driven: {what}"


class GraphUnknown(Reason, frozen=True):
    """This process wasn't given the graph."""

    graph: str

    @property
    def text(self) -> str:
        """The reason in words."""
        return f"this process can't drive the run: it wasn't given graph {self.graph!r}"


class DepsMissing(Reason, frozen=True):
    """This process wasn't given the dependencies of the graph's steps."""

    graph: str

    @property
    def text(self) -> str:
        """The reason in words."""
        return (
            f"this process leaves the run alone: the steps of graph {self.graph!r} need deps, and it has none: "
            "Engine.open(deps=…) or deps_for="
        )


class RecoveryThrottled(Reason, frozen=True):
    """This process takes the run as soon as there is room for it."""

    driven: int
    """How many runs it drives now."""
    max_runs: int
    """How many it drives at most."""

    @property
    def text(self) -> str:
        """The reason in words."""
        if self.driven >= self.max_runs:
            return (
                f"this process drives {self.driven} runs, as many as Engine.open(max_runs={self.max_runs}) allows: it takes this "
                "one when another is over or waits; raise max_runs, or start another worker"
            )
        return f"this process takes the run up soon: it takes others first ({self.driven} are driven, of at most {self.max_runs})"


class NoWorker(Reason, frozen=True):
    """No worker that looks for runs has the graph."""

    graph: str
    workers: int
    """How many workers look for runs of other graphs."""
    others: int
    """How many of these have another version of the graph."""

    @property
    def text(self) -> str:
        """The reason in words."""
        if not self.workers:
            return f"no worker is there: start one that has graph {self.graph!r}"
        there = (
            "the only worker there is hasn't"
            if self.workers == 1
            else f"none of the {self.workers} workers there are has"
        )
        if self.others:
            return (
                f"{there} graph {self.graph!r} as the run was driven with it, and {self.others} another version of it: such a one "
                "takes the run, and drives it on if that is compatible"
            )
        return f"{there} graph {self.graph!r}: start one that has, or register it with those"


class NotDriven(Reason, frozen=True):
    """The run could go on, and nobody drives it."""

    due_at: int | None
    """Since when it is due, if that isn't from the beginning."""

    @property
    def text(self) -> str:
        """The reason in words."""
        due = f" since {moment(self.due_at)}" if self.due_at else ""
        return f"nobody drives the run, and it is due{due}: start a worker that has its graph, or `resume` it"


class LeaseHeld(Reason, frozen=True):
    """A worker holds the right to drive the run."""

    host: str
    pid: int
    until: int
    life: Literal["alive", "silent", "dead"]
    """``"silent"`` is one that has let its lease run out, ``"dead"`` one whose process is known to be gone."""

    @property
    def text(self) -> str:
        """The reason in words."""
        who = f"worker pid {self.pid} on {self.host}"
        if self.life == "alive":
            return f"{who} drives the run, under a lease until {moment(self.until)}"
        if self.life == "silent":
            return f"{who} drove the run and has let its lease run out, {moment(self.until)}; any worker may take it"
        return f"{who} drove the run and is dead; a worker on that host takes it at once, others from {moment(self.until)} on"


class Unread(msgspec.Struct, frozen=True):
    """Something in a run's inbox."""

    kind: str
    key: str
    by: str
    at: int


class InboxUnread(Reason, frozen=True):
    """Something has come in that whoever drives the run hasn't taken up."""

    entries: tuple[Unread, ...]
    count: int

    @property
    def text(self) -> str:
        """The reason in words."""
        parts = [
            f"{one.kind}{f' {one.key}' if one.key else ''}{f' by {one.by}' if one.by else ''} of {moment(one.at)}"
            for one in self.entries
        ]
        more = f" and {self.count - len(parts)} more" if self.count > len(parts) else ""
        return f"in the inbox, not taken up yet: {', '.join(parts)}{more}"


class Explanation(msgspec.Struct, frozen=True):
    """Why a run stands where it does.

    Attributes:
        run_id: the run.
        graph: the name of its graph.
        status: where it is in its life.
        seq: up to which event its log was folded.
        at: the time of which this is said, in microseconds since 1970.
        reasons: every reason found, the weightiest first.
        omitted: for each kind of reason of which there are too many to tell: how many were left out.
    """

    run_id: str
    graph: str
    status: str
    seq: int
    at: int
    reasons: tuple[Reason, ...]
    omitted: dict[str, int]

    @property
    def cause(self) -> Reason | None:
        """The reason to look at first."""
        return self.reasons[0] if self.reasons else None

    @property
    def text(self) -> str:
        """All of it in words, a line for each reason."""
        lines = [f"run {self.run_id} of graph {self.graph} is {self.status} at event {self.seq}"]
        lines += [f"  - {reason.text}" for reason in self.reasons]
        lines += [f"  … and {count} more of {kind}" for kind, count in self.omitted.items()]
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """Return it for JSON: for each reason its fields and its words."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        for fields, reason in zip(found["reasons"], self.reasons, strict=True):
            error = getattr(reason, "error", None)
            if error is not None:
                fields["error"] = {"type": error.type, "message": error.message, "traceback": error.traceback}
            fields["text"] = reason.text
        return found


class Here(msgspec.Struct, frozen=True):
    """What this process could drive a run with.

    Attributes:
        plan: the structure of the graph it knows by that name, if it knows one.
        lacks_deps: whether that needs dependencies which weren't given.
        busy: how many runs it drives, if it looks for such as are due.
    """

    plan: Plan | None
    lacks_deps: bool = False
    busy: RecoveryThrottled | None = None


async def explain_run(store: Store, run_id: str, now: int, here: Here | None = None, limit: int = SHOWN) -> Explanation:
    """Return every reason for which a run makes no progress.

    Args:
        store: where the run is.
        run_id: the run.
        now: the time, in microseconds since 1970.
        here: what this process could drive it with, where it could.
        limit: how many reasons of one kind are told.

    Raises:
        RunNotFound: there is no such run.
    """
    info = await find(store, run_id)
    inbox = await store.inbox(run_id)
    held = _lease(info, now)
    is_driven = held is not None and held.life == "alive"
    reasons: list[Reason] = []
    run, known, problem = await _folded(store, info)
    if problem:
        reasons.append(LogUnreadable(run.seq if run is not None else 0, problem))
    if info.status == Status.STALLED:
        reasons.append(Stalled(info.error))
        reasons += await _changed(store, info, here)
    told = explain(run, known, now, is_driven=is_driven, limit=limit) if run is not None else Reasons((), {})
    if info.status in DRIVEN:
        reasons += await _undriven(store, info, now, held, here)
    if inbox and not is_driven:
        reasons.append(_unread(inbox, limit))
    reasons += told.found
    if inbox and is_driven:
        reasons.append(_unread(inbox, limit))
    if held is not None and is_driven:
        reasons.append(held)
    seq = run.seq if run is not None else 0
    return Explanation(run_id, info.graph, info.status, seq, now, tuple(reasons), told.omitted)


async def _folded(store: Store, info: RunInfo) -> tuple[Run | None, Circumstances, str]:
    """Fold a log as far as it goes; return the run, what was gathered beside it, and what is wrong with the rest."""
    known = Circumstances()
    run: Run | None = None
    with Reach(info, store.location) as reach:
        run = Run(await stored_plan(store, info), info.run_id, NoValues())
        async for recorded in read_history(store, info):
            apply(run, recorded.event)
            known.note(recorded.event, recorded.ts)
            reach.seq = recorded.seq
        check_complete(run)
    if run is not None:
        run.seq = reach.seq
    return run, known, reach.problem


def _lease(info: RunInfo, now: int) -> LeaseHeld | None:
    """Return who holds the right to drive a run, or held it last without giving it up."""
    owner = info.owner
    if owner is None or info.status not in DRIVEN:
        return None
    life: Literal["alive", "silent", "dead"] = "alive" if info.lease_until > now else "silent"
    return LeaseHeld(owner.host, owner.pid, info.lease_until, "dead" if is_provably_dead(owner) else life)


async def _undriven(store: Store, info: RunInfo, now: int, held: LeaseHeld | None, here: Here | None) -> list[Reason]:
    """Return why nobody drives a run that is due."""
    is_due = info.due_at is not None or info.status != Status.WAITING
    if not is_due or (info.due_at or 0) > now or (held is not None and held.life == "alive"):
        return []
    found: list[Reason] = [held] if held is not None else [NotDriven(info.due_at)]
    if here is not None and here.plan is None:
        found.insert(0, GraphUnknown(info.graph))
    elif here is not None and here.lacks_deps:
        found.insert(0, DepsMissing(info.graph))
    elif here is not None and here.busy is not None:
        found.insert(0, here.busy)
    return await _changed(store, info, here) + found + await _workers(store, info, now)


async def _workers(store: Store, info: RunInfo, now: int) -> list[Reason]:
    """Return that no worker has the graph of a run, if that is so."""
    try:
        there = [worker for worker in await store.workers(now) if not is_provably_dead(worker.owner)]
    except StoreError:  # a file of an earlier version that is only read knows of no workers
        return []
    if any(info.fingerprint in worker.fingerprints for worker in there):
        return []
    names = {one: await _name_of(store, one) for one in {one for worker in there for one in worker.fingerprints}}
    others = sum(any(names[one] == info.graph for one in worker.fingerprints) for worker in there)
    return [NoWorker(info.graph, len(there), others)]


async def _name_of(store: Store, fingerprint: str) -> str:
    """Return the name of a graph, or an empty text if no run was ever driven with it."""
    data = await store.plan(fingerprint)
    try:
        return Plan.decoded(data).name if data is not None else ""
    except msgspec.DecodeError:
        return ""


async def _changed(store: Store, info: RunInfo, here: Here | None) -> list[Reason]:
    """Return how the graph of this process differs from the one the run was driven with, if it does."""
    if here is None or here.plan is None or here.plan.fingerprint == info.fingerprint:
        return []
    try:
        before = await stored_plan(store, info)
    except StoreCorrupt:
        return []
    return [GraphChanged(info.graph, plan_changes(before, here.plan))]


def _unread(inbox: Sequence[Entry], limit: int) -> InboxUnread:
    entries = tuple(Unread(one.kind, one.key, one.by, one.at) for one in inbox[:limit])
    return InboxUnread(entries, len(inbox))
