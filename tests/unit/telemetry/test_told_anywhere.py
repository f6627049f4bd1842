"""Runs are told wherever they run and whoever drives them: without an engine, beside each other, by one process after another."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from perdure import Engine, GraphBuilder, MemoryStore, StepContext
from perdure.engine.calling.observing import Observing
from perdure.events import RunStarted
from perdure.telemetry import Telemetry
from perdure.telemetry.spans import trace_id_of
from unit.telemetry.telling import projected
from unit.telemetry.test_live import Backend, Stuck, fan


def names(backend: Backend, run_id: str = "run") -> list[str]:
    return sorted(span.name for span in backend.spans if span.attributes.get("perdure.run.id") == run_id)


def dangling(backend: Backend) -> list[str]:
    ids = {span.context.span_id for span in backend.spans}
    return [span.name for span in backend.spans if span.parent is not None and span.parent.span_id not in ids]


def ids(backend: Backend) -> list[int]:
    return [span.context.span_id for span in backend.spans]


FAN_OF_3 = ["batch items", "join collect", "run fan", "segment", "start fan", "step spread", *["step work"] * 3]


# --- without an engine ---


@pytest.mark.parametrize("store", [None, "memory"])
def test_a_run_without_an_engine_is_told_like_any_other(store: str | None) -> None:
    backend, graph = Backend(), fan(3)
    kept = MemoryStore() if store else None
    assert asyncio.run(graph.run(store=kept, run_id="run", telemetry=backend.telemetry())) == [0, 1, 2]
    assert names(backend) == FAN_OF_3
    assert dangling(backend) == []
    assert {span.context.trace_id for span in backend.spans} == {trace_id_of("run")}
    backend = Backend()
    assert graph.run_sync(run_id="run", telemetry=backend.telemetry()) == [0, 1, 2]
    assert names(backend) == FAN_OF_3


def test_spans_of_the_user_nest_in_a_run_in_memory_and_the_run_links_its_caller() -> None:
    backend = Backend()
    tracer = backend.provider.get_tracer("user")

    async def body(ctx: StepContext[None, None, int]) -> int:
        with tracer.start_as_current_span("inner"):
            return ctx.inputs

    async def check() -> int:
        with tracer.start_as_current_span("request") as request:
            await fan(3, body).run(run_id="run", telemetry=backend.telemetry())
        return request.get_span_context().span_id

    request = asyncio.run(check())
    steps = {span.context.span_id for span in backend.spans if span.name == "step work"}
    assert {span.parent.span_id for span in backend.spans if span.name == "inner"} == steps
    [start] = [span for span in backend.spans if span.name == "start fan"]
    assert [link.context.span_id for link in start.links] == [request]


@pytest.mark.parametrize("store", [None, "memory"])
def test_a_run_that_is_stepped_through_is_told(store: str | None) -> None:
    async def check() -> None:
        kept = MemoryStore() if store else None
        async with fan(3).iter(run_id="run", store=kept, telemetry=backend.telemetry()) as run:
            async for _ in run:
                pass

    backend = Backend()
    asyncio.run(check())
    assert names(backend) == FAN_OF_3


def test_a_run_in_memory_that_fails_or_goes_on_as_another_one_is_told() -> None:
    g = GraphBuilder(name="counting", input_type=int, output_type=int)

    @g.step
    async def count(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs < 2:
            ctx.continue_as_new(ctx.inputs + 1)
        raise ValueError("enough")

    g.add(g.edge_from(g.start_node).to(count), g.edge_from(count).to(g.end_node))
    backend = Backend()
    with pytest.raises(ValueError, match="enough"):
        asyncio.run(g.build().run(inputs=0, run_id="run", telemetry=backend.telemetry()))
    runs = [span for span in backend.spans if span.name == "run counting"]
    assert [span.attributes["perdure.outcome"] for span in runs] == ["completed", "completed", "failed"]
    starts = [span.context.span_id for span in backend.spans if span.name == "start counting"]
    origins = [link.context.span_id for span in runs for link in span.links]
    assert origins == starts[:2]
    assert dangling(backend) == []


def test_runs_beside_each_other_are_told_by_one_thread() -> None:
    backend, graph = Backend(), fan(3)
    telemetry, threads = backend.telemetry(), set()

    async def body(ctx: StepContext[None, None, int]) -> int:
        threads.add(sum(thread.name == "perdure-telemetry" for thread in threading.enumerate()))
        return ctx.inputs

    async def check() -> None:
        runs = [fan(3, body).run(run_id=f"run{number}", telemetry=telemetry) for number in range(50)]
        async with Engine.open(MemoryStore(), [graph], telemetry=telemetry) as engine:
            await asyncio.gather(*runs, (await engine.start(graph, run_id="run")).result())

    asyncio.run(check())
    assert threads == {1}
    for run_id in ("run", *[f"run{number}" for number in range(50)]):
        assert names(backend, run_id) == FAN_OF_3


def test_what_is_dropped_of_a_run_in_memory_is_said_to_be_lost() -> None:
    backend, graph = Backend(exporter=Stuck()), fan(200)

    async def check() -> None:
        released = asyncio.get_running_loop().run_in_executor(None, let_go)
        assert len(await graph.run(telemetry=backend.telemetry(backlog=50))) == 200
        await released

    def let_go() -> None:
        assert backend.exporter.reached.wait(60)
        waiting.wait(0.2)
        backend.exporter.gate.set()

    waiting = threading.Event()
    structlog.configure(processors=[])
    try:
        with structlog.testing.capture_logs() as logs:
            asyncio.run(check())
    finally:
        structlog.reset_defaults()
    told = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert told == ["a run can't be told on: more has waited than may"]


# --- who can't be waited for ---


def test_an_exporter_that_blocks_for_ever_holds_neither_a_run_nor_the_closing() -> None:
    backend, graph = Backend(exporter=Stuck()), fan(20)

    async def check() -> None:
        telemetry = backend.telemetry(closing_s=0.05)
        for _ in range(2):
            async with Engine.open(MemoryStore(), [graph], telemetry=telemetry) as engine:
                assert len(await (await engine.start(graph)).result()) == 20
        assert len(await graph.run(telemetry=telemetry)) == 20

    try:
        began = perf_counter()
        asyncio.run(check())
        assert perf_counter() - began < 30
        assert backend.spans == []
    finally:
        backend.exporter.gate.set()


def test_an_observer_that_raises_is_detached_from_a_run_in_memory() -> None:
    class Raising:
        async def opened(self, store: Any) -> Any:
            return self

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    assert asyncio.run(fan(3).run(telemetry=Raising())) == [0, 1, 2]


def test_an_async_generator_that_a_user_abandons_leaves_no_context_error(caplog: pytest.LogCaptureFixture) -> None:
    backend = Backend()
    tracer = backend.provider.get_tracer("user")
    g = GraphBuilder(name="abandoning", output_type=int)

    @g.stream
    async def endless(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
        with tracer.start_as_current_span("inside"):
            while True:
                yield 1
                await asyncio.sleep(0)

    g.add(g.edge_from(g.start_node).to(endless), g.edge_from(endless).map(fork_id="items").to(g.end_node))
    graph = g.build()

    async def abandon(steps: Any) -> None:
        async for _ in steps:
            return

    async def check() -> None:
        asyncio.get_running_loop().slow_callback_duration = 60
        async with Engine.open(MemoryStore(), [graph], telemetry=backend.telemetry()) as engine:
            handle = await engine.start(graph)
            await asyncio.create_task(abandon(handle.events()))
            await handle.result()
        async with graph.iter(telemetry=backend.telemetry()) as run:
            await asyncio.create_task(abandon(run))

    with caplog.at_level(logging.DEBUG):
        asyncio.run(check(), debug=True)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- one process after another ---


def asking() -> Any:
    g = GraphBuilder(name="asking", output_type=str)
    ask = g.signal("ask", str)

    @g.step
    async def before(ctx: StepContext[None, None, None]) -> None:
        pass

    g.add(g.edge_from(g.start_node).to(before), g.edge_from(before).to(ask), g.edge_from(ask).to(g.end_node))
    return g.build()


async def in_two(first: Any, second: Any, *, drive: bool = True) -> Any:
    """Start a run with one engine, and let another one end it; return its log and its graph's plan."""
    graph, store = asking(), MemoryStore()
    async with Engine.open(store, [graph], telemetry=first, drive=drive) as engine:
        handle = await engine.start(graph, run_id="run")
        if drive:
            await handle.until_waiting()
    async with Engine.open(store, [graph], telemetry=second) as engine:
        await engine.signal("run", "ask", "yes")
        assert await engine.attach("run").result() == "yes"
        return await engine.history("run"), graph.plan


def test_what_a_process_without_telemetry_began_is_told_whole_by_the_next() -> None:
    backend = Backend()
    history, plan = asyncio.run(in_two(None, backend.telemetry()))
    assert ids(backend) == [span.ref.span_id for span in projected(plan, "run", history)]


@pytest.mark.parametrize("has_telemetry", [False, True])
def test_the_start_is_told_at_once_by_the_client_that_makes_it_and_all_else_by_the_worker(has_telemetry: bool) -> None:
    client, worker = Backend(), Backend()
    history, plan = asyncio.run(in_two(client.telemetry() if has_telemetry else None, worker.telemetry(), drive=False))
    assert ids(client) + ids(worker) == [span.ref.span_id for span in projected(plan, "run", history)]
    assert [span.name for span in client.spans] == ["start asking"] * has_telemetry


def test_a_client_exports_the_start_of_a_run_that_nobody_has_taken_yet() -> None:
    async def check() -> None:
        backend, graph, store = Backend(), asking(), MemoryStore()
        async with Engine.open(store, [graph], telemetry=backend.telemetry(), drive=False) as client:
            await client.start(graph, run_id="run")
        assert [span.name for span in backend.spans] == ["start asking"]
        async with Engine.open(
            store, [graph], telemetry=backend.telemetry(trace_scope="segment"), drive=False
        ) as client:
            await client.start(graph, run_id="in chapters")
        assert len(backend.spans) == 1, "each segment has a start of its own, and there is none yet"

    asyncio.run(check())


def test_a_fork_of_a_run_that_a_client_has_started_has_a_start_of_its_own() -> None:
    async def check() -> None:
        client, worker, graph, store = Backend(), Backend(), asking(), MemoryStore()
        async with Engine.open(store, [graph], telemetry=client.telemetry(), drive=False) as engine:
            await engine.start(graph, run_id="run")
        async with Engine.open(store, [graph], telemetry=worker.telemetry()) as engine:
            await engine.signal("run", "ask", "yes")
            await engine.attach("run").result()
            await (await engine.fork_run("run", at=1, new_run_id="fork")).cancel()
        starts = [span.attributes["perdure.run.id"] for span in worker.spans if span.name == "start asking"]
        assert starts == ["fork"]

    asyncio.run(check())


@pytest.mark.parametrize("is_sampled", [True, False])
def test_whether_a_run_is_sampled_is_decided_once_whatever_a_later_process_would_say(is_sampled: bool) -> None:
    samplers = [ALWAYS_ON, ALWAYS_OFF] if is_sampled else [ALWAYS_OFF, ALWAYS_ON]
    first, second = (Backend(sampler=sampler) for sampler in samplers)
    history, plan = asyncio.run(in_two(first.telemetry(), second.telemetry()))
    expected = [span.ref.span_id for span in projected(plan, "run", history)]
    assert ids(first) + ids(second) == (expected if is_sampled else [])
    assert bool(ids(second)) is is_sampled


@pytest.mark.parametrize("verb", ["fork_run", "fork_run with inputs"])
def test_a_fork_links_the_trace_that_its_origin_is_told_in(verb: str) -> None:
    async def check() -> None:
        backend, graph = Backend(), fan(5)
        tracer = backend.provider.get_tracer("user")
        async with Engine.open(MemoryStore(), [graph], telemetry=backend.telemetry()) as engine:
            with tracer.start_as_current_span("request"):
                await (await engine.start(graph, run_id="run", child=True)).result()
            with tracer.start_as_current_span("later") as later:
                more: dict[str, Any] = {"at": 6} if verb == "fork_run" else {"inputs": 2}
                fork = await engine.fork_run("run", **more)
                await fork.result()
        spans = {span.context.span_id: span for span in backend.spans}
        [ended] = [
            span for span in backend.spans
            if span.name == "run fan" and span.attributes["perdure.run.id"] == fork.run_id
        ]  # fmt: skip
        [origin] = [link.context for link in ended.links if link.attributes["perdure.link"] == "origin"]
        assert spans[origin.span_id].context.trace_id == origin.trace_id
        assert spans[origin.span_id].attributes["perdure.run.id"] == "run"
        start = spans[spans[ended.parent.span_id].context.span_id]
        assert [link.context.span_id for link in start.links] == [later.get_span_context().span_id]
        assert ended.context.trace_id == trace_id_of(fork.run_id)

    asyncio.run(check())


# --- no SDK ---


def test_without_an_sdk_it_costs_less_than_a_microsecond() -> None:
    async def check() -> float:
        observing = Observing(Telemetry())
        await observing.opened(MemoryStore())
        observed = observing.run("run", None, 1, RunStarted("graph", "f", b"", ""))
        assert not observed.surrounds, "bodies aren't surrounded by anything"
        best = float("inf")
        for _ in range(20):
            began = perf_counter()
            for _ in range(1_000):
                observed.committed((), 0.0)
                observed.leave(None)
            best = min(best, (perf_counter() - began) / 1_000)
        return best

    assert asyncio.run(check()) < 1e-6
