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

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from perdure.store.records import (
    NO_TAGS,
    Announced,
    Append,
    Brought,
    Claimed,
    Entry,
    Lease,
    NewEntry,
    NewRun,
    Owner,
    Put,
    Row,
    RunInfo,
    Size,
    Snapshot,
    Wait,
)

PAGE_BYTES = 4 << 20
"""A page of rows ends with the row that reaches this."""

SHORT = 32
"""A log of so few events comes along with the lease of its run, and is folded sooner than a snapshot of it is looked for."""


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

    def create(self, run: NewRun) -> Awaitable[tuple[RunInfo, bool]]:
        """Create a run and its first commit; if the id is taken, return what is there and False.

        A run that is created with an owner is driven by it, under an epoch of its own: that of its rows.
        """
        ...

    async def adopt(self, run: NewRun, brought: Brought) -> tuple[RunInfo, bool]:
        """Create a run that comes from another store, with its whole log; if the id is taken, return what is there and False.

        All of it happens, or nothing. No epoch of its log is given to a lease of this store from then on.
        """
        ...

    async def delete(self, run_ids: Sequence[str]) -> Sequence[str]:
        """Delete whole runs with all that belongs to them; return their ids.

        Runs that aren't over stay, and so do those that another run was forked from, unless that was deleted before them: the
        origin of a fork can be looked at for as long as the fork can.
        """
        ...

    async def origins(self) -> Mapping[str, str]:
        """Return, for each run that was forked from another one, the id of that."""
        ...

    async def sizes(self) -> Sequence[Size]:
        """Return how much each run takes, the largest first."""
        ...

    async def next_epoch(self) -> int:
        """Return an epoch that no lease has had."""
        ...

    def append(self, append: Append) -> Awaitable[None]:
        """Make a commit durable, with what it changes in the run's waits and inbox.

        It may be a coroutine function. A store that returns a future instead, as soon as it has taken the commit in, spares
        its caller a task that waits for it.

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
        after: RunInfo | None = None,
        tags: Mapping[str, str] = NO_TAGS,
    ) -> Sequence[RunInfo]:
        """Return runs, the newest first; of those created at the same time, by their ids, backwards.

        Args:
            statuses: only runs in one of these; all if it is empty.
            graph: only runs of the graph with this name.
            limit: how many at most.
            before: only runs created before this time.
            since: only runs created at this time or later.
            after: only those that come after this one, the last of the page before, whether or not it is still there.
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
        leaving: Sequence[str] = (),
    ) -> Sequence[Claimed]:
        """Take leases on runs that nobody drives: never driven, released, or with a lease that has run out.

        Only runs that are ``PENDING``, ``RUNNING`` or ``WAITING``, and due, are taken; those that have been free and due for
        longest come first. One that is ``WAITING`` and has no ``due_at`` is not due until something is put in its inbox. Each
        gets an epoch that no lease has had, and comes with what is in its inbox and, if that is short, its log; either may be left
        to be read by itself if it is large, or can't be read.

        Args:
            owner: who takes them.
            graphs: only runs of these graphs.
            now: the present time.
            until: when the leases end.
            limit: how many at most.
            run_id: only this run.
            anyway: take that run whatever its status, and due or not, if nobody drives it.
            leaving: no runs with one of these fingerprints; it doesn't go with ``run_id``.
        """
        ...

    async def next_due(self, graphs: Sequence[str], leaving: Sequence[str] = ()) -> int | None:
        """Return the earliest time at which a run of these graphs, and of none of the fingerprints, can be claimed, or None.

        For a run under a lease that is not before the lease runs out.
        """
        ...

    async def announce(self, worker: Announced, now: int) -> None:
        """Let others know of a worker, instead of what it said before; forget those that were to be gone by now."""
        ...

    async def withdraw(self, owner: Owner) -> None:
        """Forget a worker."""
        ...

    async def workers(self, now: int) -> Sequence[Announced]:
        """Return the workers that were announced and aren't to be taken for gone."""
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

    async def put_and_claim(
        self, entry: NewEntry, owner: Owner, *, now: int, until: int
    ) -> tuple[Put, Entry | None, Claimed | None]:
        """Put something in a run's inbox, and take the lease of the run if it can be claimed now, in one transaction.

        So whoever answers a run and drives it on needn't wait twice until something is durable.

        Args:
            entry: what is put in.
            owner: who takes the lease.
            now: the present time.
            until: when the lease ends.

        Returns:
            What ``put`` does; and what ``claim`` does for the run, if the entry was accepted or is there already and the run
            can be claimed, else None.
        """
        ...

    async def answered(self, run_id: str) -> Mapping[str, bytes]:
        """Return, for each task of a run whose answer was used, the ``NewEntry.digest`` of that."""
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

    async def mail(self, owner: Owner) -> Mapping[str, int]:
        """Return the runs with something in their inbox whose lease is this owner's, by its ``id``, each with its last entry.

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
