"""A run that goes on as a new one is led to its end by whoever starts it again, wherever the process before has died."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, StepContext
from perdure.testing.invariants import violations
from simulation.loop import SimulatedClock
from simulation.processes import Connection, Simulation

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    yield
    gc.collect()


def counting() -> Graph[Any, Any, Any, Any]:
    """Return a graph that goes on as a new run until it has counted to three."""
    g = GraphBuilder(name="counting", input_type=int, output_type=int)

    @g.step
    async def count(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs < 3:
            ctx.continue_as_new(ctx.inputs + 1)
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(count), g.edge_from(count).to(g.end_node))
    return g.build()


class Chain(Simulation):
    """A chain of runs, led by processes that look for no orphans, as ``graph.run`` does."""

    async def _life(self, clock: SimulatedClock) -> Any:
        self.engine = Engine.open(Connection(self.store), [self.graph], clock=clock, recover=False)
        async with self.engine as engine:
            handle = await engine.start(self.graph, inputs=1, run_id="run")
            result = await handle.result()
            return result, [await engine.history(info.run_id) for info in await engine.list()]


def test_a_chain_whose_leader_died_anywhere_is_led_on_by_who_starts_it_again() -> None:
    graph = counting()
    _, steps = Chain(graph).process()
    for place in range(1, steps):
        chain = Chain(graph)
        chain.process_or_die(place)
        (result, histories), _ = chain.process()
        assert result == 3, place
        assert len(histories) == 3, place
        assert [violations(history) for history in histories] == [[], [], []], place
        assert chain.watch.found == [], place
