"""Runs in memory: how one begins, and how it is observed. It is driven as any other, and recorded nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from perdure.engine.calling.code import UserCode
from perdure.engine.calling.evaluate import flows_of
from perdure.engine.calling.observing import Observer, Observing
from perdure.engine.calling.runners import runners_in_memory
from perdure.engine.calling.steps import Steps
from perdure.engine.calling.values import PlainValues
from perdure.engine.clock import SystemClock
from perdure.engine.control.starting import made_up_id
from perdure.engine.driving.driver import Driver
from perdure.engine.driving.registered import new_run
from perdure.events import AnyEvent, RunStarted, SegmentStarted
from perdure.graph.graph import Graph
from perdure.graph.runtime import Asked
from perdure.kernel.decide.decide import start
from perdure.kernel.decide.deciding import Decision
from perdure.store.completion import completed
from perdure.version import __version__


@asynccontextmanager
async def observing_in_memory(telemetry: Observer | None) -> AsyncIterator[Observing]:
    """Observe runs in memory."""
    observing = Observing(telemetry)
    await observing.opened(None)
    try:
        yield observing
    finally:
        await completed(observing.closed())


def begun_in_memory(
    graph: Graph[Any, Any, Any, Any],
    observing: Observing,
    asked: Asked,
    *,
    due_at: int | None = None,
    origin: str = "",
    steps: Steps | None = None,
) -> tuple[Driver, PlainValues]:
    """Begin a run; return what drives it, and its values."""
    values, flows, clock = PlainValues(), flows_of(graph), SystemClock()
    run_id = asked.run_id or made_up_id()
    run = new_run(graph, run_id, values)
    trace, sampled = observing.begun(run_id, graph.name, in_trace=False)
    started = RunStarted(
        graph.name,
        graph.fingerprint,
        asked.inputs,
        "",
        asked.state,
        deadline=due_at,
        trace=trace,
        origin=origin,
        sampled=sampled,
    )
    observed = observing.run(run_id, graph.plan, 0, started)
    now = clock.now()
    begun = start(run, started, None, now, UserCode(graph, flows, values, run_id, asked.deps))
    observed.decided(begun.events, run.seq, now)
    segment, pools = SegmentStarted("memory", __version__), asked.executors or {}
    runners = runners_in_memory(clock.monotonic)
    driver = Driver(run, graph, flows, values, asked.deps, segment, clock, None, runners, pools, steps, observed)
    driver.past = _past_of(graph, begun)
    return driver, values


def _past_of(graph: Graph[Any, Any, Any, Any], begun: Decision) -> list[AnyEvent] | None:
    """Return where a run in memory keeps what was decided, if some failure in it needn't end it; else nothing is kept."""
    goes_on = any(node.catch[0] != "fail" for node in graph.plan.nodes.values())
    return [*begun.events] if goes_on else None
