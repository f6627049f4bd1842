"""The time of day may jump by an hour: no lease is taken from who lives, none lasts an hour longer, and a log's times go on."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, StepContext
from perdure.events import SegmentStarted
from perdure.store.records import Owner
from perdure.testing.invariants import violations
from simulation.world import World

HOUR = 3600.0
ELSEWHERE = Owner("another", "another host", "boot", "namespace", 1, "1")


def slow(seconds: float) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="slow", input_type=int, output_type=int)

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        await World.now.sleep(seconds)
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(work), g.edge_from(work).to(g.end_node))
    return g.build()


@pytest.mark.parametrize("jumps", [[HOUR], [-HOUR], [HOUR, 0.0], [-HOUR, 0.0], [HOUR, 2 * HOUR, 3 * HOUR]])
@pytest.mark.parametrize("after", [0.05, 3.3, 4.9, 5.01, 7.0])
def test_no_lease_is_taken_from_a_worker_that_lives(jumps: list[float], after: float) -> None:
    graph, world = slow(60), World()

    async def main(engine: Engine) -> None:
        async with Engine.open(world.store, [graph], clock=world.clock):
            handle = await engine.start(graph, inputs=1, run_id="run")
            for jump in jumps:
                await world.clock.sleep(after)
                world.clock.jumped_s = jump
            assert await handle.result() == 1
            history = await engine.history("run")
            assert sum(isinstance(recorded.event, SegmentStarted) for recorded in history) == 1
            times = [recorded.ts for recorded in history]
            assert times == sorted(times)
            assert violations(history) == []

    world.live(main, graph)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 0.0])
@pytest.mark.parametrize("at", [0.0, 2.0, 14.0])
def test_a_lease_of_somebody_who_is_gone_lasts_no_longer_for_a_clock_that_is_set(jump: float, at: float) -> None:
    graph, world = slow(1), World()

    async def main(engine: Engine) -> None:
        async with Engine.open(world.store, [graph], clock=world.clock, drive=False) as client:
            began = world.clock.monotonic()
            handle = await client.start(graph, inputs=1, run_id="run")
            now = world.clock.now()
            claimed = await world.store.claim(ELSEWHERE, graphs=["slow"], now=now, until=now + 15_000_000, limit=1)
            assert len(claimed) == 1
            await world.clock.sleep(1.5 + at)  # for the worker to have seen it
            world.clock.jumped_s = jump
            assert await handle.result() == 1
            assert world.clock.monotonic() - began < 15 + 7.5 + 3

    world.live(main, graph)
