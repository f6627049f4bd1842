"""A process that begins a run and never ends it: its step goes on for ever at the first attempt."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from perdure import Graph, GraphBuilder, StepContext


def build() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="sleeper", output_type=int)

    @g.step
    async def sleep(ctx: StepContext[None, None, None]) -> int:
        if ctx.attempt == 1:
            print("asleep", flush=True)
            await asyncio.Event().wait()
        return ctx.attempt

    g.add(g.edge_from(g.start_node).to(sleep), g.edge_from(sleep).to(g.end_node))
    return g.build()


if __name__ == "__main__":
    build().run_sync(store=sys.argv[1], run_id="run")
