"""Attempts are made when the log says, whatever becomes of the process in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from perdure import DeadlineExceeded, Engine, GraphBuilder, Retry, StepTimeout
from perdure.engine.owner import disappear
from perdure.events import NodeFailed
from simulation.loop import Crash, SimulatedClock, SimulatedLoop
from simulation.processes import Connection, Deadly

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


class World:
    """One run of a graph on simulated time; ``tries`` notes when the body was entered."""

    def __init__(self) -> None:
        self.store = Deadly()
        self.now = 1000.0
        self.tries: list[float] = []
        self.loop = SimulatedLoop(self.now)
        self.history: Any = []

    def live(self, graph: Any, until: float | None = None, **start: Any) -> Any:
        """Drive the run in one process, which dies at a time if it isn't over by then."""
        loop = self.loop = SimulatedLoop(self.now)
        engines: list[Any] = []

        async def life() -> Any:
            engine = Engine.open(Connection(self.store), [graph], clock=SimulatedClock(loop))
            engines.append(engine)
            async with engine:
                handle = await engine.start(graph, run_id="run", **start)
                try:
                    return await handle.result()
                finally:
                    self.history = await engine.history("run")

        try:
            return loop.run(life(), until=until)
        except Crash:
            self.store.process += 1
            disappear(engines[0]._worker.owner)
            with contextlib.suppress(RuntimeError):
                loop.bury()
            raise
        finally:
            self.now = loop.time()

    def entered_at(self, *times: float) -> bool:
        """Say whether bodies were entered at these times, never early, and late by no more than a worker's poll."""
        late = [entered - due for entered, due in zip(self.tries, times, strict=True)]
        return all(-1e-6 <= by <= 0.25 * (place + 1) for place, by in enumerate(late))


def graph_of(body: Any, **options: Any) -> Any:
    g = GraphBuilder(name="retried", input_type=object, output_type=object)
    step = g.step(body, node_id="work", **options)
    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))
    return g.build()


def failing(world: World, failures: int) -> Any:
    async def work(ctx: Any) -> Any:
        world.tries.append(round(world.loop.time() - 1000, 3))
        if len(world.tries) <= failures:
            raise ConnectionError(f"attempt {ctx.attempt}")
        return f"attempt {ctx.attempt}"

    return work


def test_each_wait_is_longer_up_to_the_longest() -> None:
    world = World()
    retry = Retry(
        max_attempts=6, initial_interval=1, backoff_factor=3, max_interval=timedelta(seconds=10), jitter=False
    )
    assert world.live(graph_of(failing(world, 5), retry=retry)) == "attempt 6"
    assert world.entered_at(0, 1, 4, 13, 23, 33)


def test_jitter_is_between_half_the_wait_and_all_of_it_and_is_recorded() -> None:
    waits = []
    for _ in range(30):
        world = World()
        world.live(graph_of(failing(world, 1), retry=Retry(initial_interval=8)))
        [failed] = [r.event for r in world.history if isinstance(r.event, NodeFailed)]
        assert failed.outcome == "retry"
        due = failed.retry_at / 1e6 - 1000
        assert world.entered_at(0, due)
        waits.append(due)
    assert 4 <= min(waits) < max(waits) <= 8


def test_the_last_failure_is_the_runs() -> None:
    world = World()
    with pytest.raises(ConnectionError, match="attempt 3"):
        world.live(graph_of(failing(world, 9), retry=3))
    assert len(world.tries) == 3


def test_only_what_is_listed_is_retried_but_not_what_is_excepted() -> None:
    for retry, attempts in [
        (Retry(retry_on=OSError, jitter=False), 3),
        (Retry(retry_on=(KeyError, ValueError)), 1),
        (Retry(no_retry_on=ConnectionError), 1),
        (Retry(retry_on=lambda error: "attempt 1" in str(error)), 2),
        (Retry(no_retry_on=lambda error: "attempt 2" in str(error)), 2),
    ]:
        world = World()
        with pytest.raises(ConnectionError):
            world.live(graph_of(failing(world, 9), retry=retry))
        assert len(world.tries) == attempts


def test_the_time_of_the_next_attempt_survives_a_crash() -> None:
    world = World()
    graph = graph_of(failing(world, 1), retry=Retry(initial_interval=30, jitter=False))
    with pytest.raises(Crash):
        world.live(graph, until=1010)
    assert world.now == 1010
    assert world.live(graph) == "attempt 2"
    assert world.entered_at(0, 30)


def test_attempts_before_a_crash_count() -> None:
    world = World()
    graph = graph_of(failing(world, 9), retry=Retry(max_attempts=3, initial_interval=30, jitter=False))
    for until in (1010, 1050):
        with pytest.raises(Crash):
            world.live(graph, until=until)
    with pytest.raises(ConnectionError, match="attempt 3"):
        world.live(graph)
    assert world.entered_at(0, 30, 90)


def test_an_attempt_that_takes_too_long_is_ended_and_tried_again() -> None:
    world = World()

    async def work(ctx: Any) -> Any:
        world.tries.append(round(world.loop.time() - 1000, 3))
        await asyncio.sleep(50 if ctx.attempt == 1 else 5)
        return ctx.attempt

    assert world.live(graph_of(work, timeout=10, retry=Retry(initial_interval=1, jitter=False))) == 2
    assert world.tries == [0, 11]
    assert world.now == 1016


def test_a_timeout_is_an_error_that_names_the_task() -> None:
    world = World()

    async def work(ctx: Any) -> Any:
        await asyncio.sleep(50)

    with pytest.raises(StepTimeout, match=r"attempt 1 of work took longer than 10 s"):
        world.live(graph_of(work, timeout=timedelta(seconds=10)))
    assert world.now == 1010


def test_a_body_that_goes_on_after_its_timeout_has_failed_all_the_same() -> None:
    world = World()

    async def work(ctx: Any) -> Any:
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            return "too late"

    with pytest.raises(StepTimeout):
        world.live(graph_of(work, timeout=10))


def test_a_timeout_of_the_bodys_own_is_no_timeout_of_the_step() -> None:
    world = World()

    async def work(ctx: Any) -> Any:
        async with asyncio.timeout(1):
            await asyncio.sleep(50)

    with pytest.raises(TimeoutError) as caught:
        world.live(graph_of(work, timeout=10))
    assert not isinstance(caught.value, StepTimeout)


def test_the_timeout_of_a_stream_is_between_items() -> None:
    world = World()

    def graph(slow_after: int) -> Any:
        g = GraphBuilder(name="streamed", input_type=object, output_type=object)

        async def items(ctx: Any) -> AsyncIterator[int]:
            for item in range(4):
                await asyncio.sleep(50 if item == slow_after else 8)
                yield item

        async def same(ctx: Any) -> Any:
            return ctx.inputs

        given, each = g.stream(items, timeout=10), g.step(same)
        all_ = g.step(lambda_all, join="all")
        g.add(
            g.edge_from(g.start_node).to(given),
            g.edge_from(given).map().to(each),
            g.edge_from(each).to(all_),
            g.edge_from(all_).to(g.end_node),
        )
        return g.build()

    async def lambda_all(ctx: Any) -> Any:
        return ctx.inputs

    assert world.live(graph(slow_after=9)) == [0, 1, 2, 3]
    assert world.now == 1032
    world = World()
    with pytest.raises(StepTimeout):
        world.live(graph(slow_after=2))
    assert world.now == 1026


def test_a_run_that_is_not_over_by_its_deadline_fails() -> None:
    world = World()

    async def work(ctx: Any) -> Any:
        await asyncio.sleep(500)

    with pytest.raises(DeadlineExceeded, match="wasn't over by its deadline"):
        world.live(graph_of(work), deadline=timedelta(seconds=60))
    assert world.now == 1060


def test_a_deadline_holds_over_a_crash_and_while_a_retry_is_due() -> None:
    world = World()
    graph = graph_of(failing(world, 9), retry=Retry(max_attempts=9, initial_interval=40, jitter=False))
    deadline = timedelta(seconds=60)
    with pytest.raises(Crash):
        world.live(graph, until=1010, deadline=deadline)
    with pytest.raises(DeadlineExceeded):
        world.live(graph, deadline=deadline)
    assert world.entered_at(0, 40)
    assert 1060 <= world.now < 1061
