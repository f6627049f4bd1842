"""What is told of any run, whole or cut off by a crash, agrees with itself and with the log."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import EXAMPLES
from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import find, inspect_run, stored_plan
from perdure.engine.inspection.standstill import LogUnreadable, NotDriven, explain_run
from perdure.engine.inspection.timeline import Timeline, diff_runs, timeline_of
from perdure.engine.inspection.untyped import NoValues
from perdure.kernel.explain.reasons import Completed, JoinWaits
from perdure.kernel.fold.run import Run
from perdure.kernel.timeline.progress import Progress
from perdure.store.memory import MemoryStore
from property.test_fold_laws import blocks, commits_upto, cut, whole
from random_graphs import Tally, build


def check_timeline(timeline: Timeline) -> None:
    """Check that times are in order and the critical path has no holes."""
    path = timeline.critical_path
    assert all(before.ended_at == after.started_at for before, after in pairwise(path))
    if timeline.ended_at is not None:
        assert (path[0].started_at, path[-1].ended_at) == (timeline.started_at, timeline.ended_at)
    outer = {batch.instance: batch for batch in timeline.batches}
    for batch in timeline.batches:
        if batch.outer:
            assert outer[batch.outer].opened_at <= batch.opened_at
            assert outer[batch.outer].tasks >= batch.tasks
    for span in (*timeline.attempts, *timeline.waits):
        assert span.ended_at is None or span.ended_at >= span.started_at
        assert span.batch in outer or not span.batch


async def check_progress(store: MemoryStore) -> None:
    """Check that after each event every batch is somewhere between its beginning and its end, and at the end done."""
    info = await find(store, "run")
    progress = Progress(Run(await stored_plan(store, info), "run", NoValues()))
    async for recorded in read_history(store, info):
        progress.take(recorded.event)
        if progress.run.fresh or progress.run.arrivals:
            continue  # in the midst of a commit
        for batch in progress.picture().batches:
            assert 0 <= batch.done <= batch.opened
            assert batch.size is None or batch.opened <= batch.size
    ran_to_its_end = not progress.run.tasks
    assert all(batch.is_done for batch in progress.picture().batches) or not ran_to_its_end


async def check_run(store: MemoryStore, commits: int) -> None:
    """Check what is told of a run that is complete, and of its beginning."""
    complete = await timeline_of(store, "run", 1 << 60)
    check_timeline(complete)
    history = (await inspect_run(store, "run")).counts
    assert len(complete.attempts) == history["NodeStarted"]
    assert sum(joined.arrived for joined in complete.joins) == history["ReducerUpdated"]
    assert len(complete.batches) == history["ForkOpened"]
    assert all(batch.ended_at is not None for batch in complete.batches)
    assert isinstance((await explain_run(store, "run", 1 << 60)).cause, Completed)
    await check_progress(store)
    prefix = cut(store, commits)
    await prefix.open()
    part = await timeline_of(prefix, "run", 1 << 60)
    check_timeline(part)
    assert len(part.attempts) <= len(complete.attempts)
    told = await explain_run(prefix, "run", 1 << 60, limit=1 << 30)
    assert not any(isinstance(reason, LogUnreadable) for reason in told.reasons)
    inspection = await inspect_run(prefix, "run")
    assert told.seq == inspection.run.seq
    assert isinstance(told.cause, NotDriven)
    waiting = [reason for reason in told.reasons if isinstance(reason, JoinWaits)]
    assert all(reason.left == len(reason.pending) for reason in waiting)
    assert {(joined.join, joined.path) for joined in inspection.open_joins()} <= {
        (reason.join, reason.path) for reason in waiting
    }


@settings(max_examples=40)
@given(blocks, st.integers(0, 5), st.integers(0, 999))
def test_what_is_told_of_any_run_agrees_with_its_log(block: Any, seed: int, place: int) -> None:
    async def check() -> None:
        store = await whole(build(block, seed=seed), 7, Tally())
        await store.open()
        await check_run(store, commits_upto(store, place))
        assert (await diff_runs(store, "run", "run")).differing == ()

    asyncio.run(check())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_what_is_told_of_an_example_agrees_with_its_log(example: Any) -> None:
    async def check() -> None:
        store = await whole(example.build(), example.inputs, example.state())
        await store.open()
        for commits in range(1, len(store._logs["run"])):
            await check_run(store, commits)

    asyncio.run(check())
