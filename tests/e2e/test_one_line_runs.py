"""`graph.run` and `graph.run_sync` take the same options, in memory and on a store."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import DeadlineExceeded, Graph, GraphBuilder, GraphSetupError, MemoryStore, StepContext


def endless() -> Any:
    g = GraphBuilder(name="endless", input_type=int, output_type=int)

    @g.step
    async def hang(ctx: StepContext[None, None, int]) -> int:
        await asyncio.Event().wait()
        return 0

    g.add(g.edge_from(g.start_node).to(hang), g.edge_from(hang).to(g.end_node))
    return g.build()


def asking() -> Any:
    g = GraphBuilder(name="asking", input_type=int, output_type=int)
    ask = g.human("ask", form=int)
    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(g.end_node))
    return g.build()


def test_both_take_the_same_options() -> None:
    assert inspect.signature(Graph.run_sync).parameters == inspect.signature(Graph.run).parameters


@pytest.mark.parametrize("deadline", [timedelta(milliseconds=5), datetime(2020, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("durable", [True, False])
def test_a_run_fails_at_its_deadline(deadline: Any, durable: bool) -> None:
    store = MemoryStore() if durable else None
    with pytest.raises(DeadlineExceeded):
        asyncio.run(endless().run(inputs=1, deadline=deadline, store=store))
    with pytest.raises(DeadlineExceeded):
        endless().run_sync(inputs=1, deadline=deadline, store=MemoryStore() if durable else None)


@pytest.mark.parametrize("durable", [True, False])
def test_a_deadline_that_is_none_of_its_kind_is_refused(durable: bool) -> None:
    with pytest.raises(GraphSetupError):
        asyncio.run(endless().run(inputs=1, deadline=5, store=MemoryStore() if durable else None))


def test_a_run_that_isnt_async_can_end_where_it_waits() -> None:
    (wait,) = asking().run_sync(inputs=1, store=MemoryStore(), until="waiting")
    assert wait.name == "ask"
    with pytest.raises(GraphSetupError):
        asking().run_sync(inputs=1, until="waiting")


def test_a_run_that_isnt_async_runs_plain_functions_in_the_pools_it_is_given() -> None:
    g = GraphBuilder(name="pooled", input_type=int, output_type=int)

    @g.step(executor="pool")
    def double(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs * 2

    g.add(g.edge_from(g.start_node).to(double), g.edge_from(double).to(g.end_node))
    with ThreadPoolExecutor(1) as pool:
        assert g.build().run_sync(inputs=4, executors={"pool": pool}) == 8
