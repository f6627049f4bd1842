"""Drives one run of 500 branches and tells a backend of it; the branches from a number on never end."""

from __future__ import annotations

import asyncio
import sys

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from perdure import Engine, GraphBuilder, StepContext
from perdure.graph.nodes.join import reduce_list_append
from perdure.telemetry import Telemetry

WIDTH = 500


def build(upto: int, provider: TracerProvider | None):
    g = GraphBuilder(name="survey", output_type=int)

    @g.step
    async def spread(ctx: StepContext[None, None, None]) -> list[int]:
        return list(range(WIDTH))

    @g.step
    async def ask(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs >= upto:
            await asyncio.Event().wait()
        if provider is not None and ctx.inputs % 100 == 0:
            with provider.get_tracer("survey").start_as_current_span("call"):
                await asyncio.sleep(0)
        return ctx.inputs

    @g.step
    async def add(ctx: StepContext[None, None, list[int]]) -> int:
        return sum(ctx.inputs)

    collect = g.join(reduce_list_append, initial_factory=list[int], node_id="collect")
    g.add(
        g.edge_from(g.start_node).to(spread),
        g.edge_from(spread).map(fork_id="people").to(ask),
        g.edge_from(ask).to(collect),
        g.edge_from(collect).to(add),
        g.edge_from(add).to(g.end_node),
    )
    return g.build()


async def main(path: str, endpoint: str, upto: int) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint), schedule_delay_millis=50))
    graph = build(upto, provider)
    async with Engine.open(path, [graph], telemetry=Telemetry(tracer_provider=provider)) as engine:
        print(await (await engine.start(graph, run_id="run")).result())
    provider.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
