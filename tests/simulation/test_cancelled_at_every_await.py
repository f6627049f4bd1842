"""Whoever waits for an engine may be cancelled at any await: nothing of it is left, and the next one finds all in order."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from constructs import GIVEN
from perdure import Engine, Graph, GraphBuilder, MemoryStore, Status, StepContext, reduce_sum
from perdure.testing.invariants import violations
from simulation.loop import SimulatedClock, SimulatedLoop

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")

Deed = Callable[[Engine, Graph[Any, Any, Any, Any]], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    yield
    gc.collect()


def asking() -> Graph[Any, Any, Any, Any]:
    """Return a graph that adds up squares, asks somebody, and ends."""
    g = GraphBuilder(name="asking", input_type=int, output_type=int)

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(ctx.inputs))

    @g.step
    async def square(ctx: StepContext[None, None, int]) -> int:
        await asyncio.sleep(0.01)
        return ctx.inputs**2

    total, ask = g.join(reduce_sum, initial=0, node_id="total"), g.human("ask", form=int)
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(square),
        g.edge_from(square).to(total),
        g.edge_from(total).to(ask),
        g.edge_from(ask).to(g.end_node),
    )
    return g.build()


async def through(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    """Lead the run to its end."""
    handle = await engine.start(graph, inputs=3, run_id="run")
    if await handle.status() is Status.PAUSED:
        await engine.resume("run")
    for wait in await handle.until_waiting():
        await handle.respond(wait.task_id, GIVEN, by="somebody")
    return await handle.result()


async def paused(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    """Pause the run and let it go on."""
    handle = await engine.start(graph, inputs=3, run_id="run")
    await handle.pause(now=True)
    while await handle.status() is not Status.PAUSED:
        await asyncio.sleep(0.01)
    await engine.resume("run")
    return await through(engine, graph)


class Place:
    """A store, and what is done to it by engines that follow one another."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now = 1000.0

    def life(self, graph: Graph[Any, Any, Any, Any], deed: Deed, cancel_at: int | None, *, with_engine: bool) -> Any:
        """Do something with an engine and cancel it, or all with the engine, after some callbacks; return how many there were."""
        loop = SimulatedLoop(self.now)
        counts: list[int] = []

        async def engine_life() -> Any:
            async with Engine.open(self.store, [graph], clock=SimulatedClock(loop)) as engine:
                if with_engine:
                    return await deed(engine, graph)
                await cancelled_at(deed(engine, graph))
                return None

        async def cancelled_at(work: Any) -> Any:
            task = asyncio.ensure_future(work)
            begun = loop.steps
            if cancel_at is not None:
                loop.interruption = begun + cancel_at, task.cancel
            await asyncio.wait([task])
            counts.append(loop.steps - begun)
            return None if task.cancelled() else task.result()

        async def main() -> Any:
            result = await (cancelled_at(engine_life()) if with_engine else engine_life())
            for _ in range(3):  # idle runners leave when they next have their turn
                await asyncio.sleep(0)
            left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            assert left == [], (cancel_at, left)
            assert self.store._open == 0, cancel_at
            assert [info.run_id for info in self.store._runs.values() if info.owner and info.status == "RUNNING"] == []
            return result

        result = loop.run(main())
        self.now = loop.time() + 1
        return result, counts[0]

    def check(self, graph: Graph[Any, Any, Any, Any], place: int) -> None:
        """Let the next engine lead the run to its end."""
        result, _ = self.life(graph, through, None, with_engine=True)
        assert result == GIVEN, place

        async def look() -> None:
            loop = asyncio.get_running_loop()
            async with Engine.open(self.store, [graph], clock=SimulatedClock(loop)) as engine:  # type: ignore[arg-type]
                assert violations(await engine.history("run")) == [], place

        SimulatedLoop(self.now).run(look())


async def stepped(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    """Step through the beginning of the run, and let it go on."""
    async with engine.iter(graph, inputs=3, run_id="run") as run:
        await anext(run)
        await anext(run)
    return await through(engine, graph)


@pytest.mark.parametrize("with_engine", [False, True], ids=["a caller", "with the engine"])
@pytest.mark.parametrize("deed", [through, paused, stepped], ids=["through", "paused", "stepped"])
def test_a_cancellation_at_any_await_leaves_nothing_behind(deed: Deed, with_engine: bool) -> None:
    graph = asking()
    _, steps = Place().life(graph, deed, None, with_engine=with_engine)
    assert steps > 60
    for cancel_at in range(1, steps, 2):
        place = Place()
        place.life(graph, deed, cancel_at, with_engine=with_engine)
        place.check(graph, cancel_at)
