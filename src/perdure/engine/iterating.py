"""Beginning to step through a run: a new one, or one that is there already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from perdure.engine.calling.steps import Steps
from perdure.engine.control.starting import Starting
from perdure.engine.driving.driven import Driven
from perdure.engine.graph_run import GraphRun
from perdure.engine.in_memory import begun_in_memory, observing_in_memory
from perdure.errors import RunConflict
from perdure.graph.graph import Graph
from perdure.graph.nodes.iteration import EndMarker
from perdure.graph.runtime import Asked
from perdure.kernel.fold.status import OVER, Status
from perdure.kernel.state.restore import restore

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


@asynccontextmanager
async def iterate_in_memory(graph: Graph[Any, Any, Any, Any], asked: Asked) -> AsyncIterator[GraphRun[Any, Any, Any]]:
    """Step through a run that is kept nowhere."""
    async with observing_in_memory(asked.telemetry) as observing:
        steps = Steps()
        driver, _ = begun_in_memory(graph, observing, asked, steps=steps)
        run_id = driver.run.run_id
        driven = Driven(driver, epoch=0)
        driven.task = asyncio.get_running_loop().create_task(_driving(driven), name=f"perdure-{run_id}")
        stepped: GraphRun[Any, Any, Any] = GraphRun(
            graph, run_id, steps, driven, state=asked.state, deps=asked.deps, inputs=asked.inputs
        )
        async with stepped:
            yield stepped


async def _driving(driven: Driven) -> None:
    try:
        await driven.driver.drive()
    except Exception as error:
        driven.error = error
    finally:
        driven.end()


@asynccontextmanager
async def iterate_on_store(
    engine: Engine, graph: Graph[Any, Any, Any, Any], starting: Starting
) -> AsyncIterator[GraphRun[Any, Any, Any]]:
    """Step through a run of an engine, created if it isn't there.

    Raises:
        RunConflict: it is of another graph, or driven already.
        RunError: it is over, and has no output.
    """
    run_id, steps = starting.run_id, starting.steps
    assert steps is not None
    given: dict[str, Any] = {"state": starting.state, "deps": starting.deps, "inputs": starting.inputs}
    await engine.begin(graph, starting)
    driven = engine.driven(run_id)
    while driven is None:
        change = engine.change_of(run_id)
        info = await engine.get(run_id)
        if Status(info.status) in OVER | {Status.PAUSED, Status.STALLED}:
            [output, *_] = await engine.recorded_outputs(info)
            if starting.state is not None:
                restore(starting.state, await engine.attach(run_id).committed_state())
            yield GraphRun(graph, run_id, steps, None, recorded=EndMarker(output), **given)
            return
        if await engine.claim_to_step(info, starting):
            driven = engine.driven(run_id)
        elif info.status == Status.WAITING:
            raise RunConflict(
                f"run {run_id!r} waits and was not stepped through before: it can be from when its wait is over",
                run_id=run_id,
            )
        else:
            driven = await engine.changed(run_id, change)
    if driven.driver.steps is not steps:
        raise RunConflict(
            f"run {run_id!r} is driven already, so it can't be stepped through: wait for it, or begin another one",
            run_id=run_id,
        )
    stepped: GraphRun[Any, Any, Any] = GraphRun(graph, run_id, steps, driven, **given)
    async with stepped:
        yield stepped
