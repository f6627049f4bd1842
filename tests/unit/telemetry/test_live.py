"""What is committed is told, without a say in the run."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased

from perdure import Engine, GraphBuilder, MemoryStore, RunCancelled, StepContext
from perdure.graph.nodes.join import reduce_list_append
from perdure.telemetry import Telemetry, add_trace, gen_ai, openinference
from perdure.telemetry.spans import trace_id_of
from unit.telemetry.remote_steps import current
from unit.telemetry.telling import of_kind, projected


def fan(width: int, body: Any = None) -> Any:
    g = GraphBuilder(name="fan", input_type=int, output_type=list)

    @g.step
    async def spread(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(ctx.inputs or width))

    async def plain(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    work = g.step(body or plain, node_id="work")
    collect = g.join(reduce_list_append, initial_factory=list[int], node_id="collect")
    g.add(
        g.edge_from(g.start_node).to(spread),
        g.edge_from(spread).map(fork_id="items").to(work),
        g.edge_from(work).to(collect),
        g.edge_from(collect).to(g.end_node),
    )
    return g.build()


class Backend:
    """An SDK with what it was given."""

    def __init__(self, *, exporter: Any = None, batch: bool = False, sampler: Any = None) -> None:
        self.exporter = exporter or InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        processor = BatchSpanProcessor if batch else SimpleSpanProcessor
        self.provider.add_span_processor(processor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def telemetry(self, **more: Any) -> Telemetry:
        return Telemetry(tracer_provider=self.provider, meter_provider=self.meters, **more)

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


async def run(backend: Backend, graph: Any, inputs: Any = None, store: Any = None, **more: Any) -> Any:
    async with Engine.open(store or MemoryStore(), [graph], telemetry=backend.telemetry(**more)) as engine:
        handle = await engine.start(graph, inputs=inputs, run_id="run")
        await handle.result()
        return await engine.history("run")


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("trace_scope", ["run", "segment"])
async def told_live(durability: Any, trace_scope: Any) -> None:
    backend, graph, store = Backend(batch=True), fan(500), MemoryStore()
    async with Engine.open(store, [graph], telemetry=backend.telemetry(trace_scope=trace_scope)) as engine:
        await (await engine.start(graph, run_id="run", durability=durability)).result()
        history = await engine.history("run")
    backend.provider.force_flush()
    expected = projected(graph.plan, "run", history, trace_scope)
    assert [(span.name, span.context.span_id, span.context.trace_id) for span in backend.spans] == [
        (span.name, span.ref.span_id, span.ref.trace_id) for span in expected
    ]
    backend.provider.shutdown()


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("trace_scope", ["run", "segment"])
def test_what_is_told_live_is_the_projection_of_the_log(durability: str, trace_scope: str) -> None:
    asyncio.run(told_live(durability, trace_scope))


def test_spans_of_the_user_nest_under_their_step_in_tasks_and_threads() -> None:
    backend = Backend()
    tracer = backend.provider.get_tracer("user")

    async def in_loop(ctx: StepContext[None, None, int]) -> int:
        with tracer.start_as_current_span("inner"):
            await asyncio.sleep(0)
        return ctx.inputs

    def in_thread(ctx: StepContext[None, None, int]) -> int:
        with tracer.start_as_current_span("inner"):
            return ctx.inputs

    for body in (in_loop, in_thread):
        asyncio.run(run(backend, fan(3, body)))
        steps = {span.context.span_id: span for span in backend.spans if span.name == "step work"}
        inner = [span for span in backend.spans if span.name == "inner"]
        assert {span.parent.span_id for span in inner} == set(steps)
        assert {span.context.trace_id for span in inner} == {trace_id_of("run")}
        backend.exporter.clear()


def test_no_span_stays_current_when_a_stream_is_abandoned() -> None:
    backend = Backend()
    tracer = backend.provider.get_tracer("user")
    g = GraphBuilder(name="abandoning", output_type=int)

    @g.stream
    async def endless(ctx: StepContext[None, None, None]) -> Any:
        with tracer.start_as_current_span("inside"):
            while True:
                yield 1
                await asyncio.sleep(0)

    g.add(g.edge_from(g.start_node).to(endless), g.edge_from(endless).map(fork_id="items").to(g.end_node))
    asyncio.run(run(backend, g.build()))
    assert trace.get_current_span() is trace.INVALID_SPAN
    outcomes = {span.name: span.attributes.get("perdure.outcome") for span in backend.spans}
    assert outcomes["step endless"] == "cancelled"


def test_a_run_started_in_a_request_is_linked_to_it_or_its_child() -> None:
    async def check() -> None:
        backend, graph = Backend(), fan(2)
        tracer = backend.provider.get_tracer("user")
        async with Engine.open(MemoryStore(), [graph], telemetry=backend.telemetry()) as engine:
            with tracer.start_as_current_span("request") as request:
                linked = await engine.start(graph, run_id="linked")
                child = await engine.start(graph, run_id="child", child=True)
            await linked.result()
            await child.result()
        context = request.get_span_context()
        starts = {span.attributes["perdure.run.id"]: span for span in backend.spans if span.name == "start fan"}
        assert starts["linked"].parent is None
        assert [link.context.span_id for link in starts["linked"].links] == [context.span_id]
        assert starts["linked"].context.trace_id == trace_id_of("linked")
        assert starts["child"].parent.span_id == context.span_id
        told = [span for span in backend.spans if span.attributes.get("perdure.run.id") == "child"]
        assert {span.context.trace_id for span in told} == {context.trace_id}

    asyncio.run(check())


def test_a_run_is_sampled_as_a_whole_or_not_at_all() -> None:
    backend, graph = Backend(sampler=TraceIdRatioBased(0.5)), fan(3)

    async def check() -> None:
        async with Engine.open(MemoryStore(), [graph], telemetry=backend.telemetry()) as engine:
            for number in range(40):
                await (await engine.start(graph, run_id=f"run{number}")).result()

    asyncio.run(check())
    counts = Counter(span.attributes["perdure.run.id"] for span in backend.spans)
    assert 5 < len(counts) < 35
    assert len(set(counts.values())) == 1


def test_inside_of_a_run_that_is_not_sampled_nothing_is() -> None:
    backend = Backend(sampler=ALWAYS_OFF)
    seen: list[bool] = []

    async def body(ctx: StepContext[None, None, int]) -> int:
        seen.append(trace.get_current_span().get_span_context().trace_flags.sampled)
        return ctx.inputs

    asyncio.run(run(backend, fan(2, body)))
    assert backend.spans == []
    assert seen == [False, False]


class Raising:
    """An observer that is of no use."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_an_observer_that_raises_is_detached_and_the_run_goes_on() -> None:
    async def check() -> None:
        graph = fan(3)
        with structlog.testing.capture_logs() as logs:
            async with Engine.open(MemoryStore(), [graph], telemetry=Raising()) as engine:
                assert await (await engine.start(graph)).result() == [0, 1, 2]
        assert [entry["event"] for entry in logs if "observer" in entry["event"]] == [
            "an observer has raised and is detached"
        ]

    structlog.configure(processors=[])
    try:
        asyncio.run(check())
    finally:
        structlog.reset_defaults()


class Stuck(InMemorySpanExporter):
    """An exporter that blocks until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.reached = threading.Event()

    def export(self, spans: Any) -> Any:
        self.reached.set()
        self.gate.wait()
        return super().export(spans)


def test_an_exporter_that_blocks_delays_no_run_and_what_it_missed_is_read_from_the_log() -> None:
    async def check() -> None:
        backend, graph = Backend(exporter=Stuck()), fan(200)
        async with Engine.open(MemoryStore(), [graph], telemetry=backend.telemetry(backlog=50)) as engine:
            for run_id in ("one", "two", "three"):
                await (await engine.start(graph, run_id=run_id)).result()
            assert backend.exporter.reached.wait(60)
            assert backend.spans == []
            backend.exporter.gate.set()
            histories = {run_id: await engine.history(run_id) for run_id in ("one", "two", "three")}
        for run_id, history in histories.items():
            told = [span for span in backend.spans if span.attributes["perdure.run.id"] == run_id]
            expected = projected(graph.plan, run_id, history)
            assert sorted(span.context.span_id for span in told) == sorted(span.ref.span_id for span in expected)

    asyncio.run(check())


def test_an_exporter_that_raises_breaks_no_run() -> None:
    class Broken(InMemorySpanExporter):
        def export(self, spans: Any) -> Any:
            raise OSError("the backend is gone")

    history = asyncio.run(run(Backend(exporter=Broken(), batch=True), fan(3)))
    assert history[-1].kind == "RunCompleted"


def test_a_mapper_that_raises_stops_the_telling_and_not_the_run() -> None:
    def wrong(span: Any) -> Any:
        raise KeyError("wrong")

    history = asyncio.run(run(Backend(), fan(3), mappers=[wrong]))
    assert history[-1].kind == "RunCompleted"


def test_replay_tells_nothing_again() -> None:
    async def check() -> None:
        g = GraphBuilder(name="waiting", output_type=str)
        approve = g.signal("approve", str)

        @g.step
        async def before(ctx: StepContext[None, None, None]) -> None:
            pass

        g.add(
            g.edge_from(g.start_node).to(before),
            g.edge_from(before).to(approve),
            g.edge_from(approve).to(g.end_node),
        )
        graph, store, backends = g.build(), MemoryStore(), [Backend(), Backend(), Backend()]
        async with Engine.open(store, [graph], telemetry=backends[0].telemetry()) as engine:
            await (await engine.start(graph, run_id="run")).until_waiting()
        async with Engine.open(store, [graph], telemetry=backends[1].telemetry()) as engine:
            pass
        async with Engine.open(store, [graph], telemetry=backends[2].telemetry()) as engine:
            await engine.signal("run", "approve", "yes")
            assert await engine.attach("run").result() == "yes"
            history = await engine.history("run")
        told = [span.context.span_id for backend in backends for span in backend.spans]
        assert backends[1].spans == []
        assert told == [span.ref.span_id for span in projected(graph.plan, "run", history)]

    asyncio.run(check())


def test_a_run_cancelled_while_it_waits_is_told_to_its_end() -> None:
    async def check() -> None:
        g = GraphBuilder(name="sleeping")
        nap = g.sleep(timedelta(days=1))
        g.add(g.edge_from(g.start_node).to(nap), g.edge_from(nap).to(g.end_node))
        graph, store, backend = g.build(), MemoryStore(), Backend()
        async with Engine.open(store, [graph], telemetry=backend.telemetry()) as engine:
            handle = await engine.start(graph, run_id="run")
            await handle.until_waiting()
            await engine.cancel("run", reason="enough")
            with pytest.raises(RunCancelled):
                await handle.result()
            history = await engine.history("run")
        expected = projected(graph.plan, "run", history)
        assert [span.name for span in backend.spans] == [span.name for span in expected]
        assert of_kind(expected, "wait")[0].attributes["perdure.outcome"] == "cancelled"

    asyncio.run(check())


def test_metrics_add_up_what_the_log_says_and_name_no_run() -> None:
    backend = Backend()
    history = asyncio.run(run(backend, fan(7)))
    metrics = backend.metrics()
    assert sum(point.value for point in metrics["perdure.commit.events"]) == len(history)
    steps = {point.attributes["perdure.node.id"]: point.count for point in metrics["perdure.step.duration"]}
    assert steps == {"spread": 1, "work": 7}
    assert [(point.count, point.sum) for point in metrics["perdure.batch.size"]] == [(1, 7)]
    assert [point.value for point in metrics["perdure.run.started"]] == [1]
    assert [point.attributes["perdure.outcome"] for point in metrics["perdure.run.duration"]] == ["completed"]
    names = {name for points in metrics.values() for point in points for name in point.attributes}
    assert not any("run.id" in name or "task" in name for name in names)


def test_mappers_add_the_vocabulary_of_others() -> None:
    backend = Backend()
    asyncio.run(run(backend, fan(2), mappers=[openinference, gen_ai]))
    assert {span.attributes["openinference.span.kind"] for span in backend.spans} == {"CHAIN"}
    assert {span.attributes["gen_ai.conversation.id"] for span in backend.spans} == {"run"}
    [told] = [span for span in backend.spans if span.name == "run fan"]
    assert told.attributes["gen_ai.workflow.name"] == "fan"


def test_log_events_say_which_span_they_come_from() -> None:
    backend, found = Backend(), []

    async def body(ctx: StepContext[None, None, int]) -> int:
        found.append(add_trace(None, "info", {"event": "here"}))
        return ctx.inputs

    asyncio.run(run(backend, fan(1, body)))
    [step] = [span for span in backend.spans if span.name == "step work"]
    assert found == [
        {"event": "here", "trace_id": f"{step.context.trace_id:032x}", "span_id": f"{step.context.span_id:016x}"}
    ]
    assert add_trace(None, "info", {"event": "outside"}) == {"event": "outside"}


def test_the_log_of_a_failed_attempt_says_which_span_that_is() -> None:
    backend, found = Backend(), []

    async def body(ctx: StepContext[None, None, int]) -> int:
        raise ValueError("broken")

    def keep(logger: Any, name: str, event: Any) -> Any:
        found.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[add_trace, keep])
    try:
        with pytest.raises(ValueError, match="broken"):
            asyncio.run(run(backend, fan(1, body)))
    finally:
        structlog.reset_defaults()
    [step] = [span for span in backend.spans if span.name == "step work"]
    [failed] = [event for event in found if event["event"] == "attempt failed"]
    assert (failed["trace_id"], failed["span_id"]) == (
        f"{step.context.trace_id:032x}",
        f"{step.context.span_id:016x}",
    )
    assert failed["run"] == "run"


def test_without_an_sdk_nothing_is_told_and_nothing_is_set() -> None:
    async def check() -> None:
        graph = fan(3)
        async with Engine.open(MemoryStore(), [graph], telemetry=Telemetry()) as engine:
            assert await (await engine.start(graph)).result() == [0, 1, 2]

    asyncio.run(check())
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"


@pytest.mark.parametrize("executor", ["process", "pool", "processes"])
def test_spans_nest_under_their_step_wherever_it_runs(executor: str) -> None:
    backend = Backend()
    g = GraphBuilder(name="remote", output_type=str)
    step = g.step(current, node_id="work", executor=executor)
    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))
    graph = g.build()
    spawning = multiprocessing.get_context("spawn")

    async def check() -> str:
        with ThreadPoolExecutor(1) as pool, ProcessPoolExecutor(1, mp_context=spawning) as processes:
            pools = {"pool": pool, "processes": processes}
            async with Engine.open(MemoryStore(), [graph], executors=pools, telemetry=backend.telemetry()) as engine:
                return str(await (await engine.start(graph, run_id="run")).result())

    found = asyncio.run(check())
    [told] = [span for span in backend.spans if span.name == "step work"]
    assert found == f"{told.context.trace_id:032x}-{told.context.span_id:016x}"


def test_a_fork_of_a_run_is_told_whole_and_linked_to_its_origin() -> None:
    async def check() -> None:
        backend, graph = Backend(), fan(5)
        async with Engine.open(MemoryStore(), [graph], telemetry=backend.telemetry()) as engine:
            await (await engine.start(graph, run_id="run")).result()
            fork = await engine.fork_run("run", at=6)
            await fork.result()
        told = [span for span in backend.spans if span.attributes["perdure.run.id"] == fork.run_id]
        ids = {span.context.span_id for span in told}
        assert [span.name for span in told if span.parent is not None and span.parent.span_id not in ids] == []
        [ended] = [span for span in told if span.name == "run fan"]
        [origin] = [link.context for link in ended.links if link.attributes["perdure.link"] == "origin"]
        assert origin.trace_id == trace_id_of("run")

    asyncio.run(check())
