"""Whoever is cancelled while an engine closes, and however often: nothing of it is left behind, and the loop can close."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, StepContext

TURNS = [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]
"""After how many turns of the loop it is cancelled, and again after as many."""


def slow() -> Graph[Any, Any, int, int]:
    g = GraphBuilder(name="slow", input_type=int, output_type=int)

    @g.step
    async def never(ctx: StepContext[None, None, int]) -> int:
        await asyncio.Event().wait()
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(never), g.edge_from(never).to(g.end_node))
    return g.build()


async def left(graph: Graph[Any, Any, int, int], path: Path) -> None:
    async with Engine.open(path, [graph]) as engine:
        await engine.start(graph, inputs=1)


async def run(graph: Graph[Any, Any, int, int], path: Path) -> None:
    await graph.run(inputs=1, store=path)


async def in_memory(graph: Graph[Any, Any, int, int], path: Path) -> None:
    await graph.run(inputs=1)


async def stepped(graph: Graph[Any, Any, int, int], path: Path) -> None:
    async with Engine.open(path, [graph]) as engine, engine.iter(graph, inputs=1) as run:
        async for _ in run:
            pass


async def served(graph: Graph[Any, Any, int, int], path: Path) -> None:
    async with Engine.open(path, [graph]) as engine:
        await engine.start(graph, inputs=1)
        engine.stop_serving()
        await engine.serve(drain_s=60)


Life = Callable[[Graph[Any, Any, int, int], Path], Awaitable[None]]


def open_files(path: Path) -> list[str]:
    """Return which files in a folder this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    return [name for name in found if name.startswith(str(path))]


def working() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are listed in /proc")
@pytest.mark.parametrize("life", [left, run, in_memory, stepped, served], ids=lambda life: life.__name__)
@pytest.mark.parametrize("by", ["its caller", "the end of the loop"])
def test_cancellations_at_any_time_leave_no_task_no_thread_and_no_open_file(
    tmp_path: Path, life: Life, by: str
) -> None:
    graph, before = slow(), working()

    async def cancelled(turns: int) -> None:
        task = asyncio.ensure_future(life(graph, tmp_path / "runs.db"))
        for _ in range(1 if by == "the end of the loop" else 4):
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
        if by == "the end of the loop":
            for _ in range(turns // 2):
                await asyncio.sleep(0)
            return
        await asyncio.wait([task])
        for _ in range(3):  # idle runners leave when they next have their turn
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}, turns
        assert open_files(tmp_path) == [], turns

    for turns in TURNS:
        asyncio.run(cancelled(turns))
        assert open_files(tmp_path) == [], turns
        gc.collect()
    for thread in working() - before:
        thread.join(10)
    assert working() <= before
