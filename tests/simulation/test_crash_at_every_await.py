"""A run goes on as if nothing had happened, wherever between two turns of its event loop the process died."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest

from perdure import Engine, Graph, MemoryStore
from perdure.engine.owner import disappear
from perdure.events import NodeCompleted, SegmentStarted
from perdure.testing.invariants import violations
from random_graphs import Block, Map, Seq, Step, Tally, build, evaluate, has_race, possible, random_block, size
from simulation.loop import Crash, SimulatedClock, SimulatedLoop

# What a dead process's coroutines do when they are collected is of no interest.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    """Collect what dead processes have left before others can be taken to have left it."""
    yield
    gc.collect()


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

    def process_or_die(self, crash_at: int) -> None:
        """Live one process that may crash again before it is through."""
        try:
            self.process(crash_at)
        except Crash:
            self.die()

    def die(self) -> None:
        """Let the world know that the last process is dead."""
        self.store.process += 1
        disappear(self.engine._worker.owner)
        self.loop.bury()


TICK_S = 0.01
"""Short beside the intervals of heartbeats and polls, which would be most of what is simulated otherwise."""


class Case:
    """A graph, and what it must give wherever its processes die."""

    def __init__(self, block: Block, seed: int) -> None:
        self.block, self.seed = block, seed
        self.state = Tally()
        self.values = possible(block, 7)
        self.is_certain = not has_race(block)
        if self.is_certain:
            evaluate(block, 7, self.state)
        # Half of the graphs wait for turns of the loop, half for times of the clock, which many tasks share.
        self.graph = build(block, seed=seed, pauses=2, tick_s=seed % 2 * TICK_S)

    def crash_everywhere(self, limit: int | None = None) -> int:
        """Crash after each callback, now and then also in the midst of the recovery; return how many cases there were."""
        outcome, steps = Simulation(self.graph).process()
        self.check(outcome, 0)
        places = range(1, steps)
        rng = Random(self.seed)
        if limit is not None and len(places) > limit:
            places = sorted(rng.sample(places, limit))
        for place in places:
            simulation = Simulation(self.graph)
            with pytest.raises(Crash):
                simulation.process(crash_at=place)
            simulation.die()
            if rng.random() < 0.2:
                simulation.process_or_die(rng.randrange(1, steps))
            outcome, _ = simulation.process()
            self.check(outcome, place)
        return len(places)

    def check(self, outcome: Any, place: int) -> None:
        result, state, history = outcome
        assert result in self.values, (self.block, self.seed, place)
        if self.is_certain:
            assert (state.count, state.total) == (self.state.count, self.state.total), (self.block, self.seed, place)
        changes = sum(isinstance(r.event, NodeCompleted) and r.event.change is not None for r in history)
        assert state.count == changes, (self.block, self.seed, place)
        assert violations(history) == [], (self.block, self.seed, place)


def small_cases(depth: int, most: int) -> Iterator[Case]:
    """Yield random graphs of a few steps; in a quarter of them, arms race."""
    for seed in count(1):
        block = random_block(Random(seed), depth, races=seed % 4 == 0)
        if 2 <= size(block) <= most:
            yield Case(block, seed)


def test_a_run_survives_a_crash_at_any_await() -> None:
    cases = 0
    for case in small_cases(3, 30):
        cases += case.crash_everywhere(limit=40)
        if cases >= 1500:
            break


def test_a_stream_that_has_to_wait_for_its_arms_does_not_keep_them_from_running_after_several_crashes() -> None:
    """From the second crash on, the tasks that were there run one at a time; a stream among them comes after its arms."""
    inner = Map(3, Seq(Step(2, 1), Step(3, 2)), ordered=False, streamed=True)
    most_segments = 0
    for block in (inner, Map(3, inner, ordered=True, streamed=True)):
        for seed in (1, 4, 7):  # with these, few arms may be open at a time
            case = Case(block, seed)
            _, steps = Simulation(case.graph).process()
            for place in range(steps // 4, steps, 3):
                simulation = Simulation(case.graph)
                for crash in range(3):
                    simulation.process_or_die(place if crash == 0 else 50)
                outcome, _ = simulation.process()
                case.check(outcome, place)
                segments = sum(isinstance(recorded.event, SegmentStarted) for recorded in outcome[2])
                most_segments = max(most_segments, segments)
    assert most_segments == 4


@pytest.mark.campaign
def test_a_run_survives_twenty_thousand_crashes() -> None:
    cases = graphs = 0
    began = time.perf_counter()
    for case in small_cases(3, 12):
        cases += case.crash_everywhere()
        graphs += 1
        if cases >= 20_000:
            break
    print(f"\n{cases} crashes in {graphs} graphs, all resumed, in {time.perf_counter() - began:.0f} s")
