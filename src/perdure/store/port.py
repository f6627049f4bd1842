"""The port of a store: bytes at positions.

A store keeps, for each run, a row about it and its log, and knows nothing of graphs: events, values and plans are bytes
to it. It promises three things, and everything else rests on them:

    atomic    a commit is there as a whole or not at all, with what it changes in the run's row
    fenced    a commit is refused unless it carries the epoch of the present owner and the seq the log has reached
    durable   when ``append`` returns, the commit survives what the store says it survives

Beside its log a run has waits, which say what it waits for, and an inbox, which holds what came in from outside until
whoever drives the run has written it into the log. Both are changed by commits, so they agree with the log; they are kept
in tables of their own so that another process can list and answer waits without reading a log. A fourth promise:

    woken     a run with something in its inbox is claimable as soon as nobody drives it, whichever of two came first: what
              was put in, or the commit that gave the run up

So whoever drives a run takes out all that is in its inbox, also what it can't use: what is left there makes the run due again.

Times are microseconds since 1970, given by the caller; a store has no clock of its own. Every implementation passes
``perdure.testing.StoreContract``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol

import msgspec

PAGE_BYTES = 4 << 20
"""A page of rows ends with the row that reaches this."""


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


class NewEntry(msgspec.Struct, frozen=True, gc=False):
    """Something to be put in a run's inbox."""

    run_id: str
    kind: str
    key: str
    value: bytes
    by: str
    at: int


Put = Literal["accepted", "same", "taken", "closed", "missing", "over"]
"""What became of an entry: it is in the inbox; the same answer by the same person was there before, or was used; another
answer was; the task doesn't wait for an answer; there is no such run; the run is over."""

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


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to drive a run."""

    run_id: str
    epoch: int
    until: int


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


class Store(Protocol):
    """What the engine needs of a store."""

    @property
    def location(self) -> str:
        """The file, or a name to show."""
        ...

    async def open(self) -> None:
        """Make the store ready.

        Raises:
            StoreError: it can't be; the class says why.
        """
        ...

    async def close(self) -> None:
        """Finish what was handed in and let go of everything.

        Whatever is called on a store that isn't open raises ``StoreClosed``. One that was opened twice stays open until it
        has been closed twice.
        """
        ...

    async def create(self, run: NewRun) -> tuple[RunInfo, bool]:
        """Create a run and its first commit; if the id is taken, return what is there and False.

        A run that is created with an owner is driven by it, under an epoch of its own: that of its rows.
        """
        ...

    async def adopt(self, run: NewRun) -> tuple[RunInfo, bool]:
        """Create a run that comes from another store, with its whole log; if the id is taken, return what is there and False.

        No epoch of its log is given to a lease of this store from then on.
        """
        ...

    async def delete(self, run_ids: Sequence[str]) -> Sequence[str]:
        """Delete whole runs with all that belongs to them, those that are over; return their ids."""
        ...

    async def sizes(self) -> Sequence[Size]:
        """Return how much each run takes, the largest first."""
        ...

    async def next_epoch(self) -> int:
        """Return an epoch that no lease has had."""
        ...

    async def append(self, append: Append) -> None:
        """Make a commit durable, with what it changes in the run's waits and inbox.

        A run that is over waits for nothing. If it is ``FAILED``, answers and signals stay in its inbox for when it is retried; all else
        goes. A caller that is cancelled while it waits leaves the commit to happen, or not, as a whole.

        Raises:
            Fenced: the epoch isn't the owner's, or the log isn't at ``after``.
            StoreError: the commit didn't happen; or, OutcomeUnknown, it couldn't be told.
        """
        ...

    async def read(self, run_id: str, after: int = 0, limit: int = 512) -> Sequence[Row]:
        """Return the next rows of a log, at most ``limit``, whose last event comes after a seq, in order.

        The first may begin before that seq. There are fewer if they are large, and none only at the end of the log.
        """
        ...

    async def blob(self, run_id: str, digest: str) -> bytes:
        """Return a blob.

        Raises:
            StoreCorrupt: it isn't there, or isn't what was written.
        """
        ...

    async def get(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run, or None."""
        ...

    async def list(
        self,
        *,
        statuses: Sequence[str] = (),
        graph: str | None = None,
        limit: int = 100,
        before: int | None = None,
        since: int | None = None,
        tags: Mapping[str, str] = NO_TAGS,
    ) -> Sequence[RunInfo]:
        """Return runs, the newest first.

        Args:
            statuses: only runs in one of these; all if it is empty.
            graph: only runs of the graph with this name.
            limit: how many at most.
            before: only runs created before this time.
            since: only runs created at this time or later.
            tags: only runs that have all of these.
        """
        ...

    async def claim(
        self,
        owner: Owner,
        *,
        graphs: Sequence[str],
        now: int,
        until: int,
        limit: int,
        run_id: str | None = None,
        anyway: bool = False,
    ) -> Sequence[RunInfo]:
        """Take leases on runs that nobody drives: never driven, released, or with a lease that has run out.

        Only runs that are ``PENDING``, ``RUNNING`` or ``WAITING``, and due, are taken; those that have been free and due for
        longest come first. One that is ``WAITING`` and has no ``due_at`` is not due until something is put in its inbox. Each
        gets an epoch that no lease has had.

        Args:
            owner: who takes them.
            graphs: only runs of these graphs.
            now: the present time.
            until: when the leases end.
            limit: how many at most.
            run_id: only this run.
            anyway: take that run whatever its status, and due or not, if nobody drives it.
        """
        ...

    async def next_due(self, graphs: Sequence[str]) -> int | None:
        """Return the earliest time at which a run of these graphs can be claimed, or None.

        For a run under a lease that is not before the lease runs out.
        """
        ...

    async def orphans(self, now: int, besides: Owner | None = None) -> Sequence[RunInfo]:
        """Return runs that are under a lease that hasn't run out, so that it can be seen whether the owners live.

        Args:
            now: the time, in microseconds since 1970.
            besides: an owner whose leases are of no interest: the one who asks.
        """
        ...

    async def heartbeat(self, leases: Sequence[Lease]) -> Sequence[str]:
        """Extend leases; return the ids of those that are lost."""
        ...

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases up; those that are lost already are left alone."""
        ...

    async def expire(self, run_id: str, epoch: int) -> None:
        """End the lease of an owner that is known to be dead."""
        ...

    async def park(self, run_id: str, epoch: int, status: str, error: str) -> None:
        """Set a run's status without a commit, where its log can't be gone on with, and end the lease."""
        ...

    async def put(self, entry: NewEntry) -> tuple[Put, Entry | None]:
        """Put something in a run's inbox; once it is accepted it is durable, and wakes the run.

        An answer is accepted once for each wait that is open and of kind ``"human"``; anything else unless the run is over. A
        caller that is cancelled leaves it put in or not, as a whole.

        Returns:
            What became of it, and the entry: the new one, or the answer that is there already, if it hasn't been used yet.
        """
        ...

    async def inbox(self, run_id: str, after: int = 0) -> Sequence[Entry]:
        """Return what is in a run's inbox with a number greater than ``after``, in order."""
        ...

    async def waits(
        self,
        *,
        run_id: str | None = None,
        task: str | None = None,
        assignee: str | None = None,
        kind: str | None = None,
        limit: int = 100,
        after: Wait | None = None,
    ) -> Sequence[Wait]:
        """Return open waits, the oldest first; of those opened at the same time, by run and task.

        Args:
            run_id: only those of this run.
            task: only that of this task, which takes no longer however many there are; it goes with ``run_id``.
            assignee: only those assigned so.
            kind: only those of this kind.
            limit: how many at most.
            after: only those that come after this one, the last of the page before, whether or not it is still open.
        """
        ...

    async def mail(self, owner: Owner) -> Sequence[str]:
        """Return the ids of the runs with something in their inbox whose lease is this owner's, by its ``id``.

        A lease that has run out counts until somebody else takes it.
        """
        ...

    async def version(self) -> int:
        """Return a number that isn't the one returned before if the store may have changed in between, by whomever.

        It is cheap, so that many processes can ask 20 times a second; one that has been told the same number twice needn't
        look for runs or mail. It isn't kept: one that was returned before the store was opened says nothing.
        """
        ...

    async def save_plan(self, fingerprint: str, name: str, plan: bytes) -> None:
        """Keep the structure of a graph with its runs."""
        ...

    async def plan(self, fingerprint: str) -> bytes | None:
        """Return the structure of a graph, or None."""
        ...

    async def save_snapshot(self, run_id: str, snapshot: Snapshot) -> None:
        """Keep a snapshot of a run instead of the one before."""
        ...

    async def snapshot(self, run_id: str) -> Snapshot | None:
        """Return the snapshot of a run, or None."""
        ...

    async def drop_snapshot(self, run_id: str) -> None:
        """Forget the snapshot of a run."""
        ...
