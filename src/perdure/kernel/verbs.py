"""Verbs: what people may ask of a run, and of which runs.

The verbs are disjoint, so that nobody lets a run go on by accident that somebody else has stopped on purpose. This table is
the law; the engine refuses what it doesn't allow and says which verb would do.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from perdure.kernel.fold.status import OVER, Status

Verb: TypeAlias = Literal["pause", "resume", "recover", "retry", "cancel", "accept"]
VERBS: tuple[Verb, ...] = get_args(Verb)

_MOVING = frozenset({Status.PENDING, Status.RUNNING, Status.WAITING})

ACCEPTS: dict[Verb, frozenset[Status]] = {
    "pause": _MOVING,
    "resume": frozenset({Status.PAUSED}),
    "recover": _MOVING,
    "retry": frozenset({Status.FAILED}),
    "cancel": _MOVING | {Status.PAUSED, Status.STALLED},
    "accept": frozenset({Status.STALLED}),
}
"""In which status a run has to be. One that is recovered must besides be driven by nobody."""

_INSTEAD: dict[Status, str] = {
    Status.PENDING: "it goes on as soon as a worker has it",
    Status.RUNNING: "it is on its way; if its worker has crashed, recover it",
    Status.WAITING: "it goes on when what it waits for comes",
    Status.PAUSED: "resume it to go on",
    Status.STALLED: "accept the graph as it is now, or give it one that fits",
    Status.COMPLETED: "fork it to run some of it again",
    Status.FAILED: "retry it to go on",
    Status.CANCELLED: "that is final; fork it to go on from a point of it",
}


def refusal(run_id: str, verb: Verb, status: Status) -> str | None:
    """Return why a run in a status can't be subject to a verb, and what to do instead, or None if it can."""
    if status in ACCEPTS[verb]:
        return None
    wanted = ", ".join(each.value for each in Status if each in ACCEPTS[verb])
    how = "is over" if status in OVER else "stands still already" if verb == "pause" else f"is {status.value}"
    shown = "" if how.endswith(status.value) else f" ({status.value})"
    return f"run {run_id!r} {how}{shown}, and {verb} takes one that is {wanted}: {_INSTEAD[status]}"
