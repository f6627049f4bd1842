"""Turns: taken by plain calls while the driver's coroutine sleeps, and left to it wherever something has to be awaited."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import perdure
from perdure.engine.driving.turns import Turns

LENGTH = 20


def line(entered: list[int]) -> Any:
    g = perdure.GraphBuilder(name="line", input_type=int, output_type=int)

    async def add_one(ctx: perdure.StepContext[None, None, int]) -> int:
        entered.append(ctx.inputs)
        return ctx.inputs + 1

    steps = [g.step(add_one, node_id=f"step_{number}") for number in range(LENGTH)]
    for one, other in zip([g.start_node, *steps], [*steps, g.end_node], strict=True):
        g.add(g.edge_from(one).to(other))
    return g.build()


@pytest.mark.parametrize("store", [None, perdure.MemoryStore()], ids=["in memory", "on a store"])
def test_the_coroutine_sleeps_while_steps_follow_each_other(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []
    wake_up = Turns._wake_up

    def counting(self: Turns) -> None:
        woken.append(self.run.seq)
        wake_up(self)

    monkeypatch.setattr(Turns, "_wake_up", counting)
    graph = line([])
    assert asyncio.run(graph.run(inputs=0, **({"store": store} if store is not None else {}))) == LENGTH
    assert len(woken) <= 2


def test_a_driver_that_is_cancelled_does_not_act_on_the_commit_that_was_on_its_way() -> None:
    entered: list[int] = []
    graph = line(entered)

    async def main() -> None:
        store = perdure.MemoryStore()
        async with perdure.Engine.open(store, [graph], recover=False) as engine:
            await engine.start(graph, inputs=0, run_id="run")
            driven = engine.driven("run")
            assert driven is not None
            assert driven.task is not None
            while driven.driver._landing is None or len(entered) < 3:
                await asyncio.sleep(0)
            driven.task.cancel()
            await asyncio.wait([driven.task])
            for _ in range(10):
                await asyncio.sleep(0)
            assert entered == [0, 1, 2]
        async with perdure.Engine.open(store, [graph]) as engine:
            assert await engine.attach("run").result() == LENGTH

    asyncio.run(main())
