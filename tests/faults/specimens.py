"""A file with runs in every condition, to be damaged."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from faults.workload import Ledger, asking, entering, looping, mapping
from perdure import Engine, Graph, GraphBuilder, StepContext
from perdure.engine.driving import recovery, snapshots
from perdure.store.chain import chain_start, chained

SOUND = "sound"
"""The run that is never damaged."""

UNFINISHED = ("half", "grown", "stored", "waiting", "answered", "signalled")
FINISHED = ("completed", "failed")

RESULTS: dict[str, Any] = {
    "half": 45,
    "grown": 600_000,
    "stored": 600_000,
    "waiting": "fine!",
    "answered": "fine!",
    "signalled": "fine!",
    "completed": 45,
    SOUND: 45,
}


def failing() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="failing", deps_type=object, input_type=int, output_type=int)

    @g.step
    async def fail(ctx: StepContext[None, Any, int]) -> int:
        await entering(ctx)
        raise ValueError("no good")

    g.add(g.edge_from(g.start_node).to(fail), g.edge_from(fail).to(g.end_node))
    return g.build()


GRAPHS = [mapping(), looping(20), asking(), failing()]


def enough(_: str, __: str, ___: int) -> None:
    """Enter a body without more ado."""


class Stop:
    """Holds the bodies of a run when it has gone so far."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.reached = asyncio.Event()

    def __call__(self, *_: Any) -> asyncio.Future[Any] | None:
        self.left -= 1
        if self.left > 0:
            return None
        self.reached.set()
        return asyncio.get_running_loop().create_future()


async def make(path: Path) -> None:
    """Make the file."""
    mapped, looped, asked, failed = GRAPHS
    async with Engine.open(path, GRAPHS, deps=enough) as engine:
        done = await engine.start(mapped, inputs=6, state=Ledger(), run_id="completed")
        await done.result()
        with pytest.raises(ValueError, match="no good"):
            await (await engine.start(failed, inputs=1, run_id="failed")).result()
        for run_id in ("waiting", "answered", "signalled"):
            handle = await engine.start(asked, inputs="", run_id=run_id)
            await handle.until_waiting()
            if run_id != "signalled":
                await handle.signal("paid", 5, by="shop")
                while (await handle.waiting())[0].kind != "human":
                    await handle.until_waiting()
    for run_id, graph, inputs, after in (
        ("half", mapped, 6, 4),
        (SOUND, mapped, 6, 4),
        ("grown", looped, 0, 30),
        ("stored", looped, 0, 42),
    ):
        stop = Stop(after)
        async with Engine.open(path, [graph], deps=stop, recover=False) as engine:
            state = Ledger() if graph is mapped else None
            await engine.start(graph, inputs=inputs, state=state, run_id=run_id)
            await stop.reached.wait()
    async with Engine.open(path, GRAPHS, deps=enough, drive=False) as engine:
        (wait,) = await engine.waiting("answered")
        await engine.respond("answered", wait.task_id, "fine", by="ann")
        await engine.signal("signalled", "paid", 5, by="shop")


def small_snapshots() -> pytest.MonkeyPatch:
    """Let snapshots be taken of small logs."""
    patch = pytest.MonkeyPatch()
    patch.setattr(snapshots, "WORTHWHILE_BYTES", 40_000)
    patch.setattr(recovery, "SHORT", 4)
    return patch


def altered(path: Path) -> sqlite3.Connection:
    """Open a file to damage it, past what keeps its log append-only."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{trigger}"')
    return connection


def rehash(connection: sqlite3.Connection, run_id: str) -> None:
    """Write the hashes that make a log look as if it had been written so."""
    ((number, graph),) = connection.execute("SELECT number, graph FROM run WHERE run_id = ?", (run_id,)).fetchall()
    head = chain_start(run_id, graph)
    rows = connection.execute(
        "SELECT id, first, count, epoch, ts, CAST(events AS BLOB) FROM log WHERE run = ? ORDER BY first", (number,)
    ).fetchall()
    for id_, first, count, epoch, ts, events in rows:
        head = chained(head, run_id, first, count, epoch, ts, events)
        connection.execute("UPDATE log SET hash = ? WHERE id = ?", (head, id_))
