"""The life of a run: which status may follow which.

This table is the law. ``apply`` refuses an event that would break it, the verbs refuse what it doesn't allow, and the
diagram in the docs is made from it.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a run is in its life."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    PAUSED = "PAUSED"
    STALLED = "STALLED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


MAY_FOLLOW: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING, Status.STALLED, Status.PAUSED, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {
            Status.RUNNING,
            Status.WAITING,
            Status.PAUSED,
            Status.STALLED,
            Status.COMPLETED,
            Status.FAILED,
            Status.CANCELLED,
        }
    ),
    Status.WAITING: frozenset(
        {Status.RUNNING, Status.WAITING, Status.PAUSED, Status.STALLED, Status.FAILED, Status.CANCELLED}
    ),
    Status.PAUSED: frozenset({Status.RUNNING, Status.STALLED, Status.CANCELLED}),
    Status.STALLED: frozenset({Status.RUNNING, Status.STALLED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.RUNNING}),
    Status.CANCELLED: frozenset(),
}

OVER = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
"""The run isn't driven any more; FAILED can be retried."""

FINAL = frozenset({Status.COMPLETED, Status.CANCELLED})
"""Nothing can follow."""
