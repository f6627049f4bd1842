"""A run can be stepped through and steered, in memory and on a file, and goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    EndMarker,
    Engine,
    ErrorMarker,
    Graph,
    GraphBuilder,
    GraphRun,
    GraphRuntimeError,
    GraphTask,
    GraphTaskRequest,
    RunConflict,
    RunFailed,
    StepContext,
    reduce_list_append,
    reduce_sum,
)
from perdure.events import NodeStarted, Overridden, RunCompleted
from perdure.graph.nodes.policies import Retry
from perdure.kernel.fold.status import Status
from perdure.testing.invariants import violations

pytestmark = pytest.mark.anyio


@dataclass
class Diary:
    """What has happened."""

    lines: list[str] = field(default_factory=list)


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "runs.db" if request.param == "file" else None


def tens(fails_on: int | None = None) -> Graph[Diary, None, int, list[int]]:
    """Return a graph that counts up to its input, takes each number times ten, and sorts them."""
    g = GraphBuilder(name="tens", state_type=Diary, input_type=int, output_type=list[int])

    @g.step
    async def count(ctx: StepContext[Diary, None, int]) -> list[int]:
        ctx.state.lines.append("count")
        return list(range(1, ctx.inputs + 1))

    @g.step
    async def times_ten(ctx: StepContext[Diary, None, int]) -> int:
        if ctx.inputs == fails_on:
            raise ValueError(f"no {ctx.inputs}")
        ctx.state.lines.append(f"times_ten {ctx.inputs}")
        return ctx.inputs * 10

    @g.step
    async def in_order(ctx: StepContext[Diary, None, list[int]]) -> list[int]:
        return sorted(ctx.inputs)

    collect = g.join(reduce_list_append, initial_factory=list[int], node_id="collect")
    g.add(
        g.edge_from(g.start_node).to(count),
        g.edge_from(count).map(fork_id="each").to(times_ten),
        g.edge_from(times_ten).to(collect),
        g.edge_from(collect).to(in_order),
        g.edge_from(in_order).to(g.end_node),
    )
    return g.build()


def shown(item: Any) -> Any:
    return [(task.node_id, task.inputs) for task in item] if isinstance(item, list) else item


async def next_of(run: GraphRun[Any, Any, Any], value: Any = None) -> Any:
    try:
        return shown(await run.next(value))
    except StopAsyncIteration:
        return "stopped"


async def test_iterating_shows_the_tasks_that_are_about_to_start_and_then_the_end(store: Path | None) -> None:
    state, items, lines = Diary(), [], []
    async with tens().iter(state=state, inputs=2, store=store) as run:
        assert shown(run.next_task) == [("__start__", 2)]
        async for item in run:
            items.append(shown(item))
            lines.append(list(run.state.lines))
            assert run.next_task is item
        assert run.state is state
        assert (run.output, run.inputs, run.deps) == ([10, 20], 2, None)
    assert items == [
        [("count", 2)],
        [("times_ten", 1), ("times_ten", 2)],
        [("in_order", [10, 20])],
        EndMarker([10, 20]),
    ]
    assert lines[:2] == [[], ["count"]]
    assert state.lines == ["count", "times_ten 1", "times_ten 2"]


async def test_what_isnt_given_back_never_starts_and_what_is_put_in_its_place_does(store: Path | None) -> None:
    async with tens().iter(state=Diary(), inputs=3, store=store) as run:
        await run.next()
        items = await run.next()
        assert isinstance(items, list)
        other = GraphTaskRequest("times_ten", 7, items[0].fork_stack)
        [(node, gathered)] = await next_of(run, [items[2], other])
        assert (node, sorted(gathered)) == ("in_order", [30, 70])
        assert sorted(run.state.lines) == ["count", "times_ten 3", "times_ten 7"]
        assert await next_of(run) == EndMarker([30, 70])
        assert await next_of(run) == "stopped"


async def test_a_task_given_back_with_other_inputs_is_another_task(store: Path | None) -> None:
    async with tens().iter(state=Diary(), inputs=1, store=store) as run:
        await run.next()
        [task] = await run.next()  # type: ignore[misc]
        assert isinstance(task, GraphTask)
        task.inputs = 5
        assert await next_of(run, [task]) == [("in_order", [50])]


async def test_an_end_that_the_caller_gives_ends_the_run(store: Path | None) -> None:
    async with tens().iter(state=Diary(), inputs=2, store=store) as run:
        await run.next()
        await run.next()
        assert await next_of(run, EndMarker([99])) == "stopped"
        assert run.output == [99]
        assert await next_of(run) == "stopped"


async def test_a_run_goes_on_after_its_end_if_the_caller_says_so(store: Path | None) -> None:
    async with tens().iter(state=Diary(), inputs=1, store=store) as run:
        async for item in run:
            if isinstance(item, EndMarker):
                break
        run.override_next([GraphTaskRequest("in_order", [3, 1, 2])])
        assert shown(run.next_task) == [("in_order", [3, 1, 2])]
        assert await next_of(run) == EndMarker([1, 2, 3])
        run.override_next(EndMarker([4]))
        assert run.output == [4]
        assert await next_of(run) == "stopped"


async def test_a_failure_is_raised_and_the_caller_can_get_over_it(store: Path | None) -> None:
    async with tens(fails_on=2).iter(state=Diary(), inputs=3, store=store) as run:
        await run.next()
        tasks = await run.next()
        with pytest.raises(ValueError, match="no 2"):
            await run.next()
        assert isinstance(run.next_task, ErrorMarker)
        assert run.output is None
        run.override_next([GraphTaskRequest("times_ten", 20, tasks[1].fork_stack)])  # type: ignore[index]
        [(node, gathered)] = await next_of(run)
        assert (node, sorted(gathered)) == ("in_order", [10, 30, 200])
        assert await next_of(run) == EndMarker([10, 30, 200])


async def test_a_failure_that_nobody_gets_over_fails_the_run(store: Path | None) -> None:
    state = Diary()
    graph = tens(fails_on=1)
    with pytest.raises(ValueError, match="no 1"):
        async with graph.iter(state=state, inputs=1, store=store, run_id="r") as run:
            async for _ in run:
                pass
    assert state.lines == ["count"]
    if store is not None:
        with pytest.raises(RunFailed, match="no 1"):
            async with graph.iter(state=Diary(), inputs=1, store=store, run_id="r"):
                pass


async def test_asking_on_after_a_failure_raises_it_for_good(store: Path | None) -> None:
    async with tens(fails_on=1).iter(state=Diary(), inputs=1, store=store) as run:
        await run.next()
        await run.next()
        for _ in range(2):
            with pytest.raises(ValueError, match="no 1"):
                await run.next()
        assert await next_of(run) == "stopped"


async def test_a_task_cant_be_placed_where_its_join_has_closed(store: Path | None) -> None:
    async with tens().iter(state=Diary(), inputs=1, store=store) as run:
        await run.next()
        [mapped] = await run.next()  # type: ignore[misc]
        await run.next()
        with pytest.raises(GraphRuntimeError, match=r"ended|closed"):
            await run.next([GraphTaskRequest("times_ten", 1, mapped.fork_stack)])
        with pytest.raises(GraphRuntimeError, match="isn't inside of its fork 'each'"):
            await run.next([GraphTaskRequest("times_ten", 1)])
        with pytest.raises(GraphRuntimeError, match="'nowhere' is no node"):
            await run.next([GraphTaskRequest("nowhere", 1)])
        assert await next_of(run) == EndMarker([10])


async def test_a_value_can_be_put_into_a_join_or_a_decision_or_the_end(store: Path | None) -> None:
    g = GraphBuilder(name="chosen", input_type=int, output_type=str)

    @g.step
    async def first(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    @g.step
    async def odd(ctx: StepContext[None, None, int]) -> str:
        return f"odd {ctx.inputs}"

    @g.step
    async def even(ctx: StepContext[None, None, int]) -> str:
        return f"even {ctx.inputs}"

    choice = g.decision(node_id="choice")
    choice = choice.branch(g.match(int, matches=lambda n: n % 2 == 1).to(odd)).branch(g.match(int).to(even))
    g.add(
        g.edge_from(g.start_node).to(first),
        g.edge_from(first).to(choice),
        g.edge_from(odd, even).to(g.end_node),
    )
    graph = g.build()
    async with graph.iter(inputs=1, store=store) as run:
        await run.next()
        assert await next_of(run, [GraphTaskRequest("choice", 4)]) == EndMarker("even 4")
        assert await next_of(run, [GraphTaskRequest("__end__", "none")]) == EndMarker("none")


async def test_leaving_a_run_leaves_it_where_it_is_and_iterating_again_goes_on(tmp_path: Path) -> None:
    store, graph = tmp_path / "runs.db", tens()
    async with graph.iter(state=Diary(), inputs=2, store=store, run_id="r") as run:
        await run.next()
        await run.next()
    state = Diary()
    async with graph.iter(state=state, inputs=2, store=store, run_id="r") as run:
        assert await next_of(run) == [("times_ten", 1), ("times_ten", 2)]
        assert run.state.lines == ["count"]
        tasks: Any = run.next_task
        await run.next([GraphTaskRequest("times_ten", 5, tasks[0].fork_stack)])
    async with graph.iter(state=Diary(), inputs=2, store=store, run_id="r") as run:
        assert [shown(item) async for item in run] == [[("in_order", [50])], EndMarker([50])]
    async with graph.iter(state=Diary(), inputs=2, store=store, run_id="r") as run:
        assert [shown(item) async for item in run] == [EndMarker([50])]
        assert run.output == [50]
    async with Engine.open(store, [graph]) as engine:
        history = await engine.history("r")
    events = [recorded.event for recorded in history]
    assert [type(event) for event in events].count(Overridden) == 1
    assert isinstance(events[-1], RunCompleted)
    assert violations(history) == []


async def test_a_failure_is_shown_again_to_whoever_steps_on_later(tmp_path: Path) -> None:
    store, graph = tmp_path / "runs.db", tens(fails_on=1)
    async with graph.iter(state=Diary(), inputs=1, store=store, run_id="r") as run:
        await run.next()
        await run.next()
        with pytest.raises(ValueError, match="no 1"):
            await run.next()
        run.override_next([])  # and then something happens
    async with graph.iter(state=Diary(), inputs=1, store=store, run_id="r") as run:
        with pytest.raises(RunFailed, match="no 1"):
            await run.next()
        assert await next_of(run, EndMarker([0])) == "stopped"


async def test_a_run_that_is_driven_cant_be_stepped_through(tmp_path: Path) -> None:
    g = GraphBuilder(name="asks", output_type=str)
    ask = g.signal("go", str)
    entered, go = asyncio.Event(), asyncio.Event()

    @g.step
    async def stay(ctx: StepContext[None, None, str]) -> str:
        entered.set()
        await go.wait()
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(stay), g.edge_from(stay).to(g.end_node))
    graph = g.build()
    async with Engine.open(tmp_path / "runs.db", [graph]) as engine:
        handle = await engine.start(graph, run_id="r")
        await handle.until_waiting()
        with pytest.raises(RunConflict, match="waits"):
            async with engine.iter(graph, run_id="r"):
                pass
        await handle.signal("go", "now")
        await entered.wait()
        with pytest.raises(RunConflict, match="driven already"):
            async with engine.iter(graph, run_id="r"):
                pass
        go.set()
        assert await handle.result() == "now"


async def test_a_run_that_waits_goes_on_being_stepped_through(tmp_path: Path) -> None:
    g = GraphBuilder(name="asks", output_type=str)
    ask = g.signal("go", str)

    @g.step
    async def shout(ctx: StepContext[None, None, str]) -> str:
        return ctx.inputs.upper()

    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(shout), g.edge_from(shout).to(g.end_node))
    graph = g.build()
    opened = Engine.open(tmp_path / "runs.db", [graph], recover=False)
    async with opened as engine, engine.iter(graph, run_id="r") as run:
        assert await next_of(run) == [("go", None)]
        waiting = asyncio.ensure_future(next_of(run))
        await engine.signal("r", "go", "now")
        assert await waiting == [("shout", "now")]
        assert await next_of(run) == EndMarker("NOW")


async def test_a_caller_who_is_cancelled_while_he_waits_has_said_his_word(store: Path | None) -> None:
    go = asyncio.Event()
    g = GraphBuilder(name="slow", output_type=int)

    @g.step
    async def slow(ctx: StepContext[None, None, None]) -> int:
        await go.wait()
        return 1

    g.add(g.edge_from(g.start_node).to(slow), g.edge_from(slow).to(g.end_node))
    async with g.build().iter(store=store) as run:
        await run.next()
        asked = asyncio.ensure_future(run.next())
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        go.set()
        assert await next_of(run) == EndMarker(1)


async def test_no_task_starts_before_the_caller_lets_it(tmp_path: Path) -> None:
    graph = tens()
    async with Engine.open(tmp_path / "runs.db", [graph], recover=False) as engine:
        async with engine.iter(graph, inputs=2, state=Diary(), run_id="r") as run:
            for expected in (0, 1, 3, 4):
                await run.next()
                started = [r for r in await engine.history("r") if isinstance(r.event, NodeStarted)]
                assert len(started) == expected
            assert (await engine.get("r")).status == Status.RUNNING
        assert (await engine.get("r")).status == Status.COMPLETED


async def test_a_stream_that_has_failed_can_be_dropped_and_what_it_gave_out_goes_on(store: Path | None) -> None:
    g = GraphBuilder(name="streamed", output_type=list[int])

    @g.stream
    async def numbers(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ValueError("no 3")

    @g.step
    async def same(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    gather = g.join(reduce_list_append, initial_factory=list[int], order="branch")
    g.add(
        g.edge_from(g.start_node).to(numbers),
        g.edge_from(numbers).map().to(same),
        g.edge_from(same).to(gather),
        g.edge_from(gather).to(g.end_node),
    )
    async with g.build().iter(store=store) as run:
        while True:
            try:
                item = await run.next()
            except ValueError:
                run.override_next([])
                continue
            except StopAsyncIteration:
                break
            assert isinstance(item, EndMarker | list)
        assert run.output == [1, 2]


async def test_a_map_with_a_window_is_shown_arm_by_arm(store: Path | None) -> None:
    g = GraphBuilder(name="narrow", input_type=list[int], output_type=int)

    @g.step
    async def same(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).map(max_concurrency=1).to(same),
        g.edge_from(same).to(total),
        g.edge_from(total).to(g.end_node),
    )
    async with g.build().iter(inputs=[1, 2, 3], store=store) as run:
        assert [shown(item) async for item in run] == [
            [("same", 1)],
            [("same", 2)],
            [("same", 3)],
            EndMarker(6),
        ]


async def test_with_end_all_the_end_is_shown_when_nothing_is_left(store: Path | None) -> None:
    g = GraphBuilder(name="all", input_type=int, output_type=int, end="all")

    @g.step
    async def one(ctx: StepContext[None, None, int]) -> int:
        return 1

    @g.step
    async def two(ctx: StepContext[None, None, int]) -> int:
        return 2

    g.add(g.edge_from(g.start_node).to(one, two), g.edge_from(one, two).to(g.end_node))
    async with g.build().iter(inputs=0, store=store) as run:
        assert [shown(item) async for item in run] == [[("one", 0), ("two", 0)], EndMarker(1)]


async def test_attempts_of_a_policy_are_made_without_asking(store: Path | None) -> None:
    tries = []
    g = GraphBuilder(name="again", output_type=int)

    @g.step(retry=Retry(max_attempts=3, initial_interval=0.001, jitter=False))
    async def flaky(ctx: StepContext[None, None, None]) -> int:
        tries.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError
        return ctx.attempt

    g.add(g.edge_from(g.start_node).to(flaky), g.edge_from(flaky).to(g.end_node))
    async with g.build().iter(store=store) as run:
        assert [shown(item) async for item in run] == [[("flaky", None)], EndMarker(3)]
    assert tries == [1, 2, 3]
