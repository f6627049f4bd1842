"""Spans: stretches of a run's life, as plain data.

A span here is finished: it has its end, and its id is a hash of what it tells of. Two processes that read the same log make
the same spans of it, so a span that is given out twice is the same span twice. How it goes to a backend, a file or a
terminal is another matter; nothing here needs OpenTelemetry.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal, TypeAlias

import msgspec

from perdure.ids import prefix

TraceScope: TypeAlias = Literal["run", "segment"]
"""What one trace tells of: a whole run, or a stretch of it that one worker drove."""

SpanKind: TypeAlias = Literal["start", "run", "segment", "batch", "step", "join", "branches", "wait"]
Attribute: TypeAlias = str | bool | int | float

LINKS = 100
"""How many links a span carries; SDKs drop those beyond 128."""


class SpanRef(msgspec.Struct, frozen=True):
    """Which span is meant: 128 bits of its trace, 64 bits of itself."""

    trace_id: int
    span_id: int


class Link(msgspec.Struct, frozen=True):
    """A span that has to do with another one without being above it."""

    to: SpanRef
    why: str
    """What it is: ``batch``, ``branch``, ``previous attempt``, ``previous segment``, ``caller``, …"""


class Span(msgspec.Struct, frozen=True):
    """A finished span; times are in microseconds since 1970."""

    name: str
    kind: SpanKind
    ref: SpanRef
    parent: SpanRef | None
    started_at: int
    ended_at: int
    attributes: dict[str, Attribute]
    links: tuple[Link, ...] = ()
    error: str = ""
    """The type of the error; empty if there was none. It makes the span one that failed."""
    message: str = ""

    @property
    def duration_s(self) -> float:
        """How long it took, in seconds."""
        return (self.ended_at - self.started_at) / 1e6


def trace_id_of(run_id: str, epoch: int | None = None) -> int:
    """Return the id of a run's trace; with an epoch, that of the stretch which was driven under it."""
    parts = ("trace", run_id) if epoch is None else ("trace", run_id, str(epoch))
    return _hashed(16, *parts)


def span_id_of(run_id: str, kind: str, *parts: str) -> int:
    """Return the id of a span of a run."""
    return _hashed(8, kind, run_id, *parts)


def step_span_id(run_id: str, task_id: str, attempt: int) -> int:
    """Return the id of the span of an attempt; it is known before the attempt ends, so that others can nest under it."""
    return _hashed(8, "step", run_id, task_id, str(attempt))


def _hashed(size: int, *parts: str) -> int:
    return int.from_bytes(blake2b(prefix(*parts), digest_size=size).digest(), "big") or 1  # zero means no id


def parse_traceparent(text: str) -> tuple[SpanRef, bool] | None:
    """Return what a W3C traceparent says, and whether it is sampled; None if it doesn't say anything."""
    parts = text.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    try:
        ref, flags = SpanRef(int(parts[1], 16), int(parts[2], 16)), int(parts[3], 16)
    except ValueError:
        return None
    return (ref, bool(flags & 1)) if ref.trace_id and ref.span_id else None


def traceparent(ref: SpanRef, *, sampled: bool) -> str:
    """Return a W3C traceparent."""
    return f"00-{ref.trace_id:032x}-{ref.span_id:016x}-{int(sampled):02x}"
