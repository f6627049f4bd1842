"""A meeting point that had enough takes no more, by whichever way a late value comes."""

from __future__ import annotations

import asyncio

import pytest

from perdure import GraphBuilder, StepContext, reduce_sum


@pytest.mark.parametrize("width", [1, 3])
def test_a_value_that_comes_late_through_an_inner_join_does_not_run_a_step_twice(width: int) -> None:
    """All arms of the inner join end in one decision: it opens, and closes, when no task is left on the way."""
    met, has_met = list[int](), asyncio.Event()
    g = GraphBuilder(name="late", input_type=int, output_type=int, end="all")

    @g.step
    async def fast(ctx: StepContext[None, None, int]) -> int:
        return -1

    @g.step
    async def slow(ctx: StepContext[None, None, int]) -> list[int]:
        await has_met.wait()
        return list(range(ctx.inputs))

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    @g.step(join="any")
    async def meet(ctx: StepContext[None, None, int]) -> int:
        met.append(ctx.inputs)
        has_met.set()
        return ctx.inputs

    total = g.join(reduce_sum, initial=0, node_id="total")
    g.add(
        g.edge_from(g.start_node).to(fast, slow),
        g.edge_from(fast).to(meet),
        g.edge_from(slow).map().to(work),
        g.edge_from(work).to(total),
        g.edge_from(total).to(meet),
        g.edge_from(meet).to(g.end_node),
    )
    assert g.build().run_sync(inputs=width) == -1
    assert met == [-1]
