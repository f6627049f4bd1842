"""Hours of work with everything that happens in them: nothing is left behind, neither runs nor memory."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from perdure import Answer, AnswerRefused, Engine, Graph, GraphBuilder, Retry, RunConflict, StepContext, reduce_sum
from perdure.engine.workers import watch
from perdure.kernel.fold.status import OVER
from perdure.testing.invariants import violations
from simulation.town import Town

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")

HOUR_S, MINUTE_S = 3600.0, 60.0


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    yield
    gc.collect()


def errand() -> Graph[Any, Any, Any, Any]:
    """Return a graph with all that takes time: retries, a sleep, a person with a deadline, a signal, and arms that race."""
    g = GraphBuilder(name="errand", input_type=int, output_type=int)

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        return [1, 2, 3]

    @g.step(retry=Retry(max_attempts=20, initial_interval=5))
    async def work(ctx: StepContext[None, None, int]) -> int:
        await Town.now.sleep(ctx.inputs)
        if ctx.attempt < ctx.inputs:
            raise ValueError("not yet")
        return ctx.inputs

    @g.step(join="all")
    async def finish(ctx: StepContext[None, None, list[Any]]) -> int:
        return 6

    total = g.join(reduce_sum, initial=0, node_id="total")
    nap, long = g.sleep(timedelta(minutes=4)), g.sleep(timedelta(hours=2))
    ask = g.human("ask", form=int, deadline=timedelta(minutes=30), on_deadline=Answer(0))
    first = g.race(g.signal("go", int), long)
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(work),
        g.edge_from(work).to(total),
        g.edge_from(total).broadcast(lambda e: [e.to(nap), e.to(ask), e.to(first)]),
        g.edge_from(nap).to(finish),
        g.edge_from(ask).to(finish),
        g.edge_from(first).to(finish),
        g.edge_from(finish).to(g.end_node),
    )
    return g.build()


class Day:
    """Some hours in a town of two workers."""

    def __init__(self, hours: int, seed: int) -> None:
        self.hours, self.graph = hours, errand()
        self.town = Town([self.graph], seed)
        self.started = self.ended = 0
        self.objects: list[int] = []
        self.bytes: list[int] = []
        self._written = 0

    async def main(self, engine: Engine) -> None:
        town = self.town
        for _ in range(2):
            town.open()
        for minute in range(self.hours * 60):
            await self._minute(engine, minute, starts=2)
            if minute % 60 == 59:
                await self._prune(engine)
        for minute in range(3 * 60):
            await self._minute(engine, minute, starts=0)
        await self._prune(engine)
        left = [info.run_id for info in await engine.list(limit=1000)]
        assert left == []

    async def _minute(self, engine: Engine, minute: int, *, starts: int) -> None:
        town, rng = self.town, self.town.rng
        for _ in range(starts):
            self.started += 1
            await engine.start(self.graph, inputs=1, run_id=f"run-{self.started}")
        for wait in await engine.waiting(limit=1000):
            if rng.random() < 0.2:
                with contextlib.suppress(AnswerRefused):
                    if wait.kind == "human":
                        await engine.respond(wait.run_id, wait.task_id, 1)
                    elif wait.kind == "signal":
                        await engine.signal(wait.run_id, wait.name, 1)
        for info in await engine.list(limit=200):
            with contextlib.suppress(RunConflict):
                if info.status == "PAUSED":
                    await engine.resume(info.run_id)
                elif info.status not in ("COMPLETED", "FAILED", "CANCELLED") and rng.random() < 0.02:
                    await (engine.cancel if rng.random() < 0.3 else engine.pause)(info.run_id)
        if rng.random() < 0.1:
            town.kill(rng.choice(town.processes))
            town.open()
        if rng.random() < 0.05:
            town.stop(rng.choice(town.processes), rng.randrange(100), rng.choice([8.0, 30.0]))
        await town.clock.sleep(MINUTE_S)

    async def _prune(self, engine: Engine) -> None:
        """Check and delete the runs that are over, and take stock."""
        store, town = self.town.store, self.town
        for info in list(store._runs.values()):
            if info.status in OVER:
                assert info.status != "FAILED", info
                assert violations(await engine.history(info.run_id)) == []
                self._written += sum(len(row.events) for row in store._logs[info.run_id])
                town.watch.forget(info.run_id)
                self.ended += 1
        await store.delete([info.run_id for info in store._runs.values() if info.status in OVER])
        assert town.watch.found == []
        gc.collect()
        self.objects.append(len(gc.get_objects()))
        self.bytes.append(self._written)


def soaked(hours: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> Day:
    """Let hours go by; it is looked for news less often than usual, which is most of what would be simulated."""
    for interval in ("POLL_S", "QUIET_POLL_S"):
        monkeypatch.setattr(watch, interval, 2.0)
    monkeypatch.setattr(watch, "ORPHANS_EVERY_S", 5.0)
    # pytest keeps what the coroutines of the dead raise when they are collected, and with it all that their frames hold.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    day = Day(hours, seed)
    day.town.run(day.main)
    assert day.started == day.ended == hours * 120
    return day


def test_an_hour_of_everything_leaves_no_run_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    soaked(1, 1, monkeypatch)


@pytest.mark.campaign
def test_a_day_of_everything_leaves_no_run_and_no_memory_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.perf_counter()
    day = soaked(24, 2, monkeypatch)
    print(f"\n24 hours, {day.started:,} runs, all ended, in {time.perf_counter() - began:.0f} s; seen: {day.town.seen}")
    print(f"objects after each hour: {day.objects}\nbytes written by then: {day.bytes}")
    day.town.seen.require(("a fenced append",))
    assert max(day.objects[2:24]) < 1.05 * day.objects[2], day.objects
    hourly = [later - earlier for earlier, later in zip(day.bytes[1:23], day.bytes[2:24], strict=True)]
    mean = sum(hourly) / len(hourly)
    assert all(0.5 * mean < each < 1.5 * mean for each in hourly), hourly
