"""The spans of a run are a function of its log, and whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import EXAMPLES
from perdure import Engine, MemoryStore
from perdure import events as ev
from perdure.telemetry.projection import Projection
from perdure.telemetry.spans import Span
from property.test_fold_laws import commits_upto, cut, whole
from random_graphs import Tally, build, random_block
from unit.telemetry.telling import dangling, dead_links, of_kind, projected

blocks = st.builds(
    lambda rng, depth, races: random_block(rng, depth, races=races),
    st.randoms(use_true_random=False),
    st.integers(0, 4),
    st.booleans(),
)


async def history_of(store: MemoryStore) -> Any:
    async with Engine.open(store, recover=False) as engine:
        return await engine.history("run")


def check_whole(spans: list[Span], history: Any, plan: Any) -> None:
    """Compare spans with what the log says, event by event."""
    assert dangling(spans) == []
    assert dead_links(spans) == []
    assert max(Counter(span.ref for span in spans).values()) == 1
    kinds = Counter(type(recorded.event) for recorded in history)
    assert len(of_kind(spans, "step")) == kinds[ev.NodeStarted]
    assert len(of_kind(spans, "join")) == kinds[ev.JoinClosed] + kinds[ev.JoinCancelled]
    assert len(of_kind(spans, "segment")) == kinds[ev.SegmentStarted]
    batches: dict[str, list[Span]] = {}
    for span in of_kind(spans, "batch"):
        batches.setdefault(str(span.attributes["perdure.batch.id"]), []).append(span)
    opened = {recorded.event.instance: recorded for recorded in history if isinstance(recorded.event, ev.ForkOpened)}
    assert set(batches) == set(opened)
    for instance, parts in batches.items():
        assert parts[0].started_at == opened[instance].ts
        size = opened[instance].event.size
        assert size is None or parts[-1].attributes["perdure.batch.size"] == size
    by_ref = {span.ref: span for span in spans}
    for span in of_kind(spans, "step"):
        parent = by_ref[span.parent]
        assert span.attributes.get("perdure.batch.id") == parent.attributes.get("perdure.batch.id")
        if parent.kind == "batch":
            assert parent.started_at <= span.started_at <= span.ended_at <= parent.ended_at
    counts = {recorded.event.join: 0 for recorded in history if isinstance(recorded.event, ev.JoinClosed)}
    for recorded in history:
        if isinstance(recorded.event, ev.JoinClosed):
            counts[recorded.event.join] += recorded.event.count
    links = Counter(
        span.name.split()[1]
        for span in spans
        if span.kind in ("join", "branches") and span.attributes["perdure.outcome"] == "completed"
        for link in span.links
        if link.why == "branch"
    )
    assert {join: links[join] for join in counts} == counts


@settings(max_examples=60)
@given(blocks, st.integers(0, 5), st.sampled_from(["run", "segment"]))
def test_the_spans_of_a_random_graph_say_what_its_log_says(block: Any, seed: int, trace_scope: Any) -> None:
    graph = build(block, seed=seed)
    history = asyncio.run(_history(graph))
    check_whole(projected(graph.plan, "run", history, trace_scope), history, graph.plan)


async def _history(graph: Any) -> Any:
    return await history_of(await whole(graph, 7, Tally()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_spans_of_an_example_say_what_its_log_says(example: Any) -> None:
    async def check() -> None:
        graph = example.build()
        history = await history_of(await whole(graph, example.inputs, example.state()))
        check_whole(projected(graph.plan, "run", history), history, graph.plan)

    asyncio.run(check())


@settings(max_examples=60)
@given(blocks, st.integers(0, 5), st.integers(0, 999), st.sampled_from(["run", "segment"]))
def test_a_run_that_crashed_is_told_whole_and_alike_by_whoever_reads_on(
    block: Any, seed: int, place: int, trace_scope: Any
) -> None:
    async def check() -> None:
        graph = build(block, seed=seed)
        store = await whole(graph, 7, Tally())
        commits = commits_upto(store, place)
        prefix = cut(store, commits)
        async with Engine.open(prefix, [graph], recover=False) as engine:
            await (await engine.start(graph, inputs=7, state=Tally(), run_id="run")).result()
            history = await engine.history("run")
        spans = projected(graph.plan, "run", history, trace_scope)
        check_whole(spans, history, graph.plan)
        before = projected(
            graph.plan, "run", [event for event in history if event.epoch == history[0].epoch], trace_scope
        )
        assert before == spans[: len(before)]

    asyncio.run(check())


def test_a_projection_says_where_it_is() -> None:
    async def check() -> None:
        graph = EXAMPLES[0].build()
        history = await history_of(await whole(graph, EXAMPLES[0].inputs, EXAMPLES[0].state()))
        projection = Projection(graph.plan, "run")
        for recorded in history:
            assert not projection.is_over
            projection.take(recorded.event, recorded.ts, recorded.epoch)
            assert projection.seq == recorded.seq
        assert projection.is_over

    asyncio.run(check())
