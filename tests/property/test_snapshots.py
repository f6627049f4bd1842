"""A snapshot is the run: whoever goes on from it does what the run itself would have done."""

import asyncio
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import MemoryStore
from perdure.engine.driving.driver import Driver
from perdure.engine.driving.recovery import rebuild, refold_joins
from perdure.engine.driving.registered import new_run
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.snapshot import can_dump, dump, load
from perdure.kernel.fold.status import OVER
from random_graphs import Tally, build, evaluate, random_block

blocks = st.builds(lambda rng, depth: random_block(rng, depth), st.randoms(use_true_random=False), st.integers(0, 4))


def counters(run: Run) -> object:
    """Return what a snapshot doesn't hold, because it follows from what it holds."""
    return (
        {id_: (dict(one.counts), one.feed and one.feed.arms) for id_, one in sorted(run.instances().items())},
        run.running,
        sorted({at for at in run.alarms if (task := run.tasks.get(at[1])) is not None and task.due_at == at[0]}),
        {id_: [*one.tasks] for id_, one in sorted(run.instances().items())},
        {id_: [*one.joins] for id_, one in sorted(run.instances().items())},
    )


@pytest.fixture
def reborn(monkeypatch):
    """After every commit, let the run go on from a snapshot of itself, and compare it with the fold of its log."""
    count = 0
    act, carry_out = Driver._act, Driver._carry_out

    def swap(driver: Driver, decision) -> None:
        nonlocal count
        run = driver.run
        if driver._durable is not None and run.status not in OVER:
            assert can_dump(run)
            whole = driver._durable.values.whole()
            data = dump(run, whole)
            loaded = new_run(driver._graph, run.run_id, driver._values)
            load(data, loaded)
            assert dump(loaded, whole) == data
            assert counters(loaded) == counters(run)
            driver.run = driver._executor.run = loaded
            decision.started = [loaded.tasks[task.id] for task in decision.started]
            count += 1
        act(driver, decision)

    async def compare(driver: Driver, decision) -> None:
        await carry_out(driver, decision)
        if driver._durable is not None and driver.run.status not in OVER:
            store = driver._durable.store
            folded = new_run(driver._graph, driver.run.run_id, driver._values)
            await rebuild(store, await store.get(folded.run_id), folded, driver._durable.values.blobs)
            await refold_joins(folded, driver._code, store, driver._durable.values.blobs)
            folded.settled.clear()
            folded.stirred.clear()
            whole = driver._durable.values.whole()
            mine, other = (msgspec.json.decode(dump(run, whole)) for run in (driver.run, folded))
            assert other == mine

    monkeypatch.setattr(Driver, "_act", swap)
    monkeypatch.setattr(Driver, "_carry_out", compare)
    return lambda: count


def run_block(block, inputs: int, seed: int) -> None:
    expected, state = Tally(), Tally()
    result = evaluate(block, inputs, expected)
    assert asyncio.run(build(block, seed=seed).run(inputs=inputs, state=state, store=MemoryStore())) == result
    assert (state.count, state.total) == (expected.count, expected.total)


def test_a_run_goes_on_from_a_snapshot_taken_at_any_commit_and_equals_the_fold_of_its_log(reborn) -> None:
    @settings(max_examples=150)
    @given(blocks, st.integers(0, 3))
    def law(block, seed) -> None:
        run_block(block, 7, seed)

    law()
    assert reborn() > 200


def test_larger_graphs_go_on_from_snapshots(reborn) -> None:
    for seed in range(12):
        block, tally = random_block(Random(seed), 5), Tally()
        evaluate(block, seed, tally)
        if tally.count <= 400:
            run_block(block, seed, seed)
    assert reborn() > 100


def test_graphs_that_end_forks_early_go_on_from_snapshots(reborn) -> None:
    for seed in range(40):
        block = random_block(Random(seed), 3, races=True)
        asyncio.run(build(block, seed=seed).run(inputs=7, state=Tally(), store=MemoryStore()))
    assert reborn() > 100
