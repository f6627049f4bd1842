"""A store that fails for a moment: what was to be seen is seen later, and no step takes the blame."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure import Engine, Graph, GraphBuilder, MemoryStore, StepContext, StoreFaulty


class Failing(MemoryStore):
    """Fails as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.mails = self.blobs = 0

    async def mail(self, owner: Any) -> Any:
        if self.mails:
            self.mails -= 1
            raise StoreFaulty("the disk failed", location=self.location)
        return await super().mail(owner)

    async def blob(self, run_id: str, digest: str) -> bytes:
        if self.blobs:
            self.blobs -= 1
            raise StoreFaulty("the disk failed", location=self.location)
        return await super().blob(run_id, digest)


def doubling(entered: asyncio.Event | None = None) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="doubling", input_type=int, output_type=int)

    @g.step
    async def swell(ctx: StepContext[None, None, int]) -> str:
        return "x" * 300_000 * ctx.inputs

    @g.step
    async def measure(ctx: StepContext[None, None, str]) -> int:
        if entered is not None:
            entered.set()
            await asyncio.get_running_loop().create_future()
        return len(ctx.inputs)

    g.add(
        g.edge_from(g.start_node).to(swell),
        g.edge_from(swell).to(measure),
        g.edge_from(measure).to(g.end_node),
    )
    return g.build()


def test_what_changed_while_the_store_could_not_be_watched_is_looked_at_later() -> None:
    """Else a run would be due and nobody would take it, until something else happened in the store."""

    async def main() -> None:
        store, graph = Failing(), doubling()
        async with Engine.open(store, [graph]), Engine.open(store, drive=False) as client:
            await asyncio.sleep(0)
            store.mails = 1
            handle = await client.start(graph, inputs=1, run_id="run")
            assert await asyncio.wait_for(handle.result(), 10) == 300_000
            assert store.mails == 0

    asyncio.run(main())


def test_a_step_whose_inputs_cannot_be_read_has_not_failed() -> None:
    """It begins again when the store can be read."""

    async def main() -> None:
        store, entered = Failing(), asyncio.Event()
        async with Engine.open(store, [held := doubling(entered)]) as engine:
            await engine.start(held, inputs=1, run_id="run")
            await asyncio.wait_for(entered.wait(), 10)
        store.blobs = 1
        async with Engine.open(store, [doubling()], lease_s=0.3) as engine:
            assert await asyncio.wait_for(_until_over(engine), 10) == 300_000
            assert store.blobs == 0
            assert "NodeFailed" not in [recorded.kind for recorded in await engine.history("run")]

    asyncio.run(main())


async def _until_over(engine: Engine) -> Any:
    while True:
        try:
            return await engine.attach("run").result()
        except StoreFaulty as error:
            assert "the disk failed" in str(error)
