"""A fork keeps what depends on nothing that is dropped, runs the rest again, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import EXAMPLES
from perdure import Engine, GraphBuilder, MemoryStore, Recorded, StepContext, reduce_list_append, reduce_sum
from perdure.engine.driving.registered import new_run
from perdure.engine.inspection.untyped import NoValues
from perdure.events import JoinClosed, NodeCompleted, NodeStarted, RunCompleted, SegmentStarted
from perdure.graph.plan import NodeKind
from perdure.ids import identify
from perdure.kernel.fold.apply import apply
from perdure.testing.invariants import violations
from random_graphs import Tally, build, evaluate, has_race, possible, random_block, size

blocks = st.builds(
    lambda rng, depth, races: random_block(rng, depth, races=races),
    st.randoms(use_true_random=False),
    st.integers(1, 4),
    st.booleans(),
)


def again(history: Sequence[Recorded]) -> set[str]:
    """Return the tasks that a fork has run itself."""
    begun = next(recorded.seq for recorded in history if isinstance(recorded.event, SegmentStarted))
    return {recorded.event.task for recorded in history[begun:] if isinstance(recorded.event, NodeStarted)}


def completed(history: Sequence[Recorded]) -> set[str]:
    return {recorded.event.task for recorded in history if isinstance(recorded.event, NodeCompleted)}


async def ended(engine: Engine, graph: Any, **how: Any) -> tuple[Any, Any, Sequence[Recorded]]:
    handle = await engine.fork_run("run", **how)
    result, state = await asyncio.wait_for(handle.result(), 20), await handle.state()
    history = await engine.history(handle.run_id)
    assert violations(history) == []
    assert isinstance(history[-1].event, RunCompleted)
    return result, state, history


@settings(max_examples=60)
@given(blocks, st.integers(0, 5), st.data())
def test_a_fork_at_any_event_ends_as_its_source_might_have(block: Any, seed: int, data: Any) -> None:
    async def check() -> None:
        graph = build(block, seed=seed)
        async with Engine.open(MemoryStore(), [graph]) as engine:
            await (await engine.start(graph, inputs=7, state=Tally(), run_id="run")).result()
            source = await engine.history("run")
            at = data.draw(st.integers(1, len(source)))
            result, state, history = await ended(engine, graph, at=at)
            assert result in possible(block, 7)
            if not has_race(block):
                expected = Tally()
                evaluate(block, 7, expected)
                assert (state.count, state.total) == (expected.count, expected.total)
            kept = completed(source[:at])
            assert not again(history) & kept, "what had finished by then runs again"

    asyncio.run(check())


@settings(max_examples=60)
@given(blocks, st.integers(0, 5), st.data())
def test_a_fork_at_any_task_runs_it_again_and_ends_the_same(block: Any, seed: int, data: Any) -> None:
    async def check() -> None:
        graph = build(block, seed=seed)
        async with Engine.open(MemoryStore(), [graph]) as engine:
            await (await engine.start(graph, inputs=7, state=Tally(), run_id="run")).result()
            tasks = [r.event.task for r in await engine.history("run") if isinstance(r.event, NodeStarted)]
            task = data.draw(st.sampled_from(tasks))
            result, state, history = await ended(engine, graph, at=task)
            assert result in possible(block, 7)
            assert task in again(history)
            if not has_race(block):
                expected = Tally()
                evaluate(block, 7, expected)
                assert (state.count, state.total) == (expected.count, expected.total)

    asyncio.run(check())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_fork_at_every_event_of_an_example_gives_what_it_gives(example: Any) -> None:
    async def check() -> None:
        graph = example.build()
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handle = await engine.start(graph, inputs=example.inputs, state=example.state(), run_id="run")
            await handle.result()
            for at in range(1, len(await engine.history("run")) + 1):
                result, state, _ = await ended(engine, graph, at=at)
                assert example.view(result) == example.expected
                assert example.expected_state is None or example.expected_state(state)

    asyncio.run(check())


def downstream(graph: Any, history: Sequence[Recorded], changed: str) -> set[str]:
    """Return what depends on a task, worked out from the log alone: by edges, joins and the state."""
    run = new_run(graph, "run", NoValues())
    parents: dict[str, set[str]] = {}
    bases: dict[str, int] = {}
    commits: dict[str, int] = {}
    folded: dict[tuple[str, str], set[str]] = {}
    for recorded in history:
        event, before = recorded.event, set(run.tasks)
        source = getattr(event, "task", "")
        if type(event).__name__ == "ArmsOpened":
            source = run.maps[event.instance].feed.origin.id
        if isinstance(event, JoinClosed):
            source = identify("join", event.join, event.instance)
            parents[source] = folded.get((event.join, event.instance), set())
        if type(event).__name__ == "ReducerUpdated":
            named = event.detail.instance if event.detail is not None else ""
            instance = named or run.arrivals[0].scope.id
            folded.setdefault((event.join, instance), set()).add(event.task)
        change = getattr(event, "change", None)
        if change is not None:
            commits[source], bases[source] = recorded.seq, change.base_seq
        if type(event).__name__ == "ReducerUpdated" and event.detail is not None and event.detail.change is not None:
            instance = identify("join", event.join, event.detail.instance)
            commits.setdefault(instance, recorded.seq)
            bases[instance] = max(bases.get(instance, 0), event.detail.change.base_seq)
        apply(run, event)
        for task in set(run.tasks) - before:
            parents[task] = {source}
    found = {changed}
    while True:
        since = min((commits[unit] for unit in found if unit in commits), default=1 << 60)
        more = {unit for unit, origins in parents.items() if origins & found}
        more |= {unit for unit, base in bases.items() if base >= since}
        if more <= found:
            return found
        found |= more


@settings(max_examples=60)
@given(blocks.filter(lambda block: not has_race(block)), st.integers(0, 5), st.data())
def test_with_one_output_changed_only_what_is_downstream_runs_again(block: Any, seed: int, data: Any) -> None:
    async def check() -> None:
        graph = build(block, seed=seed)
        async with Engine.open(MemoryStore(), [graph]) as engine:
            await (await engine.start(graph, inputs=7, state=Tally(), run_id="run")).result()
            source = await engine.history("run")
            plain = [
                recorded.event
                for recorded in source
                if isinstance(recorded.event, NodeStarted)
                and graph.plan.nodes[recorded.event.node].kind is NodeKind.STEP
            ]
            task = data.draw(st.sampled_from(plain)).task
            output = next(r.event.output for r in source if isinstance(r.event, NodeCompleted) and r.event.task == task)
            if not bytes(output).isdigit():
                return
            result, _, history = await ended(engine, graph, outputs={task: int(bytes(output)) // 1000 * 1000 + 5})
            assert isinstance(result, int)
            closure = downstream(graph, source, task)
            source_tasks = completed(source)
            assert again(history) & source_tasks <= closure - {task}
            assert completed(history) >= source_tasks - closure

    asyncio.run(check())


def test_every_event_of_a_long_run_can_be_forked_at() -> None:
    async def check() -> int:
        candidates = ((seed, random_block(Random(seed), 4, races=True)) for seed in range(100))
        seed, block = next((seed, block) for seed, block in candidates if 20 <= size(block) <= 40)
        graph = build(block, seed=seed)
        async with Engine.open(MemoryStore(), [graph]) as engine:
            await (await engine.start(graph, inputs=7, state=Tally(), run_id="run")).result()
            count = len(await engine.history("run"))
            for at in range(1, count + 1):
                result, _, _ = await ended(engine, graph, at=at)
                assert result in possible(block, 7)
            return count

    assert asyncio.run(check()) >= 50


def failing_inside() -> Any:
    """Return a graph whose outer join collects failures of arms that are forked again, in which others still run."""
    g = GraphBuilder(name="inside", input_type=list[int], output_type=int)

    @g.step
    async def arm(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs % 2:
            raise ValueError("odd")
        return ctx.inputs

    @g.step
    async def slow(ctx: StepContext[None, None, int]) -> int:
        for _ in range(20):
            await asyncio.sleep(0)
        return ctx.inputs

    inner = g.join(reduce_sum, initial=0, node_id="inner", preferred_parent_fork="closest")
    outer = g.join(reduce_list_append, initial_factory=list[Any], node_id="outer", on_error="collect")

    @g.step
    async def count(ctx: StepContext[None, None, list[Any]]) -> int:
        return sum(value if isinstance(value, int) else 1000 for value in ctx.inputs)

    g.add(
        g.edge_from(g.start_node).map(fork_id="each").to(arm),
        g.edge_from(arm).to(work, slow),
        g.edge_from(work, slow).to(inner),
        g.edge_from(inner).to(outer),
        g.edge_from(outer).to(count),
        g.edge_from(count).to(g.end_node),
    )
    return g.build()


def test_a_fork_keeps_what_a_collected_failure_has_given_up() -> None:
    async def check() -> None:
        graph = failing_inside()
        async with Engine.open(MemoryStore(), [graph]) as engine:
            assert await (await engine.start(graph, inputs=[1, 2, 3], run_id="run")).result() == 2004
            source = await engine.history("run")
            tasks = {recorded.event.task for recorded in source if isinstance(recorded.event, NodeStarted)}
            for at in (*range(1, len(source) + 1), *sorted(tasks)):
                result, _, _ = await ended(engine, graph, at=at)
                assert result == 2004

    asyncio.run(check())
