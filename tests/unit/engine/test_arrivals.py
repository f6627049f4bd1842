"""What comes in for a run is durable with the lease of whoever takes it up, and nothing that comes in then is missed."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec
import pytest

from perdure import Engine, Graph, GraphBuilder, MemoryStore, RunPaused, StepContext
from perdure.engine.calling.waiting import RequestDetails
from perdure.store.records import NewEntry


def asking(*, asks: bool = True, ends: bool = True) -> Graph[Any, Any, Any, Any]:
    """Return a graph that asks a person, or waits for a signal, and then does a step, which may never end."""
    g = GraphBuilder(name="asking", input_type=int, output_type=int)
    ask = g.human("ask", form=int) if asks else g.signal("told", int)

    @g.step
    async def double(ctx: StepContext[None, None, int]) -> int:
        if not ends:
            await asyncio.get_running_loop().create_future()
        return ctx.inputs * 2

    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(double), g.edge_from(double).to(g.end_node))
    return g.build()


class Noting(MemoryStore):
    """Notes what is written about runs."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    async def put(self, entry: NewEntry) -> Any:
        self.written.append("put")
        return await super().put(entry)

    async def put_and_claim(self, entry: NewEntry, owner: Any, **lease: Any) -> Any:
        self.written.append("put and claim")
        return await super().put_and_claim(entry, owner, **lease)

    async def claim(self, owner: Any, **conditions: Any) -> Any:
        claimed = await super().claim(owner, **conditions)
        self.written += ["claim"] * len(claimed)
        return claimed

    async def append(self, append: Any) -> None:
        self.written.append("append")
        await super().append(append)


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("recover", [True, False])
def test_between_an_answer_and_the_step_that_waits_for_it_there_are_two_commits(asks: bool, recover: bool) -> None:
    """The answer with the lease, and the start; one more ends the run."""

    async def main() -> None:
        store, graph = Noting(), asking(asks=asks)
        async with Engine.open(store, [graph], recover=recover) as engine:
            handle = await engine.start(graph, inputs=0)
            (wait,) = await handle.until_waiting()
            store.written.clear()
            await (handle.respond(wait.task_id, 21) if asks else handle.signal("told", 21))
            assert await handle.result() == 42
            assert store.written == ["put and claim", "append", "append"]

    asyncio.run(main())


class Talkative(MemoryStore):
    """Is told to pause a run by another process between the commit that takes its lease and its driver's first turn."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = asyncio.Event()

    async def mail(self, owner: Any) -> Any:
        mail = await super().mail(owner)
        self.looked.set()
        return mail

    async def put_and_claim(self, entry: NewEntry, *arguments: Any, **options: Any) -> Any:
        put = await super().put_and_claim(entry, *arguments, **options)
        details = msgspec.json.encode(RequestDetails("", now=True))
        await self.put(NewEntry(entry.run_id, "pause", "", details, "another", entry.at))
        self.looked.clear()
        await self.looked.wait()
        return put


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_what_comes_in_while_a_run_is_being_taken_is_taken_up(durability: Literal["sync", "async", "exit"]) -> None:
    """Also where the driver commits nothing after which it would be looked for, nor anybody else for a while."""

    async def main() -> None:
        graph = asking(asks=True, ends=False)
        async with Engine.open(Talkative(), [graph], lease_s=3600) as engine:
            handle = await engine.start(graph, inputs=0, durability=durability)
            (wait,) = await handle.until_waiting()
            await handle.respond(wait.task_id, 1)
            with pytest.raises(RunPaused):
                await asyncio.wait_for(handle.result(), 20)

    asyncio.run(main())


def test_of_many_who_answer_at_once_all_are_heard_whatever_room_there_is() -> None:
    """Those for whom there is none have their run taken when there is."""

    async def main() -> None:
        graph = asking()
        async with Engine.open(MemoryStore(), [graph], max_runs=3) as engine:
            handles = [await engine.start(graph, inputs=0, run_id=f"run {number}") for number in range(20)]
            waits = [wait for handle in handles for wait in await handle.until_waiting()]
            await asyncio.gather(*(engine.respond(wait.run_id, wait.task_id, 1) for wait in waits))
            assert await asyncio.wait_for(asyncio.gather(*(handle.result() for handle in handles)), 20) == [2] * 20

    asyncio.run(main())


def test_an_answer_whose_caller_was_cancelled_is_taken_up_all_the_same() -> None:
    """A lease is never left with nobody to drive under it."""

    async def main() -> None:
        graph = asking()
        for ticks in range(12):
            async with Engine.open(MemoryStore(), [graph]) as engine:
                handle = await engine.start(graph, inputs=0)
                (wait,) = await handle.until_waiting()
                answering = asyncio.ensure_future(handle.respond(wait.task_id, 1))
                for _ in range(ticks):
                    await asyncio.sleep(0)
                answering.cancel()
                await asyncio.wait([answering])
                await handle.respond(wait.task_id, 1)
                assert await asyncio.wait_for(handle.result(), 20) == 2

    asyncio.run(main())
