"""What a map costs goes with its items and not with their square; counted, not timed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from perdure import Graph, GraphBuilder, MemoryStore, StepContext, reduce_sum
from perdure.store.records import Append, NewRun, RunInfo


class Counting(MemoryStore):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.events = 0
        self.commits = 0

    def _count(self, rows: Any) -> None:
        self.bytes += sum(len(row.events) for row in rows)
        self.events += sum(row.count for row in rows)
        self.commits += 1

    async def create(self, run: NewRun) -> tuple[RunInfo, bool]:
        self._count(run.rows)
        return await super().create(run)

    async def append(self, append: Append) -> None:
        self._count(append.rows)
        await super().append(append)


def mapped() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="mapped", input_type=list[int], output_type=int)

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs % 10

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).map(fork_id="each").to(work),
        g.edge_from(work).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


def calls_of(work: Callable[[], Any], folder: str) -> int:
    """Return how many calls of Python functions in a folder something makes."""
    count = 0

    def profile(frame: Any, event: str, _: Any) -> None:
        nonlocal count
        if event == "call" and folder in frame.f_code.co_filename:
            count += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def cost(size: int) -> dict[str, float]:
    """Return what a map costs for each of its items."""
    store, graph = Counting(), mapped()
    inputs = [100_000 + number for number in range(size)]

    def work() -> None:
        assert asyncio.run(graph.run(inputs=inputs, store=store)) == size // 10 * 45

    return {
        "calls": calls_of(work, "/perdure/") / size,
        "bytes": store.bytes / size,
        "events": store.events / size,
        "commits": store.commits / size,
    }


def test_a_map_costs_the_same_for_each_item_however_many_there_are() -> None:
    small, large = cost(1_000), cost(10_000)
    for what in ("calls", "bytes", "events"):
        assert large[what] <= small[what] * 1.1, (what, small, large)
    assert large["commits"] < 0.1, "many results go into one commit"


def test_a_list_in_the_state_costs_what_is_appended_and_not_what_is_there() -> None:
    def bytes_per_round(rounds: int) -> float:
        g = GraphBuilder(name="appending", state_type=dict[str, list[str]], input_type=int, output_type=int)

        @g.step
        async def note(ctx: StepContext[dict[str, list[str]], None, int]) -> int:
            ctx.state["notes"].append("x" * 1000)
            return ctx.inputs + 1

        g.add(
            g.edge_from(g.start_node).to(note),
            g.edge_from(note).to(
                g.decision(node_id="enough")
                .branch(g.match(int, matches=lambda number: number < rounds).to(note))
                .branch(g.match(int).to(g.end_node))
            ),
        )
        store = Counting()
        assert asyncio.run(g.build().run(inputs=0, state={"notes": []}, store=store)) == rounds
        return store.bytes / rounds

    small, large = bytes_per_round(100), bytes_per_round(1000)
    assert large <= small * 1.02
    assert large < 1300
