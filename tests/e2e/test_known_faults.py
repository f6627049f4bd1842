"""Faults of other workflow engines, none of which may be ours.

They were found in the four systems that the design of the graph language was drawn from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from e2e.short_graphs import Told, builder, run
from perdure import Engine, MemoryStore, Status, reduce_list_append, reduce_sum


async def same(ctx: Any) -> Any:
    return ctx.inputs


def both(graph: Any, inputs: Any = None) -> Any:
    result = run(graph, inputs)
    assert Told(graph, inputs).result == result
    return result


@dataclass
class Shared:
    written: int = 0
    other: str = "untouched"
    seen: list[Any] = field(default_factory=list)


def test_a_branch_that_did_not_write_a_key_never_resets_it() -> None:
    """GraphAI gives each branch a copy of the state and lets the last one to finish overwrite all of it."""
    g = builder(state_type=Shared)

    async def writer(ctx: Any) -> None:
        ctx.state.written = 7

    async def slow_reader(ctx: Any) -> None:
        assert ctx.state.written == 0
        for _ in range(50):
            await asyncio.sleep(0)
        ctx.state.other = "read"

    a, b = g.step(writer), g.step(slow_reader)
    met = g.step(same, node_id="met", join="all")
    g.add(g.edge_from(g.start_node).to(a, b), g.edge_from(a, b).to(met), g.edge_from(met).to(g.end_node))
    state = Shared()
    run(g.build(), state=state)
    assert (state.written, state.other) == (7, "read")


def test_a_join_whose_branches_are_all_two_deep_runs() -> None:
    """GraphAI's join waits for the steps right behind the fork, and never runs if none of them leads to it."""
    g = builder()
    a, b, c, d = (g.step(same, node_id=name) for name in "abcd")
    met = g.step(same, node_id="met", join="all")
    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(a).to(c),
        g.edge_from(b).to(d),
        g.edge_from(c, d).to(met),
        g.edge_from(met).to(g.end_node),
    )
    assert both(g.build(), 1) == [1, 1]


def test_a_list_of_one_works() -> None:
    """In GraphAI a router that returns a list with one choice in it fails."""
    g = builder(end="all")
    a, b = g.step(same, node_id="a"), g.step(same, node_id="b")

    async def choose(ctx: Any) -> Any:
        return [a]

    router = g.router(choose)
    g.add(g.edge_from(g.start_node).to(router), g.edge_from(router).to(a, b), g.edge_from(a, b).to(g.end_node))
    assert both(g.build(), 1) == 1


def test_a_condition_that_is_not_taken_never_hangs() -> None:
    """In Spectra a node that waits for all waits for a branch that no value takes."""
    g = builder()
    a, b, c = (g.step(same, node_id=name) for name in "abc")
    met = g.step(same, node_id="met", join="all")
    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(b).to(g.decision().branch(g.match(str).to(c)).branch(g.match(int).to(met))),
        g.edge_from(a, c).to(met),
        g.edge_from(met).to(g.end_node),
    )
    assert both(g.build(), 1) == [1, 1]


def test_waiting_for_all_waits_for_unequal_depths() -> None:
    """In Spectra a short branch and a long one make the node run twice, or too early."""
    g = builder()
    a, b, c, d = (g.step(same, node_id=name) for name in "abcd")
    met = g.step(same, node_id="met", join="all")
    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(b).to(c),
        g.edge_from(c).to(d),
        g.edge_from(a, d).to(met),
        g.edge_from(met).to(g.end_node),
    )
    told = Told(g.build(), 1)
    assert told.result == [1, 1]
    assert [event.node for event in told.events("NodeStarted")].count("met") == 1


def test_two_approval_gates_in_a_row_can_both_pass() -> None:
    """In litestar-workflows the answer to the first gate is taken for the second one, too, or the run is stuck."""
    g = builder()
    first, second = g.human("first", form=int), g.human("second", form=int)
    g.add(
        g.edge_from(g.start_node).to(first),
        g.edge_from(first).to(second),
        g.edge_from(second).to(g.end_node),
    )
    graph = g.build()

    async def main() -> Any:
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handle = await engine.start(graph, run_id="run")
            for answer in (1, 2):
                [wait] = await handle.until_waiting()
                await handle.respond(wait.task_id, answer)
                while any(open_.task_id == wait.task_id for open_ in await handle.waiting()):
                    await asyncio.sleep(0.001)
            return await handle.result()

    assert asyncio.run(asyncio.wait_for(main(), 20)) == 2


def test_a_failed_branch_leaves_no_orphan_running() -> None:
    """With a bare gather the other branches go on after the run has failed."""
    inside: set[int] = set()

    async def work(ctx: Any) -> Any:
        inside.add(ctx.inputs)
        try:
            if ctx.inputs == 2:
                for _ in range(10):
                    await asyncio.sleep(0)
                raise ValueError
            await asyncio.Event().wait()
        finally:
            inside.discard(ctx.inputs)

    g = builder()
    each, met = g.step(work), g.step(same, node_id="met", join="all")
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(met), g.edge_from(met).to(g.end_node))

    async def main() -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            await g.build().run(inputs=list(range(5)))
        assert inside == set()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(main())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_three_human_tasks_in_parallel_are_answered_in_any_order(order: tuple[int, ...]) -> None:
    """In litestar-workflows a group of human steps runs one of them, and forgets the others."""
    g = builder()
    names = ("legal", "finance", "security")
    group = g.parallel(*(g.human(name, form=str) for name in names))
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    graph = g.build()

    async def main() -> Any:
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handle = await engine.start(graph, run_id="run")
            waits = {wait.node: wait for wait in await handle.until_waiting()}
            assert set(waits) == set(names)
            for place in order:
                await handle.respond(waits[names[place]].task_id, f"{names[place]} says yes")
            return await handle.result()

    assert asyncio.run(asyncio.wait_for(main(), 20)) == [f"{name} says yes" for name in names]


def test_a_group_as_a_step_works() -> None:
    """In litestar-workflows a group can't be put where its own guide puts it: among the steps of a definition."""
    g = builder()
    before, after = g.step(same, node_id="before"), g.step(same, node_id="after")
    group = g.parallel(g.step(same, node_id="a"), g.step(same, node_id="b"))
    g.add(
        g.edge_from(g.start_node).to(before),
        g.edge_from(before).to(group),
        g.edge_from(group).to(after),
        g.edge_from(after).to(g.end_node),
    )
    assert both(g.build(), 3) == [3, 3]


def test_a_race_cancels_its_losers_and_an_error_does_not_win() -> None:
    """In litestar-workflows the first to end wins, also by failing, and the others go on."""
    ended: list[str] = []

    async def bad(ctx: Any) -> Any:
        raise ValueError

    async def good(ctx: Any) -> Any:
        for _ in range(10):
            await asyncio.sleep(0)
        return "good"

    async def slow(ctx: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("slow")

    g = builder()
    group = g.race(g.step(bad), g.step(good), g.step(slow))
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    assert both(g.build()) == "good"
    assert ended == ["slow", "slow"]


def test_state_is_not_shared_between_concurrent_runs() -> None:
    """GraphAI keeps the state on the graph, so two runs at once write into each other's."""
    g = builder(state_type=Shared)

    async def note(ctx: Any) -> Any:
        ctx.state.seen.append(ctx.inputs)
        for _ in range(10):
            await asyncio.sleep(0)
        return list(ctx.state.seen)

    a, b = g.step(note, node_id="a"), g.step(_unwrap, node_id="b")
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(a).to(b), g.edge_from(b).to(g.end_node))
    graph = g.build()

    async def main() -> list[Any]:
        in_memory = [graph.run(inputs=number, state=Shared()) for number in range(20)]
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handles = [await engine.start(graph, inputs=number, state=Shared()) for number in range(20)]
            return [*await asyncio.gather(*in_memory), *[await handle.result() for handle in handles]]

    assert asyncio.run(main()) == [*range(20), *range(20)]


async def _unwrap(ctx: Any) -> Any:
    [only] = ctx.inputs
    return only


def test_two_maps_that_race_into_one_join_sum_to_the_right_number() -> None:
    """In pydantic-graph a join behind two maps can fire with what one of them gave, or twice."""

    async def numbers(ctx: Any) -> Any:
        for _ in range(ctx.inputs * 7):
            await asyncio.sleep(0)
        return list(range(1, 11))

    for late in (0, 1, 2):
        g = builder()
        a, b = g.step(numbers, node_id="a"), g.step(numbers, node_id="b")
        each, other = g.step(same, node_id="each"), g.step(same, node_id="other")
        total = g.join(reduce_sum, initial=0)
        g.add(
            g.edge_from(g.start_node).transform(lambda ctx: ctx.inputs).to(a, b),
            g.edge_from(a).map().to(each),
            g.edge_from(b).map().to(other),
            g.edge_from(each, other).to(total),
            g.edge_from(total).to(g.end_node),
        )
        assert both(g.build(), late) == 110


def test_an_initial_value_is_not_shared_between_joins_and_runs() -> None:
    """In pydantic-graph a mutable ``initial`` is one object for all runs."""
    g = builder()
    each = g.step(same, node_id="each")
    all_ = g.join(reduce_list_append, initial=[])
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(all_), g.edge_from(all_).to(g.end_node))
    graph = g.build()
    assert [sorted(both(graph, [1, 2])) for _ in range(3)] == [[1, 2]] * 3


def test_items_of_a_stream_are_worked_on_while_it_goes_on() -> None:
    """With lock-step rounds a stream is drained before its first item is looked at."""
    began: list[int] = []

    async def items(ctx: Any) -> AsyncIterator[int]:
        yield 0
        while not began:
            await asyncio.sleep(0)
        yield 1

    async def work(ctx: Any) -> Any:
        began.append(ctx.inputs)
        return ctx.inputs

    g = builder()
    stream, each, met = g.stream(items), g.step(work), g.step(same, node_id="met", join="all")
    g.add(
        g.edge_from(g.start_node).to(stream),
        g.edge_from(stream).map().to(each),
        g.edge_from(each).to(met),
        g.edge_from(met).to(g.end_node),
    )
    assert both(g.build()) == [0, 1]


def test_a_slow_arm_does_not_hold_a_fast_one() -> None:
    """With supersteps the second step of a fast branch waits for the first one of a slow branch."""
    order: list[str] = []
    reached = asyncio.Event()

    def noting(name: str, wait: bool = False) -> Any:
        async def body(ctx: Any) -> Any:
            if wait:
                await reached.wait()
            if name == "fast 2":
                reached.set()
            order.append(name)

        return body

    g = builder()
    slow, fast, next_ = (
        g.step(noting("slow", wait=True), node_id="slow"),
        g.step(noting("fast 1"), node_id="fast"),
        g.step(noting("fast 2"), node_id="next"),
    )
    met = g.step(same, node_id="met", join="all")
    g.add(
        g.edge_from(g.start_node).to(slow, fast),
        g.edge_from(fast).to(next_),
        g.edge_from(slow, next_).to(met),
        g.edge_from(met).to(g.end_node),
    )
    run(g.build())
    assert order == ["fast 1", "fast 2", "slow"]


def test_a_waiting_task_holds_no_slot() -> None:
    """With a semaphore around whole branches, those that wait for somebody keep the others from running."""
    done: list[int] = []
    g = builder(max_concurrency=1)

    async def work(ctx: Any) -> Any:
        done.append(ctx.inputs)
        return ctx.inputs

    gate = g.human("gate", form=int)
    each = g.step(work)
    met = g.step(same, node_id="met", join="all")
    g.add(
        g.edge_from(g.start_node)
        .map(max_concurrency=1)
        .to(g.decision().branch(g.match(int, matches=lambda n: n < 3).to(gate)).branch(g.match(int).to(each))),
        g.edge_from(gate, each).to(met),
        g.edge_from(met).to(g.end_node),
    )
    graph = g.build()

    async def main() -> Any:
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handle = await engine.start(graph, inputs=list(range(6)), run_id="run")
            waits = await handle.until_waiting()
            assert (await handle.status()) is Status.WAITING
            assert done == [3, 4, 5]
            assert len(waits) == 3
            for wait in waits:
                await handle.respond(wait.task_id, -1)
            return await handle.result()

    assert asyncio.run(asyncio.wait_for(main(), 20)) == [-1, -1, -1, 3, 4, 5]
