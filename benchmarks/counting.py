"""Counting the work of a run: calls, events, commits and bytes, which unlike times are the same on every machine.

Run as a program, ``python -m benchmarks.counting``, it prints what ``tests/work/test_work.py`` has recorded.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import perdure
from benchmarks import graphs

LENGTH = 5
"""The steps of each of many runs."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What a step costs, or an item of a map.

    Attributes:
        calls: of functions, those of the interpreter and its libraries included.
        events: in the log.
        rows: in the log, which are commits of a run.
        bytes: of events.
    """

    calls: float
    events: float
    rows: float
    bytes: float


class Standstill:
    """A clock that stands still: no slice of time ends, and nothing is looked for again and again."""

    def now(self) -> int:
        """Return a time of day."""
        return 1_700_000_000_000_000

    def monotonic(self) -> float:
        """Return no progress."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()


def chain_of(length: int) -> tuple[Any, list[dict[str, Any]]]:
    """Return a graph and what to start: one run of a chain."""
    return graphs.loop(perdure, length), [{"inputs": 0}]


def map_of(size: int) -> tuple[Any, list[dict[str, Any]]]:
    """Return a graph and what to start: one map."""
    return graphs.mapped(perdure), [{"inputs": list(range(size))}]


def many_of(steps: int) -> tuple[Any, list[dict[str, Any]]]:
    """Return a graph and what to start: many short chains at once."""
    return graphs.line(perdure, LENGTH), [{"inputs": 0}] * (steps // LENGTH)


def appends_of(length: int) -> tuple[Any, list[dict[str, Any]]]:
    """Return a graph and what to start: one run whose state grows."""
    return graphs.growing(perdure, length), [{"inputs": 0, "state": graphs.Texts()}]


KINDS: dict[str, tuple[Callable[[int], tuple[Any, list[dict[str, Any]]]], int, int]] = {
    "chain": (chain_of, 100, 300),
    "map": (map_of, 1_000, 3_000),
    "runs": (many_of, 500, 1_500),
    "append": (appends_of, 100, 300),
}
"""What is counted: what makes it, and two sizes, whose difference counts: what is done once per process, or run, drops out."""


async def run(store: Any, graph: Any, given: list[dict[str, Any]]) -> None:
    """Do some runs at once."""
    async with perdure.Engine.open(store, [graph], clock=Standstill()) as engine:

        async def one(number: int, arguments: dict[str, Any]) -> None:
            await (await engine.start(graph, run_id=f"run {number}", **arguments)).result()

        await asyncio.gather(*(one(number, arguments) for number, arguments in enumerate(given)))


def calls_of(work: Awaitable[None]) -> int:
    """Return how many functions are called in an event loop until something is done."""
    count = 0

    def called(frame: Any, kind: str, argument: Any) -> None:
        nonlocal count
        if kind in ("call", "c_call"):
            count += 1

    async def counted() -> None:
        sys.setprofile(called)
        try:
            await work
        finally:
            sys.setprofile(None)

    gc.collect()
    gc.disable()  # what it finalizes, and when, is none of the work
    try:
        asyncio.run(counted())
    finally:
        gc.enable()
    return count


def _logged(path: Path) -> tuple[int, int, int]:
    connection = sqlite3.connect(path)
    ((events, rows, size),) = connection.execute("SELECT sum(count), count(*), sum(length(events)) FROM log")
    connection.close()
    return events, rows, size


def work_of(kind: str) -> Work:
    """Return what a step, or an item, costs: calls in a run on a MemoryStore, the rest in one on a file."""
    make, small, large = KINDS[kind]
    asyncio.run(run(perdure.MemoryStore(), *make(small)))  # what is made on first use
    calls, logged = [], []
    for size in (small, large):
        graph, given = make(size)
        calls.append(calls_of(run(perdure.MemoryStore(), graph, given)))
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(run(perdure.SQLiteStore(Path(folder) / "runs.db", synchronous="NORMAL"), graph, given))
            logged.append(_logged(Path(folder) / "runs.db"))
    more = large - small
    events, rows, size = (after - before for before, after in zip(*logged, strict=True))
    return Work(*(round(figure / more, 2) for figure in (calls[1] - calls[0], events, rows, size)))


def commits_of(kind: str, size: int, synchronous: Literal["FULL", "NORMAL"] = "NORMAL") -> int:
    """Return how many transactions, each an fsync where ``synchronous`` is FULL, a file takes for runs of a size."""
    graph, given = KINDS[kind][0](size)

    async def main(path: Path) -> int:
        store = perdure.SQLiteStore(path, synchronous=synchronous)
        await store.open()
        before = store.commits
        await run(store, graph, given)
        commits = store.commits - before
        await store.close()
        return commits

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(main(Path(folder) / "runs.db"))


if __name__ == "__main__":
    for name in KINDS:
        print(f'    "{name}": {work_of(name)},')
