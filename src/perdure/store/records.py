"""What goes into a store and comes out of it. Times are microseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Literal

import msgspec


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row of a log: the events of a commit, or a part of them."""

    first: int
    """The seq of the first event in it."""
    count: int
    epoch: int
    ts: int
    """When it was committed, in microseconds; never less than in the row before."""
    events: bytes
    hash: bytes
    """The head of the run's chain of hashes after this row."""
    sealed: bytes = b""
    """What is stored, where the events are encrypted in the store and stand here in the clear. Stores don't look at it."""


class Owner(msgspec.Struct, frozen=True, gc=False):
    """Who drives runs: enough to tell whether it is still alive."""

    id: str
    host: str
    boot: str
    """Changes when the host restarts."""
    namespace: str
    """In which the pid means something."""
    pid: int
    started: str
    """When the process began, so that a pid that is used again isn't taken for it."""


class RunInfo(msgspec.Struct, frozen=True, gc=False):
    """What the store knows of a run without looking into its log."""

    run_id: str
    graph: str
    fingerprint: str
    status: str
    last_seq: int
    head: bytes
    """The hash of the last row."""
    epoch: int
    owner: Owner | None
    lease_until: int
    """When the owner's right to drive the run ends, if it isn't extended."""
    created_at: int
    updated_at: int
    inputs_digest: str
    state_digest: str
    error: str = ""
    """What failed, in a sentence."""
    due_at: int | None = None
    """When the run wants to be driven again. None is at once, but for a run that is ``WAITING``: when something comes in."""
    tags: dict[str, str] = {}
    """Texts it was given at its start, to be found by."""


class RunUpdate(msgspec.Struct, frozen=True, gc=False):
    """What a commit changes in the run's row."""

    status: str
    error: str = ""
    due_at: int | None = None
    """It is 0 instead if something is left in the inbox and the run would otherwise not be due at once."""
    fingerprint: str | None = None


class Wait(msgspec.Struct, frozen=True, gc=False):
    """What a run waits for, while it does: an open wait of one of its tasks."""

    run_id: str
    task: str
    node: str
    kind: str
    """``"human"``, ``"signal"`` or ``"sleep"``; only the first can be answered."""
    name: str
    """Of the signal."""
    title: str
    assignee: str
    schema: bytes
    """The JSON schema of the answer, or ``null``."""
    opened_at: int
    due_at: int | None
    """When it ends by itself. The store doesn't look at it: what counts for the run is its own ``due_at``."""
    path: str
    """The task's path, to show."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """Something in a run's inbox."""

    number: int
    """Greater than that of any entry before it, in all of the store."""
    kind: str
    """``"answer"``, or whatever else the engine puts in: ``"signal"``, ``"pause"``, ``"cancel"`` …"""
    key: str
    """The task that is answered, or the name of the signal."""
    value: bytes
    """JSON."""
    by: str
    at: int


class Claimed(RunInfo, frozen=True, gc=False):
    """A run whose lease was just taken, with what whoever drives it begins with, as it was then."""

    inbox: tuple[Entry, ...] | None = None
    """What is in its inbox, or None if that doesn't come along."""
    log: tuple[Row, ...] | None = None
    """Its log, or None if that doesn't come along."""


class NewEntry(msgspec.Struct, frozen=True, gc=False):
    """Something to be put in a run's inbox."""

    run_id: str
    kind: str
    key: str
    value: bytes
    by: str
    at: int

    @property
    def digest(self) -> bytes:
        """A hash of what is said and by whom, by which an answer that is given again is known."""
        by = self.by.encode()
        return blake2b(b"%d:%b%b" % (len(by), by, self.value), digest_size=16).digest()


Put = Literal["accepted", "same", "taken", "closed", "missing", "over", "full"]
"""What became of an entry: it is in the inbox; the same answer by the same person was there before, or was used; another
answer was; the task doesn't wait for an answer; there is no such run; the run is over; it has as many signals in
its inbox as it may."""

MAX_SIGNALS = 1_000
"""How many signals may be in the inbox of a run, waiting to be taken up."""

LET_IN: tuple[Put, ...] = ("accepted", "same")
"""What becomes of an entry that its run is to take up."""

NO_TAGS: Mapping[str, str] = MappingProxyType({})

DRIVEN = ("PENDING", "RUNNING", "WAITING")
"""The statuses of runs that can be claimed."""

OVER = ("COMPLETED", "FAILED", "CANCELLED")
"""The statuses of runs that wait for nothing."""


class Append(msgspec.Struct, frozen=True, gc=False):
    """A commit."""

    run_id: str
    epoch: int
    after: int
    """The seq the log must have reached."""
    rows: tuple[Row, ...]
    update: RunUpdate
    blobs: Mapping[str, bytes] = {}
    """By the digest of their bytes, ``perdure.store.chain.blob_name``."""
    opened: tuple[Wait, ...] = ()
    """Waits that begin, or go on in another way; one that begins again can be answered again."""
    closed: tuple[str, ...] = ()
    """The tasks whose waits end; done before others are opened."""
    consumed: tuple[int, ...] = ()
    """The numbers of entries that are taken out of the inbox. An answer is remembered if its wait is closed in the same
    commit; if it isn't, it was refused, and the task can be answered again."""
    release: bool = False
    """Whether the lease is given up with this commit."""

    def due_at(self, *, has_mail: bool) -> int | None:
        """Return when the run wants to be driven again after this commit.

        Args:
            has_mail: whether something is left in its inbox.
        """
        update = self.update
        if has_mail and (self.release or update.status == "WAITING" or update.due_at is not None):
            return 0
        return update.due_at


class NewRun(msgspec.Struct, frozen=True, gc=False):
    """A run to be created, with its first commit."""

    run_id: str
    graph: str
    fingerprint: str
    created_at: int
    inputs_digest: str
    state_digest: str
    rows: tuple[Row, ...]
    update: RunUpdate
    blobs: Mapping[str, bytes] = {}
    owner: Owner | None = None
    lease_until: int = 0
    opened: tuple[Wait, ...] = ()
    tags: dict[str, str] = {}
    origin: str = ""
    """The run it was forked from; one that goes on from another, ``continue_as_new``, has none."""


class Brought(msgspec.Struct, frozen=True, gc=False):
    """What a run that comes from another store brings along, besides its log."""

    plan: bytes | None = None
    """The structure of its graph."""
    inbox: tuple[NewEntry, ...] = ()
    answered: Mapping[str, bytes] = {}
    """For each task whose answer was used, its ``NewEntry.digest``."""


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to drive a run."""

    run_id: str
    epoch: int
    until: int


class Announced(msgspec.Struct, frozen=True, gc=False):
    """A worker that looks for runs to drive, as it lets others know."""

    owner: Owner
    fingerprints: tuple[str, ...]
    """Of the graphs that it has."""
    until: int
    """When it is to be taken for gone, if it isn't heard of again."""


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A stored fold; a cache that may be dropped at any time."""

    format: int
    fingerprint: str
    seq: int
    head: bytes
    data: bytes
    hash: bytes


class Size(msgspec.Struct, frozen=True, gc=False):
    """How much of a store a run takes, in bytes of what is stored."""

    run_id: str
    graph: str
    status: str
    log: int
    blobs: int
    snapshot: int
