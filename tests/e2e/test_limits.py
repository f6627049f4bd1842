"""Limits: how many bodies run at once, measured inside the bodies, and how much a run may come to."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from e2e.short_graphs import Told, builder, run
from perdure import Engine, MaxStepsError, MemoryStore, Retry, reduce_list_append, reduce_sum


class Gauge:
    """Counts bodies that are inside, by name."""

    def __init__(self, turns: int = 3) -> None:
        self.inside: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.entered: list[Any] = []
        self.turns = turns

    async def stay(self, *names: str, entry: Any = None) -> None:
        self.entered.append(entry)
        for name in names:
            self.inside[name] += 1
            self.peak[name] = max(self.peak[name], self.inside[name])
        try:
            for _ in range(self.turns):
                await asyncio.sleep(0)
        finally:
            self.inside.subtract(names)


async def same(ctx: Any) -> Any:
    return ctx.inputs


def mapped(gauge: Gauge, *, graph: Any = None, step: Any = None, of_map: int | None = None) -> Any:
    g = builder(**(graph or {}))

    async def work(ctx: Any) -> Any:
        await gauge.stay("work", entry=ctx.inputs)
        return ctx.inputs

    each = g.step(work, **(step or {}))
    all_ = g.step(same, join="all")
    g.add(
        g.edge_from(g.start_node).map(fork_id="each", max_concurrency=of_map).to(each),
        g.edge_from(each).to(all_),
        g.edge_from(all_).to(g.end_node),
    )
    return g.build()


@pytest.mark.parametrize(
    "limit", [{"graph": {"max_concurrency": 3}}, {"step": {"max_concurrency": 3}}, {"of_map": 3}], ids=str
)
def test_a_limit_is_used_up_and_never_passed(limit: dict[str, Any]) -> None:
    gauge = Gauge()
    assert run(mapped(gauge, **limit), list(range(40))) == list(range(40))
    assert gauge.peak["work"] == 3
    assert gauge.entered == list(range(40)), "older arms start first"


def test_without_a_limit_all_run_at_once() -> None:
    gauge = Gauge(turns=200)
    run(mapped(gauge), list(range(40)))
    assert gauge.peak["work"] == 40


def test_all_limits_hold_at_once() -> None:
    gauge = Gauge()
    g = builder(max_concurrency=6)

    def step(name: str, **options: Any) -> Any:
        async def body(ctx: Any) -> Any:
            await gauge.stay("run", name, f"map {ctx.inputs[0]}", *(["group"] if name in "ab" else []))
            return ctx.inputs

        return g.step(body, node_id=name, **options)

    async def rows(ctx: Any) -> Any:
        return [(ctx.inputs, cell) for cell in range(5)]

    a, b, c = step("a", max_concurrency=4), step("b"), step("c", max_concurrency=2)
    row = g.step(rows)
    pair = g.parallel(a, b, max_concurrency=1)
    total = g.join(reduce_list_append, initial_factory=list)
    g.add(
        g.edge_from(g.start_node).map().to(row),
        g.edge_from(row).map(fork_id="cells", max_concurrency=3).to(pair, c),
        g.edge_from(pair, c).to(total),
        g.edge_from(total).to(g.end_node),
    )
    assert len(run(g.build(), list(range(6)))) == 60
    peak = gauge.peak
    assert peak["run"] <= 6
    assert peak["a"] <= 4
    assert peak["c"] <= 2
    assert all(peak[f"map {row}"] <= 3 for row in range(6)), "each batch of a map has its own limit"
    assert peak["run"] == 6, "and they are used"


def test_the_limit_of_a_group_counts_its_members_in_each_instance() -> None:
    gauge = Gauge(turns=50)
    g = builder()

    def step(name: str) -> Any:
        async def body(ctx: Any) -> Any:
            await gauge.stay(f"group {ctx.inputs}", "all")

        return g.step(body, node_id=name)

    group = g.parallel(*(step(name) for name in "abcdef"), max_concurrency=2)
    total = g.join(reduce_list_append, initial_factory=list)
    g.add(g.edge_from(g.start_node).map().to(group), g.edge_from(group).to(total), g.edge_from(total).to(g.end_node))
    run(g.build(), [1, 2, 3])
    assert [gauge.peak[f"group {row}"] for row in (1, 2, 3)] == [2, 2, 2]
    assert gauge.peak["all"] == 6


def test_the_limit_of_a_graph_holds_where_it_is_a_node() -> None:
    gauge = Gauge()
    inner = mapped(gauge, graph={"name": "inner", "max_concurrency": 2})
    g = builder()
    node = g.subgraph(inner)
    g.add(g.edge_from(g.start_node).to(node), g.edge_from(node).to(g.end_node))
    assert run(g.build(), list(range(10))) == list(range(10))
    assert gauge.peak["work"] == 2


def test_a_slot_is_given_back_by_failures_timeouts_and_cancellations() -> None:
    gauge = Gauge(turns=0)
    g = builder(max_concurrency=1, on_error="collect")

    async def work(ctx: Any) -> Any:
        await gauge.stay("work")
        if ctx.inputs == 0 and ctx.attempt == 1:
            raise OSError("again")
        if ctx.inputs == 1:
            raise ValueError("never")
        if ctx.inputs == 2:
            await asyncio.sleep(60)
        return ctx.inputs

    each = g.step(work, timeout=0.05, retry=Retry(max_attempts=2, retry_on=OSError, initial_interval=0.01))
    enough = g.step(same, join=2, cancel=True)
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(enough), g.edge_from(enough).to(g.end_node))
    assert sorted(run(g.build(), [0, 1, 2, 3, 4, 5])) in ([0, 3], [3, 4])
    assert gauge.peak["work"] == 1


def test_a_step_that_waits_to_be_tried_again_holds_no_slot() -> None:
    order: list[Any] = []
    g = builder(max_concurrency=1)

    async def work(ctx: Any) -> Any:
        order.append((ctx.inputs, ctx.attempt))
        if ctx.inputs == 0 and ctx.attempt == 1:
            raise OSError
        return ctx.inputs

    each = g.step(work, retry=Retry(initial_interval=0.05, jitter=False))
    all_ = g.step(same, join="all")
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(all_), g.edge_from(all_).to(g.end_node))
    assert run(g.build(), [0, 1, 2]) == [0, 1, 2]
    assert order == [(0, 1), (1, 1), (2, 1), (0, 2)]


def test_limits_hold_after_a_restart(tmp_path: Path) -> None:
    gauge = Gauge(turns=50)
    graph = mapped(gauge, step={"max_concurrency": 2})

    async def main() -> Any:
        async with Engine.open(tmp_path / "runs.db", [graph]) as engine:
            await engine.start(graph, inputs=list(range(12)), run_id="run")
            while len(gauge.entered) < 4:
                await asyncio.sleep(0)
        gauge.inside.clear()
        async with Engine.open(tmp_path / "runs.db", [graph]) as engine:
            return await engine.attach("run").result()

    assert asyncio.run(main()) == list(range(12))
    assert gauge.peak["work"] == 2


# --- how much ---


def looping(**options: Any) -> Any:
    g = builder(**options)

    async def step(ctx: Any) -> Any:
        return ctx.inputs + 1

    again = g.step(step)
    g.add(
        g.edge_from(g.start_node).to(again),
        g.edge_from(again).to(
            g.decision().branch(g.match(int, matches=lambda n: n < 100).to(again)).branch(g.match(int).to(g.end_node))
        ),
    )
    return g.build()


def test_a_lineage_that_grows_too_long_fails_and_can_be_retried_with_more() -> None:
    graph = looping(max_steps=50)
    with pytest.raises(MaxStepsError, match="max_steps is 50"):
        run(graph, 0)
    assert run(looping(max_steps=100), 0) == 100

    async def main() -> Any:
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handle = await engine.start(graph, inputs=0, run_id="run")
            with pytest.raises(MaxStepsError):
                await handle.result()
            return await (await engine.retry("run", max_steps=200)).result()

    assert asyncio.run(main()) == 100


def test_width_does_not_count_as_length() -> None:
    assert run(mapped(Gauge(turns=0), graph={"max_steps": 5}), list(range(500))) == list(range(500))


def test_the_number_of_tasks_can_be_limited() -> None:
    with pytest.raises(MaxStepsError, match="more than its 100 tasks"):
        run(mapped(Gauge(turns=0), graph={"max_tasks": 100}), list(range(500)))
    assert len(run(mapped(Gauge(turns=0), graph={"max_tasks": 502}), list(range(500)))) == 500


# --- the end ---


def ending(end: Any) -> Any:
    g = builder(end=end)
    done: list[int] = []

    async def work(ctx: Any) -> Any:
        for _ in range(ctx.inputs * 20):
            await asyncio.sleep(0)
        done.append(ctx.inputs)
        return ctx.inputs

    each = g.step(work)
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(g.end_node))
    return g.build(), done


def test_the_first_value_at_the_end_ends_the_run_and_cancels_the_rest() -> None:
    graph, done = ending("first")
    told = Told(graph, [2, 0, 1])
    assert told.result == 0
    assert done == [0]
    assert len(told.events("NodeCancelled")) == 2


def test_the_end_waits_for_all_and_keeps_every_value() -> None:
    graph, done = ending("all")

    async def main() -> Any:
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handle = await engine.start(graph, inputs=[2, 0, 1], run_id="run")
            assert list(await handle.outputs()) == [0, 1, 2]
            assert list(await engine.attach("run").outputs()) == [0, 1, 2]
            return await handle.result()

    assert asyncio.run(main()) == 0
    assert done == [0, 1, 2]


def test_a_sum_over_arms_with_a_limit_is_the_sum() -> None:
    g = builder()
    each = g.step(same, max_concurrency=7)
    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).map(max_concurrency=5).to(each),
        g.edge_from(each).to(total),
        g.edge_from(total).to(g.end_node),
    )
    assert run(g.build(), range(2000)) == 1999000
