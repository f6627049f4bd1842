"""Events in words: for each kind, a line that says what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure import events as ev
from perdure.cli.output import clipped, moment

VALUE_WIDTH = 60
"""How many characters of a value are shown."""


def worded(event: ev.AnyEvent, path: str) -> str:
    """Return what an event says.

    Args:
        event: the event, as it was read from a log.
        path: the path of the task it is about, if that is known.
    """
    word = _WORDS.get(type(event))
    return (
        word(event, path or getattr(event, "task", "") or getattr(event, "instance", "")) if word is not None else path
    )


def _value(raw: Any) -> str:
    text = bytes(raw).decode(errors="replace")
    return clipped(text, VALUE_WIDTH)


def _by(event: Any) -> str:
    return "".join([f" by {event.by}" if event.by else "", f": {event.reason}" if event.reason else ""])


def _completed(event: ev.NodeCompleted, path: str) -> str:
    parts = [path]
    if bytes(event.output) != b"null":
        parts.append(f"→ {_value(event.output)}")
    if event.route is not None and event.route.chosen:
        parts.append(f"(branch {', '.join(map(str, event.route.chosen))})")
    if event.change is not None:
        parts.append(_change(event.change))
    return " ".join(parts)


def _change(change: ev.Change) -> str:
    conflicts = f", conflicts at {', '.join(change.conflicts)}" if change.conflicts else ""
    return f"state {_value(change.operations)}{conflicts}"


def _failed(event: ev.NodeFailed, path: str) -> str:
    then = f", next attempt {moment(event.retry_at)}" if event.retry_at is not None else ""
    return f"{path} {clipped(f'{event.error.type}: {event.error.message}', 2 * VALUE_WIDTH)} ({event.outcome}{then})"


def _folded(event: ev.ReducerUpdated, path: str) -> str:
    detail = event.detail
    parts = [f"{event.join} ← {path}"]
    if detail is not None and detail.cancelled:
        parts.append("and cancels the siblings")
    if detail is not None and detail.change is not None:
        parts.append(_change(detail.change))
    return " ".join(parts)


def _wait(event: ev.WaitOpened, path: str) -> str:
    due = f", until {moment(event.due_at)}" if event.due_at is not None else ""
    return f"{path} {event.kind} {event.name}{due}"


def _ended(event: ev.ItemsEnded, path: str) -> str:
    short = f"; a rerun gave only {event.short_of}" if event.short_of is not None else ""
    return f"{path} has {event.count} items{short}"


_WORDS: dict[type, Callable[[Any, str], str]] = {
    ev.RunStarted: lambda event, path: f"{event.graph} with {_value(event.inputs)}, durability {event.durability}",
    ev.SegmentStarted: lambda event, path: f"worker {event.worker}, perdure {event.version}",
    ev.SegmentEnded: lambda event, path: f"worker {event.worker} {event.reason}".rstrip(),
    ev.RunPaused: lambda event, path: _by(event).strip(),
    ev.RunResumed: lambda event, path: _by(event).strip(),
    ev.RunRetried: lambda event, path: _by(event).strip(),
    ev.RunAccepted: lambda event, path: f"graph {event.fingerprint[:12]}{_by(event)}",
    ev.RunContinued: lambda event, path: f"{path} as {event.successor} with {_value(event.inputs)}",
    ev.RunCompleted: lambda event, path: (
        f"goes on as {event.successor}"
        if event.successor
        else f"{len(event.outputs)} value{'s'[: len(event.outputs) != 1]} at the end"
    ),
    ev.RunFailed: lambda event, path: clipped(f"{event.path} {event.error.type}: {event.error.message}", 160),
    ev.RunCancelled: lambda event, path: _by(event).strip(),
    ev.NodeStarted: lambda event, path: f"{path} attempt {event.attempt}" if event.attempt > 1 else path,
    ev.NodeCompleted: _completed,
    ev.NodeFailed: _failed,
    ev.NodeInterrupted: lambda event, path: path,
    ev.NodeCancelled: lambda event, path: f"{path} {event.reason}".rstrip(),
    ev.WaitOpened: _wait,
    ev.Answered: lambda event, path: f"{path} ← {_value(event.value)}" + (f" by {event.by}" if event.by else ""),
    ev.SignalReceived: lambda event, path: f"{path} ← {event.name} {_value(event.value)}",
    ev.SignalKept: lambda event, path: f"{event.name} {_value(event.data)}" + (f" by {event.by}" if event.by else ""),
    ev.AnswerRefused: lambda event, path: f"{path}: {event.reason}",
    ev.TimerFired: lambda event, path: path,
    ev.Escalated: lambda event, path: f"{path} to {event.assignee}",
    ev.ForkOpened: lambda event, path: f"{event.fork} behind {path}, {_arms(event.size)}",
    ev.StreamOpened: lambda event, path: path,
    ev.ItemsTaken: lambda event, path: f"{path}, items {event.first} to {event.first + event.items.count - 1}",
    ev.ItemsEnded: _ended,
    ev.ArmsOpened: lambda event, path: f"{path}, up to {event.upto}",
    ev.ReducerUpdated: _folded,
    ev.JoinClosed: lambda event, path: f"{event.join} folded {event.count} → {_value(event.value)}",
    ev.JoinCancelled: lambda event, path: event.join,
    ev.JoinFailed: lambda event, path: f"{event.join}: {event.error.type}: {event.error.message}",
    ev.Overridden: lambda event, path: f"{len(event.dropped)} tasks dropped, {len(event.placed)} placed",
}


def _arms(size: int | None) -> str:
    return "as many arms as items come" if size is None else f"{size} arm{'s'[: size != 1]}"
