"""A lease may be lost when its driver hasn't had its first turn: a process that was stopped just then wakes up so."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure import Engine, Graph, GraphBuilder, MemoryStore, StepContext


def build() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="double", input_type=int, output_type=int)

    @g.step
    async def double(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs * 2

    g.add(g.edge_from(g.start_node).to(double), g.edge_from(double).to(g.end_node))
    return g.build()


def lose_at_once(engine: Engine) -> list[str]:
    """Let the engine lose the first lease it is to drive under before it does; return which that was."""
    worker, lost = engine._worker, list[str]()
    drive = worker.drive

    def driving(run: Any, *arguments: Any, **options: Any) -> None:
        drive(run, *arguments, **options)
        if not lost:
            lost.append(run.run_id)
            worker.leases._lose_one(run.run_id)

    worker.drive = driving  # type: ignore[method-assign]
    return lost


def test_a_run_whose_driver_was_stopped_before_it_began_is_driven_on() -> None:
    async def main() -> None:
        graph = build()
        async with Engine.open(MemoryStore(), [graph]) as engine:
            lost = lose_at_once(engine)
            handle = await engine.start(graph, inputs=4, run_id="run")
            assert lost == ["run"]
            assert await asyncio.wait_for(handle.result(), 20) == 8
            assert not engine._worker.driven

    asyncio.run(main())


def test_a_caller_who_steps_through_a_run_is_told_that_it_is_lost() -> None:
    async def main() -> None:
        graph = build()
        async with Engine.open(MemoryStore(), [graph]) as engine:
            lose_at_once(engine)

            async def step_through() -> None:
                async with engine.iter(graph, inputs=4, run_id="run") as stepping:
                    async for _ in stepping:
                        pass

            done, _ = await asyncio.wait([asyncio.ensure_future(step_through())], timeout=20)
            assert done, "the caller waits for ever"
            assert not engine._worker.driven
            done.pop().exception()

    asyncio.run(main())
