"""The time of day may jump by an hour: no lease is taken from who lives, none lasts an hour longer, and a log's times go on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import Answer, Engine, Graph, GraphBuilder, Retry, StepContext
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


def timed(kind: str) -> Graph[Any, Any, Any, Any]:
    """Return a graph that waits 20 seconds twice, one way or another."""
    g = GraphBuilder(name=kind, input_type=int, output_type=int)
    if kind == "sleep":
        first = g.sleep(timedelta(seconds=20), node_id="first")
        second = g.sleep(timedelta(seconds=20), node_id="second")
    elif kind == "retry":

        def failing(name: str) -> Any:
            @g.step(node_id=name, retry=Retry(max_attempts=2, initial_interval=20, jitter=False))
            async def fail(ctx: StepContext[None, None, int]) -> int:
                if ctx.attempt == 1:
                    raise ValueError("once")
                return ctx.inputs

            return fail

        first, second = failing("first"), failing("second")
    else:
        first = g.human("first", form=int, deadline=timedelta(seconds=20), on_deadline=Answer(1))
        second = g.human("second", form=int, deadline=timedelta(seconds=20), on_deadline=Answer(1))
    g.add(g.edge_from(g.start_node).to(first), g.edge_from(first).to(second), g.edge_from(second).to(g.end_node))
    return g.build()


@pytest.mark.parametrize("kind", ["sleep", "retry", "deadline"])
@pytest.mark.parametrize("at", [0.0, 2.0, 19.99, 20.5, 30.0])
def test_nothing_waits_an_hour_longer_for_a_clock_that_is_set_back(kind: str, at: float) -> None:
    graph, world = timed(kind), World()

    async def main(engine: Engine) -> None:
        began = world.clock.monotonic()
        handle = await engine.start(graph, inputs=1, run_id="run")
        await world.clock.sleep(at)
        world.clock.jumped_s = -HOUR
        assert await handle.result() == 1
        assert 39 < world.clock.monotonic() - began < 43
        history = await engine.history("run")
        assert [recorded.ts for recorded in history] == sorted(recorded.ts for recorded in history)

    world.live(main, graph)


def test_the_clock_may_be_set_back_again_and_again() -> None:
    graph, world = timed("sleep"), World()

    async def main(engine: Engine) -> None:
        began = world.clock.monotonic()
        handle = await engine.start(graph, inputs=1, run_id="run")
        for hours in range(1, 5):
            await world.clock.sleep(3)
            world.clock.jumped_s = -hours * HOUR
        assert await handle.result() == 1
        assert 39 < world.clock.monotonic() - began < 43

    world.live(main, graph)


def test_an_answer_is_taken_up_though_the_clock_is_set_back_before_a_worker_looks() -> None:
    g = GraphBuilder(name="asking", input_type=int, output_type=int)
    ask = g.human("ask", form=int)
    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(g.end_node))
    graph, world = g.build(), World()

    async def main(engine: Engine) -> None:
        async with Engine.open(world.store, [graph], clock=world.clock, drive=False) as client:
            handle = await client.start(graph, inputs=1, run_id="run")
            [wait] = await handle.until_waiting()
            await world.clock.sleep(5)
            await client.respond("run", wait.task_id, 7)
            world.clock.jumped_s = -HOUR
            began = world.clock.monotonic()
            assert await handle.result() == 7
            assert world.clock.monotonic() - began < 2

    world.live(main, graph)
