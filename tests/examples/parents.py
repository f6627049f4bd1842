"""Joins and the forks they wait for, where that isn't the one fork before them."""

from __future__ import annotations

from typing import Any

from examples import example
from perdure import Graph, GraphBuilder, StepContext, reduce_list_append, reduce_sum

Number = StepContext[None, None, int]


def _plus(current: int, item: int) -> int:
    return current + item


@example(50, inputs=[5, 10, 15, 20])
def a_sum_by_a_reducer_of_ones_own_under_a_name_of_ones_own() -> Graph[None, None, list[int], int]:
    g = GraphBuilder(name="own sum", input_type=list[int], output_type=int)

    @g.step
    async def same(ctx: Number) -> int:
        return ctx.inputs

    total = g.join(_plus, initial=0, node_id="my_total")
    g.add(
        g.edge_from(g.start_node).map().to(same),
        g.edge_from(same).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


@example([300], inputs=3)
def the_ways_of_a_decision_meet_in_a_join() -> Graph[None, None, int, list[int]]:
    g = GraphBuilder(name="meeting", input_type=int, output_type=list[int])

    @g.step
    async def small(ctx: Number) -> int:
        return ctx.inputs * 100

    @g.step
    async def large(ctx: Number) -> int:
        return ctx.inputs

    met = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(
            g.decision().branch(g.match(int, matches=lambda n: n < 10).to(small)).branch(g.match(int).to(large))
        ),
        g.edge_from(small, large).to(met),
        g.edge_from(met).to(g.end_node),
    )
    return g.build()


@example([0, 10, 20, 30], inputs=1, view=sorted)
def the_work_of_all_pages_is_gathered() -> Graph[None, None, int, list[int]]:
    g = GraphBuilder(name="pages", input_type=int, output_type=list[int])

    @g.step
    async def page(ctx: Number) -> int:
        return ctx.inputs

    @g.step
    async def work(ctx: Number) -> int:
        return ctx.inputs * 10

    @g.step
    async def turn(ctx: Number) -> int:
        return ctx.inputs + 1

    @g.step
    async def last(ctx: Number) -> int:
        return 0

    gathered = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(page),
        g.edge_from(page).to(work, turn),
        g.edge_from(turn).to(
            g.decision()
            .branch(g.match(int, matches=lambda n: n < 4).label("more").to(page))
            .branch(g.match(int).to(last))
        ),
        g.edge_from(work, last).to(gathered),
        g.edge_from(gathered).to(g.end_node),
    )
    return g.build()


@example([3, 7, 11], inputs=[[1, 2], [3, 4], [5, 6]], view=sorted)
def the_closest_forks_are_joined_one_after_another() -> Graph[None, None, list[list[int]], list[int]]:
    g = GraphBuilder(name="closest", input_type=list[list[int]], output_type=list[int])

    @g.step
    async def row(ctx: StepContext[None, None, list[int]]) -> list[int]:
        return ctx.inputs

    @g.step
    async def cell(ctx: Number) -> int:
        return ctx.inputs

    closest: dict[str, Any] = {"preferred_parent_fork": "closest"}
    per_row = g.join(reduce_sum, initial=0, node_id="per_row", **closest)
    table = g.join(reduce_list_append, initial_factory=list[int], node_id="table", **closest)
    g.add(
        g.edge_from(g.start_node).map().to(row),
        g.edge_from(row).map().to(cell),
        g.edge_from(cell).to(per_row),
        g.edge_from(per_row).to(table),
        g.edge_from(table).to(g.end_node),
    )
    return g.build()
