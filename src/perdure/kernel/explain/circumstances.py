"""Circumstances: what the fold forgets and an explanation needs.

A run holds only what is true now. Since when a task has been doing what it does, what its last attempt raised, who paused the
run and why: that is in the log, and is gathered here beside the fold, for what is live only.
"""

from __future__ import annotations

import msgspec

from perdure import events as ev
from perdure.events import AnyEvent, ErrorInfo, RunCancelled, RunCompleted, RunFailed, RunPaused

_BEGINNING = (
    ev.NodeStarted,
    ev.NodeFailed,
    ev.NodeInterrupted,
    ev.WaitOpened,
    ev.Answered,
    ev.SignalReceived,
    ev.TimerFired,
)
_SETTLED = (ev.NodeCompleted, ev.NodeCancelled)


class Refused(msgspec.Struct, frozen=True):
    """An answer that was refused."""

    reason: str
    by: str
    at: int


class Circumstances(msgspec.Struct):
    """What is to be told of what is live.

    Attributes:
        since: for each live task that has begun anything, when it began to do what it does.
        errors: for each live task, what its last attempt that failed raised.
        yielded: for each map that items are recorded for: when the last were.
        refused: for each live task, the last answer that was refused.
        stopped: why the run stands still by a decision, if it does.
        at: when that was decided.
        worker: who drove the run last.
        losses: how many times in a row the run was taken, with tasks in flight, from a process that lived.
        lost_at: when that last was.
    """

    since: dict[str, int] = msgspec.field(default_factory=dict)
    errors: dict[str, ErrorInfo] = msgspec.field(default_factory=dict)
    yielded: dict[str, int] = msgspec.field(default_factory=dict)
    refused: dict[str, Refused] = msgspec.field(default_factory=dict)
    stopped: RunPaused | RunCompleted | RunFailed | RunCancelled | None = None
    at: int = 0
    worker: str = ""
    losses: int = 0
    lost_at: int = 0

    def note(self, event: AnyEvent, ts: int) -> None:
        """Take an event up that was recorded at a time."""
        if isinstance(event, _SETTLED):
            for known in (self.since, self.errors, self.refused):
                known.pop(event.task, None)
        elif isinstance(event, _BEGINNING):
            self.since[event.task] = ts
            if isinstance(event, ev.NodeFailed):
                self._note_failure(event)
        elif isinstance(event, ev.ItemsTaken):
            self.yielded[event.instance] = ts
        elif isinstance(event, ev.ItemsEnded):
            self.yielded.pop(event.instance, None)
        elif isinstance(event, ev.AnswerRefused):
            self.refused[event.task] = Refused(event.reason, event.by, ts)
        elif isinstance(event, RunPaused | RunCompleted | RunFailed | RunCancelled):
            self.stopped, self.at = event, ts
        elif isinstance(event, ev.RunResumed | ev.RunRetried | ev.RunAccepted):
            self.stopped = None
        elif isinstance(event, ev.SegmentStarted):
            self.worker = event.worker
            self.losses, self.lost_at = (self.losses + 1, ts) if event.before == "lives" else (0, 0)

    def _note_failure(self, event: ev.NodeFailed) -> None:
        if event.outcome in ("collect", "lose"):  # its task is gone
            self.since.pop(event.task, None)
            self.errors.pop(event.task, None)
        else:
            self.errors[event.task] = event.error
