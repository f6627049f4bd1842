"""What a fork takes, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    AnswerRefused,
    CodecError,
    Engine,
    GraphBuilder,
    GraphSetupError,
    MemoryStore,
    RunConflict,
    StepContext,
    reduce_list_append,
)
from perdure.ids import START_TASK
from perdure.store.export import export_run, import_run, read_export
from perdure.testing.invariants import violations


@dataclass
class Notes:
    big: str = ""
    seen: list[int] = field(default_factory=list)


def approval() -> Any:
    """Return a graph that maps into steps and waits inside of the map, with values too large for the log."""
    g = GraphBuilder(name="approval", state_type=Notes, input_type=list[int], output_type=list[str])

    @g.step
    async def look(ctx: StepContext[Notes, None, int]) -> str:
        ctx.state.seen.append(ctx.inputs)
        return f"{ctx.inputs}" * 300_000

    @g.step
    async def fill(ctx: StepContext[Notes, None, str]) -> str:
        ctx.state.big = ctx.inputs
        return ctx.inputs[:1]

    ask = g.human("ask", form=str)

    @g.step
    async def close(ctx: StepContext[Notes, None, str]) -> str:
        return ctx.inputs + "!"

    join = g.join(reduce_list_append, initial_factory=list[str], order="branch", node_id="join")
    g.add(
        g.edge_from(g.start_node).map().to(look),
        g.edge_from(look).to(fill),
        g.edge_from(fill).to(ask),
        g.edge_from(ask).to(close),
        g.edge_from(close).to(join),
        g.edge_from(join).to(g.end_node),
    )
    return g.build()


async def answer_all(engine: Engine, run_id: str) -> None:
    for wait in await engine.waiting(run_id):
        await engine.respond(run_id, wait.task_id, "yes")


def on_a_run(test: Callable[[Engine, Any], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            graph = approval()
            async with Engine.open(MemoryStore(), [graph]) as engine:
                handle = await engine.start(graph, inputs=[1, 2, 3], state=Notes(), run_id="run")
                await handle.until_waiting()
                await test(engine, graph)

        asyncio.run(asyncio.wait_for(main(), 30))

    run.__name__ = test.__name__
    return run


@on_a_run
async def test_a_waiting_run_can_be_forked_at_every_event_and_its_forks_too(engine: Engine, graph: Any) -> None:
    count = len(await engine.history("run"))
    for at in range(1, count + 1):
        handle = await engine.fork_run("run", at=at)
        again = await engine.fork_run(handle.run_id)
        for forked in (handle, again):
            await forked.until_waiting()
            await answer_all(engine, forked.run_id)
            assert await forked.result() == ["yes!"] * 3
            state = await forked.state()
            assert sorted(state.seen) == [1, 2, 3]
            assert len(state.big) == 300_000
            assert violations(await engine.history(forked.run_id)) == []


@on_a_run
async def test_what_waits_is_answered_by_an_output_that_is_given(engine: Engine, graph: Any) -> None:
    waits = await engine.waiting("run")
    forked = await engine.fork_run("run", outputs={wait.task_id: "no" for wait in waits}, by="Ada")
    assert await forked.result() == ["no!"] * 3
    history = await engine.history(forked.run_id)
    assert {recorded.event.by for recorded in history if recorded.kind == "Answered"} == {"Ada"}
    first, *others = waits
    forked = await engine.fork_run("run", outputs={first.path: "no"})
    await forked.until_waiting()
    assert {wait.path for wait in await engine.waiting(forked.run_id)} == {wait.path for wait in others}


@on_a_run
async def test_an_output_of_a_wrong_type_is_refused_and_no_run_is_made(engine: Engine, graph: Any) -> None:
    (wait, *_) = await engine.waiting("run")
    with pytest.raises(AnswerRefused):
        await engine.fork_run("run", outputs={wait.task_id: 5}, new_run_id="other")
    path = wait.path.replace("ask", "fill")
    with pytest.raises(CodecError):
        await engine.fork_run("run", outputs={path: {1, 2}}, new_run_id="other")
    assert [info.run_id for info in await engine.list()] == ["run"]


@on_a_run
async def test_a_task_that_isnt_there_is_refused_with_those_that_are_like_it(engine: Engine, graph: Any) -> None:
    with pytest.raises(RunConflict, match=r"no task 'lock'|look"):
        await engine.fork_run("run", at="lock")
    (wait, *_) = await engine.waiting("run")
    near = wait.path.replace("ask", "akk")
    with pytest.raises(RunConflict, match="there are") as refused:
        await engine.fork_run("run", outputs={near: "x"})
    assert wait.path in str(refused.value)


@on_a_run
async def test_a_fork_at_a_path_runs_what_is_there_again(engine: Engine, graph: Any) -> None:
    (wait, *_) = await engine.waiting("run")
    planned = await engine.plan("run", "fork", at=wait.path.replace("ask", "fill"))
    assert [task.node for task in planned.tasks if task.why == "again"][:1] == ["fill"]


@on_a_run
async def test_a_fork_at_the_output_of_a_join_folds_the_same_again(engine: Engine, graph: Any) -> None:
    await answer_all(engine, "run")
    result = await engine.attach("run").result()
    with pytest.raises(GraphSetupError, match="Give the outputs of the tasks that it folds"):
        await engine.fork_run("run", outputs={"join": ["no"]})
    forked = await engine.fork_run("run", at="join")
    assert await forked.result() == result
    started = [r for r in await engine.history(forked.run_id) if r.kind == "SegmentStarted"]
    assert started
    kinds = [recorded.kind for recorded in await engine.history(forked.run_id)]
    assert "NodeStarted" not in kinds[kinds.index("SegmentStarted") :], "only the join is closed again"


@on_a_run
async def test_a_fork_of_an_imported_run_goes_on_as_one_of_the_original_does(engine: Engine, graph: Any) -> None:
    lines = [line async for line in export_run(engine._store, await engine.get("run"))]
    store = MemoryStore()
    async with Engine.open(store, [graph], recover=False) as other:
        await import_run(store, read_export(lines, "export"))
        forked = await other.fork_run("run", new_run_id="fork")
        await forked.until_waiting()
        await answer_all(other, "fork")
        assert await forked.result() == ["yes!"] * 3


def test_the_output_of_a_sleep_or_a_router_cant_be_given() -> None:
    g = GraphBuilder(name="odd", input_type=int, output_type=int)
    nap = g.sleep(timedelta(0))

    @g.step
    async def one(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    @g.router
    async def way(ctx: StepContext[None, None, int]) -> Any:
        return one

    g.add(
        g.edge_from(g.start_node).to(nap),
        g.edge_from(nap).to(way),
        g.edge_from(way).to(one),
        g.edge_from(one).to(g.end_node),
    )
    graph = g.build()

    async def main() -> None:
        async with Engine.open(MemoryStore(), [graph]) as engine:
            assert await (await engine.start(graph, inputs=1, run_id="run")).result() == 1
            for name in (nap.id, "way"):
                with pytest.raises(GraphSetupError, match="can't be given"):
                    await engine.fork_run("run", outputs={name: 5})
            assert await (await engine.fork_run("run", at=START_TASK)).result() == 1

    asyncio.run(main())
