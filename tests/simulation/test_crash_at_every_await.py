"""A run goes on as if nothing had happened, wherever between two turns of its event loop the process died."""

from __future__ import annotations

import gc
from random import Random
from typing import Any

import pytest

from perdure import Engine, Graph, MemoryStore
from perdure.engine import snapshots
from perdure.engine.owner import disappear
from perdure.kernel.run import Run
from perdure.testing.invariants import violations
from random_graphs import Block, Tally, build, evaluate, has_race, random_block
from simulation.loop import Crash, SimulatedClock, SimulatedLoop

# What a dead process's coroutines do when they are collected is of no interest.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


class Deadly(MemoryStore):
    """A store that processes share; one that is dead can't reach it any more."""

    def __init__(self) -> None:
        super().__init__()
        self.process = 0


class Connection:
    """One process's way to a shared store."""

    def __init__(self, store: Deadly) -> None:
        self._store = store
        store.process += 1
        self._process = store.process

    def __getattr__(self, name: str) -> Any:
        if self._store.process != self._process:
            raise RuntimeError("this process is dead")
        return getattr(self._store, name)


class Simulation:
    """One run of a graph over several processes."""

    def __init__(self, graph: Graph[Any, Any, Any, Any]) -> None:
        self.store = Deadly()
        self.graph = graph
        self.engine: Any = None
        self.loop = SimulatedLoop()
        self.now = 1000.0

    def process(self, crash_at: int | None = None) -> tuple[Any, int]:
        """Live one process; return the result and how many callbacks it took."""
        loop = self.loop = SimulatedLoop(self.now)
        try:
            return loop.run(self._life(SimulatedClock(loop)), crash_at=crash_at), loop.steps
        finally:
            self.now = loop.time() + 1.0

    async def _life(self, clock: SimulatedClock) -> Any:
        engine = Engine.open(Connection(self.store), [self.graph], clock=clock)
        self.engine = engine
        async with engine:
            handle = await engine.start(self.graph, inputs=7, state=Tally(), run_id="run")
            return await handle.result(), (await handle.state()), await engine.history("run")

    def die(self) -> None:
        """Let the world know that the last process is dead."""
        self.store.process += 1
        disappear(self.engine._owner)
        self.loop.bury()


def crash_everywhere(block: Block, seed: int, limit: int | None = None) -> int:
    """Crash a run after each of its callbacks, resume it, and compare; return how many cases there were."""
    expected = Tally()
    result = None if has_race(block) else evaluate(block, 7, expected)
    graph = build(block, seed=seed, pauses=2)
    (given, state, _), steps = Simulation(graph).process()
    if result is not None:
        assert given == result
    places = range(1, steps)
    if limit is not None and len(places) > limit:
        places = sorted(Random(seed).sample(places, limit))
    for place in places:
        simulation = Simulation(graph)
        with pytest.raises(Crash):
            simulation.process(crash_at=place)
        simulation.die()
        (given, state, history), _ = simulation.process()
        if result is not None:
            assert given == result, (block, seed, place)
            assert (state.count, state.total) == (expected.count, expected.total), (block, seed, place)
        assert violations(history) == [], (block, seed, place)
    return len(places)


def crash_graphs(wanted: int) -> int:
    """Crash random graphs everywhere, until there were enough cases."""
    cases = seed = 0
    while cases < wanted:
        seed += 1
        block = random_block(Random(seed), 3, races=seed % 5 == 0)
        reference = Tally()
        if not has_race(block):
            evaluate(block, 7, reference)
        if reference.count < 40:
            cases += crash_everywhere(block, seed, limit=60)
    return cases


def test_a_run_survives_a_crash_at_any_await() -> None:
    assert crash_graphs(1500) >= 1500


def test_a_run_survives_a_crash_at_any_await_when_it_is_recovered_from_snapshots(monkeypatch) -> None:
    loaded = 0
    load = snapshots.load

    def counted(data: bytes, run: Run) -> None:
        nonlocal loaded
        loaded += 1
        load(data, run)

    monkeypatch.setattr(snapshots, "load", counted)
    monkeypatch.setattr(snapshots, "WORTHWHILE_BYTES", 1)
    monkeypatch.setattr(snapshots, "WORTHWHILE_RATIO", 0)
    assert crash_graphs(1000) >= 1000
    assert loaded > 500


@pytest.mark.campaign
def test_a_run_survives_twenty_thousand_crashes() -> None:
    cases = graphs = seed = 0
    while cases < 20_000:
        seed += 1
        block = random_block(Random(seed), 4, races=seed % 4 == 0)
        reference = Tally()
        if not has_race(block):
            evaluate(block, 7, reference)
        if reference.count < 60:
            cases += crash_everywhere(block, seed)
            graphs += 1
            gc.collect()
    print(f"\n{cases} crashes in {graphs} graphs, all resumed")
