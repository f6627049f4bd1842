"""The benchmarks: chains, maps, many runs, recovery, state."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import perdure
from benchmarks import graphs
from benchmarks.bound import bound_chain, bound_map, bound_runs
from benchmarks.crowd import crowd
from benchmarks.measure import Benchmark, Contender, Figures, Measured, main_file_bytes
from benchmarks.recovery import killed, recovery
from benchmarks.waiting import resuming, waiting
from benchmarks.waking import waking

MEMORY, DURABLE, BOUND = "perdure in memory", "perdure durable (FULL)", "bound (FULL)"


def _in_memory(make: Callable[[Any], Any], units: int, **arguments: Any) -> Contender:
    """Measure a run in memory."""

    async def contender(folder: Path) -> Measured:
        graph = make(perdure)
        measured = Measured(units)
        with measured.timed():
            await graph.run(**{name: given() for name, given in arguments.items()})
        return measured

    return contender


def _durable(
    make: Callable[[Any], Any], units: int, *, encryption: Callable[[], Any] | None = None, **arguments: Any
) -> Contender:
    """Measure a run on a file, from its start to its result."""

    async def contender(folder: Path) -> Measured:
        graph, path = make(perdure), folder / "runs.db"
        measured = Measured(units)
        more = {"encryption": encryption()} if encryption is not None else {}
        async with perdure.Engine.open(path, graphs=[graph], **more) as engine:
            with measured.timed():
                handle = await engine.start(graph, **{name: given() for name, given in arguments.items()})
                await handle.result()
        measured.extra["bytes a unit"] = main_file_bytes(path) / units
        return measured

    return contender


# --- chains ---

LENGTH = 1_000


def chain() -> Benchmark:
    """A chain of 1,000 steps."""
    make = lambda module: graphs.loop(module, LENGTH)  # noqa: E731
    return Benchmark(
        "chain",
        f"a chain of {LENGTH:,} steps",
        {
            DURABLE: _durable(make, LENGTH, inputs=lambda: 0),
            BOUND: lambda folder: bound_chain(folder, LENGTH),
            MEMORY: _in_memory(make, LENGTH, inputs=lambda: 0),
        },
        {DURABLE: ("≤ 1.4 × bound", lambda found: found.ratios[DURABLE, BOUND] <= 1.4)},
    )


# --- maps ---

SIZE = 10_000


def map_into_join() -> Benchmark:
    """A map of 10,000 items into a join."""
    inputs = lambda: list(range(SIZE))  # noqa: E731
    return Benchmark(
        "map",
        f"a map of {SIZE:,} items into a join",
        {
            DURABLE: _durable(graphs.mapped, SIZE, inputs=inputs),
            BOUND: lambda folder: bound_map(folder, SIZE),
            MEMORY: _in_memory(graphs.mapped, SIZE, inputs=inputs),
        },
        {
            DURABLE: (
                "≤ 25 µs and ≤ 200 bytes an item",
                lambda found: found.of[DURABLE] <= 25 and found.extra[DURABLE]["bytes a unit"] <= 200,
            ),
            MEMORY: ("≤ 15 µs", lambda found: found.of[MEMORY] <= 15),
        },
        unit="µs an item",
    )


def _flat(size: int, *, durable: bool) -> Contender:
    inputs = lambda: list(range(size))  # noqa: E731
    if durable:
        return _durable(graphs.mapped, size, inputs=inputs)
    return _in_memory(graphs.mapped, size, inputs=inputs)


def flat_maps() -> Benchmark:
    """Maps of 1,000 and of 100,000 items cost the same for each."""
    small, large = 1_000, 100_000
    names = {
        f"{where}, {size:,} items": _flat(size, durable=where == "durable")
        for where in ("in memory", "durable")
        for size in (small, large)
    }

    def is_flat(where: str) -> Callable[[Figures], bool]:
        def holds(found: Figures) -> bool:
            ratio = found.ratios[f"{where}, {large:,} items", f"{where}, {small:,} items"]
            return ratio <= 1.3  # less is what a run costs once, spread over fewer items

        return holds

    goals = {
        f"{where}, {large:,} items": (f"≤ 1.3 × that of {small:,}", is_flat(where))
        for where in ("in memory", "durable")
    }
    return Benchmark("flat", "maps of different sizes", names, goals, unit="µs an item")


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that this one was spawned from
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _summed_in_child(path: str, size: int) -> tuple[float, dict[str, float]]:
    """Map in a process of its own; return the seconds, and what it took of memory and of the processor."""

    async def work() -> tuple[float, dict[str, float]]:
        graph, measured = graphs.mapped(perdure, summed=True), Measured(size)
        async with perdure.Engine.open(path, graphs=[graph]) as engine:
            inputs = list(range(size))
            before, busy = _peak_mb(), time.process_time()
            with measured.timed():
                handle = await engine.start(graph, inputs=inputs)
                assert await handle.result() == size * (size + 1) // 2
            busy, after = time.process_time() - busy, _peak_mb()
        return measured.seconds, {
            "MB with the inputs": before,
            "MB at the peak": after,
            "bytes an item": (after - before) * 2**20 / size,
            "µs of the processor": busy / size * 1e6,
        }

    return asyncio.run(work())


def _in_child(size: int) -> Contender:
    async def contender(folder: Path) -> Measured:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            call = (_summed_in_child, str(folder / "runs.db"), size)
            seconds, extra = await asyncio.get_running_loop().run_in_executor(pool, *call)
        return Measured(size, seconds, extra)

    return contender


def million() -> Benchmark:
    """A map of 1,000,000 items, and what memory it takes."""
    large, small = "1,000,000 items, durable", "10,000 items, durable"

    def keeps_memory(found: Figures) -> bool:
        extra = found.extra[large]
        return found.ratios[large, small] <= 1.5 and extra["MB at the peak"] - extra["MB with the inputs"] < 400

    return Benchmark(
        "million",
        "a map of 1,000,000 items into a sum, each size in a process of its own",
        {large: _in_child(1_000_000), small: _in_child(10_000)},
        {large: ("≤ 1.5 × that of 10,000, and < 400 MB more than with the inputs", keeps_memory)},
        unit="µs an item",
        rounds=3,
    )


# --- many runs ---

RUNS, STEPS = 1_000, 5


async def _durable_runs(folder: Path) -> Measured:
    graph, path = graphs.line(perdure, STEPS), folder / "runs.db"
    measured = Measured(RUNS * STEPS)

    async def one(engine: perdure.Engine) -> None:
        handle = await engine.start(graph, inputs=0)
        assert await handle.result() == STEPS

    async with perdure.Engine.open(path, graphs=[graph]) as engine:
        with measured.timed():
            await asyncio.gather(*(one(engine) for _ in range(RUNS)))
    measured.extra["bytes a unit"] = main_file_bytes(path) / measured.units
    return measured


async def _runs_in_memory(folder: Path) -> Measured:
    graph = graphs.line(perdure, STEPS)
    measured = Measured(RUNS * STEPS)
    with measured.timed():
        results = await asyncio.gather(*(graph.run(inputs=0) for _ in range(RUNS)))
    assert results == [STEPS] * RUNS
    return measured


def many_runs() -> Benchmark:
    """1,000 runs of 5 steps at once."""
    return Benchmark(
        "runs",
        f"{RUNS:,} runs of {STEPS} steps at once",
        {
            DURABLE: _durable_runs,
            BOUND: lambda folder: bound_runs(folder, RUNS, STEPS),
            MEMORY: _runs_in_memory,
        },
        {DURABLE: ("≤ 35 µs", lambda found: found.of[DURABLE] <= 35)},
    )


# --- state ---


def growing_state() -> Benchmark:
    """1,000 steps that append 1 KB each to a list in the state."""
    make = lambda module: graphs.growing(module, LENGTH)  # noqa: E731
    return Benchmark(
        "append",
        f"{LENGTH:,} steps that append 1 KB each to a list in the state",
        {
            DURABLE: _durable(make, LENGTH, inputs=lambda: 0, state=graphs.Texts),
            MEMORY: _in_memory(make, LENGTH, inputs=lambda: 0, state=graphs.Texts),
        },
        {DURABLE: ("≤ 1.7 KB a step", lambda found: found.extra[DURABLE]["bytes a unit"] <= 1.7 * 1024)},
    )


def state_in_map() -> Benchmark:
    """A map whose arms add to a total beside a long list, against one that doesn't."""
    inputs = lambda: list(range(SIZE))  # noqa: E731
    state = lambda: graphs.Total(0, list(range(SIZE)))  # noqa: E731
    memory = lambda make, **more: _in_memory(make, SIZE, inputs=inputs, **more)  # noqa: E731
    contenders = {
        "durable, without": _durable(graphs.mapped, SIZE, inputs=inputs),
        "durable, with state.total += x": _durable(graphs.totalled, SIZE, inputs=inputs, state=state),
        "in memory, without": memory(graphs.mapped),
        "in memory, with state.total += x": memory(graphs.totalled, state=state),
    }

    def doubles_at_most(where: str) -> Callable[[Figures], bool]:
        return lambda found: found.ratios[f"{where}, with state.total += x", f"{where}, without"] <= 2

    return Benchmark(
        "state",
        f"a map of {SIZE:,} items beside a list of {SIZE:,} in the state",
        contenders,
        {
            f"{where}, with state.total += x": ("≤ 2 × without", doubles_at_most(where))
            for where in ("durable", "in memory")
        },
        unit="µs an item",
    )


def encrypted() -> Benchmark:
    """A map whose log is encrypted, against one whose log isn't."""
    inputs = lambda: list(range(SIZE))  # noqa: E731
    sealed = "durable, encrypted"
    return Benchmark(
        "encrypted",
        f"a map of {SIZE:,} items into a join, encrypted with AES-256-GCM",
        {
            DURABLE: _durable(graphs.mapped, SIZE, inputs=inputs),
            sealed: _durable(
                graphs.mapped, SIZE, inputs=inputs, encryption=lambda: perdure.AES256GCM({"k": bytes(32)})
            ),
        },
        {sealed: ("≤ 1.5 × without", lambda found: found.ratios[sealed, DURABLE] <= 1.5)},
        unit="µs an item",
    )


ALL = {
    made.name: made
    for made in (
        chain(),
        map_into_join(),
        flat_maps(),
        many_runs(),
        recovery(),
        growing_state(),
        state_in_map(),
        encrypted(),
        waiting(),
        resuming(),
        million(),
        crowd(),
        waking(),
        killed(),
    )
}

LONG = ("million", "killed")
"""Those that take minutes, and are only run if they are named."""
