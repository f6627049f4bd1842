"""A run is the fold of its log: while it is live, and from any commit on."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import EXAMPLES
from perdure import Engine, Graph, MemoryStore
from perdure.engine.calling.code import UserCode
from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.recovery import rebuild, refold_joins
from perdure.engine.driving.registered import new_run, registered
from perdure.events import NodeCompleted
from perdure.kernel.fold.run import Run
from perdure.store.port import Store
from perdure.store.records import Append
from perdure.testing.invariants import violations
from property.portrait import portrait
from random_graphs import Tally, build, evaluate, has_race, possible, random_block

blocks = st.builds(
    lambda rng, depth, races: random_block(rng, depth, races=races),
    st.randoms(use_true_random=False),
    st.integers(0, 4),
    st.booleans(),
)


async def refolded(store: Store, graph: Graph[Any, Any, Any, Any]) -> Run:
    """Return the run that another process would have, after it has folded the log."""
    known = registered(graph)
    values = CodedValues(known.codec)
    run = new_run(graph, "run", values)
    info = await store.get("run")
    assert info is not None
    await rebuild(store, info, run, values.blobs)
    await refold_joins(run, UserCode(graph, known.flows, values, "run", None), store, values.blobs)
    return run


class Watching(MemoryStore):
    """After each commit, compares the run in memory with the fold of its log."""

    def __init__(self, graph: Graph[Any, Any, Any, Any]) -> None:
        super().__init__()
        self.graph = graph
        self.engine: Engine
        self.compared = 0

    async def append(self, append: Append) -> None:
        await super().append(append)
        live = self.engine.driven("run").driver.run
        assert portrait(await refolded(self, self.graph)) == portrait(live)
        self.compared += 1


async def watch(graph: Graph[Any, Any, Any, Any], inputs: Any, state: Any) -> int:
    """Run a graph; return after how many commits it was what its log says."""
    store = Watching(graph)
    async with Engine.open(store, [graph]) as engine:
        store.engine = engine
        handle = await engine.start(graph, inputs=inputs, state=state, run_id="run")
        await handle.result()
    return store.compared


@settings(max_examples=150)
@given(blocks, st.integers(0, 5))
def test_after_every_commit_the_live_run_is_the_fold_of_its_log(block: Any, seed: int) -> None:
    assert asyncio.run(watch(build(block, seed=seed), 7, Tally())) >= 1


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_after_every_commit_an_example_is_the_fold_of_its_log(example: Any) -> None:
    asyncio.run(watch(example.build(), example.inputs, example.state()))


def cut(store: MemoryStore, commits: int) -> MemoryStore:
    """Return a store that holds the first commits of a run, as a crash would have left them."""
    rows = store._logs["run"][:commits]
    last, info = rows[-1], store._runs["run"]
    prefix = MemoryStore()
    prefix._epoch = store._epoch
    prefix._blobs = dict(store._blobs)
    prefix._plans = dict(store._plans)
    prefix._logs["run"] = list(rows)
    prefix._runs["run"] = msgspec.structs.replace(
        info,
        status="RUNNING",
        last_seq=last.first + last.count - 1,
        head=last.hash,
        epoch=last.epoch,
        owner=None,
        lease_until=0,
        updated_at=last.ts,
    )
    return prefix


async def whole(graph: Graph[Any, Any, Any, Any], inputs: Any, state: Any) -> MemoryStore:
    """Return the store in which a graph was run to its end."""
    store = MemoryStore()
    async with Engine.open(store, [graph]) as engine:
        await (await engine.start(graph, inputs=inputs, state=state, run_id="run")).result()
    return store


async def gone_on(graph: Graph[Any, Any, Any, Any], store: MemoryStore, inputs: Any, state: Any) -> Any:
    """Return what comes of a run that goes on from where a store has it: its result, state and history."""
    async with Engine.open(store, recover=False) as engine:
        handle = await engine.start(graph, inputs=inputs, state=state, run_id="run")
        return await handle.result(), await handle.state(), await engine.history("run")


@settings(max_examples=60)
@given(blocks, st.integers(0, 5), st.data())
def test_any_prefix_of_a_log_goes_on_to_what_the_whole_gives(block: Any, seed: int, data: Any) -> None:
    async def check() -> None:
        graph = build(block, seed=seed)
        store = await whole(graph, 7, Tally())
        commits = 1 + data.draw(st.integers(0, 1000)) % (len(store._logs["run"]) - 1)
        prefix = cut(store, commits)
        result, state, history = await gone_on(graph, prefix, 7, Tally())
        assert result in possible(block, 7)
        assert violations(history) == []
        assert state.count == sum(
            isinstance(recorded.event, NodeCompleted) and recorded.event.change is not None for recorded in history
        )
        if not has_race(block):
            expected = Tally()
            evaluate(block, 7, expected)
            assert (state.count, state.total) == (expected.count, expected.total)

    asyncio.run(check())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_prefix_of_an_example_goes_on_to_what_the_whole_gives(example: Any) -> None:
    async def check() -> None:
        graph = example.build()
        store = await whole(graph, example.inputs, example.state())
        for commits in range(1, len(store._logs["run"])):
            result, state, history = await gone_on(graph, cut(store, commits), example.inputs, example.state())
            assert example.view(result) == example.expected
            assert example.expected_state is None or example.expected_state(state)
            assert violations(history) == []

    asyncio.run(check())
