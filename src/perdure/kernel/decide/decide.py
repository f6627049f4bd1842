"""Deciding: from what the shell reports to events.

One decision takes everything that is in. It does, in this order: record results and place all that comes of them; settle,
that is fold arrivals, end forks early, open arms, close joins (``settle.py``), until nothing more follows; look whether
the run is over (``conclude.py``); start what is ready (``schedule.py``), and settle again if that has given rise to more.

    outcomes   ──►  settle  ──►  conclude  ──►  schedule
                      ▲                            │
                      └────────────────────────────┘

Time and everything random come in as values. The user's own code is only called through ``Code``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from perdure.events import (
    NodeCompleted,
    RunCancelled,
    RunPaused,
    RunStarted,
    SegmentEnded,
    SegmentStarted,
)
from perdure.kernel.decide.conclude import Successor, conclude, go_on_as_new, interrupt_all
from perdure.kernel.decide.deciding import Code, Deciding, Decision
from perdure.kernel.decide.hold import Hold
from perdure.kernel.decide.outcomes import deliver, ring, take_results
from perdure.kernel.decide.results import Delivery, Request, Result, Succeeded
from perdure.kernel.decide.schedule import start_ready
from perdure.kernel.decide.settle import settle
from perdure.kernel.decide.stepping import override
from perdure.kernel.fold.run import Phase, Run
from perdure.kernel.fold.status import OVER, Status


class Happening(msgspec.Struct, gc=False):
    """Everything that is in.

    Attributes:
        now: the time, in microseconds since 1970.
        results: what bodies have come to, in the order in which they ended.
        deliveries: answers and signals.
        requests: what somebody wants of the run.
        broken: joins whose code is known to raise, so that the run has to fail there.
        successor: what has become of the run that this one goes on as, where it does.
        hold: how far a caller who steps through the run has let it go, if there is one.
        is_draining: whether nothing may start: whoever drives the run is about to hand it back.
        come: times that have come, also those that by ``now`` haven't, because the clock was set back.
    """

    now: int
    results: Sequence[Result] = ()
    deliveries: Sequence[Delivery] = ()
    requests: Sequence[Request] = ()
    broken: Mapping[str, Exception] | None = None
    hold: Hold | None = None
    successor: Successor = ""
    is_draining: bool = False
    come: Sequence[int] = ()


def decide(run: Run, happening: Happening, code: Code) -> Decision:
    """Decide on everything that follows from what is in.

    The run is ahead of its log afterwards, until the events are committed.

    Raises:
        ArrivalFailed: the user's code raised in the midst of the decision; the run has to be rebuilt from its log.
    """
    deciding = Deciding(run, code, happening.now, happening.broken, happening.hold, happening.come)
    take_results(deciding, happening.results)
    if happening.hold is not None:
        override(deciding, happening.hold)
    _go_on(deciding, happening)
    return deciding.decision()


def take_over(run: Run, segment: SegmentStarted, happening: Happening, code: Code) -> Decision:
    """Decide what a worker has to do that begins to drive a run.

    Raises:
        ArrivalFailed: as for :func:`decide`.
    """
    deciding = Deciding(run, code, happening.now, happening.broken, happening.hold, happening.come)
    deciding.record(segment)
    _go_on(deciding, happening)
    return deciding.decision()


def _go_on(deciding: Deciding, happening: Happening) -> None:
    run = deciding.run
    if run.successor is not None:
        settle(deciding)
        go_on_as_new(deciding, happening.successor)
        return
    if happening.deliveries:
        deliver(deciding, happening.deliveries)
    if run.alarms:
        ring(deciding)
    while True:
        settle(deciding)
        conclude(deciding)
        if run.status in OVER:
            break
        if (happening.requests and _is_held(deciding, happening.requests)) or happening.is_draining:
            break
        if not start_ready(deciding) and not _has_more(deciding):
            break
    conclude(deciding)
    if deciding.uncertain:
        _pause_where_uncertain(deciding)


def _pause_where_uncertain(deciding: Deciding) -> None:
    """Let the run stand still where only somebody can tell whether an effect has happened."""
    run = deciding.run
    if run.status is Status.RUNNING and not _has_bodies(run):
        where = ", ".join(deciding.uncertain)
        reason = f"{where} was in flight when its process ended, and may have had its effect: look, and resume to run it again"
        deciding.record(RunPaused("perdure", reason))


def _has_bodies(run: Run) -> bool:
    return any(task.phase is Phase.RUNNING for task in run.tasks.values())


def _has_more(deciding: Deciding) -> bool:
    run = deciding.run
    return bool(run.arrivals or run.stirred or run.settled or (deciding.failure is not None and run.status not in OVER))


def _is_held(deciding: Deciding, requests: Sequence[Request]) -> bool:
    """Carry out what somebody wants of the run; say whether nothing may start."""
    run = deciding.run
    request = next((other for other in requests if other.verb == "cancel"), requests[0])
    if request.verb == "cancel":
        interrupt_all(deciding)
        deciding.record(RunCancelled(request.by, request.reason, request.entry))
    else:
        if any(other.now for other in requests):
            interrupt_all(deciding)
        if _has_bodies(run):
            return True  # tasks in flight finish first
        deciding.record(RunPaused(request.by, request.reason, request.entry))
    deciding.consumed += [request.entry for request in requests]
    return True


def start(run: Run, started: RunStarted, begun: Succeeded | None, now: int, code: Code) -> Decision:
    """Decide on a new run.

    Args:
        run: the run, with nothing applied.
        started: its first event.
        begun: what comes of the inputs, where that is all there is to record of them.
        now: the time, in microseconds since 1970.
        code: the user's code; it isn't called.
    """
    deciding = Deciding(run, code, now)
    deciding.record(started)
    if begun is not None:
        deciding.record(NodeCompleted(begun.task, begun.output, begun.route))
        deciding.open_forks(begun.maps)
    return deciding.decision()


def hand_back(run: Run, ended: SegmentEnded, code: Code) -> Decision:
    """Decide what to leave behind by a worker that stops driving a run."""
    deciding = Deciding(run, code, 0)
    interrupt_all(deciding)
    deciding.record(ended)
    return deciding.decision()


Rest = Literal["running", "waiting"]


def rest_of(run: Run) -> Rest:
    """Say whether a run that isn't over has anything to do before something comes in, or a time comes."""
    for task in run.tasks.values():
        if task.phase is Phase.RUNNING or task.phase is Phase.READY:
            return "running"
    return "waiting" if run.tasks else "running"
