"""Running a graph in one line: in memory, or on a store that is opened for the purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from perdure.engine.arguments import check_observers, checked_durability, deadline_at
from perdure.engine.calling.bodies import check_executors
from perdure.engine.clock import SystemClock
from perdure.engine.driving.driven import noted
from perdure.engine.driving.driver import Driver
from perdure.engine.engine import Engine
from perdure.engine.in_memory import begun_in_memory, observing_in_memory
from perdure.engine.iterating import iterate_in_memory
from perdure.errors import GraphSetupError, NoResult
from perdure.graph.graph import Graph
from perdure.graph.runtime import Asked, provide
from perdure.ids import checked_identifier
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.status import Status
from perdure.kernel.state.restore import restore
from perdure.store.completion import completed


class LocalRuntime:
    """What ``graph.run()`` runs on."""

    async def run(self, graph: Graph[Any, Any, Any, Any], asked: Asked, /) -> Any:
        """Run a graph to its end and return its output; or until it waits, and return what it waits for."""
        _check(graph, asked)
        if asked.store is None:
            return await _run_in_memory(graph, asked)
        return await _run_on_store(graph, asked)

    @asynccontextmanager
    async def iter(self, graph: Graph[Any, Any, Any, Any], asked: Asked, /) -> AsyncIterator[Any]:
        """Step through a run of a graph."""
        _check(graph, asked)
        if asked.store is None:
            async with iterate_in_memory(graph, asked) as run:
                yield run
            return
        given: dict[str, Any] = {"state": asked.state, "deps": asked.deps, "inputs": asked.inputs}
        async with _engine(asked) as engine, engine.iter(graph, run_id=asked.run_id, **given) as run:
            yield run


def _check(graph: Graph[Any, Any, Any, Any], asked: Asked) -> None:
    if asked.until not in ("end", "waiting"):
        raise GraphSetupError(f'until={asked.until!r:.80} is not one of "end", "waiting"')
    check_observers(None, asked.telemetry)
    checked_durability(asked.durability)
    if asked.run_id is not None:
        checked_identifier("run id", asked.run_id)
    if asked.store is not None:
        return
    if asked.until == "waiting":
        raise GraphSetupError('until="waiting" needs a store=, from which the run can go on')
    for name, given in (("redact", asked.redact), ("encryption", asked.encryption)):
        if given is not None:
            raise GraphSetupError(f"{name}= is about what is stored, and without a store= nothing is")
    check_executors(graph, asked.executors or {})


def _engine(asked: Asked) -> Engine:
    assert asked.store is not None
    return Engine.open(
        asked.store,
        recover=False,
        durability=asked.durability,
        executors=asked.executors,
        redact=asked.redact,
        encryption=asked.encryption,
        telemetry=asked.telemetry,
    )


async def _run_in_memory(graph: Graph[Any, Any, Any, Any], asked: Asked) -> Any:
    due_at, origin, begins = deadline_at(asked.deadline, SystemClock()), "", asked
    async with observing_in_memory(asked.telemetry) as observing:
        while True:
            driver, values = begun_in_memory(graph, observing, begins, due_at=due_at, origin=origin)
            run = await _driven_in_memory(driver, asked.state)
            if run.successor is None:
                value, _ = run.ends[0]
                return values.load(value)
            due_at, origin, next_ = None, run.run_id, run.successor
            begins = replace(asked, run_id=next_.successor, state=next_.state, inputs=next_.inputs)


async def _driven_in_memory(driver: Driver, state: Any) -> Run:
    """Drive a run until it ends, or goes on as a new run; ``state`` is what is to hold its last state."""
    run = driver.run
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
        raise NoResult(f"run {run.run_id!r} has stopped without a result", run_id=run.run_id)
    return driver.run


async def _run_on_store(graph: Graph[Any, Any, Any, Any], asked: Asked) -> Any:
    async with _engine(asked) as engine:
        handle = await engine.start(
            graph,
            inputs=asked.inputs,
            state=asked.state,
            deps=asked.deps,
            run_id=asked.run_id,
            deadline=asked.deadline,
        )
        try:
            return await handle.result() if asked.until == "end" else await handle.until_waiting()
        finally:
            if asked.state is not None:
                restore(asked.state, await completed(handle.committed_state()))


provide(LocalRuntime())
