"""Several processes on one store: whoever is stopped, killed or mistaken about the time, each run is driven by one and ends once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

import pytest

from constructs import answering, signals, some_construct
from perdure import Engine, Graph, GraphBuilder, StepContext
from perdure.events import RunCompleted, SegmentEnded, SegmentStarted
from perdure.testing.invariants import violations
from random_graphs import Block, Tally, build, evaluate, has_race, possible, random_block, size
from simulation.town import Town
from sometimes import Sometimes

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")

HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    yield
    gc.collect()


MOST_KILLS = 2
"""One more, and a task may be given up as the one that kills its process; however often a process is stopped counts for nothing."""


def some_block(seed: int, most: int = 25) -> Block:
    """Return a random block of moderate size."""
    rng, races = Random(f"many {seed}"), seed % 3 == 0
    while True:
        block = random_block(rng, 3, races=races, more=partial(some_construct, races=races))
        if 3 <= size(block) <= most:
            return block


class Runs:
    """Runs of one graph, and whether they give what they must."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.block, self.count = seed, some_block(seed), count
        self.values = possible(self.block, 7)
        self.graph: Graph[Any, Any, Any, Any] = build(self.block, seed=seed, pauses=4, tick_s=0.4)
        self.early = signals(self.graph) if seed % 2 else []

    async def begin(self, engine: Engine) -> list[Any]:
        return [
            await engine.start(self.graph, inputs=7, state=Tally(), run_id=f"run-{number}")
            for number in range(self.count)
        ]

    async def check(self, engine: Engine, town: Town, handles: list[Any]) -> list[Any]:
        """Answer what is asked, wait for the ends, and look at what is left; return the histories."""
        histories = []
        for handle in handles:
            assert await answering(handle, town.clock.sleep, early=self.early) in self.values, (self.block, self.seed)
            history = await engine.history(handle.run_id)
            assert violations(history) == [], (self.block, self.seed)
            assert sum(isinstance(recorded.event, RunCompleted) for recorded in history) == 1
            state = await handle.state()
            if not has_race(self.block):
                expected = Tally()
                evaluate(self.block, 7, expected)
                assert (state.count, state.total) == (expected.count, expected.total), (self.block, self.seed)
            histories.append(history)
        assert town.watch.found == [], (self.block, self.seed)
        return histories


def trouble(seed: int, seen: Sometimes) -> None:
    """Freeze, kill and replace the processes of a town while they drive runs."""
    runs = Runs(seed, 4)
    town = Town([runs.graph], seed, seen)
    rng = town.rng

    async def main(engine: Engine) -> None:
        for _ in range(3):
            town.open(errs=rng.choice([0.0, 0.0, 0.05]))
        handles, kills = await runs.begin(engine), 0
        for _ in range(rng.randrange(4, 12)):
            await town.clock.sleep(rng.random() * 2)
            process = rng.choice(town.processes)
            if rng.random() < 0.3 and process.engine is not None and kills < MOST_KILLS:
                kills += 1
                seen.note("a process that was killed beside others")
                town.kill(process)
                town.open()
            else:
                town.stop(process, rng.randrange(40), rng.choice([3.0, 12.0, 16.0, 20.0, 40.0]))
        everybody = list(town.processes)
        await runs.check(engine, town, handles)
        seen.note("an owner of runs that was stopped", sum(process.stopped for process in everybody))

    town.run(main)


ZOMBIES = (
    "a fenced append",
    "an owner of runs that was stopped",
    "a process that was killed beside others",
    "an append that raised and was durable",
)


def test_processes_that_are_frozen_beyond_their_lease_leave_no_event_behind() -> None:
    seen = Sometimes()
    for seed in range(25):
        trouble(seed, seen)
    seen.require(ZOMBIES)


@pytest.mark.campaign
def test_three_hundred_towns_of_frozen_and_killed_processes() -> None:
    seen = Sometimes()
    for seed in range(1000, 1300):
        trouble(seed, seen)
    print(f"\n300 towns of three processes and four runs; seen: {seen}")
    seen.require((*ZOMBIES, "a tie at an any-join"), 10)


def sleepy() -> Graph[Any, Any, Any, Any]:
    """Return a graph of one step that takes a while."""
    g = GraphBuilder(name="sleepy", output_type=str)

    @g.step
    async def doze(ctx: StepContext[None, None, None]) -> str:
        await Town.now.sleep(12)
        return "awake"

    g.add(g.edge_from(g.start_node).to(doze), g.edge_from(doze).to(g.end_node))
    return g.build()


def test_a_clock_that_is_set_forward_takes_no_lease_from_a_living_owner() -> None:
    town = Town([sleepy()], 1)

    async def main(engine: Engine) -> None:
        town.open()
        town.open()
        handle = await engine.start(town.graphs[0], run_id="run")
        await town.clock.sleep(3)
        town.jump(HOUR_S)
        assert await handle.result() == "awake"
        history = await engine.history("run")
        assert sum(isinstance(recorded.event, SegmentStarted) for recorded in history) == 1

    town.run(main)


def test_a_lease_whose_owner_has_stopped_is_taken_after_the_clock_was_set_forward_too() -> None:
    town = Town([sleepy()], 1)

    async def main(engine: Engine) -> None:
        owner = town.open()
        handle = await engine.start(town.graphs[0], run_id="run")
        await town.clock.sleep(1)
        town.open()
        town.stop(owner, 0, 1000.0)
        await town.clock.sleep(3)
        town.jump(HOUR_S)
        began = town.clock.monotonic()
        assert await handle.result() == "awake"
        assert town.clock.monotonic() - began < 12 + 11, "as long as a lease is extended or given up, and the step"
        town.processes.remove(owner)

    town.run(main)


def jumps(seed: int, seen: Sometimes) -> None:
    """Set the clock forward and back while two processes drive runs that have timers; one of them dies now and then."""
    runs = Runs(seed, 3)
    town = Town([runs.graph], seed, seen)
    rng = town.rng
    kills, fenced = seed % 2 == 1, seen.counts["a fenced append"]

    async def main(engine: Engine) -> None:
        for _ in range(2):
            town.open()
        handles, deaths = await runs.begin(engine), 0
        for _ in range(rng.randrange(1, 6)):
            await town.clock.sleep(0.5 + rng.random() * 2)
            town.jump(rng.choice([-HOUR_S, 0.0, HOUR_S]))
            if deaths < MOST_KILLS and kills and rng.random() < 0.5:
                deaths += 1
                town.kill(rng.choice(town.processes))
                town.open()
        seen.note("a clock that was set back for good", town.clock.jumped_s < 0)
        seen.note("a clock that was set forward for good", town.clock.jumped_s > 0)
        histories = await runs.check(engine, town, handles)
        if not kills:
            for history in histories:
                last = None
                for recorded in history:
                    if isinstance(recorded.event, SegmentStarted):
                        assert last is None or isinstance(last, SegmentEnded), f"seed {seed}: a lease was stolen"
                    if isinstance(recorded.event, SegmentStarted | SegmentEnded):
                        last = recorded.event
            assert seen.counts["a fenced append"] == fenced, seed

    town.run(main)
    assert town.loop.time() < 1_000_000.0 + 4 * HOUR_S, "a run stood still"


def test_a_clock_that_jumps_takes_no_lease_from_the_living_and_leaves_no_run_behind() -> None:
    seen = Sometimes()
    for seed in range(20):
        jumps(seed, seen)


@pytest.mark.campaign
def test_three_hundred_towns_whose_clock_jumps() -> None:
    seen = Sometimes()
    for seed in range(1000, 1300):
        jumps(seed, seen)
    print(f"\n300 towns whose clock jumps; seen: {seen}")
    seen.require(("a clock that was set back for good", "a clock that was set forward for good"), 10)
