"""Callers may be cancelled at any moment: the store is never left in a transaction, and runs go on as if nobody had waited."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, SQLiteStore, StepContext, reduce_sum
from perdure.store.sqlite.connection import call
from perdure.testing.invariants import violations


def doubled_and_summed() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="sum", input_type=int, output_type=int)

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(ctx.inputs))

    @g.step
    async def double(ctx: StepContext[None, None, int]) -> int:
        await asyncio.sleep(0)
        return ctx.inputs * 2

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(downstream_join_id=total.id).to(double),
        g.edge_from(double).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


GRAPH = doubled_and_summed()


async def cancelled_somewhere(work: Any, rng: Random) -> bool:
    """Start work and cancel it after a random number of turns, or a random time; say whether it was cancelled."""
    task = asyncio.ensure_future(work)
    if rng.random() < 0.5:
        for _ in range(rng.randrange(40)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(rng.random() * 0.003)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return task.cancelled()


async def in_transaction(store: SQLiteStore) -> bool:
    """Say whether the connection that writes is in a transaction once everything that was handed in is done."""
    assert store._writing is not None
    return bool(await call(store._writing, lambda raw: raw.in_transaction))


async def cancel_callers(path: Path, times: int, seed: int) -> dict[str, int]:
    """Cancel callers of an engine at random, and look at the store each time."""
    rng = Random(seed)
    store = SQLiteStore(path, synchronous="NORMAL")
    counts = {"calls": 0, "cancelled": 0, "left in a transaction": 0}
    started: dict[str, int] = {}
    async with Engine.open(store, [GRAPH]) as engine:

        async def begin(run_id: str) -> None:
            size = started.setdefault(run_id, rng.randrange(4))
            await engine.start(GRAPH, inputs=size, run_id=run_id)

        async def begin_and_wait(run_id: str) -> None:
            size = started.setdefault(run_id, rng.randrange(4))
            await (await engine.start(GRAPH, inputs=size, run_id=run_id)).result()

        async def wait(run_id: str) -> None:
            if await store.get(run_id) is not None:
                await engine.attach(run_id).result()

        for number in range(times):
            run_id = f"run-{number // 4}"
            work = rng.choice([begin, begin_and_wait, wait, lambda _: engine.list(limit=3)])(run_id)
            counts["calls"] += 1
            counts["cancelled"] += await cancelled_somewhere(work, rng)
            counts["left in a transaction"] += await in_transaction(store)
        for run_id, size in started.items():
            handle = await engine.start(GRAPH, inputs=size, run_id=run_id)
            assert await handle.result() == size * (size - 1)
            assert violations(await engine.history(run_id)) == []
    return counts


async def cancel_runs(folder: Path, times: int, seed: int) -> dict[str, int]:
    """Cancel ``graph.run(store=…)`` at random, and run it again until it ends."""
    rng = Random(seed)
    counts = {"runs": 0, "cancelled": 0}
    path = folder / "runs.db"
    for number in range(times):
        for _ in range(3):
            counts["runs"] += 1
            counts["cancelled"] += await cancelled_somewhere(
                GRAPH.run(inputs=3, store=path, run_id=f"run-{number}"), rng
            )
        assert await GRAPH.run(inputs=3, store=path, run_id=f"run-{number}") == 6
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # nobody holds a lock
        assert connection.execute("SELECT count(*) FROM run").fetchall() == [(times,)]
    return counts


def test_cancelled_callers_never_leave_the_store_in_a_transaction(tmp_path: Path) -> None:
    counts = asyncio.run(cancel_callers(tmp_path / "runs.db", 1000, 1))
    assert counts["left in a transaction"] == 0
    assert counts["cancelled"] > 200, counts


def test_a_run_that_was_cancelled_with_its_caller_goes_on_when_it_is_run_again(tmp_path: Path) -> None:
    counts = asyncio.run(cancel_runs(tmp_path, 25, 2))
    assert counts["cancelled"] > 20, counts


@pytest.mark.campaign
def test_five_thousand_cancelled_callers_never_leave_the_store_in_a_transaction(tmp_path: Path) -> None:
    counts = asyncio.run(cancel_callers(tmp_path / "callers.db", 12_000, 3))
    runs = asyncio.run(cancel_runs(tmp_path, 300, 4))
    print(f"\n{counts}, graph.run(store=…): {runs}")
    assert counts["left in a transaction"] == 0
    assert counts["cancelled"] + runs["cancelled"] >= 5000
