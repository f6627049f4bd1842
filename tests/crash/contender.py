"""A process that drives runs beside others: ``contender.py FILE NAME RUNS``.

It starts runs that others start too, and says what came of each. Every body it enters is written to a file of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from perdure import Engine, Graph, GraphBuilder, StepContext, reduce_list_append


def build(note: Any) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="contended", input_type=int, output_type=list[int])

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        note(ctx)
        return list(range(ctx.inputs))

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        note(ctx)
        await asyncio.sleep(0.002 * (ctx.inputs % 5))
        return ctx.inputs * 2

    @g.step
    async def again(ctx: StepContext[None, None, int]) -> int:
        note(ctx)
        return ctx.inputs + 1

    joined = g.join(reduce_list_append, initial_factory=list[int], order="branch")
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(work),
        g.edge_from(work).to(again),
        g.edge_from(again).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    return g.build()


async def contend(path: str, name: str, runs: int) -> None:
    handle = os.open(f"{path}-{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    graph = build(lambda ctx: os.write(handle, f"{ctx.run_id} {ctx.task_id} {ctx.attempt}\n".encode()))
    async with Engine.open(path, [graph]) as engine:
        print("ready", flush=True)
        sys.stdin.readline()

        async def one(number: int) -> list[int]:
            started = await engine.start(graph, inputs=number % 7 + 3, run_id=f"run-{number}")
            result: list[int] = await started.result()
            return result

        results = await asyncio.gather(*map(one, range(runs)))
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    asyncio.run(contend(sys.argv[1], sys.argv[2], int(sys.argv[3])))
