"""The SQLite store: one file that holds runs and their logs.

Two connections, each in a thread of its own: one writes, through the only :class:`Writer` of this process, and one reads
beside it what is committed. Readers take pages and let go; none holds a cursor, which would keep the -wal file from being
taken over into the file.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from perdure.errors import InvalidIdentifier, StoreClosed, StoreCorrupt, StoreReadOnly, StoreUnsupported
from perdure.store.chain import verify_blob
from perdure.store.completion import completed
from perdure.store.port import PAGE_BYTES
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
from perdure.store.sqlite import leaving, rows
from perdure.store.sqlite.backup import FileFacts, back_up, file_facts
from perdure.store.sqlite.connection import close_connection, open_connection
from perdure.store.sqlite.failures import SQLITE_ERRORS, unreadable
from perdure.store.sqlite.file import find_file, prepare_file
from perdure.store.sqlite.inbox import PutOperation
from perdure.store.sqlite.leases import AnnounceOperation, ClaimOperation, EpochOperation, HeartbeatOperation
from perdure.store.sqlite.operations import (
    AdoptOperation,
    AppendOperation,
    CreateOperation,
    DeleteOperation,
    Operation,
    StatementOperation,
    snapshot_parameters,
)
from perdure.store.sqlite.queries import QUERIES
from perdure.store.sqlite.reader import Reader
from perdure.store.sqlite.schema import Synchronous, set_up_only_reader, set_up_reader, set_up_writer
from perdure.store.sqlite.unchanged import Unchanged
from perdure.store.sqlite.writer import Writer

T = TypeVar("T")

_BEFORE_ALL = (-(1 << 63), "", "")
"""What comes before every wait."""


class SQLiteStore:
    """Keeps runs in an SQLite file.

    Args:
        path: the file; it is created, with mode 0600, if it isn't there.
        synchronous: ``"FULL"`` survives power loss: every commit is an fsync. ``"NORMAL"`` survives the death of the
            process; power loss may take the last commits with it, but never a part of one.
        lock_timeout_s: how long to wait, in seconds, for another process that writes.
        force: open the file even if it lies on a network file system.
        read_only: only read: the file has to be there, it and its schema stay as they are, and whoever may read it may open it.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        synchronous: Synchronous = "FULL",
        lock_timeout_s: float = 10.0,
        force: bool = False,
        read_only: bool = False,
    ) -> None:
        self._path = Path(path)
        self._location = str(self._path)
        self._synchronous: Synchronous = synchronous
        self._lock_timeout_s = lock_timeout_s
        self._force = force
        self._read_only = read_only
        self._writing: aiosqlite.Connection | None = None
        self._reading: aiosqlite.Connection | None = None
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._unchanged = Unchanged(self._path)
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._opened = 0
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def location(self) -> str:
        """The path of the file."""
        return self._location

    @property
    def commits(self) -> int:
        """How many transactions this store has committed since it was opened."""
        return self._writer.commits if self._writer is not None else 0

    # --- life ---

    async def open(self) -> None:
        """Open the file, creating it or bringing its schema up to date if need be.

        A store that is open already stays so until it has been closed as often as opened.

        Raises:
            StoreError: it can't be used; the class says why.
        """
        if self._opened:
            self._check_here()
        async with self._changing():
            if not self._opened:
                try:
                    await completed(self._connect())
                except BaseException:  # it may have come about all the same
                    await self._let_go()
                    raise
            self._opened += 1

    async def _connect(self) -> None:
        if self._path.name == ":memory:":
            raise StoreUnsupported("that is no file; MemoryStore() keeps runs in memory", location=self.location)
        location, synchronous, timeout_s = self.location, self._synchronous, self._lock_timeout_s
        self._pid, self._loop = os.getpid(), asyncio.get_running_loop()
        self._unchanged = Unchanged(self._path)
        if self._read_only:
            self._reading = await open_connection(
                find_file(self._path), lambda raw: set_up_only_reader(raw, location, timeout_s), only_reads=True
            )
            self._reader = Reader(self._reading, timeout_s)
            self._abandoned = weakref.finalize(self, leaving.abandoned, location, self._reading)
            self._abandoned.atexit = False
            return
        path = prepare_file(self._path, force=self._force)
        writing = await open_connection(path, lambda raw: set_up_writer(raw, location, synchronous, timeout_s))
        try:
            self._reading = await open_connection(path, set_up_reader)
        except BaseException:
            await close_connection(writing)
            raise
        self._writing = writing
        self._abandoned = weakref.finalize(self, leaving.abandoned, location, self._reading, writing)
        self._abandoned.atexit = False
        self._writer = Writer(writing, location, lock_timeout_s=timeout_s)
        self._reader = Reader(self._reading, timeout_s)

    async def close(self) -> None:
        """Finish what was handed in and close the file; a store that is closed stays so."""
        if self._opened and self._pid != os.getpid():
            self._reading = self._writing = self._writer = self._reader = None
            self._opened = 0
            self._abandoned.detach()
        if self._opened:
            self._check_here()
        async with self._changing():
            self._opened = max(0, self._opened - 1)
            if not self._opened:
                await self._let_go()

    async def _let_go(self) -> None:
        writer, reading, writing = self._writer, self._reading, self._writing
        if reading is not None:
            self._writer = self._reader = self._reading = self._writing = None
            self._abandoned.detach()
            await completed(_disconnect(writer, reading, writing))

    def _changing(self) -> asyncio.Lock:
        """Return the lock under which this loop opens and closes the store."""
        loop = asyncio.get_running_loop()
        if self._lock is None or self._lock[0] is not loop:
            self._lock = (loop, asyncio.Lock())
        return self._lock[1]

    def _check_here(self) -> None:
        if self._pid != os.getpid():
            raise StoreClosed(
                "this process was forked after the store was opened, and SQLite connections don't survive that; open the "
                "store in the process that uses it",
                location=self.location,
            )
        if self._loop is not asyncio.get_running_loop():
            raise StoreClosed(
                "the store was opened in another event loop; open a store in the loop that uses it",
                location=self.location,
            )

    def _write(self, operation: Operation) -> Awaitable[Any]:
        if self._writer is None:
            if self._reading is not None:
                raise StoreReadOnly("the store was opened to be read only", location=self.location)
            raise StoreClosed("the store is closed", location=self.location)
        self._check_here()
        return self._writer.submit(operation)

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._reader is None:
            raise StoreClosed("the store is closed", location=self.location)
        self._check_here()
        try:
            return await self._reader.ask(function)
        except SQLITE_ERRORS as error:
            raise unreadable(error, self.location) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise InvalidIdentifier(f"{self.location} can't hold what was asked for: {error}") from error

    async def _fetch(self, query: str, parameters: tuple[Any, ...], decode: Callable[[Sequence[Any]], T]) -> list[T]:
        found = await self._read(lambda raw: raw.execute(QUERIES[query], parameters).fetchall())
        return rows.checked(decode, found, self.location)

    async def _fetch_runs(self, query: str, parameters: tuple[Any, ...]) -> list[RunInfo]:
        return await self._read(lambda raw: rows.run_infos(raw, query, parameters))

    # --- runs and logs ---

    def create(self, run: NewRun) -> Awaitable[tuple[RunInfo, bool]]:
        """Create a run and its first commit; if the id is taken, return what is there and False."""
        return self._write(CreateOperation(self.location, run))

    def append(self, append: Append) -> Awaitable[None]:
        """Make a commit durable.

        Raises:
            Fenced: the epoch isn't the owner's, or the log isn't at ``after``.
            StoreError: the commit didn't happen; or, OutcomeUnknown, it couldn't be told.
        """
        return self._write(AppendOperation(self._location, append))

    async def read(self, run_id: str, after: int = 0, limit: int = 512) -> Sequence[Row]:
        """Return the next rows of a log, at most ``limit``, whose last event comes after a seq, in order.

        There are fewer if they are large, and none only at the end of the log.
        """

        def page(connection: sqlite3.Connection) -> list[Sequence[Any]]:
            cursor = connection.execute(QUERIES["read_rows"], (run_id, after, limit))
            found, size = [], 0
            for columns in cursor:
                found.append(columns)
                size += len(columns[4])
                if size > PAGE_BYTES:
                    break
            cursor.close()
            return found

        return rows.checked(rows.log_row, await self._read(page), self.location)

    async def blob(self, run_id: str, digest: str) -> bytes:
        """Return a blob.

        Raises:
            StoreCorrupt: it isn't there, or isn't what was written.
        """
        found = await self._fetch("read_blob", (run_id, digest), rows.blob)
        if not found:
            raise StoreCorrupt(f"run {run_id!r}: the blob {digest} is missing", location=self.location)
        verify_blob(found[0], digest, run_id, self.location)
        return found[0]

    async def get(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run, or None."""
        found = await self._fetch_runs("get_run", (run_id,))
        return found[0] if found else None

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
        """Return runs, the newest first."""
        wanted = json.dumps([*statuses]) if statuses else None
        start = (after.created_at, after.run_id) if after is not None else (rows.LAST, "")
        until, since = rows.LAST if before is None else before, 0 if since is None else since
        parameters = (wanted, graph, until, since, *start, limit)
        if not tags:
            return await self._fetch_runs("list_runs", parameters)
        name, value = min(tags.items())
        tagged = (*parameters, name, value, rows.encode_tags(tags))
        return await self._fetch_runs("list_tagged_runs", tagged)

    async def adopt(self, run: NewRun, brought: Brought) -> tuple[RunInfo, bool]:
        """Create a run that comes from another store, with its whole log; if the id is taken, return what is there and False."""
        created: tuple[RunInfo, bool] = await self._write(AdoptOperation(self.location, run, brought))
        return created

    async def delete(self, run_ids: Sequence[str]) -> Sequence[str]:
        """Delete whole runs with all that belongs to them, those that are over and that none was forked from; return their ids."""
        gone: list[str] = await self._write(DeleteOperation(run_ids))
        return gone

    async def origins(self) -> Mapping[str, str]:
        """Return, for each run that was forked from another one, the id of that."""
        return dict(await self._fetch("origins", (), rows.origin))

    async def sizes(self) -> Sequence[Size]:
        """Return how much each run takes, the largest first."""
        return await self._fetch("sizes", (), rows.size)

    # --- the file ---

    async def back_up(self, path: str | PathLike[str]) -> None:
        """Copy the file as it is at one moment, beside whoever works on it, to a path where nothing is yet.

        Raises:
            StoreError: it can't be.
        """
        self._check_here()
        await back_up(self._path, Path(path))

    async def file_facts(self) -> FileFacts:
        """Return what can be told of the file as a whole."""
        return await self._read(lambda raw: file_facts(raw, self._path))

    # --- leases ---

    async def next_epoch(self) -> int:
        """Return an epoch that no lease has had."""
        epoch: int = await self._write(EpochOperation(self.location))
        return epoch

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
        """Take leases on runs that nobody drives and that are due."""
        claimed: list[Claimed] = await self._write(
            ClaimOperation(self.location, owner, graphs, now, until, limit, run_id, anyway, leaving)
        )
        return claimed

    async def next_due(self, graphs: Sequence[str], leaving: Sequence[str] = ()) -> int | None:
        """Return the earliest time at which a run of these graphs, and of none of the fingerprints, can be claimed, or None."""
        (ready_at,) = await self._fetch("next_due", (json.dumps([*graphs]), json.dumps([*leaving])), rows.number)
        return ready_at

    async def announce(self, worker: Announced, now: int) -> None:
        """Let others know of a worker; forget those that were to be gone by now."""
        await self._write(AnnounceOperation(worker, now))

    async def withdraw(self, owner: Owner) -> None:
        """Forget a worker."""
        await self._write(StatementOperation("forget_worker", (owner.id,)))

    async def workers(self, now: int) -> Sequence[Announced]:
        """Return the workers that were announced and aren't to be taken for gone."""
        return await self._fetch("read_workers", (now,), rows.announced)

    async def orphans(self, now: int, besides: Owner | None = None) -> Sequence[RunInfo]:
        """Return runs that are under a lease that hasn't run out, and isn't that of an owner who asks about others."""
        mine = rows.encode_owner(besides).decode() if besides is not None else ""
        return await self._fetch_runs("orphans", (now, mine))

    async def heartbeat(self, leases: Sequence[Lease]) -> Sequence[str]:
        """Extend leases; return the ids of those that are lost."""
        lost: list[str] = await self._write(HeartbeatOperation(leases))
        return lost

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases up; those that are lost already are left alone."""
        await self._write(StatementOperation("release_lease", *((lease.run_id, lease.epoch) for lease in leases)))

    async def expire(self, run_id: str, epoch: int) -> None:
        """End the lease of an owner that is known to be dead."""
        await self._write(StatementOperation("release_lease", (run_id, epoch)))

    async def park(self, run_id: str, epoch: int, status: str, error: str) -> None:
        """Set a run's status without a commit, where its log can't be gone on with, and end the lease."""
        await self._write(StatementOperation("park_run", (status, error, run_id, epoch)))

    # --- waits and inboxes ---

    async def put(self, entry: NewEntry) -> tuple[Put, Entry | None]:
        """Put something in a run's inbox; once it is accepted it is durable, and wakes the run."""
        put, mine, _ = await self._write(PutOperation(self.location, entry))
        return put, mine

    async def put_and_claim(
        self, entry: NewEntry, owner: Owner, *, now: int, until: int
    ) -> tuple[Put, Entry | None, Claimed | None]:
        """Put something in a run's inbox, and take its lease if it can be claimed, in one transaction."""
        claim = ClaimOperation(self.location, owner, (), now, until, 1, entry.run_id, False, ())
        put: tuple[Put, Entry | None, Claimed | None] = await self._write(PutOperation(self.location, entry, claim))
        return put

    async def answered(self, run_id: str) -> Mapping[str, bytes]:
        """Return, for each task of a run whose answer was used, the digest of that."""
        return dict(await self._fetch("used_answers", (run_id,), rows.answered))

    async def inbox(self, run_id: str, after: int = 0) -> Sequence[Entry]:
        """Return what is in a run's inbox with a number greater than ``after``, in order."""
        return await self._fetch("read_inbox", (run_id, after), rows.entry)

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
        """Return open waits, the oldest first."""
        start = (after.opened_at, after.run_id, after.task) if after is not None else _BEFORE_ALL
        parameters = (assignee, kind, *start, limit)
        if run_id is None:
            return await self._read(lambda raw: rows.waits(raw, "read_waits", parameters))
        if task is not None:
            found = await self._fetch("read_wait", (*parameters, run_id, task), rows.wait)
        else:
            found = await self._fetch("read_waits_of_run", (*parameters, run_id), rows.wait)
        if any(wait.run_id != run_id for wait in found):
            raise StoreCorrupt(f"run {run_id!r}: its row isn't what the index says of it", location=self.location)
        return found

    async def mail(self, owner: Owner) -> Mapping[str, int]:
        """Return the runs with something in their inbox whose lease is this owner's, each with its last entry."""
        return dict(await self._fetch("mail", (owner.id,), rows.last_entry))

    async def version(self) -> int:
        """Return a number that isn't the one returned before if the store may have changed in between.

        SQLite counts, for the connection that reads, the commits of all others; the one that writes for this store is one
        of them.
        """
        known = self._unchanged.version() if self._reader is not None else None
        return known or self._unchanged.note((await self._fetch("data_version", (), rows.version))[0])

    # --- plans and snapshots ---

    async def save_plan(self, fingerprint: str, name: str, plan: bytes) -> None:
        """Keep the structure of a graph with its runs."""
        await self._write(StatementOperation("insert_plan", (fingerprint, name, plan.decode())))

    async def plan(self, fingerprint: str) -> bytes | None:
        """Return the structure of a graph, or None."""
        found = await self._fetch("read_plan", (fingerprint,), rows.blob)
        return found[0] if found else None

    async def save_snapshot(self, run_id: str, snapshot: Snapshot) -> None:
        """Keep a snapshot instead of the one before."""
        await self._write(StatementOperation("replace_snapshot", snapshot_parameters(run_id, snapshot)))

    async def snapshot(self, run_id: str) -> Snapshot | None:
        """Return the snapshot of a run, or None."""
        found = await self._fetch("read_snapshot", (run_id,), rows.snapshot)
        return found[0] if found else None

    async def drop_snapshot(self, run_id: str) -> None:
        """Forget the snapshot of a run."""
        await self._write(StatementOperation("delete_snapshot", (run_id,)))


async def _disconnect(
    writer: Writer | None, reading: aiosqlite.Connection, writing: aiosqlite.Connection | None
) -> None:
    try:
        if writer is not None:
            await writer.close()
    finally:
        try:
            await close_connection(reading)
        finally:
            if writing is not None:
                await close_connection(writing)  # the last: it takes the -wal file over into the file
