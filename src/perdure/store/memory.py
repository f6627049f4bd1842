"""A store in memory: for tests, and for runs that needn't outlive the process."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from itertools import islice
from math import inf

import msgspec

from perdure.errors import Fenced, PerdureError, StoreClosed, StoreCorrupt
from perdure.store.chain import verify_blob
from perdure.store.memory_inbox import Inboxes, age
from perdure.store.port import PAGE_BYTES, SHORT
from perdure.store.records import (
    DRIVEN,
    LET_IN,
    NO_TAGS,
    OVER,
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


class MemoryStore:
    """Keeps runs in dicts. Two engines may share one, as two processes share a file."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._runs: dict[str, RunInfo] = {}
        self._origins: dict[str, str] = {}
        self._logs: dict[str, list[Row]] = {}
        self._blobs: dict[tuple[str, str], bytes] = {}
        self._plans: dict[str, tuple[str, bytes]] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._inboxes = Inboxes()
        self._workers: dict[str, Announced] = {}
        self._epoch = 0
        self._version = 0
        self._open = 0

    @property
    def location(self) -> str:
        """A name to show."""
        return self._name

    async def open(self) -> None:
        """Make the store ready."""
        self._open += 1

    async def close(self) -> None:
        """Let go; what is stored stays for whoever opens the store again."""
        self._open = max(0, self._open - 1)

    async def _enter(self) -> None:
        """Give others a chance to run where a real store would wait for a disk."""
        if not self._open:
            raise StoreClosed("the store is closed", location=self._name)
        await asyncio.sleep(0)

    async def _enter_to_write(self) -> None:
        await self._enter()
        self._version += 1

    async def _answer(self) -> None:
        """Let a caller be cancelled after the deed, as with a real store, whose answer may be lost."""
        await asyncio.sleep(0)

    async def next_epoch(self) -> int:
        """Return an epoch that no lease has had."""
        await self._enter_to_write()
        self._epoch += 1
        return self._epoch

    async def create(self, run: NewRun) -> tuple[RunInfo, bool]:
        """Create a run and its first commit; if the id is taken, return what is there and False."""
        await self._enter_to_write()
        known = self._runs.get(run.run_id)
        if known is not None:
            return known, False
        last = run.rows[-1]
        info = RunInfo(
            run_id=run.run_id,
            graph=run.graph,
            fingerprint=run.fingerprint,
            status=run.update.status,
            last_seq=last.first + last.count - 1,
            head=last.hash,
            epoch=last.epoch,
            owner=run.owner,
            lease_until=run.lease_until,
            created_at=run.created_at,
            updated_at=last.ts,
            inputs_digest=run.inputs_digest,
            state_digest=run.state_digest,
            error=run.update.error,
            due_at=run.update.due_at,
            tags=dict(run.tags),
        )
        self._runs[run.run_id] = info
        if run.origin:
            self._origins[run.run_id] = run.origin
        self._logs[run.run_id] = list(run.rows)
        self._blobs.update({(run.run_id, digest): data for digest, data in run.blobs.items()})
        self._inboxes.open(run.run_id, run.opened)
        await self._answer()
        return info, True

    async def adopt(self, run: NewRun, brought: Brought) -> tuple[RunInfo, bool]:
        """Create a run that comes from another store, with its whole log."""
        info, is_new = await self.create(run)
        if is_new:
            self._epoch = max(self._epoch, *(row.epoch for row in run.rows))
            self._inboxes.fill(run.run_id, brought.inbox, brought.answered)
            if brought.plan is not None:
                self._plans.setdefault(run.fingerprint, (run.graph, brought.plan))
        return info, is_new

    async def delete(self, run_ids: Sequence[str]) -> Sequence[str]:
        """Delete whole runs, those that are over and that none was forked from."""
        await self._enter_to_write()
        gone = []
        for run_id in run_ids:
            known = self._runs.get(run_id)
            if known is None or known.status not in OVER or run_id in self._origins.values():
                continue
            gone.append(run_id)
            del self._runs[run_id], self._logs[run_id]
            self._origins.pop(run_id, None)
            self._snapshots.pop(run_id, None)
            self._inboxes.forget(run_id)
        self._blobs = {key: data for key, data in self._blobs.items() if key[0] not in gone}
        return gone

    async def origins(self) -> Mapping[str, str]:
        """Return, for each run that was forked from another one, the id of that."""
        await self._enter()
        return dict(self._origins)

    async def sizes(self) -> Sequence[Size]:
        """Return how much each run takes, the largest first."""
        await self._enter()
        blobs: Counter[str] = Counter()
        for (run_id, _), data in self._blobs.items():
            blobs[run_id] += len(data)
        found = [
            Size(
                info.run_id,
                info.graph,
                info.status,
                sum(len(row.events) for row in self._logs[info.run_id]),
                blobs[info.run_id],
                len(self._snapshots[info.run_id].data) if info.run_id in self._snapshots else 0,
            )
            for info in self._runs.values()
        ]
        return sorted(found, key=lambda size: (-(size.log + size.blobs + size.snapshot), size.run_id))

    def append(self, append: Append) -> Awaitable[None]:
        """Make a commit, once others have had their chance to run where a real store would wait for a disk."""
        if not self._open:
            raise StoreClosed("the store is closed", location=self._name)
        loop = asyncio.get_running_loop()
        landing: asyncio.Future[None] = loop.create_future()
        loop.call_soon(self._land, append, landing)
        return landing

    def _land(self, append: Append, landing: asyncio.Future[None]) -> None:
        if landing.done():  # its caller was cancelled
            return
        try:
            self._append(append)
        except PerdureError as refused:
            landing.set_exception(refused)
        else:  # a caller may be cancelled after the deed, as with a real store, whose answer may be lost
            asyncio.get_running_loop().call_soon(_settle, landing)

    def _append(self, append: Append) -> None:
        self._version += 1
        info = self._runs.get(append.run_id)
        if info is None or info.epoch != append.epoch or info.last_seq != append.after:
            raise Fenced(
                f"run {append.run_id!r} is at event {info and info.last_seq} in epoch {info and info.epoch}; a commit after "
                f"event {append.after} in epoch {append.epoch} is refused",
                location=self._name,
            )
        last = append.rows[-1]
        self._logs[append.run_id].extend(append.rows)
        self._blobs.update({(append.run_id, digest): data for digest, data in append.blobs.items()})
        self._inboxes.close(append.run_id, append.closed)
        self._inboxes.take(append.run_id, append.consumed, append.closed)
        self._inboxes.open(append.run_id, append.opened)
        self._runs[append.run_id] = msgspec.structs.replace(
            info,
            last_seq=last.first + last.count - 1,
            head=last.hash,
            updated_at=last.ts,
            status=append.update.status,
            error=append.update.error,
            due_at=append.due_at(has_mail=self._inboxes.has_mail(append.run_id)),
            fingerprint=append.update.fingerprint or info.fingerprint,
        )
        if append.update.status in OVER:
            self._inboxes.end(append.run_id, append.update.status)
        if append.release:
            self._end(append.run_id, append.epoch)

    async def read(self, run_id: str, after: int = 0, limit: int = 512) -> Sequence[Row]:
        """Return the next rows of a log, at most ``limit``, whose last event comes after a seq."""
        await self._enter()
        log = self._logs.get(run_id, [])
        start = bisect_right(log, after, key=lambda row: row.first + row.count - 1)
        page, size = [], 0
        for row in islice(log, start, start + limit):
            page.append(row)
            size += len(row.events)
            if size > PAGE_BYTES:
                break
        return page

    async def blob(self, run_id: str, digest: str) -> bytes:
        """Return a blob."""
        await self._enter()
        data = self._blobs.get((run_id, digest))
        if data is None:
            raise StoreCorrupt(f"run {run_id!r}: the blob {digest} is missing", location=self._name)
        verify_blob(data, digest, run_id, self._name)
        return data

    async def get(self, run_id: str) -> RunInfo | None:
        """Return what is known of a run."""
        await self._enter()
        return self._runs.get(run_id)

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
        await self._enter()
        newest_first = sorted(self._runs.values(), key=_age, reverse=True)
        found = [
            info
            for info in newest_first
            if (not statuses or info.status in statuses)
            and (graph is None or info.graph == graph)
            and (before is None or info.created_at < before)
            and (since is None or info.created_at >= since)
            and (after is None or _age(info) < _age(after))
            and tags.items() <= info.tags.items()
        ]
        return found[:limit]

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
        await self._enter()
        free = [
            info
            for info in self._runs.values()
            if (info.run_id == run_id if run_id is not None else _is_of(info, graphs, leaving))
            and (_ready_at(info) <= now or (anyway and info.lease_until <= now))
        ]
        claimed = [self._lend(info, owner, until) for info in sorted(free, key=_ready_at)[:limit]]
        await self._answer()
        return claimed

    def _lend(self, info: RunInfo, owner: Owner, until: int) -> Claimed:
        self._epoch += 1
        self._version += 1
        mine = msgspec.structs.replace(info, owner=owner, epoch=self._epoch, lease_until=until)
        self._runs[info.run_id] = mine
        log = tuple(self._logs[info.run_id]) if info.last_seq <= SHORT else None
        inbox = tuple(self._inboxes.entries(info.run_id, 0))
        return Claimed(**msgspec.structs.asdict(mine), inbox=inbox, log=log)

    async def next_due(self, graphs: Sequence[str], leaving: Sequence[str] = ()) -> int | None:
        """Return the earliest time at which a run of these graphs, and of none of the fingerprints, can be claimed, or None."""
        await self._enter()
        mine = (_ready_at(info) for info in self._runs.values() if _is_of(info, graphs, leaving))
        earliest = min(mine, default=inf)
        return None if earliest == inf else int(earliest)

    async def announce(self, worker: Announced, now: int) -> None:
        """Let others know of a worker; forget those that were to be gone by now."""
        await self._enter_to_write()
        self._workers = {id_: other for id_, other in self._workers.items() if other.until > now}
        self._workers[worker.owner.id] = worker

    async def withdraw(self, owner: Owner) -> None:
        """Forget a worker."""
        await self._enter_to_write()
        self._workers.pop(owner.id, None)

    async def workers(self, now: int) -> Sequence[Announced]:
        """Return the workers that were announced and aren't to be taken for gone."""
        await self._enter()
        return [worker for worker in self._workers.values() if worker.until > now]

    async def orphans(self, now: int, besides: Owner | None = None) -> Sequence[RunInfo]:
        """Return runs under a lease that hasn't run out, and isn't that of an owner who asks about others."""
        await self._enter()
        leased = [info for info in self._runs.values() if info.lease_until > now and info.status in DRIVEN]
        return [info for info in leased if info.owner != besides] if besides is not None else leased

    async def heartbeat(self, leases: Sequence[Lease]) -> Sequence[str]:
        """Extend leases; return the ids of those that are lost."""
        await self._enter_to_write()
        lost = []
        for lease in leases:
            info = self._runs.get(lease.run_id)
            if info is not None and info.epoch == lease.epoch and info.owner is not None:
                self._runs[lease.run_id] = msgspec.structs.replace(info, lease_until=lease.until)
            else:
                lost.append(lease.run_id)
        return lost

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases up."""
        await self._enter_to_write()
        for lease in leases:
            self._end(lease.run_id, lease.epoch)

    async def expire(self, run_id: str, epoch: int) -> None:
        """End a lease."""
        await self._enter_to_write()
        self._end(run_id, epoch)

    def _end(self, run_id: str, epoch: int) -> None:
        info = self._runs.get(run_id)
        if info is not None and info.epoch == epoch:
            self._runs[run_id] = msgspec.structs.replace(info, owner=None, lease_until=0)

    async def park(self, run_id: str, epoch: int, status: str, error: str) -> None:
        """Set a run's status without a commit."""
        await self._enter_to_write()
        info = self._runs.get(run_id)
        if info is not None and info.epoch == epoch:
            self._runs[run_id] = msgspec.structs.replace(info, status=status, error=error, owner=None, lease_until=0)
            if status in OVER:
                self._inboxes.end(run_id, status)

    async def put(self, entry: NewEntry) -> tuple[Put, Entry | None]:
        """Put something in a run's inbox, and wake the run."""
        await self._enter_to_write()
        outcome = self._put(entry)
        await self._answer()
        return outcome

    async def put_and_claim(
        self, entry: NewEntry, owner: Owner, *, now: int, until: int
    ) -> tuple[Put, Entry | None, Claimed | None]:
        """Put something in a run's inbox, and take its lease if it can be claimed."""
        await self._enter_to_write()
        put, mine = self._put(entry)
        claimed = None
        if put in LET_IN and _ready_at(info := self._runs[entry.run_id]) <= now:
            claimed = self._lend(info, owner, until)
        await self._answer()
        return put, mine, claimed

    def _put(self, entry: NewEntry) -> tuple[Put, Entry | None]:
        info = self._runs.get(entry.run_id)
        if info is None:
            return "missing", None
        put, mine = self._inboxes.put(entry, info.status)
        if put == "accepted" and (info.status == "WAITING" if info.due_at is None else info.due_at > entry.at):
            self._runs[entry.run_id] = msgspec.structs.replace(info, due_at=entry.at)
        return put, mine

    async def answered(self, run_id: str) -> Mapping[str, bytes]:
        """Return, for each task of a run whose answer was used, the digest of that."""
        await self._enter()
        return self._inboxes.answered(run_id)

    async def inbox(self, run_id: str, after: int = 0) -> Sequence[Entry]:
        """Return what is in a run's inbox, in order."""
        await self._enter()
        return self._inboxes.entries(run_id, after)

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
        await self._enter()
        found = (
            wait
            for wait in self._inboxes.waits()
            if (run_id is None or wait.run_id == run_id)
            and (task is None or wait.task == task)
            and (assignee is None or wait.assignee == assignee)
            and (kind is None or wait.kind == kind)
            and (after is None or age(wait) > age(after))
        )
        return [*islice(found, limit)]

    async def mail(self, owner: Owner) -> Mapping[str, int]:
        """Return the runs with something in their inbox whose lease is this owner's, each with its last entry."""
        await self._enter()
        mine = (info for info in self._runs.values() if info.owner is not None and info.owner.id == owner.id)
        there = {info.run_id: self._inboxes.entries(info.run_id, 0) for info in mine}
        return {run_id: entries[-1].number for run_id, entries in there.items() if entries}

    async def version(self) -> int:
        """Return a number that isn't the one returned before if the store may have changed in between."""
        await self._enter()
        return self._version

    async def save_plan(self, fingerprint: str, name: str, plan: bytes) -> None:
        """Keep the structure of a graph."""
        await self._enter_to_write()
        self._plans.setdefault(fingerprint, (name, plan))

    async def plan(self, fingerprint: str) -> bytes | None:
        """Return the structure of a graph."""
        await self._enter()
        known = self._plans.get(fingerprint)
        return known and known[1]

    async def save_snapshot(self, run_id: str, snapshot: Snapshot) -> None:
        """Keep a snapshot instead of the one before."""
        await self._enter_to_write()
        if run_id in self._runs:
            self._snapshots[run_id] = snapshot

    async def snapshot(self, run_id: str) -> Snapshot | None:
        """Return the snapshot of a run."""
        await self._enter()
        return self._snapshots.get(run_id)

    async def drop_snapshot(self, run_id: str) -> None:
        """Forget the snapshot of a run."""
        await self._enter_to_write()
        self._snapshots.pop(run_id, None)


def _age(info: RunInfo) -> tuple[int, str]:
    """Return what runs are listed by."""
    return info.created_at, info.run_id


def _is_of(info: RunInfo, graphs: Sequence[str], leaving: Sequence[str]) -> bool:
    """Say whether a run is of one of some graphs, and of none of some fingerprints."""
    return info.graph in graphs and info.fingerprint not in leaving


def _ready_at(info: RunInfo) -> float:
    """Return when a run becomes free and due, which may be never."""
    if info.status not in DRIVEN or (info.status == "WAITING" and info.due_at is None):
        return inf
    return max(info.lease_until, info.due_at or 0)


def _settle(landing: asyncio.Future[None]) -> None:
    if not landing.done():
        landing.set_result(None)
