"""A run without an end goes on as a new one, and whoever dies in between, there is one, and only one, that goes on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, MemoryStore, SQLiteStore, StepContext, reduce_sum
from perdure.errors import RunConflict, StoreClosed
from perdure.events import RunCompleted, RunContinued, RunStarted
from perdure.graph.nodes.continuation import successor_id
from perdure.testing.invariants import violations


@dataclass
class Seen:
    rounds: int = 0


def endless(last: int, *, plain: bool = False) -> Graph[Any, Any, Any, Any]:
    """Return a graph that goes on as a new run until it has counted far enough, beside an arm that never ends."""
    g = GraphBuilder(name="endless", state_type=Seen, input_type=int, output_type=int, end="all")

    def count(ctx: StepContext[Seen, None, int]) -> int:
        ctx.state.rounds += 1
        if ctx.inputs < last:
            ctx.continue_as_new(ctx.inputs + 1)
        return ctx.inputs

    async def count_async(ctx: StepContext[Seen, None, int]) -> int:
        return count(ctx)

    counting = g.step(count, node_id="count") if plain else g.step(count_async, node_id="count")

    @g.step
    async def beside(ctx: StepContext[Seen, None, int]) -> int:
        if ctx.inputs < last:
            await asyncio.Event().wait()
        return 0

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).to(counting, beside),
        g.edge_from(counting, beside).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


def test_the_ids_of_a_chain_count_on() -> None:
    assert [successor_id(run) for run in ("a", "a~2", "a~9", "a~b", "~2", "a~")] == [
        "a~2",
        "a~3",
        "a~10",
        "a~b~2",
        "~2~2",
        "a~~2",
    ]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
def test_in_memory_a_run_goes_on_until_it_ends(plain: bool) -> None:
    state = Seen()
    assert asyncio.run(endless(4, plain=plain).run(inputs=1, state=state)) == 4
    assert state == Seen(4)


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_whoever_waits_for_the_first_gets_the_result_of_the_last(
    tmp_path: Path, recover: bool, durability: Any
) -> None:
    async def main() -> None:
        graph = endless(3)
        async with Engine.open(tmp_path / "runs.db", [graph], recover=recover) as engine:
            handle = await engine.start(
                graph, inputs=1, state=Seen(), run_id="run", tags={"a": "b"}, durability=durability
            )
            assert await handle.result() == 3
            assert await engine.attach("run").result() == 3
            runs = sorted(await engine.list(), key=lambda info: info.run_id)
            assert [(info.run_id, info.status) for info in runs] == [
                ("run", "COMPLETED"),
                ("run~2", "COMPLETED"),
                ("run~3", "COMPLETED"),
            ]
            assert (await engine.attach("run~3").state()) == Seen(3)
            origins = []
            for info in runs:
                history = await engine.history(info.run_id)
                assert violations(history) == []
                started = history[0].event
                assert isinstance(started, RunStarted)
                assert started.tags == {"a": "b"}
                origins.append(started.origin)
            assert origins == ["", "run", "run~2"]
            # started again with the same inputs, it gives out what came of the chain
            assert await (await engine.start(graph, inputs=1, state=Seen(), run_id="run")).result() == 3

    asyncio.run(main())


def test_a_strangers_run_is_not_taken_for_the_one_that_goes_on() -> None:
    async def main() -> None:
        graph = endless(2)
        async with Engine.open(MemoryStore(), [graph]) as engine:
            assert await (await engine.start(graph, inputs=2, state=Seen(), run_id="run~2")).result() == 2
            with pytest.raises(RunConflict, match="another run has that id"):
                await (await engine.start(graph, inputs=1, state=Seen(), run_id="run")).result()

    asyncio.run(main())


class Dying:
    """A store whose process dies before or after one of its writes: from then on nothing of it reaches the disk."""

    kill: tuple[int, str] = (0, "")
    count = 0

    async def _or_die(self, write: Any, what: Any) -> Any:
        self.count += 1
        at, when = self.kill
        if at and self.count >= at and (self.count > at or when == "before"):
            raise StoreClosed("the process is dead", location="here")
        done = await write(what)
        if at == self.count:
            raise StoreClosed("the process is dead", location="here")
        return done


def dying(kind: Any) -> Any:
    class DyingStore(Dying, kind):  # type: ignore[misc]
        async def create(self, run: Any) -> Any:
            return await self._or_die(super().create, run)

        async def append(self, append: Any) -> None:
            await self._or_die(super().append, append)

    return DyingStore


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_process_that_dies_at_any_commit_leaves_one_run_that_goes_on(tmp_path: Path, kind: str, when: str) -> None:
    def opened(number: int, shared: MemoryStore) -> Any:
        if kind == "memory":
            return shared
        return dying(SQLiteStore)(tmp_path / f"{number}.db", synchronous="NORMAL")

    async def main(number: int) -> bool:
        graph, shared = endless(3), dying(MemoryStore)()
        store = opened(number, shared)
        store.kill = (number, when)
        async with Engine.open(store, [graph]) as engine:
            try:
                handle = await engine.start(graph, inputs=1, state=Seen(), run_id="run")
                async with asyncio.timeout(2):
                    while store.count < number and (await engine.list(statuses=["COMPLETED"], limit=9)).__len__() < 3:
                        await asyncio.sleep(0.001)  # for the process to come to its death
            except StoreClosed:
                pass
        was_killed = store.count >= number
        store = opened(number, shared)
        store.kill = (0, "")
        async with Engine.open(store, [graph]) as engine:
            handle = await engine.start(graph, inputs=1, state=Seen(), run_id="run")
            async with asyncio.timeout(10):
                assert await handle.result() == 3
            runs = sorted(info.run_id for info in await engine.list())
            assert runs == ["run", "run~2", "run~3"]
            for run in runs:
                history = await engine.history(run)
                assert violations(history) == []
                kinds = [type(recorded.event) for recorded in history]
                assert kinds.count(RunCompleted) == 1
                assert kinds.count(RunContinued) == (run != "run~3")
            assert await engine.attach("run~3").state() == Seen(3)
        return was_killed

    number = 1
    while asyncio.run(main(number)):
        number += 1
    assert number > 8
