"""The critical path: what a run's duration is made of, and so what would have to be faster.

It is found from the end back: what ended the run was placed by something, that by something else, and of what a join folded,
the one that was settled last counts. What else ran beside them could have taken less without the run being over sooner.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from perdure.kernel.timeline.timeline import Batch, Chronicler, Thing

What = Literal["runs", "waits", "queued", "retry", "stopped", "joined"]
"""What the time went into: a body ran; a person, a signal or a clock was waited for; a slot was; the next attempt was; nobody
drove the run; a join was closed."""

_GAPS: dict[str, What] = {"failed": "retry", "interrupted": "stopped", "lost": "stopped"}


class Part(msgspec.Struct, frozen=True):
    """A stretch of the critical path.

    Attributes:
        what: what the time went into.
        task, path, node: where.
        fork: the fork of the batch it was a part of; empty if it was in none.
        batch: the id of that batch.
        attempt: the number of the attempt, 0 for anything else.
        started_at, ended_at: from when to when.
    """

    what: What
    task: str
    path: str
    node: str
    fork: str
    batch: str
    attempt: int
    started_at: int
    ended_at: int

    @property
    def took(self) -> int:
        """How long it took, in microseconds."""
        return self.ended_at - self.started_at


def critical_path(chronicler: Chronicler, now: int) -> tuple[Part, ...]:
    """Return the critical path of a run, from its start to its end, or to now."""
    things = chronicler.things
    thing = things.get(chronicler.end) or _latest(chronicler)
    parts: list[Part] = []
    seen: set[str] = set()
    until = now
    while thing is not None and thing.id not in seen:
        seen.add(thing.id)
        parts += reversed(_parts(thing, chronicler.batches, until))
        until = min(until, thing.placed_at)
        thing = things.get(thing.cause)
    return tuple(reversed(parts))


def _latest(chronicler: Chronicler) -> Thing | None:
    """Return what a run that isn't over is at: what has begun last of what isn't settled, or else was settled last."""
    live = [thing for thing in chronicler.things.values() if thing.settled_at is None and thing.spans]
    if live:
        return max(live, key=lambda thing: thing.spans[-1].started_at)
    return max(chronicler.things.values(), key=lambda thing: thing.settled_at or 0, default=None)


def _parts(thing: Thing, batches: dict[str, Batch], until: int) -> list[Part]:
    """Return what came of a thing until what follows it was placed."""
    at = thing.placed_at
    end = min(thing.settled_at if thing.settled_at is not None else until, until)
    fork = batches[thing.batch].fork if thing.batch in batches else ""
    found: list[Part] = []

    def add(what: What, started_at: int, ended_at: int, attempt: int = 0) -> None:
        found.append(
            Part(
                what,
                thing.id,
                thing.path,
                thing.node,
                fork,
                thing.batch,
                attempt,
                started_at,
                max(started_at, ended_at),
            )
        )

    gap: What = "queued"
    for span in thing.spans:
        if span.started_at >= end and found:
            break
        if span.started_at > at:
            add(gap, at, span.started_at)
        at = min(span.ended_at if span.ended_at is not None else end, end)
        add("runs" if span.kind == "attempt" else "waits", span.started_at, at, span.attempt)
        gap = _GAPS.get(span.outcome, "queued")
    if end > at:
        add(gap if thing.spans else "joined", at, end)
    return found


class Share(msgspec.Struct, frozen=True):
    """How much of the critical path went into one node.

    Attributes:
        node: the node.
        fork: the fork of its batch; empty if it was in none.
        what: what the time went into.
        took: how long, in microseconds.
        parts: in how many stretches.
    """

    node: str
    fork: str
    what: What
    took: int
    parts: int


def shares(path: tuple[Part, ...]) -> tuple[Share, ...]:
    """Return what the critical path is made of, what took longest first: what would have to be faster."""
    sums: dict[tuple[str, str, What], list[int]] = {}
    for part in path:
        if part.took:
            sums.setdefault((part.node, part.fork, part.what), []).append(part.took)
    found = [Share(node, fork, what, sum(took), len(took)) for (node, fork, what), took in sums.items()]
    return tuple(sorted(found, key=lambda share: -share.took))
