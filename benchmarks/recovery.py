"""Recovery: from opening an engine to the first body that runs, behind a log of a certain shape and length."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import perdure
from benchmarks.graphs import Texts
from benchmarks.measure import Benchmark, Contender, Measured

MANY, FEW = "map, 1,000,000 events", "map, 10,000 events"
EVENTS_PER_ITEM, EVENTS_PER_STEP = 3, 2
MILLION = 1_000_000

Gate = Callable[[], Any]
"""What the last step of a run calls, and waits for."""


def _mapped(gate: Gate, items: int) -> tuple[Any, dict[str, Any]]:
    g = perdure.GraphBuilder(name="mapped", input_type=list[int], output_type=int)

    @g.step
    async def add_one(ctx: perdure.StepContext[None, None, int]) -> int:
        return ctx.inputs + 1

    @g.step
    async def last(ctx: perdure.StepContext[None, None, list[int]]) -> int:
        await gate()
        return len(ctx.inputs)

    join = g.join(perdure.reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).map().to(add_one),
        g.edge_from(add_one).to(join),
        g.edge_from(join).to(last),
        g.edge_from(last).to(g.end_node),
    )
    return g.build(), {"inputs": list(range(items))}


def _chained(gate: Gate, length: int, *, grows: bool = False) -> tuple[Any, dict[str, Any]]:
    g = perdure.GraphBuilder(name="chained", state_type=Texts, input_type=int, output_type=int, max_steps=length + 2)

    @g.step
    async def add_one(ctx: perdure.StepContext[Texts, None, int]) -> int:
        if grows:
            ctx.state.items.append("x" * 1024)
        return ctx.inputs + 1

    @g.step
    async def last(ctx: perdure.StepContext[Texts, None, int]) -> int:
        await gate()
        return ctx.inputs

    again = g.decision().branch(g.match(int, matches=lambda number: number < length).to(add_one))
    g.add(
        g.edge_from(g.start_node).to(add_one),
        g.edge_from(add_one).to(again.branch(g.match(int).to(last))),
        g.edge_from(last).to(g.end_node),
    )
    return g.build(), {"inputs": 0, "state": Texts()}


def _recovered(make: Callable[[Gate], tuple[Any, dict[str, Any]]], *, snapshot: bool = False) -> Contender:
    """Measure how long it takes until a run of which everything but its last step is done goes on."""

    async def contender(folder: Path) -> Measured:
        blocked, resumed = asyncio.Event(), asyncio.Event()
        is_first = True

        async def gate() -> None:
            (blocked if is_first else resumed).set()
            if is_first:
                await asyncio.Event().wait()

        graph, given = make(gate)
        path = folder / "runs.db"
        store = perdure.SQLiteStore(path, synchronous="NORMAL")  # the log is written only to be read
        async with perdure.Engine.open(store, graphs=[graph], durability="async") as engine:
            await engine.start(graph, run_id="recovered", **given)
            await blocked.wait()
        is_first = False
        del given
        store = perdure.SQLiteStore(path)
        await store.open()
        if not snapshot:
            await store.drop_snapshot("recovered")
        info = await store.get("recovered")
        await store.close()
        assert info is not None
        measured = Measured(1, extra={"events": info.last_seq})
        engine = perdure.Engine.open(path, graphs=[graph])
        with measured.timed():
            await engine.__aenter__()
            await resumed.wait()
        await engine.attach("recovered").result()
        await engine.__aexit__(None, None, None)
        return measured

    return contender


def recovery() -> Benchmark:
    """Recovery of runs of different shapes, until the next body runs."""
    few, many = 10_000 // EVENTS_PER_ITEM, MILLION // EVENTS_PER_ITEM
    steps = 10_000 // EVENTS_PER_STEP
    cold, chained = f"{MANY}, no snapshot", "chain, 10,000 events, no snapshot"
    return Benchmark(
        "recovery",
        "from opening the engine to the body that the crash interrupted",
        {
            f"{FEW}, no snapshot": _recovered(lambda gate: _mapped(gate, few)),
            chained: _recovered(lambda gate: _chained(gate, steps)),
            "1 KB more state a step, 10,000 events": _recovered(lambda gate: _chained(gate, steps, grows=True)),
            "the same, from a snapshot": _recovered(lambda gate: _chained(gate, steps, grows=True), snapshot=True),
            MANY: _recovered(lambda gate: _mapped(gate, many), snapshot=True),
            cold: _recovered(lambda gate: _mapped(gate, many)),
        },
        {
            f"{FEW}, no snapshot": ("≤ 100 ms", lambda found: found.of[f"{FEW}, no snapshot"] <= 100_000),
            chained: ("≤ 100 ms", lambda found: found.of[chained] <= 100_000),
            MANY: ("≤ 0.5 s", lambda found: found.of[MANY] <= 500_000),
            cold: ("≤ 5 s", lambda found: found.of[cold] <= 5_000_000),
        },
        unit="µs",
        rounds=1,
    )


# --- killed half-way ---


def _summed(begun: Callable[[int], None]) -> Any:
    g = perdure.GraphBuilder(name="summed", input_type=list[int], output_type=int)

    @g.step
    async def add_one(ctx: perdure.StepContext[None, None, int]) -> int:
        begun(ctx.inputs)
        return ctx.inputs + 1

    join = g.join(perdure.reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).map().to(add_one),
        g.edge_from(add_one).to(join),
        g.edge_from(join).to(g.end_node),
    )
    return g.build()


def _run_until_killed(path: str, size: int) -> None:
    def begun(item: int) -> None:
        if item == size // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    async def work() -> None:
        graph = _summed(begun)
        async with perdure.Engine.open(path, graphs=[graph]) as engine:
            await (await engine.start(graph, inputs=list(range(size)), run_id="killed")).result()

    asyncio.run(work())


def _resumed_after(path: str, size: int) -> tuple[float, float]:
    """Return how many seconds it takes to the first body, and to the first of an item that was never begun before."""
    firsts: dict[bool, float] = {}

    def begun(item: int) -> None:
        firsts.setdefault(item > size // 2, time.perf_counter())

    async def work() -> tuple[float, float]:
        graph = _summed(begun)
        began = time.perf_counter()
        async with perdure.Engine.open(path, graphs=[graph]) as engine:
            assert await engine.attach("killed").result() == size * (size + 1) // 2
        return firsts[False] - began, firsts[True] - began

    return asyncio.run(work())


async def _killed(folder: Path) -> Measured:
    context, path = multiprocessing.get_context("spawn"), str(folder / "runs.db")
    process = context.Process(target=_run_until_killed, args=(path, MILLION))
    process.start()
    await asyncio.to_thread(process.join)
    assert process.exitcode == -signal.SIGKILL
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        call = (_resumed_after, path, MILLION)
        first, new = await asyncio.get_running_loop().run_in_executor(pool, *call)
    return Measured(1, new, {"s to an item that was in flight": first})


def killed() -> Benchmark:
    """A map of 1,000,000 items, killed half-way."""
    name = "to the first item that was never begun before"
    return Benchmark(
        "killed",
        f"a map of {MILLION:,} items whose process is killed (SIGKILL) half-way goes on in another one, to its right sum",
        {name: _killed},
        {name: ("< 10 s", lambda found: found.of[name] < 10e6)},
        unit="µs",
        rounds=1,
    )
