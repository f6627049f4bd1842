"""A run that is stepped through and steered ends the same wherever its processes die: what its caller decided is in the log."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from examples.stepped import tens
from perdure import (
    EndMarker,
    Engine,
    ErrorMarker,
    GraphTaskRequest,
)
from perdure.events import Overridden
from perdure.testing.invariants import violations
from simulation.loop import Crash, SimulatedClock
from simulation.processes import Connection, Simulation

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    yield
    gc.collect()


class Stepped(Simulation):
    """One run that several processes step through, one after another; each steers it in the same way."""

    async def _life(self, clock: SimulatedClock) -> Any:
        engine = Engine.open(Connection(self.store), [self.graph], clock=clock, recover=False)
        self.engine = engine
        async with engine:
            async with engine.iter(self.graph, inputs=4, run_id="run") as run:
                while True:
                    try:
                        item = await run.next()
                    except StopAsyncIteration:
                        break
                    except Exception:
                        marker = run.next_task
                        assert isinstance(marker, ErrorMarker), marker
                        assert marker.task is not None
                        run.override_next([GraphTaskRequest("times_ten", 30, marker.task.fork_stack)])
                        continue
                    if not isinstance(item, EndMarker) and any(task.inputs == 2 for task in item):
                        run.override_next(
                            [
                                GraphTaskRequest(task.node_id, 20, task.fork_stack) if task.inputs == 2 else task
                                for task in item
                            ]
                        )
                    elif item == EndMarker([10, 40, 200, 300]):
                        run.override_next([GraphTaskRequest("in_order", [2, 1])])
                output = run.output
            return output, await engine.history("run")


def test_a_run_that_is_steered_ends_the_same_wherever_its_processes_die() -> None:
    graph = tens()
    simulation = Stepped(graph)
    (output, history), steps = simulation.process()
    assert output == [1, 2]
    assert sum(isinstance(recorded.event, Overridden) for recorded in history) == 3
    assert violations(history) == []
    for place in range(1, steps):
        simulation = Stepped(graph)
        with pytest.raises(Crash):
            simulation.process(crash_at=place)
        simulation.die()
        simulation.process_or_die(place // 2 + 1)
        (output, history), _ = simulation.process()
        assert output == [1, 2], place
        assert sum(isinstance(recorded.event, Overridden) for recorded in history) == 3, place
        assert violations(history) == [], place
