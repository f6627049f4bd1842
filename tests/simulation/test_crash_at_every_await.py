"""A run goes on as if nothing had happened, wherever between two turns of its event loop the process died."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from random import Random
from typing import Any

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from constructs import CERTAIN, RACY, Asked, Nested, some_construct
from perdure.events import NodeCompleted, SegmentStarted
from perdure.testing.invariants import violations
from random_graphs import (
    Block,
    Broadcast,
    Either,
    Grid,
    Loop,
    Map,
    Race,
    Seq,
    Step,
    Tally,
    build,
    evaluate,
    has_race,
    kinds,
    possible,
    random_block,
    size,
)
from simulation.processes import CRASHED, Simulation
from sometimes import Sometimes

# What a dead process's coroutines do when they are collected is of no interest.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    """Collect what dead processes have left before others can be taken to have left it."""
    yield
    gc.collect()


TICK_S = 0.01
"""Short beside the intervals of heartbeats and polls, which would be most of what is simulated otherwise."""


CONSTRUCTS = (Seq, Broadcast, Map, Grid, Either, Loop, Race, *CERTAIN, *RACY)

HAPPENED = (*CRASHED, "a tie at an any-join", "a signal before its wait", "a running task that was cancelled")


class Case:
    """A graph, and what it must give wherever its processes die."""

    def __init__(self, block: Block, seed: int, seen: Sometimes | None = None) -> None:
        self.block, self.seed = block, seed
        self.seen = seen if seen is not None else Sometimes()
        self.state = Tally()
        self.values = possible(block, 7)
        self.is_certain = not has_race(block)
        if self.is_certain:
            evaluate(block, 7, self.state)
        # Half of the graphs wait for turns of the loop, half for times of the clock, which many tasks share.
        self.graph = build(block, seed=seed, pauses=2, tick_s=seed % 2 * TICK_S)
        for kind in kinds(block):
            self.seen.note(kind.__name__)

    def crash_everywhere(self, limit: int | None = None) -> int:
        """Crash after each callback, now and then also in the midst of the recovery; return how many cases there were."""
        _, steps = self.live(0)
        places = range(1, steps)
        rng = Random(self.seed)
        if limit is not None and len(places) > limit:
            places = sorted(rng.sample(places, limit))
        cases = 0
        for place in places:
            again = [rng.randrange(1, rng.choice([50, steps]))] if rng.random() < 0.3 else []
            self.live(place, place, *again)
            cases += 1 + len(again)
        return cases

    def live(self, place: int, *crashes: int) -> tuple[Any, int]:
        """Live through crashes, one process each, and then to the end; check what is left."""
        simulation = Simulation(
            self.graph, seen=self.seen, has_snapshots=self.seed % 3 == 0, signals_early=self.seed // 2 % 4 > 0
        )
        for crash in crashes:
            simulation.process_or_die(crash)
        outcome, steps = simulation.process()
        self.check(outcome, place)
        assert simulation.watch.found == [], (self.block, self.seed, place)
        return outcome, steps

    def check(self, outcome: Any, place: int) -> None:
        result, state, history = outcome
        assert result in self.values, (self.block, self.seed, place)
        if self.is_certain:
            assert (state.count, state.total) == (self.state.count, self.state.total), (self.block, self.seed, place)
        if Nested not in kinds(self.block):
            changes = sum(isinstance(r.event, NodeCompleted) and r.event.change is not None for r in history)
            assert state.count == changes, (self.block, self.seed, place)
        assert violations(history) == [], (self.block, self.seed, place)


def small_cases(depth: int, most: int, seen: Sometimes) -> Iterator[Case]:
    """Yield random graphs of a few steps; in a quarter of them, arms race."""
    for seed in count(1):
        races = seed % 4 == 0
        block = random_block(Random(seed), depth, races=races, more=partial(some_construct, races=races))
        if 2 <= size(block) <= most:
            yield Case(block, seed, seen)


def test_a_run_survives_a_crash_at_any_await() -> None:
    cases, seen = 0, Sometimes()
    for case in small_cases(3, 30, seen):
        cases += case.crash_everywhere(limit=40)
        if cases >= 800:
            break
    seen.require((*CRASHED, "Asked", "Flaky", "Loop", "Map"))


def test_a_stream_that_has_to_wait_for_its_arms_does_not_keep_them_from_running_after_several_crashes() -> None:
    """From the second crash on, the tasks that were there run one at a time; a stream among them comes after its arms."""
    inner = Map(3, Seq(Step(2, 1), Step(3, 2)), ordered=False, streamed=True)
    most_segments = 0
    for block in (inner, Map(3, inner, ordered=True, streamed=True)):
        for seed in (1, 4, 7):  # with these, few arms may be open at a time
            case = Case(block, seed)
            _, steps = case.live(0)
            for place in range(steps // 4, steps, 6):
                outcome, _ = case.live(place, place, 50, 50)
                segments = sum(isinstance(recorded.event, SegmentStarted) for recorded in outcome[2])
                most_segments = max(most_segments, segments)
    assert most_segments == 4


blocks = st.builds(
    lambda rng, depth, races, ends: ends(
        random_block(rng, depth, races=races, more=partial(some_construct, races=races))
    ),
    st.randoms(use_true_random=False),
    st.integers(1, 3),
    st.booleans(),
    # Some end in a wait for a signal, which mostly has come by then.
    st.sampled_from([lambda block: block] * 5 + [lambda block: Seq(block, Asked(human=False))]),
).filter(lambda block: 2 <= size(block) <= 15)


@pytest.mark.campaign
@pytest.mark.parametrize("part", range(1, 5))
def test_a_run_survives_a_hundred_thousand_crashes(part: int) -> None:
    """Of which these are a quarter; the graphs are Hypothesis's, which looks for a smaller one if one fails."""
    seen, began = Sometimes(), time.perf_counter()
    counts = {"graphs": 0, "crashes": 0}

    @hypothesis.seed(part)
    @settings(max_examples=2000, deadline=None, database=None, print_blob=True, derandomize=False)
    @given(blocks, st.integers(0, 1000))
    def crash_everywhere(block: Block, seed: int) -> None:
        if counts["crashes"] < 25_000:
            counts["crashes"] += Case(block, seed, seen).crash_everywhere(limit=120)
            counts["graphs"] += 1
            if counts["graphs"] % 50 == 0:
                print(f"{counts['crashes']:,} crashes so far", flush=True)

    crash_everywhere()
    print(
        f"\npart {part}: {counts['crashes']:,} crashes in {counts['graphs']:,} graphs, all resumed, "
        f"in {time.perf_counter() - began:.0f} s\nseen: {seen}",
        flush=True,
    )
    assert counts["crashes"] >= 25_000
    seen.require([*HAPPENED, *(kind.__name__ for kind in CONSTRUCTS)], 3)
