"""A run's log as an engine would write it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from perdure.store.chain import chain_start, chained, verify_row
from perdure.store.port import Store
from perdure.store.records import Append, NewEntry, NewRun, Owner, Row, RunInfo, RunUpdate, Wait

START = 1_700_000_000_000_000
"""When the runs of the laws are created, in microseconds since 1970."""

FOREVER = START * 2
RUNNING = RunUpdate("RUNNING")
WAITING = RunUpdate("WAITING")


def owner(name: str = "worker", pid: int = 4711) -> Owner:
    """Return somebody who drives runs."""
    return Owner(id=name, host="host", boot="9d1f", namespace="pid:[4026531836]", pid=pid, started="12345")


def events(*values: object) -> bytes:
    """Return events as they are stored: a JSON array of arrays that begin with their kind."""
    return json.dumps([["noted", value] for value in values], ensure_ascii=False).encode()


class Log:
    """The log of one run: what it holds, and what could come next."""

    def __init__(self, run_id: str, epoch: int, *, graph: str = "graph", created_at: int = START) -> None:
        self.run_id = run_id
        self.epoch = epoch
        self.graph = graph
        self.created_at = created_at
        self.rows: tuple[Row, ...] = ()

    @property
    def seq(self) -> int:
        """The seq of the last event."""
        return self.rows[-1].first + self.rows[-1].count - 1 if self.rows else 0

    @property
    def head(self) -> bytes:
        """The hash of the last row."""
        return self.rows[-1].hash if self.rows else chain_start(self.run_id, self.graph)

    def following(self, *contents: bytes) -> tuple[Row, ...]:
        """Return rows that could come next, a microsecond later than the last; the log stays as it is."""
        rows: list[Row] = []
        seq, head, ts = self.seq, self.head, (self.rows[-1].ts + 1 if self.rows else self.created_at)
        for data in contents:
            count = len(json.loads(data))
            head = chained(head, self.run_id, seq + 1, count, self.epoch, ts, data)
            rows.append(Row(seq + 1, count, self.epoch, ts, data, head))
            seq += count
        return tuple(rows)

    def commit(
        self,
        *contents: bytes,
        update: RunUpdate = RUNNING,
        blobs: Mapping[str, bytes] | None = None,
        opened: Sequence[Wait] = (),
        closed: Sequence[str] = (),
        consumed: Sequence[int] = (),
        release: bool = False,
    ) -> Append:
        """Return a commit that could come next; the log stays as it is."""
        return Append(
            run_id=self.run_id,
            epoch=self.epoch,
            after=self.seq,
            rows=self.following(*(contents or (events("something"),))),
            update=update,
            blobs=blobs or {},
            opened=tuple(opened),
            closed=tuple(closed),
            consumed=tuple(consumed),
            release=release,
        )

    def creation(
        self,
        *contents: bytes,
        update: RunUpdate = RUNNING,
        blobs: Mapping[str, bytes] | None = None,
        owner: Owner | None = None,
        lease_until: int = 0,
        opened: Sequence[Wait] = (),
        tags: Mapping[str, str] | None = None,
    ) -> NewRun:
        """Return the run with its first commit; the log stays as it is."""
        return NewRun(
            run_id=self.run_id,
            graph=self.graph,
            fingerprint="fingerprint",
            created_at=self.created_at,
            inputs_digest="inputs",
            state_digest="state",
            rows=self.following(*(contents or (events("started"),))),
            update=update,
            blobs=blobs or {},
            owner=owner,
            lease_until=lease_until,
            opened=tuple(opened),
            tags=dict(tags or {}),
        )

    def took(self, rows: Sequence[Row]) -> None:
        """Note what has become part of the log."""
        self.rows += tuple(rows)


async def create(
    store: Store,
    run_id: str = "run",
    *contents: bytes,
    graph: str = "graph",
    created_at: int = START,
    update: RunUpdate = RUNNING,
    driven_until: int = 0,
    opened: Sequence[Wait] = (),
    tags: Mapping[str, str] | None = None,
) -> Log:
    """Create a run, driven by a worker if ``driven_until`` is given, and return its log."""
    log = Log(run_id, await store.next_epoch(), graph=graph, created_at=created_at)
    driver = owner() if driven_until else None
    run = log.creation(*contents, update=update, owner=driver, lease_until=driven_until, opened=opened, tags=tags)
    _, created = await store.create(run)
    assert created
    log.took(run.rows)
    return log


async def write(
    store: Store,
    log: Log,
    *contents: bytes,
    update: RunUpdate = RUNNING,
    opened: Sequence[Wait] = (),
    closed: Sequence[str] = (),
    consumed: Sequence[int] = (),
    release: bool = False,
) -> None:
    """Append a commit to a log."""
    commit = log.commit(*contents, update=update, opened=opened, closed=closed, consumed=consumed, release=release)
    await store.append(commit)
    log.took(commit.rows)


def wait(
    task: str = "task",
    run_id: str = "run",
    *,
    kind: str = "human",
    assignee: str = "ann",
    opened_at: int = START,
    due_at: int | None = None,
) -> Wait:
    """Return an open wait."""
    return Wait(
        run_id=run_id,
        task=task,
        node="approve",
        kind=kind,
        name="",
        title=f"Approve {task}?",
        assignee=assignee,
        schema=b'{"type": "object"}',
        opened_at=opened_at,
        due_at=due_at,
        path=f"approve/{task}",
    )


def answer(
    value: bytes = b'{"ok": true}', *, task: str = "task", run_id: str = "run", by: str = "ann", at: int = START
) -> NewEntry:
    """Return an answer to be put in."""
    return NewEntry(run_id, "answer", task, value, by, at)


def signal(value: bytes = b"1", *, name: str = "paid", run_id: str = "run", at: int = START) -> NewEntry:
    """Return a signal to be put in."""
    return NewEntry(run_id, "signal", name, value, "shop", at)


async def known(store: Store, run_id: str = "run") -> RunInfo:
    """Return what a store knows of a run that is there."""
    info = await store.get(run_id)
    assert info is not None
    return info


async def stored(store: Store, run_id: str = "run", graph: str = "graph") -> tuple[Row, ...]:
    """Return the rows of a run, having checked that each follows the one before and is what was written."""
    rows: list[Row] = []
    seq, head = 0, chain_start(run_id, graph)
    while page := await store.read(run_id, seq, 100):
        for row in page:
            verify_row(row, head, run_id, seq, store.location)
            seq, head = seq + row.count, row.hash
        rows += page
    return tuple(rows)
