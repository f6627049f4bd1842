"""What each thing that can happen in a run is told as."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    Engine,
    GraphBuilder,
    MemoryStore,
    ReduceFirstValue,
    StepContext,
    reduce_list_append,
    reduce_sum,
)
from perdure import events as ev
from perdure.engine.clock import SystemClock
from perdure.engine.inspection.history import Recorded
from perdure.graph.nodes.policies import Retry
from perdure.telemetry.projection import Projection
from perdure.telemetry.spans import Span, SpanRef, parse_traceparent, span_id_of, trace_id_of, traceparent
from unit.telemetry.telling import dangling, dead_links, of_kind, projected, repeated, told


def step_of(spans: Sequence[Span], name: str) -> Span:
    [found] = [span for span in spans if span.name == name]
    return found


def is_whole(spans: Sequence[Span]) -> bool:
    return not dangling(spans) and not dead_links(spans) and not repeated(spans)


def test_each_attempt_is_a_span_that_links_the_one_before() -> None:
    g = GraphBuilder(name="retrying", output_type=int)

    @g.step(retry=Retry(max_attempts=3, initial_interval=0.001, jitter=False))
    async def flaky(ctx: StepContext[None, None, None]) -> int:
        if ctx.attempt < 3:
            raise ValueError(f"try {ctx.attempt}")
        return ctx.attempt

    g.add(g.edge_from(g.start_node).to(flaky), g.edge_from(flaky).to(g.end_node))
    spans = asyncio.run(told(g.build()))
    steps = of_kind(spans, "step")
    assert [(span.attributes["perdure.attempt"], span.error) for span in steps] == [
        (1, "ValueError"),
        (2, "ValueError"),
        (3, ""),
    ]
    assert [[link.to for link in span.links] for span in steps] == [[], [steps[0].ref], [steps[1].ref]]
    assert [span.attributes.get("perdure.failure") for span in steps] == ["retry", "retry", None]
    assert is_whole(spans)


def test_the_losers_of_a_race_are_cancelled_and_have_not_failed() -> None:
    g = GraphBuilder(name="racing", output_type=str)

    @g.step
    async def quick(ctx: StepContext[None, None, None]) -> str:
        return "quick"

    @g.step
    async def slow(ctx: StepContext[None, None, None]) -> str:
        await asyncio.Event().wait()
        return "slow"

    race = g.race(quick, slow)
    g.add(g.edge_from(g.start_node).to(race), g.edge_from(race).to(g.end_node))
    spans = asyncio.run(told(g.build()))
    lost = step_of(spans, "step slow")
    assert (lost.attributes["perdure.outcome"], lost.error) == ("cancelled", "")
    batches = [span for span in of_kind(spans, "batch") if span.attributes["perdure.batch.size"] == 2]
    assert [(b.attributes["perdure.batch.completed"], b.attributes["perdure.batch.cancelled"]) for b in batches] == [
        (1, 1)
    ]
    assert is_whole(spans)


def test_a_collected_failure_is_linked_by_its_join() -> None:
    g = GraphBuilder(name="collecting", output_type=list)

    @g.step
    async def good(ctx: StepContext[None, None, None]) -> int:
        return 1

    @g.step
    async def bad(ctx: StepContext[None, None, None]) -> int:
        raise ValueError("bad")

    both = g.parallel(good, bad, on_error="collect")
    g.add(g.edge_from(g.start_node).to(both), g.edge_from(both).to(g.end_node))
    spans = asyncio.run(told(g.build()))
    [join] = of_kind(spans, "join")
    assert join.attributes["perdure.join.failed"] == 1
    branches = {link.to for link in join.links if link.why == "branch"}
    assert branches == {step_of(spans, "step good").ref, step_of(spans, "step bad").ref}
    assert step_of(spans, "step bad").error == "ValueError"
    assert is_whole(spans)


def test_an_inner_batch_is_below_the_outer_one_and_their_join_links_both() -> None:
    g = GraphBuilder(name="grid", output_type=list)

    @g.step
    async def table(ctx: StepContext[None, None, None]) -> list[list[int]]:
        return [[1, 2], [3, 4, 5]]

    @g.step
    async def cell(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    join = g.join(reduce_list_append, initial_factory=list[int], node_id="all", parent_fork_id="rows")
    g.add(
        g.edge_from(g.start_node).to(table),
        g.edge_from(table).map(fork_id="rows").map(fork_id="columns").to(cell),
        g.edge_from(cell).to(join),
        g.edge_from(join).to(g.end_node),
    )
    spans = asyncio.run(told(g.build()))
    outer = step_of(spans, "batch rows")
    inner = [span for span in spans if span.name == "batch columns"]
    assert {span.parent for span in inner} == {outer.ref}
    assert sorted(span.attributes["perdure.batch.size"] for span in inner) == [2, 3]
    [joined] = of_kind(spans, "join")
    assert next(link.to for link in joined.links if link.why == "batch") == outer.ref
    assert {link.to for link in joined.links if link.why == "batch"} == {outer.ref, *(span.ref for span in inner)}
    assert all(span.ended_at <= outer.ended_at for span in inner)
    assert is_whole(spans)


@pytest.mark.parametrize("order", ["arrival", "branch"])
def test_a_join_of_many_links_each_branch_in_spans_of_a_hundred(order: Any) -> None:
    g = GraphBuilder(name="wide", output_type=list)

    @g.step
    async def spread(ctx: StepContext[None, None, None]) -> list[int]:
        return list(range(250))

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    join = g.join(reduce_list_append, initial_factory=list[int], node_id="all", order=order)
    g.add(
        g.edge_from(g.start_node).to(spread),
        g.edge_from(spread).map(fork_id="items").to(work),
        g.edge_from(work).to(join),
        g.edge_from(join).to(g.end_node),
    )
    spans = asyncio.run(told(g.build()))
    [joined] = of_kind(spans, "join")
    parts = of_kind(spans, "branches")
    assert {part.parent for part in parts} == {joined.ref}
    assert [len(span.links) for span in (joined, *parts)] == [100, 100, 51]
    linked = [link.to for span in (joined, *parts) for link in span.links if link.why == "branch"]
    assert sorted(ref.span_id for ref in linked) == sorted(s.ref.span_id for s in spans if s.name == "step work")
    assert is_whole(spans)


def test_a_map_that_ends_early_is_as_wide_as_it_was_opened_and_a_stream_as_it_became() -> None:
    g = GraphBuilder(name="early", output_type=int)

    @g.step
    async def spread(ctx: StepContext[None, None, None]) -> list[int]:
        return list(range(5))

    @g.stream
    async def beats(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    first = g.join(ReduceFirstValue(), node_id="first", initial=0)
    total = g.join(reduce_sum, initial=0, node_id="total")
    g.add(
        g.edge_from(g.start_node).to(spread),
        g.edge_from(spread).map(fork_id="items", max_concurrency=1).to(work),
        g.edge_from(work).to(first),
        g.edge_from(first).to(beats),
        g.edge_from(beats).map(fork_id="beating").to(total),
        g.edge_from(total).to(g.end_node),
    )
    spans = asyncio.run(told(g.build()))
    widths = {span.name: span.attributes["perdure.batch.size"] for span in of_kind(spans, "batch")}
    assert widths == {"batch items": 5, "batch beating": 3}


def test_a_router_and_a_subgraph_are_batches_too() -> None:
    inner = GraphBuilder(name="inner", output_type=int)

    @inner.step
    async def one(ctx: StepContext[None, None, None]) -> int:
        return 1

    inner.add(inner.edge_from(inner.start_node).to(one), inner.edge_from(one).to(inner.end_node))
    g = GraphBuilder(name="outer", output_type=int)
    sub = g.subgraph(inner.build(), node_id="sub")
    g.add(g.edge_from(g.start_node).to(sub), g.edge_from(sub).to(g.end_node))
    spans = asyncio.run(told(g.build()))
    assert len(of_kind(spans, "step")) == 1
    assert is_whole(spans)


# --- waits, pauses, retries of runs ---


def waiting_graph() -> Any:
    g = GraphBuilder(name="asking", output_type=str)
    ask = g.human("ask", form=str, assignee="ada")
    nap = g.sleep(timedelta(0))
    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(nap), g.edge_from(nap).to(g.end_node))
    return g.build()


class Later(SystemClock):
    """A clock that can be put on."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


async def played(
    graph: Any, play: Callable[[Engine, Any], Awaitable[Any]], clock: SystemClock | None = None
) -> Sequence[Recorded]:
    async with Engine.open(MemoryStore(), [graph], clock=clock) as engine:
        handle = await engine.start(graph, run_id="run")
        await play(engine, handle)
        return await engine.history("run")


async def answer(engine: Engine, handle: Any) -> None:
    [waiting] = await handle.until_waiting()
    await handle.respond(waiting.task_id, "yes", by="ada")
    await handle.result()


def test_a_wait_is_told_with_its_answer_and_segments_with_the_ones_before() -> None:
    graph = waiting_graph()
    history = asyncio.run(played(graph, answer))
    spans = projected(graph.plan, "run", history)
    waits = {span.name: span for span in of_kind(spans, "wait")}
    assert set(waits) == {"wait human", "wait sleep"}
    human = waits["wait human"].attributes
    assert (human["perdure.outcome"], human["perdure.wait.by"], human["perdure.wait.assignee"]) == (
        "answered",
        "ada",
        "ada",
    )
    assert waits["wait sleep"].attributes["perdure.outcome"] == "elapsed"
    first, second, *_ = of_kind(spans, "segment")
    assert first.attributes["perdure.outcome"] == "waiting"
    assert [(link.why, link.to) for link in second.links] == [("previous segment", first.ref)]
    assert is_whole(spans)


def test_each_segment_can_be_a_trace_of_its_own() -> None:
    graph = waiting_graph()
    history = asyncio.run(played(graph, answer))
    spans = projected(graph.plan, "run", history, "segment")
    segments = of_kind(spans, "segment")
    traces = {span.ref.trace_id for span in spans}
    assert len(traces) == len(segments) == len(of_kind(spans, "start")) > 1
    by_ref = {span.ref: span for span in spans}
    assert all(by_ref[span.parent].ref.trace_id == span.ref.trace_id for span in spans if span.parent is not None)
    assert is_whole(spans)


def failing_map(is_broken: list[bool]) -> Any:
    g = GraphBuilder(name="failing", output_type=list)

    @g.step
    async def spread(ctx: StepContext[None, None, None]) -> list[int]:
        return [0, 1, 2]

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs == 2 and is_broken[0]:
            raise ValueError("broken")
        return ctx.inputs

    join = g.join(reduce_list_append, initial_factory=list[int], node_id="all")
    g.add(
        g.edge_from(g.start_node).to(spread),
        g.edge_from(spread).map(fork_id="items").to(work),
        g.edge_from(work).to(join),
        g.edge_from(join).to(g.end_node),
    )
    return g.build()


def test_a_batch_that_a_failure_cuts_in_two_is_told_in_two_parts() -> None:
    is_broken, clock = [True], Later()
    graph = failing_map(is_broken)

    async def play(engine: Engine, handle: Any) -> None:
        with pytest.raises(ValueError, match="broken"):
            await handle.result()
        is_broken[0] = False
        clock.ahead = 60_000_000  # the lease of the failed run has run out
        assert sorted(await (await engine.retry("run")).result()) == [0, 1, 2]

    spans = projected(graph.plan, "run", asyncio.run(played(graph, play, clock)))
    parts = of_kind(spans, "batch")
    assert [(part.attributes["perdure.batch.part"], part.attributes["perdure.outcome"]) for part in parts] == [
        (1, "interrupted"),
        (2, "completed"),
    ]
    first, second = of_kind(spans, "run")
    assert (first.error, second.error) == ("ValueError", "")
    assert [(link.why, link.to) for link in second.links] == [("previous run", first.ref)]
    assert is_whole(spans)


def test_a_pause_is_no_error() -> None:
    g = GraphBuilder(name="pausing", output_type=int)
    entered, held = asyncio.Event(), [True]

    @g.step
    async def work(ctx: StepContext[None, None, None]) -> int:
        entered.set()
        if held[0]:
            await asyncio.Event().wait()
        return 1

    g.add(g.edge_from(g.start_node).to(work), g.edge_from(work).to(g.end_node))
    graph = g.build()

    async def play(engine: Engine, handle: Any) -> None:
        await entered.wait()
        await engine.pause("run", now=True)
        while (await handle.info()).status != "PAUSED":
            await asyncio.sleep(0)
        held[0] = False
        assert await (await engine.resume("run")).result() == 1

    spans = projected(graph.plan, "run", asyncio.run(played(graph, play)))
    assert [span.attributes["perdure.outcome"] for span in of_kind(spans, "step")] == ["interrupted", "completed"]
    assert [span.attributes["perdure.outcome"] for span in of_kind(spans, "segment")] == ["paused", "completed"]
    assert [span.error for span in spans if span.error] == []
    assert is_whole(spans)


def test_what_is_under_way_can_be_told_as_unfinished() -> None:
    graph = failing_map([False])

    async def play(engine: Engine, handle: Any) -> None:
        await handle.result()

    history = asyncio.run(played(graph, play))
    for seq in range(1, len(history)):
        projection = Projection(graph.plan, "run")
        spans = [span for r in history[:seq] for span in projection.take(r.event, r.ts, r.epoch)]
        assert not dangling(spans + projection.unfinished())


# --- where a run comes from ---


def test_a_fork_of_a_run_links_its_origin() -> None:
    graph = failing_map([False])
    started = ev.RunStarted("failing", "f" * 64, b"null", "", origin="parent")
    projection = Projection(graph.plan, "fork")
    projection.take(started, 1, 1)
    [*_, run] = projection.take(ev.RunCancelled(), 2, 1)
    assert [(link.why, link.to) for link in run.links] == [
        ("origin", SpanRef(trace_id_of("parent"), span_id_of("parent", "start")))
    ]
    assert run.attributes["perdure.run.origin"] == "parent"


def test_a_traceparent_is_read_as_w3c_has_it() -> None:
    ref = SpanRef(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert parse_traceparent(text) == (ref, True)
    assert traceparent(ref, sampled=True) == text
    for bad in ("", "00-0-0-0", text.replace("00-", "ff-", 1), f"00-{'0' * 32}-b7ad6b7169203331-01", "x" * 55):
        assert parse_traceparent(bad) is None
