"""Runs that wait: what they cost while they do, and how soon they go on."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import perdure
from benchmarks.measure import Benchmark, Measured

WAITING = 10_000
RESUMED = 1_000
AT_ONCE = 200
IDLE_S = 5.0

IDLE, ANSWERED, FOUND, RUNG = (
    "started, and waiting",
    "answered",
    "answered before the engine opens",
    "woken by the clock",
)


def asking() -> Any:
    """Return a graph that asks somebody, who has a day to answer, and then does one step."""
    g = perdure.GraphBuilder(name="asking", input_type=int, output_type=int)
    ask = g.human("ask", form=int, title="How much?", assignee="clerk", deadline=timedelta(days=1))

    @g.step
    async def double(ctx: perdure.StepContext[None, None, int]) -> int:
        return ctx.inputs * 2

    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(double), g.edge_from(double).to(g.end_node))
    return g.build()


def napping() -> Any:
    """Return a graph that sleeps for two seconds and then does one step."""
    g = perdure.GraphBuilder(name="napping", input_type=int, output_type=int)

    @g.step
    async def double(ctx: perdure.StepContext[None, None, int]) -> int:
        return ctx.inputs * 2

    nap = g.sleep(timedelta(seconds=2))
    g.add(g.edge_from(g.start_node).to(nap), g.edge_from(nap).to(double), g.edge_from(double).to(g.end_node))
    return g.build()


def resident_bytes() -> int:
    """Return how much memory the process has now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def start_waiting(engine: perdure.Engine, graph: Any, count: int) -> None:
    """Start runs and see them wait."""
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        handles = await asyncio.gather(*(engine.start(graph, inputs=n, run_id=f"run {n}") for n in numbers))
        await asyncio.gather(*(handle.until_waiting() for handle in handles))


async def tasks_of(engine: perdure.Engine) -> list[tuple[str, str]]:
    """Return the run and the task of each person who is asked."""
    return [(wait.run_id, wait.task_id) for wait in await engine.waiting(kind="human", limit=WAITING)]


async def see_results(engine: perdure.Engine, count: int) -> None:
    """Wait for the results of runs, and check them."""
    results = await asyncio.gather(*(engine.attach(f"run {n}").result() for n in range(count)))
    assert results == [2 * n for n in range(count)]


# --- waiting ---


def _idle_in_process(folder: str) -> tuple[float, dict[str, float]]:
    return asyncio.run(_idle(Path(folder)))


async def _idle(folder: Path) -> tuple[float, dict[str, float]]:
    graph = asking()
    async with perdure.Engine.open(folder / "runs.db", graphs=[graph]) as engine:
        await start_waiting(engine, graph, AT_ONCE)  # what is made on first use is no cost of waiting
        before, began = resident_bytes(), time.perf_counter()
        await start_waiting(engine, graph, WAITING)
        seconds = time.perf_counter() - began
        more = resident_bytes() - before
        busy, began = time.process_time(), time.perf_counter()
        await asyncio.sleep(IDLE_S)
        share = (time.process_time() - busy) / (time.perf_counter() - began)
        assert all(engine.driven(f"run {n}") is None for n in range(WAITING))
        waits = await engine.waiting(limit=WAITING + 1)
        assert len(waits) == WAITING
    return seconds, {"MB more": more / 1e6, "% of a core": share * 100}


async def idle(folder: Path) -> Measured:
    """Start many runs that wait, and look what they cost while nothing happens, in a process of their own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seconds, extra = await asyncio.get_running_loop().run_in_executor(pool, _idle_in_process, str(folder))
    return Measured(WAITING, seconds, extra)


# --- going on ---


async def answered(folder: Path) -> Measured:
    """Answer many runs, from the first answer to the last result."""
    graph, measured = asking(), Measured(RESUMED)
    async with perdure.Engine.open(folder / "runs.db", graphs=[graph]) as engine:
        await start_waiting(engine, graph, RESUMED)
        tasks = await tasks_of(engine)
        with measured.timed():
            await asyncio.gather(*(engine.respond(run, task, int(run[4:]), by="clerk") for run, task in tasks))
            await see_results(engine, RESUMED)
    return measured


async def found(folder: Path) -> Measured:
    """Resume many runs whose answers came while no engine was there, from opening one to the last result."""
    graph, measured = asking(), Measured(RESUMED)
    async with perdure.Engine.open(folder / "runs.db", graphs=[graph]) as engine:
        await start_waiting(engine, graph, RESUMED)
    async with perdure.Engine.open(folder / "runs.db", recover=False) as engine:
        for run, task in await tasks_of(engine):
            await engine.respond(run, task, int(run[4:]), by="clerk")
    with measured.timed():
        async with perdure.Engine.open(folder / "runs.db", graphs=[graph]) as engine:
            await see_results(engine, RESUMED)
    return measured


async def rung(folder: Path) -> Measured:
    """Resume many runs that were due while no engine was there, from opening one to the last result."""
    graph, measured = napping(), Measured(RESUMED)
    async with perdure.Engine.open(folder / "runs.db", graphs=[graph]) as engine:
        await start_waiting(engine, graph, RESUMED)
    await asyncio.sleep(2)
    with measured.timed():
        async with perdure.Engine.open(folder / "runs.db", graphs=[graph]) as engine:
            await see_results(engine, RESUMED)
    return measured


def waiting() -> Benchmark:
    """10,000 runs that wait in one engine."""
    return Benchmark(
        "waiting",
        f"{WAITING:,} runs that wait in one engine",
        {IDLE: idle},
        {
            IDLE: (
                "< 100 MB and < 1 % of a core",
                lambda found: found.extra[IDLE]["MB more"] < 100 and found.extra[IDLE]["% of a core"] < 1,
            )
        },
        unit="µs to start a run",
        rounds=1,
    )


def resuming() -> Benchmark:
    """1,000 runs that waited go on."""
    return Benchmark(
        "resuming",
        f"{RESUMED:,} runs that waited go on, to their end",
        {ANSWERED: answered, FOUND: found, RUNG: rung},
        {name: ("≤ 400 µs", lambda found, name=name: found.of[name] <= 400) for name in (ANSWERED, FOUND, RUNG)},
        unit="µs a run",
        rounds=3,
    )
