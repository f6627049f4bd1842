"""When what happened, what the duration of a run is made of, and in what two runs differ."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec

from perdure import Engine, Graph, GraphBuilder, MemoryStore, RunHandle, StepContext, reduce_sum
from perdure.engine.clock import SystemClock
from perdure.graph.nodes.policies import Retry

S = 1_000_000


class SetClock(SystemClock):
    """A clock whose time of day is set by the test."""

    def __init__(self) -> None:
        self.time = 1_000 * S

    def now(self) -> int:
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Sleep until that much time has gone by, or has been set to have gone by."""
        until, end = self.time + int(seconds * S), self.monotonic() + seconds
        while self.time < until and self.monotonic() < end:
            await asyncio.sleep(0.005)


class Work:
    """Steps that the test lets go on."""

    def __init__(self) -> None:
        self.gates: dict[Any, asyncio.Event] = {}

    async def pass_gate(self, name: Any) -> None:
        await self.gates.setdefault(name, asyncio.Event()).wait()

    def open(self, name: Any) -> None:
        self.gates.setdefault(name, asyncio.Event()).set()


async def reached(handle: RunHandle[Any], kind: str, count: int) -> None:
    """Wait until there are that many events of a kind."""
    async with asyncio.timeout(20):
        while len(await handle._engine.history(handle.run_id, kinds=[kind])) < count:
            await asyncio.sleep(0)


def shop(work: Work) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="shop", input_type=list[int], output_type=int)

    async def ship(ctx: StepContext[None, None, int]) -> int:
        await work.pass_gate(ctx.inputs)
        return ctx.inputs

    async def bill(ctx: StepContext[None, None, int]) -> int:
        await work.pass_gate("bill")
        return ctx.inputs

    shipping = g.step(ship)
    billing = g.step(bill)
    total = g.join(reduce_sum, initial=0, node_id="total")
    g.add(
        g.edge_from(g.start_node).map(fork_id="orders").to(shipping),
        g.edge_from(shipping).to(total),
        g.edge_from(total).to(billing),
        g.edge_from(billing).to(g.end_node),
    )
    return g.build()


async def shipped(engine: Engine, work: Work, graph: Any, clock: SetClock, run_id: str, inputs: list[int]) -> None:
    """Drive a run: each order 10 s after the one before it, the bill 5 s later."""
    work.gates.clear()
    handle = await engine.start(graph, inputs=inputs, run_id=run_id)
    for count, item in enumerate(inputs, 1):
        await reached(handle, "NodeStarted", len(inputs))
        clock.time += 10 * S
        work.open(item)
        await reached(handle, "ReducerUpdated", count)
    await reached(handle, "NodeStarted", len(inputs) + 1)
    clock.time += 5 * S
    work.open("bill")
    await handle.result()


def test_a_timeline_tells_batches_attempts_joins_and_the_critical_path() -> None:
    async def main() -> None:
        clock, work = SetClock(), Work()
        graph, began = shop(work), clock.time
        async with Engine.open(MemoryStore(), graphs=[graph], clock=clock) as engine:
            await shipped(engine, work, graph, clock, "run", [2, 3, 1])
            timeline = await engine.timeline("run")
        assert (timeline.status, timeline.started_at, timeline.ended_at) == ("COMPLETED", began, began + 35 * S)
        [batch] = timeline.batches
        assert (batch.fork, batch.path, batch.size, batch.tasks, batch.outer) == ("orders", "orders", 3, 3, "")
        assert (batch.opened_at - began, batch.ended_at) == (0, began + 30 * S)
        assert [(one.path, one.outcome, one.started_at - began, one.ended_at) for one in timeline.attempts] == [
            ("orders[0]/ship", "completed", 0, began + 10 * S),
            ("orders[1]/ship", "completed", 0, began + 20 * S),
            ("orders[2]/ship", "completed", 0, began + 30 * S),
            ("bill", "completed", 30 * S, began + 35 * S),
        ]
        [joined] = timeline.joins
        assert (joined.path, joined.arrived, joined.outcome) == ("total", 3, "closed")
        assert (joined.first_at, joined.closed_at) == (began + 10 * S, began + 30 * S)
        path = [(part.path, part.what, part.took // S) for part in timeline.critical_path if part.took]
        assert path == [("orders[2]/ship", "runs", 30), ("bill", "runs", 5)]
        assert [(share.node, share.fork, share.took // S) for share in timeline.shares] == [
            ("ship", "orders", 30),
            ("bill", "", 5),
        ]
        assert len(timeline.segments) == 1
        assert msgspec.json.encode(timeline.data())

    asyncio.run(main())


def test_the_critical_path_is_as_long_as_the_run_and_has_no_holes() -> None:
    async def main() -> None:
        clock, tries = SetClock(), []
        g = GraphBuilder(name="path", input_type=int, output_type=int)

        async def flaky(ctx: StepContext[None, None, int]) -> int:
            clock.time += 3 * S
            tries.append(ctx.attempt)
            if len(tries) == 1:
                raise OSError("no route")
            return ctx.inputs

        step = g.step(flaky, retry=Retry(max_attempts=2, initial_interval=20, jitter=False))
        ask = g.human("ask", form=int)
        g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(ask), g.edge_from(ask).to(g.end_node))
        graph = g.build()
        # After a jump of the time of day leases are judged with care for two thirds of one.
        async with Engine.open(MemoryStore(), graphs=[graph], clock=clock, lease_s=0.6) as engine:
            handle = await engine.start(graph, inputs=1, run_id="run")
            await reached(handle, "NodeFailed", 1)
            clock.time += 20 * S
            [wait] = await handle.until_waiting() or [None]
            async with asyncio.timeout(20):
                while wait is None or wait.kind != "human":
                    await asyncio.sleep(0)
                    wait = next(iter(await handle.waiting()), None)
            clock.time += 60 * S
            waiting = await engine.timeline("run")
            await handle.respond(wait.task_id, 7, by="ann")
            assert await handle.result() == 7
            timeline = await engine.timeline("run")
        assert [(part.node, part.what, part.took // S) for part in timeline.critical_path if part.took] == [
            ("flaky", "runs", 3),
            ("flaky", "retry", 20),
            ("flaky", "runs", 3),
            ("ask", "waits", 60),
        ]
        parts = timeline.critical_path
        assert all(before.ended_at == after.started_at for before, after in pairwise(parts))
        assert (parts[0].started_at, parts[-1].ended_at) == (timeline.started_at, timeline.ended_at)
        [span] = timeline.waits
        assert (span.kind, span.outcome, span.by) == ("human", "answered", "ann")
        assert [(span.attempt, span.outcome, span.error) for span in timeline.attempts] == [
            (1, "failed", "OSError: no route"),
            (2, "completed", ""),
        ]
        assert waiting.ended_at is None
        assert [part.took // S for part in waiting.critical_path if part.took] == [3, 20, 3, 60]

    asyncio.run(main())


def test_an_attempt_that_was_interrupted_is_told_and_so_is_the_time_nobody_drove() -> None:
    async def main() -> None:
        clock, work, store = SetClock(), Work(), MemoryStore()
        graph = shop(work)
        async with Engine.open(store, graphs=[graph], clock=clock) as engine:
            await reached(await engine.start(graph, inputs=[1], run_id="run"), "NodeStarted", 1)
            clock.time += 10 * S
        clock.time += 100 * S
        async with Engine.open(store, graphs=[graph], clock=clock) as engine:
            handle = engine.attach("run")
            await reached(handle, "NodeStarted", 2)
            clock.time += 1 * S
            work.open(1)
            work.open("bill")
            assert await handle.result() == 1
            timeline = await engine.timeline("run")
        assert [span.outcome for span in timeline.attempts] == ["interrupted", "completed", "completed"]
        assert [(part.what, part.took // S) for part in timeline.critical_path if part.took] == [
            ("runs", 10),
            ("stopped", 100),
            ("runs", 1),
        ]
        assert len(timeline.segments) == 2

    asyncio.run(main())


def test_batches_are_told_inside_of_each_other() -> None:
    async def main() -> None:
        g = GraphBuilder(name="nested", input_type=list[list[int]], output_type=int)

        async def one(ctx: StepContext[None, None, int]) -> int:
            return ctx.inputs

        async def row(ctx: StepContext[None, None, list[int]]) -> list[int]:
            return ctx.inputs

        rows, ones = g.step(row), g.step(one)
        inner = g.join(reduce_sum, initial=0, node_id="inner", preferred_parent_fork="closest")
        outer = g.join(reduce_sum, initial=0, node_id="outer")
        g.add(
            g.edge_from(g.start_node).map(fork_id="rows").to(rows),
            g.edge_from(rows).map(fork_id="ones").to(ones),
            g.edge_from(ones).to(inner),
            g.edge_from(inner).to(outer),
            g.edge_from(outer).to(g.end_node),
        )
        graph = g.build()
        async with Engine.open(MemoryStore(), graphs=[graph]) as engine:
            assert await (await engine.start(graph, inputs=[[1, 2], [3]], run_id="run")).result() == 6
            timeline = await engine.timeline("run")
        whole, *parts = timeline.batches
        assert (whole.fork, whole.tasks, whole.outer) == ("rows", 5, "")
        assert sorted((part.path, part.size, part.tasks, part.outer) for part in parts) == [
            ("rows[0]/ones", 2, 2, whole.instance),
            ("rows[1]/ones", 1, 1, whole.instance),
        ]
        assert {joined.path: joined.arrived for joined in timeline.joins} == {
            "rows[0]/inner": 2,
            "rows[1]/inner": 1,
            "outer": 2,
        }

    asyncio.run(main())


def test_two_runs_are_aligned_by_task_and_what_differs_is_told() -> None:
    async def main() -> None:
        clock, work = SetClock(), Work()
        graph = shop(work)
        async with Engine.open(MemoryStore(), graphs=[graph], clock=clock) as engine:
            await shipped(engine, work, graph, clock, "a", [2, 3, 1])
            await shipped(engine, work, graph, clock, "b", [2, 5])
            await shipped(engine, work, graph, clock, "c", [2, 3, 1])
            different, same = await engine.diff("a", "b"), await engine.diff("a", "c")
        assert same.differing == ()
        assert same.is_same_graph
        found = {task.path: task for task in different.differing}
        assert {path: task.differs for path, task in found.items()} == {
            "__start__": ("output",),
            "orders[1]/ship": ("output",),
            "orders[2]/ship": ("only in a",),
            "total": ("output",),
            "bill": ("output",),
        }
        changed = found["orders[1]/ship"]
        assert changed.a is not None
        assert changed.b is not None
        assert (changed.a.output, changed.b.output, changed.slower_by) == ("3", "5", 0)
        assert [task.path for task in different.faster] == []
        assert different.data()["same"] == len(different.tasks) - len(found)
        assert msgspec.json.encode(different.data())

    asyncio.run(main())


def test_decisions_and_attempts_that_differ_are_told() -> None:
    async def main() -> None:
        g = GraphBuilder(name="ways", input_type=int, output_type=int)
        tries: list[int] = []

        async def measure(ctx: StepContext[None, None, int]) -> int:
            tries.append(ctx.inputs)
            if ctx.inputs == 2 and len(tries) < 3:
                raise OSError("no route")
            return ctx.inputs

        async def small(ctx: StepContext[None, None, int]) -> int:
            return 0

        async def large(ctx: StepContext[None, None, int]) -> int:
            return 0

        first, low, high = g.step(measure, retry=Retry(initial_interval=timedelta(milliseconds=1), jitter=False)), g.step(small), g.step(large)  # fmt: skip
        g.add(
            g.edge_from(g.start_node).to(first),
            g.edge_from(first).to(
                g.decision()
                .branch(g.match(int, matches=lambda n: n < 2).to(low))
                .branch(g.match(int, matches=lambda n: n >= 2).to(high))
            ),
            g.edge_from(low, high).to(g.end_node),
        )
        graph = g.build()
        async with Engine.open(MemoryStore(), graphs=[graph]) as engine:
            await (await engine.start(graph, inputs=1, run_id="a")).result()
            await (await engine.start(graph, inputs=2, run_id="b")).result()
            found = {task.path: task for task in (await engine.diff("a", "b")).differing}
        assert found["measure"].differs == ("output", "decision", "attempts")
        assert found["small"].differs == ("only in a",)
        assert found["large"].differs == ("only in b",)
        assert found["measure"].b is not None
        assert found["measure"].b.attempts == 2

    asyncio.run(main())
