"""Running a graph in one line: in memory, or on a store that is opened for the purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor as Pool
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from os import PathLike
from typing import Any

import anyio

from perdure.engine.bodies import check_executors
from perdure.engine.clock import SystemClock
from perdure.engine.code import UserCode
from perdure.engine.driven import noted
from perdure.engine.driver import Driver
from perdure.engine.engine import Engine, deadline_at
from perdure.engine.evaluate import flows_of
from perdure.engine.iterating import iterate_in_memory, past_of
from perdure.engine.registered import new_run
from perdure.engine.starting import made_up_id
from perdure.engine.values import PlainValues
from perdure.errors import GraphSetupError, NoResult
from perdure.events import Durability, RunStarted, SegmentStarted
from perdure.graph.graph import Graph
from perdure.graph.runtime import Until, provide
from perdure.ids import checked_identifier
from perdure.kernel.decide import start
from perdure.kernel.run import Run
from perdure.kernel.state.restore import restore
from perdure.kernel.status import Status
from perdure.store.port import Store


class LocalRuntime:
    """What ``graph.run()`` runs on."""

    async def run(
        self,
        graph: Graph[Any, Any, Any, Any],
        /,
        *,
        state: Any,
        deps: Any,
        inputs: Any,
        store: str | PathLike[str] | Store | None,
        run_id: str | None,
        durability: Durability,
        executors: Mapping[str, Pool] | None,
        deadline: timedelta | datetime | None,
        until: Until,
    ) -> Any:
        """Run a graph to its end and return its output; or until it waits, and return what it waits for."""
        if until not in ("end", "waiting"):
            raise GraphSetupError(f'until={until!r:.80} is not one of "end", "waiting"')
        if until == "waiting" and store is None:
            raise GraphSetupError('until="waiting" needs a store=, from which the run can go on')
        if run_id is not None:
            checked_identifier("run id", run_id)
        if store is None:
            check_executors(graph, executors or {})
            due_at = deadline_at(deadline, SystemClock())
            return await _run_in_memory(graph, state, deps, inputs, run_id or made_up_id(), executors or {}, due_at)
        engine = Engine.open(store, recover=False, durability=durability, executors=executors)
        return await _run_on_store(engine, graph, state, deps, inputs, run_id, deadline, until)

    @asynccontextmanager
    async def iter(
        self,
        graph: Graph[Any, Any, Any, Any],
        /,
        *,
        state: Any,
        deps: Any,
        inputs: Any,
        store: str | PathLike[str] | Store | None,
        run_id: str | None,
        durability: Durability,
        executors: Mapping[str, Pool] | None,
    ) -> AsyncIterator[Any]:
        """Step through a run of a graph."""
        given: dict[str, Any] = {"state": state, "deps": deps, "inputs": inputs}
        if run_id is not None:
            checked_identifier("run id", run_id)
        if store is None:
            pools = executors or {}
            check_executors(graph, pools)
            async with iterate_in_memory(graph, run_id=run_id or made_up_id(), pools=pools, **given) as run:
                yield run
            return
        opened = Engine.open(store, recover=False, durability=durability, executors=executors)
        async with opened as engine, engine.iter(graph, run_id=run_id, **given) as run:
            yield run


async def _run_in_memory(
    graph: Graph[Any, Any, Any, Any],
    state: Any,
    deps: Any,
    inputs: Any,
    run_id: str,
    pools: Mapping[str, Pool],
    due_at: int | None,
) -> Any:
    given, started = inputs, state
    while True:
        run, values = await _run_once_in_memory(graph, (started, state), deps, given, run_id, pools, due_at)
        if run.successor is None:
            break
        due_at = None
        run_id, given, started = run.successor.successor, run.successor.inputs, run.successor.state
    value, _ = run.ends[0]
    return values.load(value)


async def _run_once_in_memory(
    graph: Graph[Any, Any, Any, Any],
    states: tuple[Any, Any],
    deps: Any,
    inputs: Any,
    run_id: str,
    pools: Mapping[str, Pool],
    due_at: int | None,
) -> tuple[Run, PlainValues]:
    """Run a graph until it ends, or goes on as a new run; ``states`` are what it starts from, and what is to hold the last."""
    started_from, state = states
    values, flows = PlainValues(), flows_of(graph)
    run = new_run(graph, run_id, values)
    code = UserCode(graph, flows, values, run_id, deps)
    started = RunStarted(graph.name, graph.fingerprint, inputs, "", started_from, deadline=due_at)
    clock = SystemClock()
    begun = start(run, started, None, clock.now(), code)
    driver = Driver(run, graph, flows, values, deps, SegmentStarted("memory", ""), clock, None, pools)
    driver.past = past_of(graph, begun)
    try:
        await driver.drive()
    except BaseException as error:
        if isinstance(error, Exception):
            noted(error, run)
        raise
    finally:
        if state is not None:
            restore(state, driver.run.state.tree)
    if driver.exception is not None:
        raise noted(driver.exception, run)
    if driver.run.status is not Status.COMPLETED:
        raise NoResult(f"run {run_id!r} has stopped without a result", run_id=run_id)
    return driver.run, values


async def _run_on_store(
    engine: Engine,
    graph: Graph[Any, Any, Any, Any],
    state: Any,
    deps: Any,
    inputs: Any,
    run_id: str | None,
    deadline: timedelta | datetime | None,
    until: Until,
) -> Any:
    async with engine:
        handle = await engine.start(graph, inputs=inputs, state=state, deps=deps, run_id=run_id, deadline=deadline)
        try:
            return await handle.result() if until == "end" else await handle.until_waiting()
        finally:
            if state is not None:
                with anyio.CancelScope(shield=True):
                    restore(state, await handle.committed_state())


provide(LocalRuntime())
