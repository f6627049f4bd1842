"""Runners: shared by the runs of one context, and by no others."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

import perdure
from perdure.engine.calling.runners import Runners, _of_loops

caller: ContextVar[str] = ContextVar("caller", default="nobody")


def noting(noted: list[Any]) -> Any:
    g = perdure.GraphBuilder(name="noting", input_type=int, output_type=str)

    @g.step
    async def note(ctx: perdure.StepContext[None, None, int]) -> str:
        noted.append(asyncio.current_task())
        if ctx.inputs < 0:
            caller.set("a body")
        return caller.get()

    g.add(g.edge_from(g.start_node).to(note), g.edge_from(note).to(g.end_node))
    return g.build()


async def started(inputs: list[int], callers: list[str]) -> tuple[list[str], list[Any]]:
    noted: list[Any] = []
    graph = noting(noted)

    async def one(engine: perdure.Engine, number: int, name: str) -> str:
        caller.set(name)
        result: str = await (await engine.start(graph, inputs=number)).result()
        return result

    async with perdure.Engine.open(perdure.MemoryStore(), [graph]) as engine:
        results = await asyncio.gather(*(one(engine, *each) for each in zip(inputs, callers, strict=True)))
    return results, noted


def test_runs_of_one_context_share_their_runners() -> None:
    results, noted = asyncio.run(started([0] * 50, ["ann"] * 50))
    assert results == ["ann"] * 50
    assert len({id(task) for task in noted}) < 10


@pytest.mark.parametrize("inputs", [[0, 0, 0, 0], [-1, 0, -1, 0]])
def test_a_body_sees_the_context_of_who_started_its_run_and_nothing_of_other_bodies(inputs: list[int]) -> None:
    callers = ["ann", "bob", "ann", "bob"]
    results, _ = asyncio.run(started(inputs, callers))
    assert results == ["a body" if number < 0 else name for number, name in zip(inputs, callers, strict=True)]


def test_a_reducer_sees_nothing_of_what_those_of_other_runs_leave_behind() -> None:
    def who(current: list[str], item: int) -> list[str]:
        if item < 0:
            caller.set("a reducer")
        return [*current, caller.get()]

    g = perdure.GraphBuilder(name="reducing", input_type=int, output_type=list[str])

    @g.step
    async def both(ctx: perdure.StepContext[None, None, int]) -> list[int]:
        return [ctx.inputs]

    @g.step
    async def same(ctx: perdure.StepContext[None, None, int]) -> int:
        return ctx.inputs

    join = g.join(who, initial_factory=list[str])
    g.add(
        g.edge_from(g.start_node).to(both),
        g.edge_from(both).map().to(same),
        g.edge_from(same).to(join),
        g.edge_from(join).to(g.end_node),
    )
    graph = g.build()

    async def main() -> list[list[str]]:
        async with perdure.Engine.open(perdure.MemoryStore(), [graph]) as engine:
            handles = [await engine.start(graph, inputs=number) for number in (-1, 0, -1, 0, 0)]
            return [await handle.result() for handle in handles]

    results = asyncio.run(main())
    assert results == [[name] for name in ("a reducer", "nobody", "a reducer", "nobody", "nobody")]


def test_what_is_called_after_the_bodies_is_called_though_one_before_it_raises() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        runners = Runners(lambda: 0.0)
        called: list[int] = []
        raised: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
        runners.call_after(lambda: called.append(1))
        runners.call_after(fail)
        runners.call_after(lambda: called.append(2))
        assert called == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert called == [1, 2]
        assert [type(error) for error in raised] == [ZeroDivisionError]

    asyncio.run(main())


def test_runs_in_memory_of_one_context_share_their_runners_and_keep_none() -> None:
    noted: list[Any] = []
    graph = noting(noted)

    async def main() -> list[str]:
        results = await asyncio.gather(*(graph.run(inputs=0) for _ in range(50)))
        for _ in range(3):  # idle runners leave when they next have their turn
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert _of_loops[asyncio.get_running_loop()]._known == {}
        return results

    assert asyncio.run(main()) == ["nobody"] * 50
    assert len({id(task) for task in noted}) < 10
