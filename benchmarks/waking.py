"""Waking: from an answer to the step that has waited for it."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import perdure
from benchmarks.measure import Benchmark, Measured

ANSWERS = 100
HERE, ELSEWHERE = "answered in the same process", "answered by another process"


def _asking(began: dict[int, float]) -> Any:
    g = perdure.GraphBuilder(name="asking", input_type=int, output_type=int)
    ask = g.human("ask", form=int, title="How much?")

    @g.step
    async def note(ctx: perdure.StepContext[None, None, int]) -> int:
        began[ctx.inputs] = time.monotonic()  # one clock for all processes of a machine
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(note), g.edge_from(note).to(g.end_node))
    return g.build()


async def _answer(engine: perdure.Engine, number: int) -> float:
    (wait,) = await engine.waiting(f"run {number}")
    answered = time.monotonic()
    await engine.respond(wait.run_id, wait.task_id, number, by="clerk")
    return answered


def _answered_in_process(path: str, number: int) -> float:
    async def work() -> float:
        async with perdure.Engine.open(path, drive=False) as engine:
            return await _answer(engine, number)

    return asyncio.run(work())


async def _woken(folder: Path, *, here: bool) -> Measured:
    began: dict[int, float] = {}
    graph, path, latencies = _asking(began), folder / "runs.db", []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        async with perdure.Engine.open(path, graphs=[graph]) as engine:
            for number in range(ANSWERS):
                handle = await engine.start(graph, inputs=0, run_id=f"run {number}")
                await handle.until_waiting()
                if here:
                    answered = await _answer(engine, number)
                else:
                    call = (_answered_in_process, str(path), number)
                    answered = await asyncio.get_running_loop().run_in_executor(pool, *call)
                await handle.result()
                latencies.append(began[number] - answered)
    latencies.sort()
    worst = latencies[int(ANSWERS * 0.99) - 1]
    return Measured(1, median(latencies), {"p99 ms": worst * 1e3})


async def _here(folder: Path) -> Measured:
    return await _woken(folder, here=True)


async def _elsewhere(folder: Path) -> Measured:
    return await _woken(folder, here=False)


def waking() -> Benchmark:
    """How long a run takes to go on that was answered."""
    return Benchmark(
        "waking",
        f"from an answer to the step that waits for it: the median of {ANSWERS}, one after another",
        {HERE: _here, ELSEWHERE: _elsewhere},
        {
            HERE: ("≤ 5 ms", lambda found: found.of[HERE] <= 5_000),
            ELSEWHERE: ("≤ 50 ms", lambda found: found.of[ELSEWHERE] <= 50_000),
        },
        unit="µs",
        rounds=1,
    )
