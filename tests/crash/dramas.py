"""Dramas: what people and code do to runs beside letting them run, told so that any process can go on where one has died.

Each takes an engine of its graph and leads its run to the end; whatever has been done before it finds in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from examples.stepped import tens
from perdure import (
    Answer,
    AnswerRefused,
    BaseNode,
    End,
    EndMarker,
    Engine,
    ErrorMarker,
    Escalate,
    Failure,
    Graph,
    GraphBuilder,
    GraphRunContext,
    GraphTaskRequest,
    RunCancelled,
    RunConflict,
    RunFailed,
    RunPaused,
    RunStalled,
    StepContext,
    reduce_list_append,
    reduce_sum,
)

Play = Callable[[Engine, Graph[Any, Any, Any, Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Drama:
    """What happens to a run.

    Attributes:
        build: its graph; told whether the run has begun to wait.
        play: leads it to its end, and returns what came of it.
        expected: that.
    """

    build: Callable[[bool], Graph[Any, Any, Any, Any]]
    play: Play
    expected: Any


DRAMAS: dict[str, Drama] = {}


def drama(build: Callable[[bool], Graph[Any, Any, Any, Any]], expected: Any) -> Callable[[Play], Play]:
    """Register a drama under the name of its function."""

    def register(play: Play) -> Play:
        DRAMAS[play.__name__] = Drama(build, play, expected)
        return play

    return register


async def led_on(engine: Engine, handle: Any) -> Any:
    """Wait for the end of a run; let it go on whenever it stands still."""
    while True:
        try:
            return await handle.result()
        except RunPaused:
            verb = engine.resume
        except (RunFailed, ValueError):
            verb = engine.retry
        except RunStalled:
            verb = engine.accept
        with contextlib.suppress(RunConflict):  # it goes on already
            await verb("run", by="somebody")


def numbers(
    *, name: str = "numbers", asks: bool = False, failures: int = 0, on_error: Literal["fail", "wait"] = "fail"
) -> Graph[Any, Any, Any, Any]:
    """Return a graph that squares three numbers, each in a moment, and adds them up; it may fail at first, or ask."""
    g = GraphBuilder(name=name, input_type=int, output_type=int)

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(ctx.inputs))

    @g.step
    async def square(ctx: StepContext[None, None, int]) -> int:
        await asyncio.sleep(0.003)
        if ctx.inputs == 1 and ctx.attempt <= failures:
            raise ValueError("not yet")
        return ctx.inputs**2

    total = g.join(reduce_sum, initial=0, node_id="total", on_error=on_error)
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(square),
        g.edge_from(square).to(total),
    )
    if asks:
        ask = g.human("ask", form=int)
        g.add(g.edge_from(total).to(ask), g.edge_from(ask).to(g.end_node))
    else:
        g.add(g.edge_from(total).to(g.end_node))
    return g.build()


@drama(lambda waits: numbers(), 5)
async def a_run_is_paused_and_resumed(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    handle = await engine.start(graph, inputs=3, run_id="run")
    with contextlib.suppress(RunConflict):
        await handle.pause(by="somebody")
    return await led_on(engine, handle)


@drama(lambda waits: numbers(), 5)
async def a_run_is_interrupted_and_resumed(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    handle = await engine.start(graph, inputs=3, run_id="run")
    await asyncio.sleep(0.002)
    with contextlib.suppress(RunConflict):
        await handle.pause(now=True)
    return await led_on(engine, handle)


@drama(lambda waits: numbers(failures=2), 5)
async def a_run_fails_and_is_retried(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    return await led_on(engine, await engine.start(graph, inputs=3, run_id="run"))


@drama(lambda waits: numbers(asks=True), "cancelled")
async def a_run_is_cancelled(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    handle = await engine.start(graph, inputs=3, run_id="run")
    with contextlib.suppress(RunConflict):
        await handle.cancel(by="somebody")
    try:
        return await handle.result()
    except RunCancelled:
        return "cancelled"


@drama(lambda waits: numbers(asks=True, on_error="wait" if waits else "fail"), 8)
async def a_run_stalls_and_is_accepted(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    """From the time at which the run waits on, a join that has closed already has another policy."""
    handle = await engine.start(graph, inputs=3, run_id="run")
    while True:
        try:
            waiting = await handle.until_waiting()
            break
        except RunStalled:
            with contextlib.suppress(RunConflict):
                await engine.accept("run", by="somebody")
    for wait in waiting:
        await handle.respond(wait.task_id, 8, by="somebody")
    return await led_on(engine, handle)


def races(waits: bool) -> Graph[Any, Any, Any, Any]:
    """Return a graph that lets two steps race for each of three numbers, of which one defeats both."""
    g = GraphBuilder(name="races", input_type=list[int], output_type=list[int | Failure])

    async def answer(ctx: StepContext[None, None, int]) -> int:
        await asyncio.sleep(0.001)
        if ctx.inputs == 1:
            raise ValueError("no 1")
        return ctx.inputs * 10

    race = g.race(*(g.step(answer, node_id=name) for name in ("left", "right")), node_id="race")
    gather = g.join(reduce_list_append, initial_factory=list[int | Failure], on_error="collect", node_id="gather")
    g.add(
        g.edge_from(g.start_node).map(fork_id="each", downstream_join_id="gather").to(race),
        g.edge_from(race).to(gather),
        g.edge_from(gather).to(g.end_node),
    )
    return g.build()


@drama(races, [0, 20, "ValueError"])
async def a_race_is_lost_by_all(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    gathered = await led_on(engine, await engine.start(graph, inputs=[0, 1, 2], run_id="run"))
    numbers = sorted(value for value in gathered if not isinstance(value, Failure))
    return numbers + [value.error_type for value in gathered if isinstance(value, Failure)]


def deadlines(waits: bool) -> Graph[Any, Any, Any, Any]:
    """Return a graph that asks somebody, then somebody else, and then answers itself."""
    g = GraphBuilder(name="deadlines", output_type=int)
    soon = timedelta(milliseconds=10)
    ask = g.human("ask", form=int, deadline=soon, on_deadline=[Escalate("boss", deadline=soon), Answer(7)])
    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(g.end_node))
    return g.build()


@drama(deadlines, 7)
async def nobody_answers(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    return await led_on(engine, await engine.start(graph, run_id="run"))


def signalled(waits: bool) -> Graph[Any, Any, Any, Any]:
    """Return a graph that waits for two signals of one name, one after the other."""
    g = GraphBuilder(name="signalled", output_type=int)
    first, second = g.signal("go", int, node_id="first"), g.signal("go", int, node_id="second")
    g.add(g.edge_from(g.start_node).to(first), g.edge_from(first).to(second), g.edge_from(second).to(g.end_node))
    return g.build()


@drama(signalled, 9)
async def signals_come_early_and_wrong(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    handle = await engine.start(graph, run_id="run")
    async with Engine.open(engine._store.location, drive=False) as stranger:  # who knows no graph takes any payload
        while True:
            try:
                for payload in ("no number", 9, 9):
                    await stranger.signal("run", "go", payload)
            except AnswerRefused:
                pass  # it is over
            if not await handle.until_waiting():
                return await handle.result()


@dataclass
class Halve(BaseNode[None, None, int]):
    n: int

    async def run(self, ctx: GraphRunContext[None, None]) -> Grow | Halve | End[int]:
        await asyncio.sleep(0)
        if self.n == 1:
            return End(100)
        half = self.n // 2
        return Halve(half) if half == 1 or half % 2 == 0 else Grow(half)


@dataclass
class Grow(BaseNode[None, None, int]):
    n: int

    async def run(self, ctx: GraphRunContext[None, None]) -> Halve:
        return Halve(self.n * 3 + 1)


def collatz(waits: bool) -> Graph[Any, Any, Any, Any]:
    """Return a graph of nodes that are classes."""
    g = GraphBuilder(name="collatz", input_type=int, output_type=int)

    @g.step
    async def begin(ctx: StepContext[None, None, int]) -> Halve:
        return Halve(ctx.inputs)

    g.add(g.node(Halve), g.node(Grow), g.edge_from(g.start_node).to(begin), g.edge_from(begin).to(Halve))
    return g.build()


@drama(collatz, 100)
async def nodes_are_classes(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    return await led_on(engine, await engine.start(graph, inputs=6, run_id="run"))


def endless(waits: bool) -> Graph[Any, Any, Any, Any]:
    """Return a graph that goes on as a new run twice."""
    g = GraphBuilder(name="endless", input_type=int, output_type=int)

    @g.step
    async def count(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs < 3:
            ctx.continue_as_new(ctx.inputs + 1)
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(count), g.edge_from(count).to(g.end_node))
    return g.build()


@drama(endless, 3)
async def a_run_goes_on_as_a_new_one(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    return await led_on(engine, await engine.start(graph, inputs=1, run_id="run"))


@drama(lambda waits: numbers(), [5, 5, 5])
async def a_run_is_forked_at_two_places(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    handle = await engine.start(graph, inputs=3, run_id="run")
    results = [await handle.result()]
    for at in (1, 6):
        try:
            fork = await engine.fork_run("run", at=at, new_run_id=f"fork-{at}")
        except RunConflict:
            fork = await engine.recover_run(f"fork-{at}")
        results.append(await fork.result())
    return results


@drama(lambda waits: tens(), [1, 2])
async def a_caller_steers(engine: Engine, graph: Graph[Any, Any, Any, Any]) -> Any:
    async with engine.iter(graph, inputs=4, run_id="run") as run:
        while True:
            try:
                item = await run.next()
            except StopAsyncIteration:
                return run.output
            except (ValueError, RunFailed):  # the latter where it failed in a process that is gone
                marker = run.next_task
                assert isinstance(marker, ErrorMarker)
                assert marker.task is not None
                run.override_next([GraphTaskRequest("times_ten", 30, marker.task.fork_stack)])
                continue
            if item == EndMarker([10, 20, 40, 300]):
                run.override_next([GraphTaskRequest("in_order", [2, 1])])
