"""Timers fire once, never early, and also when they were due while no process was up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, GraphRuntimeError, GraphSetupError, StepContext
from perdure.events import TimerFired, WaitOpened
from simulation.world import World, kinds


def sleeping(*sleeps: Any, until: bool = False) -> Graph[Any, Any, Any, Any]:
    """Return a graph that sleeps several times in a row and gives out its input."""
    g = GraphBuilder(name="sleeping", input_type=Any, output_type=Any, deps_type=None)
    nodes = [g.sleep_until(sleep) if until else g.sleep(sleep) for sleep in sleeps]
    for source, target in zip([g.start_node, *nodes], [*nodes, g.end_node], strict=True):
        g.add(g.edge_from(source).to(target))
    return g.build()


def check_times(history: Any) -> list[float]:
    """Check that each timer fired once and not early; return by how many seconds each was late."""
    opened = {r.event.task: r.event.due_at for r in history if isinstance(r.event, WaitOpened)}
    fired = {r.event.task: r.ts for r in history if isinstance(r.event, TimerFired)}
    assert len(fired) == kinds(history).count("TimerFired") == len(opened)
    late = [(fired[task] - due) / 1e6 for task, due in opened.items()]
    assert min(late) >= 0
    return late


@pytest.mark.parametrize("seconds", [0, 0.001, 0.3, 1.5, 40])
def test_a_sleep_lasts_as_long_as_it_should_and_gives_on_what_it_got(seconds: float) -> None:
    graph, world = sleeping(timedelta(seconds=seconds), timedelta(seconds=seconds)), World()

    async def main(engine: Engine) -> Any:
        handle = await engine.start(graph, inputs=[1, "x"], run_id="run")
        began = world.clock.now()
        assert await handle.result() == [1, "x"]
        assert 2 * seconds * 1e6 <= world.clock.now() - began <= 2 * seconds * 1e6 + 0.3e6
        return await engine.history("run")

    assert max(check_times(world.live(main, graph))) <= 0.1


def test_a_sleep_can_be_said_by_a_function_and_end_at_a_time() -> None:
    world = World()
    graph = sleeping(lambda ctx: datetime.fromtimestamp(world.now_s + ctx.inputs, UTC), until=True)

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, inputs=20, run_id="run")
        (wait,) = await handle.until_waiting()
        assert (wait.kind, wait.due_at) == ("sleep", int((world.now_s + 20) * 1e6))
        assert engine.driven("run") is None
        assert await handle.result() == 20
        check_times(await engine.history("run"))

    world.live(main, graph)
    graph = sleeping(lambda ctx: timedelta(seconds=ctx.inputs))
    world.live(lambda engine: engine.start(graph, inputs=1, run_id="other"), graph)


def test_a_time_in_the_past_is_no_wait_worth_mentioning() -> None:
    graph, world = sleeping(datetime(1970, 1, 2, tzinfo=UTC), until=True), World()

    async def main(engine: Engine) -> Any:
        return await (await engine.start(graph, inputs=3)).result()

    assert world.live(main, graph) == 3


@pytest.mark.parametrize("wrong", [3, datetime(2030, 1, 1)])  # noqa: DTZ001
def test_a_time_without_a_zone_is_refused(wrong: Any) -> None:
    with pytest.raises(GraphSetupError, match="time zone"):
        GraphBuilder(name="g").sleep_until(wrong)
    graph = sleeping(lambda ctx: wrong, until=True)

    async def main(engine: Engine) -> None:
        with pytest.raises(GraphRuntimeError, match="time zone"):
            await (await engine.start(graph)).result()

    World().live(main, graph)


def test_a_timer_that_was_due_while_no_process_was_up_fires_when_one_is() -> None:
    graph, world = sleeping(timedelta(hours=1), timedelta(hours=1)), World()

    async def begin(engine: Engine) -> None:
        handle = await engine.start(graph, inputs=1, run_id="run")
        await handle.until_waiting()

    async def look(engine: Engine) -> Any:
        handle = engine.attach("run")
        return len(await handle.until_waiting()), check_times_so_far(await engine.history("run"))

    def check_times_so_far(history: Any) -> int:
        return kinds(history).count("TimerFired")

    async def end(engine: Engine) -> Any:
        assert await engine.attach("run").result() == 1
        return await engine.history("run")

    world.live(begin, graph)
    world.pass_time(1800)
    assert world.live(look, graph) == (1, 0)
    world.pass_time(2000)
    assert world.live(look, graph) == (1, 1)
    world.pass_time(24 * 3600)
    late = check_times(world.live(end, graph))
    assert late[1] > 22 * 3600


def test_a_clock_that_jumps_ahead_wakes_and_one_that_jumps_back_fires_neither_early_nor_late() -> None:
    for unloaded in (False, True):
        graph, world = sleeping(timedelta(seconds=10 if unloaded else 0.9)), World()

        async def main(engine: Engine, world: World = world, graph: Any = graph, unloaded: bool = unloaded) -> None:
            handle = await engine.start(graph, inputs=1, run_id="run")
            began = world.clock.monotonic()
            await world.clock.sleep(0.1)
            assert (engine.driven("run") is None) == unloaded
            world.clock.jumped_s = -20.0
            assert await handle.result() == 1
            slept = world.clock.monotonic() - began
            assert 0 <= slept - (10 if unloaded else 0.9) < 0.3
            check_times(await engine.history("run"))

        world.live(main, graph)


def test_a_clock_that_jumps_ahead_wakes() -> None:
    graph, world = sleeping(timedelta(seconds=1000)), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, inputs=1, run_id="run")
        await world.clock.sleep(0.1)
        world.clock.jumped_s = 3600.0
        before = world.clock.monotonic()
        assert await handle.result() == 1
        assert world.clock.monotonic() - before <= 31
        world.clock.jumped_s = 0.0  # a log's times never go back
        check_times(await engine.history("run"))

    world.live(main, graph)


def test_a_run_in_memory_can_sleep() -> None:
    graph = sleeping(timedelta(milliseconds=2))
    assert asyncio.run(graph.run(inputs=5)) == 5


def test_many_timers_due_at_once_all_fire_once() -> None:
    graph, world = sleeping(timedelta(seconds=30)), World()

    async def begin(engine: Engine) -> None:
        handles = [await engine.start(graph, inputs=number, run_id=f"run {number}") for number in range(250)]
        for handle in handles:
            await handle.until_waiting()

    async def end(engine: Engine) -> None:
        for number in range(250):
            assert await engine.attach(f"run {number}").result() == number
            check_times(await engine.history(f"run {number}"))

    world.live(begin, graph)
    world.pass_time(100)
    world.live(end, graph)


@pytest.mark.parametrize("given", ["to the run", "to the engine", "by a factory"])
def test_a_run_that_is_woken_has_the_dependencies_it_was_started_with(given: str) -> None:
    g = GraphBuilder(name="with_deps", deps_type=str, output_type=str)
    nap = g.sleep(timedelta(seconds=5))

    @g.step
    async def tell(ctx: StepContext[None, str, None]) -> str:
        return ctx.deps

    g.add(g.edge_from(g.start_node).to(nap), g.edge_from(nap).to(tell), g.edge_from(tell).to(g.end_node))
    graph, world = g.build(), World()
    options: dict[str, Any] = {}
    if given == "to the engine":
        options = {"deps": "mine"}
    elif given == "by a factory":
        options = {"deps_for": {"with_deps": lambda: "mine"}}

    async def main(engine: Engine) -> Any:
        own = {"deps": "mine"} if given == "to the run" else {}
        handle = await engine.start(graph, run_id="run", **own)
        await handle.until_waiting()
        assert engine.driven("run") is None
        return await handle.result()

    for recover in (True, False):
        world = World()
        assert world.live(main, graph, recover=recover, **options) == "mine"


def test_a_factory_of_dependencies_that_raises_does_not_keep_others_from_being_woken() -> None:
    world = World()
    good, calls = sleeping(timedelta(seconds=2)), []
    g = GraphBuilder(name="bad", deps_type=str, output_type=str)
    nap = g.sleep(timedelta(seconds=2))
    g.add(g.edge_from(g.start_node).to(nap), g.edge_from(nap).transform(lambda ctx: ctx.deps).to(g.end_node))
    bad = g.build()

    def factory() -> str:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("no connection")
        return "connected"

    async def main(engine: Engine) -> None:
        first, second = await engine.start(bad, run_id="bad"), await engine.start(good, inputs=1)
        assert await second.result() == 1
        assert await first.result() == "connected"
        assert len(calls) == 3

    world.live(main, good, bad, deps_for={"bad": factory})
