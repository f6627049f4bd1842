"""A graph whose caller steps through it: a map with an item that its step doesn't take."""

from __future__ import annotations

from perdure import Graph, GraphBuilder, StepContext, reduce_list_append


def tens() -> Graph[None, None, int, list[int]]:
    """Return a graph that multiplies the numbers up to one by ten, which fails for 3."""
    g = GraphBuilder(name="tens", input_type=int, output_type=list[int])

    @g.step
    async def count(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(1, ctx.inputs + 1))

    @g.step
    async def times_ten(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs == 3:
            raise ValueError("no 3")
        return ctx.inputs * 10

    @g.step
    async def in_order(ctx: StepContext[None, None, list[int]]) -> list[int]:
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
