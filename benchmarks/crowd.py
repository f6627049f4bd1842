"""Many runs at once: how many a second, and how long each of them takes from its start to its end."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import quantiles

import perdure
from benchmarks import graphs
from benchmarks.measure import Benchmark, Measured

RUNS, STEPS = 10_000, 5
ALL_AT_ONCE = "perdure durable (FULL)"


async def _all_at_once(folder: Path) -> Measured:
    graph, took = graphs.line(perdure, STEPS), []

    async def one(engine: perdure.Engine) -> None:
        began = time.perf_counter()
        handle = await engine.start(graph, inputs=0)
        assert await handle.result() == STEPS
        took.append(time.perf_counter() - began)

    measured = Measured(RUNS * STEPS)
    async with perdure.Engine.open(folder / "runs.db", graphs=[graph]) as engine:
        with measured.timed():
            await asyncio.gather(*(one(engine) for _ in range(RUNS)))
    hundredths = quantiles(took, n=100)
    measured.extra |= {
        "runs a second": RUNS / measured.seconds,
        "p50 s": hundredths[49],
        "p99 s": hundredths[98],
    }
    return measured


def crowd() -> Benchmark:
    """10,000 runs of 5 steps at once."""
    return Benchmark(
        "crowd",
        f"{RUNS:,} runs of {STEPS} steps at once in one process, each from its start to its end",
        {ALL_AT_ONCE: _all_at_once},
        rounds=1,
    )
