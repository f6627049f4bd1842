"""The bound: the least that a durable engine on aiosqlite can cost.

Loops written by hand for one job each, without graph, codec, fence or recovery. They record the same facts in rows of the
same shape, an fsync for each commit, and obey the one rule that counts: a body runs only after its start is durable.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from benchmarks.measure import Measured

_SCHEMA = (
    "CREATE TABLE log (id INTEGER PRIMARY KEY, run INTEGER, first INTEGER, count INTEGER, epoch INTEGER, ts INTEGER, "
    "events TEXT, hash BLOB)"
)
_INSERT = "INSERT INTO log (run, first, count, epoch, ts, events, hash) VALUES (?, ?, ?, 1, ?, ?, ?)"
_encode = msgspec.json.Encoder().encode


class Log:
    """Collects events; all that come in while a commit is under way share the next one."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._events: dict[int, list[Any]] = {}
        self._firsts: dict[int, int] = {}
        self._heads: dict[int, bytes] = {}
        self._waiting: asyncio.Future[None] | None = None
        self._carrier: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path) -> Log:
        """Make a file and a log in it."""
        connection = await aiosqlite.connect(path, isolation_level=None)

        def set_up() -> None:
            raw = connection._conn
            raw.execute("PRAGMA journal_mode = WAL")
            raw.execute("PRAGMA synchronous = FULL")
            raw.execute(_SCHEMA)

        await connection._execute(set_up)
        return cls(connection)

    def record(self, run: int, *events: Any) -> asyncio.Future[None]:
        """Take events; the future is done when they are durable."""
        loop = asyncio.get_running_loop()
        self._events.setdefault(run, []).extend(events)
        if self._waiting is None:
            self._waiting = loop.create_future()
        if self._carrier is None:
            self._carrier = loop.create_task(self._carry())
        return self._waiting

    async def _carry(self) -> None:
        while self._events:
            events, self._events = self._events, {}
            waiting, self._waiting = self._waiting, None
            rows = [self._row(run, found) for run, found in events.items()]
            raw = self._connection._conn

            def commit(raw: sqlite3.Connection = raw, rows: list[Any] = rows) -> None:
                raw.execute("BEGIN IMMEDIATE")
                raw.executemany(_INSERT, rows)
                raw.execute("COMMIT")

            await self._connection._execute(commit)
            assert waiting is not None
            waiting.set_result(None)
            await asyncio.sleep(0)
        self._carrier = None

    def _row(self, run: int, events: list[Any]) -> tuple[Any, ...]:
        data = _encode(events)
        head = blake2b(self._heads.get(run, b"") + data, digest_size=16).digest()
        first = self._firsts.get(run, 1)
        self._firsts[run], self._heads[run] = first + len(events), head
        return (run, first, len(events), time.time_ns() // 1000, data.decode(), head)

    async def close(self) -> None:
        """Close the file."""
        await self._connection.close()


async def _add_one(number: int) -> int:
    return number + 1


def _started(task: int) -> Any:
    return ("NodeStarted", f"task{task:012}", "add_one", 1)


def _completed(task: int, output: int) -> Any:
    return ("NodeCompleted", f"task{task:012}", output, None)


async def chain(log: Log, run: int, length: int) -> int:
    """Run a chain, a commit for each step."""
    loop = asyncio.get_running_loop()
    number = 0
    waiting = log.record(run, _started(0))
    for task in range(length):
        await waiting
        number = await loop.create_task(_add_one(number))
        following = _started(task + 1) if task + 1 < length else ("RunCompleted", number)
        waiting = log.record(run, _completed(task, number), following)
    await waiting
    return number


async def bound_chain(folder: Path, length: int) -> Measured:
    """Measure a chain."""
    log = await Log.open(folder / "bound.db")
    measured = Measured(length)
    with measured.timed():
        assert await chain(log, 0, length) == length
    await log.close()
    return measured


async def bound_runs(folder: Path, count: int, length: int) -> Measured:
    """Measure many chains at once."""
    log = await Log.open(folder / "bound.db")
    measured = Measured(count * length)
    with measured.timed():
        await asyncio.gather(*(chain(log, run, length) for run in range(count)))
    await log.close()
    return measured


async def bound_map(folder: Path, size: int) -> Measured:
    """Measure a map into a join: a task for each item, all at once."""
    log = await Log.open(folder / "bound.db")
    loop = asyncio.get_running_loop()
    measured = Measured(size)
    collected: list[int] = []

    async def arm(index: int) -> None:
        await log.record(0, _started(index))
        output = await _add_one(index)
        log.record(0, _completed(index, output), ("ReducerUpdated", f"task{index:012}", "join"))
        collected.append(output)

    with measured.timed():
        await asyncio.gather(*(loop.create_task(arm(index)) for index in range(size)))
        await log.record(0, ("RunCompleted", collected))
    await log.close()
    assert len(collected) == size
    return measured
