"""Groups at work: where they stand, what they are inside of, and what state they see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from e2e.short_graphs import Told, builder, run
from perdure import Engine, GraphBuilder, MemoryStore, reduce_list_append, reduce_sum


async def same(ctx: Any) -> Any:
    return ctx.inputs


def both(graph: Any, inputs: Any) -> Any:
    """Run a graph in memory and on a store, and return what both give out."""
    result = run(graph, inputs)
    assert Told(graph, inputs).result == result
    return result


def around(graph: Any, **how: Any) -> Any:
    """Return a graph that is nothing but another one."""
    g = builder(**{key: how.pop(key) for key in ("state_type", "end") if key in how})
    node = g.subgraph(graph, **how)
    g.add(g.edge_from(g.start_node).to(node), g.edge_from(node).to(g.end_node))
    return g.build()


def inner(**options: Any) -> GraphBuilder[Any, Any, Any, Any]:
    return builder(**{"name": "inner", **options})


# --- what is inside a subgraph does what it does alone ---


def test_joins_of_a_subgraph_look_no_further_than_its_entry() -> None:
    g = inner()
    a, b = g.step(same, node_id="a"), g.step(same, node_id="b")
    met = g.step(same, node_id="met", join="all")
    first = g.join(reduce_list_append, initial_factory=list, order="branch")
    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(a, b).to(met),
        g.edge_from(met).to(first),
        g.edge_from(first).to(g.end_node),
    )
    graph = g.build()
    assert both(graph, 1) == [[1, 1]]
    outer = builder()
    node = outer.subgraph(graph)
    all_ = outer.join(reduce_list_append, initial_factory=list, order="branch")
    outer.add(
        outer.edge_from(outer.start_node).map().to(node),
        outer.edge_from(node).to(all_),
        outer.edge_from(all_).to(outer.end_node),
    )
    assert both(outer.build(), [1, 2, 3]) == [[[1, 1]], [[2, 2]], [[3, 3]]]


def test_a_join_may_name_the_start_of_its_graph_as_its_parent() -> None:
    g = inner()
    each = g.step(same, node_id="each")
    total = g.join(reduce_sum, initial=0, parent_fork_id="__start__")
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(total), g.edge_from(total).to(g.end_node))
    assert both(g.build(), [1, 2]) == 3
    assert both(around(g.build()), [1, 2]) == 3


def test_a_map_in_a_subgraph_names_its_downstream_join() -> None:
    g = inner()
    each = g.step(same, node_id="each")
    total = g.join(reduce_sum, initial=0, node_id="total")
    g.add(
        g.edge_from(g.start_node).map(downstream_join_id="total").to(each),
        g.edge_from(each).to(total),
        g.edge_from(total).to(g.end_node),
    )
    assert both(around(g.build()), []) == 0


def test_the_first_value_at_the_end_ends_the_subgraph_alone() -> None:
    ended: list[Any] = []

    async def wait(ctx: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(ctx.inputs)

    def graph() -> Any:
        g = inner()
        quick, slow = g.step(same, node_id="quick"), g.step(wait, node_id="slow")
        g.add(
            g.edge_from(g.start_node)
            .map()
            .to(g.decision().branch(g.match(int).to(quick)).branch(g.match(str).to(slow))),
            g.edge_from(quick, slow).to(g.end_node),
        )
        return g.build()

    g = builder()
    node = g.subgraph(graph())
    after = g.step(same, node_id="after")
    g.add(g.edge_from(g.start_node).to(node), g.edge_from(node).to(after), g.edge_from(after).to(g.end_node))
    assert both(g.build(), ["a", 1, "b"]) == 1
    assert sorted(ended) == ["a", "a", "b", "b"]


def test_a_subgraph_that_ends_with_all_waits_for_all_and_gives_out_the_first() -> None:
    done: list[int] = []

    async def work(ctx: Any) -> Any:
        for _ in range(ctx.inputs * 20):
            await asyncio.sleep(0)
        done.append(ctx.inputs)
        return ctx.inputs

    g = inner(end="all")
    each = g.step(work)
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(g.end_node))
    assert run(around(g.build()), [2, 0, 1]) == 0
    assert done == [0, 1, 2]


def test_streams_decisions_loops_and_waits_work_inside() -> None:
    g = inner()

    async def count(ctx: Any) -> AsyncIterator[int]:
        for number in range(ctx.inputs):
            yield number

    async def grow(ctx: Any) -> Any:
        return ctx.inputs + 1

    stream, more = g.stream(count), g.step(grow)
    pause = g.sleep(timedelta(milliseconds=1), node_id="pause")
    total = g.join(reduce_sum, initial=0)
    big = (
        g.decision(node_id="big").branch(g.match(int, matches=lambda n: n < 3).to(more)).branch(g.match(int).to(pause))
    )
    g.add(
        g.edge_from(g.start_node).to(stream),
        g.edge_from(stream).map().to(big),
        g.edge_from(more).to(big),
        g.edge_from(pause).to(total),
        g.edge_from(total).to(g.end_node),
    )
    assert both(around(around(g.build())), 5) == 3 + 3 + 3 + 3 + 4


def test_a_router_in_a_subgraph_names_nodes_as_it_does_alone() -> None:
    g = inner(end="all")
    a, b = g.step(same, node_id="a"), g.step(same, node_id="b")
    pair = g.parallel(g.step(same, node_id="x"), g.step(same, node_id="y"), node_id="pair")

    async def choose(ctx: Any) -> Any:
        return {1: a, 2: "b", 3: [g.end_node], 4: [pair], 5: "pair", 6: []}[ctx.inputs]

    router = g.router(choose, empty=b)
    g.add(
        g.edge_from(g.start_node).to(router),
        g.edge_from(router).to(a, g.end_node, pair),
        g.edge_from(router).to(b),
        g.edge_from(a, b, pair).to(g.end_node),
    )
    graph = g.build()
    expected = [1, 2, 3, [4, 4], [5, 5], 6]
    for deep in (graph, around(graph), around(around(graph))):
        assert [both(deep, number) for number in range(1, 7)] == expected


# --- state ---


@dataclass
class Own:
    number: int = 0
    seen: list[int] = field(default_factory=list)


def counting(own: Any = Own) -> Any:
    g = inner(state_type=own)

    async def add(ctx: Any) -> Any:
        ctx.state.number += ctx.inputs
        ctx.state.seen.append(ctx.inputs)
        return ctx.state.number

    def tally(ctx: Any, current: int, item: int) -> int:
        ctx.state.number += 100
        return current + 1

    each = g.step(add, node_id="add")
    count = g.join(tally, initial=0, node_id="count")
    last = g.step(_with_state, node_id="last")
    g.add(
        g.edge_from(g.start_node).transform(lambda ctx: [*ctx.inputs, ctx.state.number]).map().to(each),
        g.edge_from(each).to(count),
        g.edge_from(count).transform(lambda ctx: (ctx.inputs, ctx.state.number)).to(last),
        g.edge_from(last).to(g.end_node),
    )
    return g.build()


async def _with_state(ctx: Any) -> Any:
    return [*ctx.inputs, ctx.state.number, sorted(ctx.state.seen)]


def test_a_subgraph_with_a_state_of_its_own_sees_nothing_of_the_outer_one() -> None:
    outer = Own(number=7)
    kept: list[Any] = []
    graph = around(
        counting(),
        state_type=Own,
        state=lambda ctx: Own(number=ctx.state.number * 10),
        on_end=lambda mine, inner: kept.append((mine.number, inner.number)) or setattr(mine, "number", inner.number),
    )
    # 70 to begin with; it is mapped itself; then 1 + 2 + 70, and 100 for each of the three arrivals.
    assert run(graph, [1, 2], state=outer) == [3, 443, 443, [1, 2, 70]]
    assert outer.number == 443
    assert outer.seen == []
    assert kept == [(7, 443)]


def test_a_subgraph_on_the_outer_state_changes_it() -> None:
    outer = Own(number=7)
    graph = around(counting(), state_type=Own, state="shared")
    assert run(graph, [1, 2], state=outer) == [3, 317, 317, [1, 2, 7]]
    assert outer.number == 317


def test_inner_states_of_several_instances_and_levels_are_apart() -> None:
    def level(depth: int, graph: Any) -> Any:
        g = inner(state_type=Own)
        node = g.subgraph(
            graph,
            state=lambda ctx: Own(number=ctx.state.number + 1),
            on_end=lambda mine, other: mine.seen.append(other.number),
        )

        async def after(ctx: Any) -> Any:
            return [depth, ctx.state.number, ctx.state.seen, ctx.inputs]

        last = g.step(after, node_id="after")
        g.add(g.edge_from(g.start_node).to(node), g.edge_from(node).to(last), g.edge_from(last).to(g.end_node))
        return g.build()

    base = inner(state_type=Own)

    async def leaf(ctx: Any) -> Any:
        ctx.state.number += ctx.inputs
        return ctx.state.number

    only = base.step(leaf)
    base.add(base.edge_from(base.start_node).to(only), base.edge_from(only).to(base.end_node))
    deep = level(1, level(2, base.build()))
    g = builder(state_type=Own)
    node = g.subgraph(deep, state=lambda ctx: Own(number=100 * ctx.inputs))
    all_ = g.join(reduce_list_append, initial_factory=list, order="branch")
    g.add(g.edge_from(g.start_node).map().to(node), g.edge_from(node).to(all_), g.edge_from(all_).to(g.end_node))
    expected = [[1, 100 * n, [100 * n + 1], [2, 100 * n + 1, [100 * n + 2 + n], 100 * n + 2 + n]] for n in (1, 2, 3)]
    state = Own()
    assert run(g.build(), [1, 2, 3], state=state) == expected
    assert state == Own()

    async def on_store() -> Any:
        graph = g.build()
        async with Engine.open(MemoryStore(), [graph]) as engine:
            return await (await engine.start(graph, inputs=[1, 2, 3], state=Own())).result()

    assert asyncio.run(on_store()) == expected


def test_the_state_of_a_subgraph_in_a_loop_starts_afresh_each_time() -> None:
    g = builder(state_type=Own)
    node = g.subgraph(counting(), state=lambda ctx: Own(), on_end=lambda mine, other: mine.seen.append(other.number))
    again = g.step(_fewer, node_id="again")
    g.add(
        g.edge_from(g.start_node).to(node),
        g.edge_from(node).to(
            g.decision()
            .branch(g.match(list, matches=lambda given: len(given[-1]) > 2).to(again))
            .branch(g.match(object).to(g.end_node))
        ),
        g.edge_from(again).to(node),
    )
    state = Own()
    assert run(g.build(), [1, 2, 3], state=state) == [2, 203, 203, [0, 3]]
    assert state.seen == [406, 305, 203]


async def _fewer(ctx: Any) -> Any:
    return [number for number in ctx.inputs[-1] if number][1:]


# --- failures and limits of groups ---


def test_failures_in_a_subgraph_go_to_the_joins_around_it() -> None:
    g = inner()

    async def bad(ctx: Any) -> Any:
        if ctx.inputs == 2:
            raise ValueError("two")
        return ctx.inputs

    only = g.step(bad, node_id="bad")
    g.add(g.edge_from(g.start_node).to(only), g.edge_from(only).to(g.end_node))
    outer = builder()
    node = outer.subgraph(g.build())
    all_ = outer.step(same, node_id="met", join="all", on_error="collect")
    outer.add(
        outer.edge_from(outer.start_node).map().to(node),
        outer.edge_from(node).to(all_),
        outer.edge_from(all_).to(outer.end_node),
    )
    for result in (run(outer.build(), [1, 2, 3]), Told(outer.build(), [1, 2, 3]).result):
        assert [getattr(value, "error_message", value) for value in result] == [1, "two", 3]


def test_a_race_of_groups_cancels_the_whole_of_the_losers() -> None:
    ended: list[str] = []

    async def endless(ctx: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    g = builder()
    slow = g.parallel(g.step(endless, node_id="a"), g.step(same, node_id="b"), g.step(endless, node_id="c"))
    quick = g.chain(g.step(same, node_id="d"), g.step(same, node_id="e"), g.step(same, node_id="f"))
    group = g.race(slow, quick)
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    told = Told(g.build(), 5)
    assert told.result == 5
    assert ended == ["endless", "endless"]
    assert len(told.events("JoinCancelled")) == 1, "the join of the group that has lost"


def test_an_error_deep_in_a_member_does_not_win_a_race() -> None:
    async def bad(ctx: Any) -> Any:
        raise ValueError

    g = builder()
    member = g.parallel(g.step(same, node_id="a"), g.step(bad, node_id="b"))
    group = g.race(member, g.chain(g.step(same, node_id="c"), g.step(same, node_id="d")))
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    assert both(g.build(), 5) == 5


def test_one_failed_member_of_a_parallel_group_in_a_race_takes_the_group_out_of_it() -> None:
    async def bad(ctx: Any) -> Any:
        raise ValueError("half of it failed")

    g = builder()
    member = g.parallel(g.step(same, node_id="a"), g.step(bad, node_id="b"))
    group = g.race(member, g.step(bad, node_id="c"))
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    with pytest.raises(ValueError, match="half of it failed"):
        run(g.build(), 5)
