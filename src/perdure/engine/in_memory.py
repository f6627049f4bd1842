"""Runs in memory: how one begins, and how it is observed. It is driven as any other, and recorded nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor as Pool
from contextlib import asynccontextmanager
from typing import Any

import anyio

from perdure.engine.clock import SystemClock
from perdure.engine.code import UserCode
from perdure.engine.driver import Driver
from perdure.engine.evaluate import flows_of
from perdure.engine.observing import Observer, Observing
from perdure.engine.registered import new_run
from perdure.engine.steps import Steps
from perdure.engine.values import PlainValues
from perdure.events import RunStarted, SegmentStarted
from perdure.graph.graph import Graph
from perdure.kernel.decide import start
from perdure.version import __version__


@asynccontextmanager
async def observing_in_memory(telemetry: Observer | None) -> AsyncIterator[Observing]:
    """Observe runs in memory."""
    observing = Observing(telemetry)
    await observing.opened(None)
    try:
        yield observing
    finally:
        with anyio.CancelScope(shield=True):
            await observing.closed()


def begun_in_memory(
    graph: Graph[Any, Any, Any, Any],
    observing: Observing,
    *,
    run_id: str,
    state: Any,
    deps: Any,
    inputs: Any,
    pools: Mapping[str, Pool],
    origin: str = "",
    steps: Steps | None = None,
) -> tuple[Driver, PlainValues]:
    """Begin a run; return what drives it, and its values."""
    values, flows, clock = PlainValues(), flows_of(graph), SystemClock()
    run = new_run(graph, run_id, values)
    trace, sampled = observing.begun(run_id, graph.name, in_trace=False)
    started = RunStarted(
        graph.name, graph.fingerprint, inputs, "", state, trace=trace, origin=origin, sampled=sampled
    )  # fmt: skip
    observed = observing.run(run_id, graph.plan, 0, started)
    now = clock.now()
    decision = start(run, started, None, now, UserCode(graph, flows, values, run_id, deps))
    observed.decided(decision.events, run.seq, now)
    segment = SegmentStarted("memory", __version__)
    return Driver(run, graph, flows, values, deps, segment, clock, None, pools, steps, observed), values
