"""What a snapshot consists of: the parts of a run, as arrays of JSON."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from perdure.events import Durability, ErrorInfo, Items, SegmentStarted, Value
from perdure.kernel.fold.run import (
    Origin,
)

_NULL: Value = msgspec.Raw(b"null")


class _Saved(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A part of a snapshot."""


class SavedSource(_Saved, frozen=True):
    """A value, or the place of an item in its chunk."""

    value: Value
    by: str = ""
    seq: int = 0
    chunk: int = -1
    offset: int = 0


class SavedChunk(_Saved, frozen=True):
    """Items that were recorded together."""

    items: Items
    first: int
    by: str
    seq: int


class SavedFeed(_Saved, frozen=True):
    """What is left of a map."""

    by: str
    origin: Origin
    hops: tuple[str, ...]
    total: int | None
    taken: int
    opened: int
    chunks: tuple[int, ...]
    task: str | None
    is_limited: bool


class SavedInstance(_Saved, frozen=True):
    """A fork instance; others are named by their ids."""

    id: str
    fork: str
    source: str
    trail: tuple[tuple[str, int], ...]
    scope: tuple[str, ...]
    size: int | None
    inner: tuple[str, ...]
    absorbing: tuple[str, ...]
    windows: tuple[tuple[str, int], ...]
    feed: SavedFeed | None


class SavedTask(_Saved, frozen=True):
    """A live task."""

    id: str
    node: str
    scope: str
    index: int
    value: int
    depth: int
    phase: int
    attempt: int
    failures: int
    crashes: int
    is_suspect: bool
    is_uncertain: bool
    due_at: int | None
    is_answered: bool
    escalations: int
    opened: int
    opened_at: int
    title: str
    assignee: str
    feeds: tuple[str, ...] | None


class SavedArrival(_Saved, frozen=True):
    """A value that is kept until its join closes."""

    value: int
    source: str
    path: tuple[int, ...]
    depth: int


class SavedJoin(_Saved, frozen=True):
    """An open join."""

    node: str
    instance: str
    value: Value
    has_value: bool
    kept: tuple[SavedArrival, ...]
    failed: tuple[tuple[str, ErrorInfo, str], ...]
    count: int
    first: int
    last: int
    depth: int
    cancelled: bool


SavedState: TypeAlias = tuple[Value, int]
"""A state, and the seq of the event that made it."""


class Saved(_Saved, frozen=True):
    """A whole run."""

    seq: int
    status: str
    durability: Durability
    deadline: int | None
    max_steps: int
    crashes: int
    segment: SegmentStarted | None
    placed: int
    state: SavedState
    states: dict[str, SavedState]
    signals: list[tuple[int, str, Value, str]]
    chunks: list[SavedChunk]
    sources: list[SavedSource]
    instances: list[SavedInstance]
    tasks: list[SavedTask]
    ready: list[str]
    maps: list[str]
    joins: list[SavedJoin]
    ends: list[tuple[int, str]]
    loose_ends: list[str]
    failures: list[tuple[ErrorInfo, str]]
    lost: int


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Saved).decode
