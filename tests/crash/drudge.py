"""A worker process: ``drudge.py FILE NAME LEASE SLOW``. Every body it enters is written to a file of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from perdure import Engine, Graph, GraphBuilder, StepContext, reduce_list_append, reduce_sum

WIDTH = 3


def build(enter: Any = None, *, slow_s: float = 0.0) -> Graph[Any, Any, Any, Any]:
    """A graph of a few steps: a fork into three, a join, and a step behind it."""
    g = GraphBuilder(name="drudgery", input_type=int, output_type=int)

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        if enter is not None:
            enter(ctx)
        return [ctx.inputs + index for index in range(WIDTH)]

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        if enter is not None:
            enter(ctx)
        await asyncio.sleep(slow_s)
        return ctx.inputs * 2

    @g.step
    async def report(ctx: StepContext[None, None, int]) -> int:
        if enter is not None:
            enter(ctx)
        return ctx.inputs

    total = g.join(reduce_sum, initial=0, node_id="total")
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(work),
        g.edge_from(work).to(total),
        g.edge_from(total).to(report),
        g.edge_from(report).to(g.end_node),
    )
    return g.build()


def build_letters(enter: Any = None, *, slow_s: float = 0.0) -> Graph[Any, Any, Any, Any]:
    """A graph that asks a person and waits for a signal, at the same time, and works before and after."""
    g = GraphBuilder(name="letters", input_type=int, output_type=list[int])

    async def work(ctx: StepContext[None, None, int]) -> int:
        if enter is not None:
            enter(ctx)
        await asyncio.sleep(slow_s)
        return ctx.inputs

    write, read, file = (g.step(work, node_id=name) for name in ("write", "read", "file"))
    answer, receipt = g.human("answer", form=int), g.signal("receipt", int)
    joined = g.join(reduce_list_append, initial_factory=list[int], order="branch", node_id="both")
    g.add(
        g.edge_from(g.start_node).to(write),
        g.edge_from(write).to(answer, receipt),
        g.edge_from(answer).to(read),
        g.edge_from(receipt).to(file),
        g.edge_from(read, file).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    return g.build()


LETTER_BODIES = 3
DRUDGERY_BODIES = WIDTH + 2


def expected(number: int) -> int:
    return sum((number + index) * 2 for index in range(WIDTH))


async def drudge(path: str, name: str, lease_s: float, slow_s: float) -> None:
    handle = os.open(f"{path}-{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def enter(ctx: StepContext[Any, Any, Any]) -> None:
        os.write(handle, f"{ctx.run_id} {ctx.task_id} {ctx.attempt}\n".encode())

    graphs = [build(enter, slow_s=slow_s), build_letters(enter, slow_s=slow_s)]
    async with Engine.open(path, graphs, lease_s=lease_s, max_runs=25) as engine:
        print("ready", flush=True)
        await engine.serve(drain_s=5)
    print("drained", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    asyncio.run(drudge(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
