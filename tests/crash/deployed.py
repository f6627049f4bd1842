"""A worker process with one version of a graph: ``deployed.py FILE VERSION``. What it does is printed."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from perdure import Engine, Graph, GraphBuilder, StepContext

VERSIONS = {"old": "1.0", "changed": "2.0", "longer": "1.0"}
"""``longer`` has one more step behind those of ``old``, which runs can go on with; ``changed`` is another version, and checks an order
before it waits."""


def build(version: str) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="shop", version=VERSIONS[version], input_type=int, output_type=str)

    @g.step
    async def order(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    async def check(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    async def send(ctx: StepContext[None, None, int]) -> str:
        return f"sent by {os.getpid()}, {version}"

    async def bill(ctx: StepContext[None, None, str]) -> str:
        return f"{ctx.inputs}, billed"

    paid = g.signal("paid", int)
    sending = g.step(send, node_id="send")
    g.add(g.edge_from(g.start_node).to(order), g.edge_from(paid).to(sending))
    if version == "changed":
        checking = g.step(check, node_id="check")
        g.add(g.edge_from(order).to(checking), g.edge_from(checking).to(paid))
    else:
        g.add(g.edge_from(order).to(paid))
    if version == "longer":
        billing = g.step(bill, node_id="bill")
        g.add(g.edge_from(sending).to(billing), g.edge_from(billing).to(g.end_node))
    else:
        g.add(g.edge_from(sending).to(g.end_node))
    return g.build()


async def serve(path: str, version: str) -> None:
    async with Engine.open(path, [build(version)], lease_s=6.0) as engine:
        print("ready", flush=True)
        await engine.serve(drain_s=5)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
