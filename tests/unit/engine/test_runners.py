"""Runners: shared by the runs of one context, and by no others."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

import perdure

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
