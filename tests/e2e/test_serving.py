"""Workers and clients on one store: who drives what, and what a worker leaves behind when it stops."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, GraphSetupError, MemoryStore, RunInterrupted, StepContext
from perdure.events import NodeInterrupted, NodeStarted
from perdure.testing.invariants import violations


def chain(
    name: str = "chain", *, gate: asyncio.Event | None = None, entered: list[str] | None = None
) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name=name, input_type=int, output_type=int)

    @g.step
    async def first(ctx: StepContext[None, None, int]) -> int:
        if entered is not None:
            entered.append("first")
        if gate is not None:
            await gate.wait()
        return ctx.inputs + 1

    @g.step
    async def second(ctx: StepContext[None, None, int]) -> int:
        if entered is not None:
            entered.append("second")
        return ctx.inputs * 2

    g.add(g.edge_from(g.start_node).to(first), g.edge_from(first).to(second), g.edge_from(second).to(g.end_node))
    return g.build()


def waits() -> Graph[Any, Any, Any, Any]:
    w = GraphBuilder(name="waits", output_type=int)
    go = w.signal("go", int)
    w.add(w.edge_from(w.start_node).to(go), w.edge_from(go).to(w.end_node))
    return w.build()


def test_what_a_client_starts_a_worker_drives() -> None:
    async def main() -> None:
        store, entered = MemoryStore(), list[str]()
        graph = chain(entered=entered)
        async with Engine.open(store, [graph], drive=False) as client:
            handle = await client.start(graph, inputs=1, run_id="run")
            info = await handle.info()
            assert (info.status, info.owner) == ("PENDING", None)
            assert await client.recover() == 0
            assert not (await client.recover_run("run")).is_driven_here
            assert entered == []
            async with Engine.open(store, [graph]):
                assert await handle.result() == 4
            assert violations(await client.history("run")) == []

    asyncio.run(main())


def test_a_client_signals_and_resumes_without_driving() -> None:
    async def main() -> None:
        store, graph = MemoryStore(), waits()
        async with Engine.open(store, [graph], drive=False) as client:
            handle = await client.start(graph, run_id="run")
            async with Engine.open(store, [graph]) as worker:
                await worker.attach("run").until_waiting()
                await client.pause("run", by="ann")
                with pytest.raises(Exception, match="paused"):
                    await handle.result()
            resumed = await client.resume("run", by="ann")
            assert not resumed.is_driven_here
            assert (await resumed.info()).owner is None
            await client.signal("run", "go", 7)
            async with Engine.open(store, [graph]):
                assert await handle.result() == 7

    asyncio.run(main())


def test_a_client_cant_serve() -> None:
    async def main() -> None:
        async with Engine.open(MemoryStore(), drive=False) as client:
            with pytest.raises(GraphSetupError, match="drive=False"):
                await client.serve()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["stop_serving", "SIGTERM", "SIGINT"])
def test_a_worker_that_is_asked_to_stop_lets_bodies_end_and_starts_no_others(how: str) -> None:
    async def main() -> None:
        store, gate, entered = MemoryStore(), asyncio.Event(), list[str]()
        graph = chain(gate=gate, entered=entered)
        before = signal.getsignal(signal.SIGTERM)
        async with Engine.open(store, [graph]) as worker:
            handle = await worker.start(graph, inputs=1, run_id="run")
            serving = asyncio.create_task(worker.serve(drain_s=60))
            while not entered:
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            if how == "stop_serving":
                worker.stop_serving()
            else:
                os.kill(os.getpid(), signal.Signals[how])
            for _ in range(10):
                await asyncio.sleep(0)
            assert not serving.done()
            gate.set()
            await serving
            assert signal.getsignal(signal.SIGTERM) == before
            assert (await handle.info()).owner is None
            assert entered == ["first"]
            late = await worker.start(graph, inputs=5, run_id="another")
            assert await late.result() == 12
        async with Engine.open(store, [graph]) as other:
            assert await other.attach("run").result() == 4
            history = await other.history("run")
        assert entered.count("first") == 2, "once for each run"
        assert violations(history) == []
        assert not [recorded for recorded in history if isinstance(recorded.event, NodeInterrupted)]

    asyncio.run(main())


def test_a_worker_that_is_asked_twice_interrupts_bodies() -> None:
    async def main() -> None:
        store, gate, entered = MemoryStore(), asyncio.Event(), list[str]()
        graph = chain(gate=gate, entered=entered)
        async with Engine.open(store, [graph]) as worker:
            handle = await worker.start(graph, inputs=1, run_id="run")
            serving = asyncio.create_task(worker.serve(drain_s=60))
            while not entered:
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            for _ in range(2):
                worker.stop_serving()
                await asyncio.sleep(0)
            await serving
            result = asyncio.create_task(handle.result())
            for _ in range(20):
                await asyncio.sleep(0)
        with pytest.raises(RunInterrupted):
            await result
        gate.set()
        async with Engine.open(store, [graph]) as other:
            assert await other.attach("run").result() == 4
            history = await other.history("run")
        assert [recorded.event.task for recorded in history if isinstance(recorded.event, NodeInterrupted)]
        assert sum(isinstance(recorded.event, NodeStarted) for recorded in history) == 3

    asyncio.run(main())


def test_a_worker_takes_no_more_runs_than_it_may() -> None:
    async def main() -> None:
        store, gate, entered = MemoryStore(), asyncio.Event(), list[str]()
        graph = chain(gate=gate, entered=entered)
        async with Engine.open(store, [graph], drive=False) as client:
            handles = [await client.start(graph, inputs=1) for _ in range(7)]
            async with Engine.open(store, [graph], max_runs=3), Engine.open(store, [graph], max_runs=2):
                owners = [info.owner.id for info in await client.list() if info.owner is not None]
                assert sorted(owners.count(owner) for owner in set(owners)) == [2, 3]
                gate.set()
                assert await asyncio.gather(*(handle.result() for handle in handles)) == [4] * 7

    asyncio.run(main())


def test_a_run_whose_dependencies_cant_be_made_is_left_to_who_can_and_others_go_on() -> None:
    def broken() -> object:
        raise OSError("no database")

    async def main() -> None:
        store, good, bad = MemoryStore(), chain("good"), chain("bad")
        async with Engine.open(store, [good, bad], drive=False) as client:
            left = await client.start(bad, inputs=1)
            handle = await client.start(good, inputs=1)
            async with Engine.open(store, [good, bad], deps_for={"bad": broken}, lease_s=0.3):
                assert await handle.result() == 4
            assert (await left.info()).status == "PENDING"
            async with Engine.open(store, [bad]):
                assert await left.result() == 4
            assert violations(await client.history(left.run_id)) == []

    asyncio.run(main())


def test_a_client_leaves_forks_and_recoveries_to_workers_and_steps_through_nothing() -> None:
    async def main() -> None:
        store, graph = MemoryStore(), chain()
        async with Engine.open(store, [graph], drive=False) as client:
            await client.start(graph, inputs=1, run_id="run")
            with pytest.raises(GraphSetupError, match="drive=False"):
                client.iter(graph, inputs=1, run_id="other")
            assert not (await client.recover_run("run")).is_driven_here
            async with Engine.open(store, [graph]) as worker:
                assert await worker.attach("run").result() == 4
            began = [each.event for each in await client.history("run")]
            second = next(event.task for event in began if isinstance(event, NodeStarted) and event.node == "second")
            forked = await client.fork_run("run", at=second, new_run_id="fork")
            assert not forked.is_driven_here
            async with Engine.open(store, [graph]):
                assert await forked.result() == 4
            assert violations(await client.history("fork")) == []

    asyncio.run(main())
