"""Drives a run in which everything happens that is told of, in three lives, and then a fork of it.

In the first life some cells of the grid hang, in the second only the gate does, and in the third all is let go.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from perdure import Engine, Graph, GraphBuilder, StepContext
from perdure.graph.nodes.join import reduce_list_append, reduce_sum
from perdure.graph.nodes.policies import Retry
from perdure.telemetry import Telemetry

FORK_AT = 12


async def table(ctx: StepContext[None, None, None]) -> list[list[int]]:
    return [[1, 2], [3, 4, 5], [6]]


async def ticks(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
    for number in range(4):
        yield number
        await asyncio.sleep(0)


async def tick(ctx: StepContext[None, None, int]) -> int:
    return ctx.inputs


async def quick(ctx: StepContext[None, None, None]) -> int:
    return 1


async def slow(ctx: StepContext[None, None, None]) -> int:
    await asyncio.Event().wait()
    return 2


async def flaky(ctx: StepContext[None, None, None]) -> int:
    if ctx.attempt < 3:
        raise ValueError(f"try {ctx.attempt}")
    return ctx.attempt


async def last(ctx: StepContext[None, None, list[int]]) -> list[int]:
    return sorted(ctx.inputs)


def build(life: int, tracer: trace.Tracer | None = None) -> tuple[Graph, asyncio.Event]:
    """Return the graph, and what lets the gate go in its third life."""
    g = GraphBuilder(name="everything", output_type=list)
    released = asyncio.Event()

    @g.step
    async def cell(ctx: StepContext[None, None, int]) -> int:
        if life == 1 and ctx.inputs in (4, 6):
            await asyncio.Event().wait()
        if tracer is not None:
            with tracer.start_as_current_span("call"):
                await asyncio.sleep(0)
        return ctx.inputs

    @g.step
    async def gate(ctx: StepContext[None, None, None]) -> int:
        await released.wait()
        return 3

    spread, beat, ending = g.step(table), g.step(tick), g.step(last)
    beats = g.stream(ticks)
    trying = g.step(flaky, retry=Retry(max_attempts=3, initial_interval=0.001, jitter=False))
    cells = g.join(reduce_sum, initial=0, node_id="cells", parent_fork_id="rows")
    ticked = g.join(reduce_sum, initial=0, node_id="ticked")
    together = g.join(reduce_list_append, initial_factory=list[int], node_id="together")
    race, go, nap = g.race(g.step(quick), g.step(slow)), g.signal("go", int), g.sleep(timedelta(milliseconds=1))
    g.add(
        g.edge_from(g.start_node).to(spread, beats, race, trying, nap, gate),
        g.edge_from(spread).map(fork_id="rows").map(fork_id="columns").to(cell),
        g.edge_from(cell).to(cells),
        g.edge_from(beats).map(fork_id="beats").to(beat),
        g.edge_from(beat).to(ticked),
        g.edge_from(nap).to(go),
        g.edge_from(cells, ticked, race, trying, go, gate).to(together),
        g.edge_from(together).to(ending),
        g.edge_from(ending).to(g.end_node),
    )
    return g.build(), released


async def main(path: str, endpoint: str, life: int) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint), schedule_delay_millis=20))
    graph, released = build(life, provider.get_tracer("user"))
    async with Engine.open(path, [graph], telemetry=Telemetry(tracer_provider=provider)) as engine:
        handle = await engine.start(graph, run_id="run")
        if life == 3:
            await engine.signal("run", "go", 7)
            released.set()
        print(await handle.result())
        fork = await engine.fork_run("run", at=FORK_AT, new_run_id="fork")
        await engine.signal("fork", "go", 8)
        print(await fork.result())
    provider.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
