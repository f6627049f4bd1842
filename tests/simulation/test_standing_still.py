"""Pausing, resuming, cancelling and retrying runs, above all those that wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import pytest

from perdure import (
    AnswerRefused,
    Engine,
    Graph,
    GraphBuilder,
    GraphRuntimeError,
    RunCancelled,
    RunConflict,
    RunPaused,
    RunStalled,
    Status,
    StepContext,
)
from simulation.world import World, kinds

Durability = Literal["sync", "async", "exit"]
modes = pytest.mark.parametrize("durability", ["sync", "async", "exit"])


def asking(*, work_s: float = 0.0) -> Graph[Any, Any, Any, Any]:
    """Return a graph that asks a person beside a sleep, and then works."""
    g = GraphBuilder(name="asking", state_type=list[str], output_type=Any)
    ask = g.human("ask", form=int, assignee="clerk")
    nap = g.sleep(timedelta(seconds=20))

    @g.step
    async def work(ctx: StepContext[list[str], None, list[Any]]) -> Any:
        ctx.state.append("begun")
        await World.now.sleep(work_s)
        return ctx.inputs[0]

    both = g.parallel(ask, nap, then=work)
    g.add(g.edge_from(g.start_node).to(both), g.edge_from(both).to(g.end_node))
    return g.build()


def failing(times: int) -> Graph[Any, Any, Any, Any]:
    """Return a graph that asks a person and waits for a signal, beside a step that fails a few times."""
    g = GraphBuilder(name="failing", output_type=list[Any])
    ask, go = g.human("ask", form=int), g.signal("go", int)
    failed = []

    @g.step
    async def fail(ctx: StepContext[None, None, None]) -> int:
        await World.now.sleep(3)
        if len(failed) < times:
            failed.append(ctx.attempt)
            raise ValueError("not yet")
        return 1

    all_of_them = g.parallel(ask, go, fail)
    g.add(g.edge_from(g.start_node).to(all_of_them), g.edge_from(all_of_them).to(g.end_node))
    return g.build()


@modes
def test_a_run_that_waits_can_be_paused_answered_and_resumed(durability: Durability) -> None:
    graph, world = asking(), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, state=[], run_id="run", durability=durability)
        await handle.until_waiting()
        await handle.pause(by="Ada", reason="lunch")
        with pytest.raises(RunPaused):
            await handle.result()
        assert await handle.status() is Status.PAUSED
        with pytest.raises(RunConflict, match="stands still already"):
            await handle.pause()
        (wait,) = [wait for wait in await handle.waiting() if wait.kind == "human"]
        await handle.respond(wait.task_id, 4)
        await world.clock.sleep(60)  # the sleep is due, and the answer is there, and nothing happens
        assert await handle.status() is Status.PAUSED
        assert await handle.state() == []
        assert kinds(await engine.history("run")).count("RunPaused") == 1

    async def resume(engine: Engine) -> Any:
        handle = await engine.resume("run", by="Ada")
        with pytest.raises(RunConflict):
            await engine.resume("run")
        return await handle.result()

    world.live(main, graph)
    assert world.live(resume, graph) == 4


def test_a_pause_lets_bodies_finish_and_one_that_is_asked_for_now_does_not() -> None:
    for now in (False, True):
        graph, world = asking(work_s=10), World()

        async def main(engine: Engine, now: bool = now, graph: Any = graph, world: World = world) -> None:
            handle = await engine.start(graph, state=[], run_id="run")
            (wait,) = [wait for wait in await handle.until_waiting() if wait.kind == "human"]
            await handle.respond(wait.task_id, 4)
            await world.clock.sleep(25)  # the step works
            began = world.clock.monotonic()
            await handle.pause(now=now)
            await handle.pause(now=now)
            if now:
                with pytest.raises(RunPaused):
                    await handle.result()
                assert world.clock.monotonic() - began < 1
                assert await handle.state() == []
                handle = await engine.resume("run")
            assert await handle.result() == 4
            assert await handle.state() == ["begun"]

        world.live(main, graph)


@modes
def test_a_run_that_waits_can_be_cancelled(durability: Durability) -> None:
    graph, world = asking(), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, state=[], run_id="run", durability=durability)
        (wait, *_) = await handle.until_waiting()
        await handle.cancel(by="Ada", reason="not needed")
        with pytest.raises(RunCancelled):
            await handle.result()
        with pytest.raises(RunCancelled):
            await handle.until_waiting()
        assert await handle.waiting() == []
        with pytest.raises(AnswerRefused):
            await handle.respond(wait.task_id, 1)
        for verb in (handle.pause, handle.cancel):
            with pytest.raises(RunConflict, match="is over"):
                await verb()
        with pytest.raises(RunConflict):
            await engine.resume("run")
        with pytest.raises(RunConflict):
            await engine.retry("run")
        last = (await engine.history("run"))[-1]
        assert (last.kind, last.event.by, last.event.reason) == ("RunCancelled", "Ada", "not needed")

    world.live(main, graph)


def test_a_paused_run_can_be_cancelled_without_its_graph() -> None:
    graph, world = asking(), World()

    async def pause(engine: Engine) -> None:
        handle = await engine.start(graph, state=[], run_id="run")
        await handle.until_waiting()
        await handle.pause()
        with pytest.raises(RunPaused):
            await handle.until_waiting()

    async def cancel(engine: Engine) -> None:
        with pytest.raises(RunStalled):
            await engine.resume("run")
        await engine.cancel("run", by="Ada")
        assert (await engine.get("run")).status == "CANCELLED"
        assert await engine.waiting("run") == []

    world.live(pause, graph)
    world.live(cancel)


def test_requests_from_a_process_without_the_graph_are_carried_out_by_the_next_that_has_it() -> None:
    for verb, error in (("pause", RunPaused), ("cancel", RunCancelled)):
        graph, world = asking(), World()

        async def start(engine: Engine, graph: Any = graph) -> None:
            await (await engine.start(graph, state=[], run_id="run")).until_waiting()

        async def ask(engine: Engine, verb: str = verb) -> None:
            await getattr(engine, verb)("run")

        async def look(engine: Engine, error: Any = error) -> None:
            with pytest.raises(error):
                await engine.attach("run").result()

        world.live(start, graph)
        world.live(ask)
        world.live(look, graph)


@modes
def test_a_failed_run_keeps_its_open_waits_and_what_came_for_them_until_it_is_retried(durability: Durability) -> None:
    graph, world = failing(2), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run", durability=durability)
        with pytest.raises(ValueError, match="not yet"):
            await handle.until_waiting()
        assert await handle.status() is Status.FAILED
        assert await handle.waiting() == []
        handle = await engine.retry("run", by="Ada")
        await world.clock.sleep(1)
        (person,) = [wait for wait in await engine.waiting("run") if wait.kind == "human"] or [None]
        assert person is not None
        await handle.respond(person.task_id, 7)
        await handle.signal("go", 8)
        with pytest.raises(ValueError, match="not yet"):
            await handle.result()
        with pytest.raises(AnswerRefused):
            await handle.respond(person.task_id, 9)

    async def retry(engine: Engine) -> Any:
        handle = await engine.retry("run")
        return await handle.result()

    world.live(main, graph)
    assert world.live(retry, graph) == [7, 8, 1]


def test_a_run_whose_deadline_passes_while_it_waits_fails() -> None:
    graph, world = asking(), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, state=[], run_id="run", deadline=timedelta(seconds=10))
        await handle.until_waiting()
        began = world.clock.now()
        with pytest.raises(Exception, match="wasn't over by its deadline"):
            await handle.result()
        assert 9.9e6 <= world.clock.now() - began <= 11e6
        assert await handle.waiting() == []

    world.live(main, graph)


def test_until_waiting_returns_nothing_of_a_run_that_ends_and_waits_for_the_next_wait_otherwise() -> None:
    g = GraphBuilder(name="gates", output_type=int)
    one, two = g.human("one", form=int), g.human("two", form=int)

    @g.step
    async def between(ctx: StepContext[None, None, int]) -> int:
        await World.now.sleep(5)
        return ctx.inputs

    for source, target in ((g.start_node, one), (one, between), (between, two), (two, g.end_node)):
        g.add(g.edge_from(source).to(target))  # type: ignore[arg-type]
    graph, world = g.build(), World()

    async def start(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        (wait,) = await handle.until_waiting()
        await handle.respond(wait.task_id, 1)
        (wait,) = await handle.until_waiting()
        assert wait.name == "two"
        assert handle.is_driven_here
        assert (await handle.until_waiting()) == [wait]
        await handle.respond(wait.task_id, 2)
        assert await handle.until_waiting() == []
        assert await handle.until_waiting() == []

    world.live(start, graph)


def test_an_engine_that_recovers_nothing_wakes_the_runs_it_has_driven() -> None:
    graph, world = asking(), World()

    async def main(engine: Engine) -> Any:
        handle = await engine.start(graph, state=[], run_id="run")
        (wait,) = [wait for wait in await handle.until_waiting() if wait.kind == "human"]
        await handle.respond(wait.task_id, 3)
        return await handle.result()

    assert world.live(main, graph, recover=False) == 3


def test_a_run_without_a_way_to_its_end_says_so_when_its_wait_is_over() -> None:
    g = GraphBuilder(name="lost", output_type=int)
    ask = g.human("ask", form=int)
    g.add(
        g.edge_from(g.start_node).to(ask),
        g.edge_from(ask).to(g.decision().branch(g.match(int, matches=lambda value: value > 0).to(g.end_node))),
    )
    graph, world = g.build(), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        (wait,) = await handle.until_waiting()
        await handle.respond(wait.task_id, 0)
        with pytest.raises(GraphRuntimeError, match="no branch"):
            await handle.result()
        assert await handle.status() is Status.FAILED

    world.live(main, graph)
