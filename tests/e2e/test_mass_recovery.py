"""After a crash of many runs they are taken over a few at a time, the oldest first, whatever their graph."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from perdure import Engine, Graph, GraphBuilder, SQLiteStore, StepContext
from perdure.engine.owner import appear, disappear
from perdure.testing.invariants import violations

RUNS, MOST = 1_000, 40


class Bodies:
    """Notes which runs are at work, and in which order they came to be."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.running = self.most = 0

    def graph(self, name: str) -> Graph[Any, Any, Any, Any]:
        g = GraphBuilder(name=name, input_type=int, output_type=int)

        @g.step
        async def work(ctx: StepContext[None, None, int]) -> int:
            self.entered.append(ctx.run_id)
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.001)
            self.running -= 1
            return ctx.inputs

        g.add(g.edge_from(g.start_node).to(work), g.edge_from(work).to(g.end_node))
        return g.build()


async def crash_with_many(store: SQLiteStore, graphs: list[Graph[Any, Any, Any, Any]]) -> None:
    """Leave many runs under leases of a worker that is dead, of several graphs in turn."""
    async with Engine.open(store, graphs, drive=False) as client:
        for number in range(RUNS):
            await client.start(graphs[number % len(graphs)], inputs=number, run_id=f"run-{number:04}")
    dead, now = appear(), time.time_ns() // 1000
    names = [graph.name for graph in graphs]
    claimed = await store.claim(dead, graphs=names, now=now, until=now + 3600_000_000, limit=RUNS)
    assert len(claimed) == RUNS
    disappear(dead)


def test_a_thousand_orphans_are_taken_over_in_turn_and_what_comes_after_them_is_not_starved(tmp_path: Path) -> None:
    async def main() -> None:
        bodies = Bodies()
        graphs = [bodies.graph("one"), bodies.graph("two"), bodies.graph("three")]
        store = SQLiteStore(tmp_path / "runs.db", synchronous="NORMAL")
        await store.open()
        await crash_with_many(store, graphs)
        async with (
            Engine.open(store, graphs, drive=False) as client,
            Engine.open(store, graphs, max_runs=MOST) as worker,
        ):
            late = await client.start(graphs[0], inputs=7, run_id="late")
            assert await asyncio.wait_for(late.result(), 60) == 7
            while len(bodies.entered) <= RUNS:
                await asyncio.sleep(0.01)
            assert await worker.attach(f"run-{RUNS - 1:04}").result() == RUNS - 1
            assert [violations(await worker.history(f"run-{number:04}")) for number in range(0, RUNS, 100)] == [[]] * 10
        await store.close()
        assert bodies.most <= MOST
        assert sorted(bodies.entered) == sorted({"late", *(f"run-{number:04}" for number in range(RUNS))})
        places = {run_id: place for place, run_id in enumerate(bodies.entered)}
        for number in range(RUNS):
            assert abs(places[f"run-{number:04}"] - number) <= 2 * MOST, (
                "the oldest first, of each graph as of the others"
            )
        assert places["late"] >= RUNS - 2 * MOST

    asyncio.run(main())
