"""Whoever asks something of a run is told whether it is so, whoever drives the run, and whether anybody does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    Engine,
    Graph,
    GraphBuilder,
    MemoryStore,
    RunCancelled,
    RunConflict,
    RunPaused,
    SQLiteStore,
    Status,
    StepContext,
    reduce_list_append,
)
from perdure.events import NodeStarted, RunResumed, RunRetried, SegmentStarted
from perdure.events import RunPaused as PausedEvent
from perdure.kernel.verbs import ACCEPTS, VERBS, refusal
from perdure.testing.invariants import violations


class Gate:
    """What the steps of a graph wait for."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.fails = False


def gated(gate: Callable[[], Gate]) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="gated", output_type=list[int])

    @g.step
    async def first(ctx: StepContext[None, None, None]) -> list[int]:
        return [1, 2]

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        gate().entered.set()
        if ctx.inputs == 2:
            await gate().open.wait()
            if gate().fails:
                raise ValueError("no")
        return ctx.inputs

    @g.step
    async def last(ctx: StepContext[None, None, list[int]]) -> list[int]:
        return ctx.inputs

    join = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(first),
        g.edge_from(first).map(fork_id="each").to(work),
        g.edge_from(work).to(join),
        g.edge_from(join).to(last),
        g.edge_from(last).to(g.end_node),
    )
    return g.build()


async def left_behind(store: Any, graph: Graph[Any, Any, Any, Any], gate: Gate) -> None:
    """Leave a run unfinished that nobody drives."""
    async with Engine.open(store, [graph]) as engine:
        await engine.start(graph, run_id="run")
        await gate.entered.wait()


def stores(path: Path) -> list[Any]:
    return [MemoryStore(), SQLiteStore(path / "runs.db", synchronous="NORMAL")]


both = pytest.mark.parametrize("kind", [0, 1], ids=["memory", "sqlite"])


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_refuses_what_it_does_not_accept_and_says_what_would_do(verb: Any) -> None:
    for status in Status:
        reason = refusal("run", verb, status)
        assert (reason is None) == (status in ACCEPTS[verb])
        assert reason is None or (status.value in reason and verb in reason)


@both
def test_a_run_that_nobody_drives_is_paused_at_once_and_resumed_elsewhere(tmp_path: Path, kind: int) -> None:
    async def main() -> None:
        gate, store = Gate(), stores(tmp_path)[kind]
        graph = gated(lambda: gate)
        await left_behind(store, graph, gate)
        async with Engine.open(store, recover=False) as client:
            await client.pause("run", by="Ada", reason="night")
            assert (await client.get("run")).status == "PAUSED"
            with pytest.raises(RunConflict, match="stands still already"):
                await client.pause("run")
            handle = await client.resume("run", by="Bea", reason="morning", drive=False)
            assert (await handle.status()) is Status.RUNNING
            with pytest.raises(RunConflict):
                await client.resume("run", drive=False)
            gate.open.set()
            async with Engine.open(store, [graph]) as worker:
                assert await worker.attach("run").result() == [1, 2]
            history = await client.history("run")
            paused = next(r.event for r in history if isinstance(r.event, PausedEvent))
            resumed = next(r.event for r in history if isinstance(r.event, RunResumed))
            assert (paused.by, paused.reason, resumed.by, resumed.reason) == ("Ada", "night", "Bea", "morning")
            assert violations(history) == []

    asyncio.run(main())


@both
def test_a_run_that_nobody_drives_is_cancelled_at_once(tmp_path: Path, kind: int) -> None:
    async def main() -> None:
        gate, store = Gate(), stores(tmp_path)[kind]
        graph = gated(lambda: gate)
        await left_behind(store, graph, gate)
        async with Engine.open(store, recover=False) as client:
            await client.cancel("run", by="Ada", reason="enough")
            assert (await client.get("run")).status == "CANCELLED"
            with pytest.raises(RunConflict, match="is over"):
                await client.recover_run("run", drive=False)
            for ask in (client.cancel, client.pause, client.resume, client.retry):
                with pytest.raises(Exception, match=r"is over|wasn't given"):
                    await ask("run")
        async with Engine.open(store, [graph]) as worker:
            with pytest.raises(RunCancelled):
                await worker.attach("run").result()

    asyncio.run(main())


@pytest.mark.parametrize("now", [False, True])
def test_a_run_is_paused_by_another_engine_when_what_runs_has_finished_or_at_once(now: bool) -> None:
    async def main() -> None:
        gate, store = Gate(), MemoryStore()
        graph = gated(lambda: gate)
        async with Engine.open(store, [graph]) as driving, Engine.open(store, recover=False) as asking:
            handle = await driving.start(graph, run_id="run")
            await gate.entered.wait()
            await asking.pause("run", by="Ada", now=now)
            driving.driven("run").driver.nudge()  # it would look by itself a little later
            if not now:
                gate.open.set()
            with pytest.raises(RunPaused):
                await handle.result()
            again = await asking.plan("run", "resume")
            assert [task.path for task in again.tasks] == ["each[1]/work" if now else "last"]
            gate.open.set()
            assert await (await driving.resume("run")).result() == [1, 2]
            attempts = [r.event.attempt for r in await driving.history("run") if isinstance(r.event, NodeStarted)]
            assert max(attempts) == (2 if now else 1)

    asyncio.run(main())


def test_the_end_of_a_run_is_not_forgotten_over_its_pause() -> None:
    """Both are asked for while a body runs: whichever comes first in the inbox, the run is cancelled."""

    async def main(order: list[str]) -> None:
        gate, store = Gate(), MemoryStore()
        graph = gated(lambda: gate)
        async with Engine.open(store, [graph]) as driving, Engine.open(store, recover=False) as asking:
            handle = await driving.start(graph, run_id="run")
            await gate.entered.wait()
            for verb in order:
                await getattr(asking, verb)("run", by=verb)
            driving.driven("run").driver.nudge()
            gate.open.set()
            with pytest.raises(RunCancelled):
                await handle.result()

    for order in (["pause", "cancel"], ["cancel", "pause"]):
        asyncio.run(main(order))


def test_a_cancellation_that_comes_just_as_a_run_is_paused_is_carried_out() -> None:
    class Late(MemoryStore):
        """Puts a cancellation into the inbox behind the back of the driver, while it commits the pause."""

        asking: Engine

        async def append(self, append: Any) -> None:
            if append.update.status == "PAUSED":
                await self.asking.cancel("run", by="Ada")
            await super().append(append)

    async def main() -> None:
        gate, store = Gate(), Late()
        graph = gated(lambda: gate)
        async with Engine.open(store, [graph]) as driving, Engine.open(store, recover=False) as asking:
            store.asking = asking
            handle = await driving.start(graph, run_id="run")
            await gate.entered.wait()
            await driving.pause("run", now=True)
            with pytest.raises(RunCancelled):
                await handle.result()

    asyncio.run(main())


@both
def test_of_many_who_resume_a_run_at_once_one_does(tmp_path: Path, kind: int) -> None:
    async def main() -> None:
        gate, store = Gate(), stores(tmp_path)[kind]
        graph = gated(lambda: gate)
        await left_behind(store, graph, gate)
        gate.open.set()
        async with Engine.open(store, [graph], recover=False) as a, Engine.open(store, [graph], recover=False) as b:
            await a.pause("run")
            outcomes = await asyncio.gather(*(e.resume("run") for e in (a, b) * 5), return_exceptions=True)
            assert sum(isinstance(outcome, RunConflict) for outcome in outcomes) == 9
            assert await a.attach("run").result() == [1, 2]
            history = await a.history("run")
            assert sum(isinstance(recorded.event, RunResumed) for recorded in history) == 1
            assert violations(history) == []

    asyncio.run(main())


def test_a_failed_run_is_retried_by_one_of_two_and_keeps_what_finished() -> None:
    async def main() -> None:
        gate, store = Gate(), MemoryStore()
        graph = gated(lambda: gate)
        gate.fails = True
        gate.open.set()
        async with Engine.open(store, [graph]) as a, Engine.open(store, [graph]) as b:
            with pytest.raises(ValueError, match="no"):
                await (await a.start(graph, run_id="run")).result()
            plan = await b.plan("run", "retry")
            assert [(task.path, task.why) for task in plan.tasks] == [("each[1]/work", "failed")]
            with pytest.raises(RunConflict, match="retry it to go on"):
                await b.resume("run")
            gate.fails = False
            outcomes = await asyncio.gather(
                *(e.retry("run", by=name) for name, e in (("a", a), ("b", b))), return_exceptions=True
            )
            assert sum(isinstance(outcome, RunConflict) for outcome in outcomes) == 1
            assert await b.attach("run").result() == [1, 2]
            history = await a.history("run")
            assert [r.event.by for r in history if isinstance(r.event, RunRetried)] in (["a"], ["b"])
            begun = [r.event.task for r in history if isinstance(r.event, NodeStarted)]
            assert sorted(begun.count(task) for task in set(begun)) == [1, 1, 1, 2]

    asyncio.run(main())


def test_who_had_a_run_recovered_is_recorded() -> None:
    async def main() -> None:
        gate, store = Gate(), MemoryStore()
        graph = gated(lambda: gate)
        await left_behind(store, graph, gate)
        gate.open.set()
        async with Engine.open(store, [graph], recover=False) as engine:
            assert [task.why for task in (await engine.plan("run", "recover")).tasks] == ["ready"]
            assert await (await engine.recover_run("run", by="Ada", reason="power cut")).result() == [1, 2]
            segments = [r.event for r in await engine.history("run") if isinstance(r.event, SegmentStarted)]
            assert (segments[-1].by, segments[-1].reason) == ("Ada", "power cut")
            assert await (await engine.recover_run("run")).result() == [1, 2]

    asyncio.run(main())
