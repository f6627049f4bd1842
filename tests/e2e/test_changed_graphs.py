"""A graph may change under running runs, in what lies ahead of them; else they are set aside, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from perdure import (
    Engine,
    Graph,
    GraphBuilder,
    GraphRuntimeError,
    MemoryStore,
    RunConflict,
    StepContext,
    reduce_list_append,
)
from perdure.events import RunAccepted
from perdure.testing.invariants import violations


def chain(*names: str, at: int = 1) -> Graph[Any, Any, Any, Any]:
    """Return a graph that waits for a signal after some steps, each of which adds its name."""
    g = GraphBuilder(name="changing", input_type=str, output_type=str)
    go = g.signal("go", str)

    def add(name: str) -> Any:
        async def step(ctx: StepContext[None, None, str]) -> str:
            return f"{ctx.inputs}{name}"

        return g.step(step, node_id=name)

    nodes = [g.start_node, *map(add, names[:at]), go, *map(add, names[at:]), g.end_node]
    for before, after in itertools.pairwise(nodes):
        g.add(g.edge_from(before).to(after))
    return g.build()


async def left_waiting(store: MemoryStore, graph: Graph[Any, Any, Any, Any], inputs: Any = "") -> None:
    async with Engine.open(store, [graph]) as engine:
        await (await engine.start(graph, inputs=inputs, run_id="run")).until_waiting()


@pytest.mark.parametrize(
    ("after", "verdict", "reason"),
    [
        (("a", "b"), "same", ""),
        (("a", "b", "c"), "compatible", ""),
        (("a", "x"), "compatible", ""),
        (("a",), "compatible", ""),
        (("x", "b"), "stalled", "step 'a' is gone"),
    ],
)
def test_what_lies_ahead_may_change_and_what_has_happened_may_not(after: Any, verdict: str, reason: str) -> None:
    async def main() -> None:
        store = MemoryStore()
        await left_waiting(store, chain("a", "b"))
        new = chain(*after)
        async with Engine.open(store, [new]) as engine:
            fit = await engine.check("run")
            assert fit.verdict == verdict
            assert reason in fit.reason
            await engine.signal("run", "go", ">")
            handle = engine.attach("run")
            if verdict == "stalled":
                with pytest.raises(Exception, match="stalled"):
                    await handle.result()
                assert reason in (await handle.info()).error
            else:
                assert await handle.result() == ">" + "".join(after[1:])
                assert (await handle.info()).fingerprint == new.fingerprint
                assert await store.plan(new.fingerprint) is not None
            assert violations(await engine.history("run")) == []

    asyncio.run(main())


def test_a_stalled_run_goes_on_with_a_graph_that_fits() -> None:
    async def main() -> None:
        store, old, new = MemoryStore(), chain("a", "b"), chain("x", "b")
        await left_waiting(store, old)
        async with Engine.open(store, [new]) as engine:
            await engine.signal("run", "go", ">")
            with pytest.raises(Exception, match="stalled"):
                await engine.attach("run").result()
        async with Engine.open(store, [old]) as engine:
            assert await engine.attach("run").result() == ">b"

    asyncio.run(main())


def test_an_edge_that_was_taken_may_not_change() -> None:
    async def main() -> None:
        store = MemoryStore()
        await left_waiting(store, chain("a", "b", at=1))
        async with Engine.open(store, [chain("a", "b", at=2)]) as engine:
            fit = await engine.check("run")
        assert fit.verdict == "stalled"
        assert "what follows 'a' was" in fit.reason

    asyncio.run(main())


def mapped(order: str, then: str) -> Graph[Any, Any, Any, Any]:
    """Return a graph in which the first arm of a map arrives at a join and the second one waits."""
    g = GraphBuilder(name="changing", input_type=list[str], output_type=list[str])
    go = g.signal("go", str)

    @g.step
    async def check(ctx: StepContext[None, None, str]) -> str:
        return ctx.inputs

    async def last(ctx: StepContext[None, None, list[str]]) -> list[str]:
        return ctx.inputs

    behind = g.step(last, node_id=then)
    joined = g.join(reduce_list_append, initial_factory=list[str], order=order, node_id="joined")  # type: ignore[call-overload]
    choice = (
        g.decision().branch(g.match(str, matches=lambda name: name == "wait").to(go)).branch(g.match(str).to(check))
    )
    g.add(
        g.edge_from(g.start_node).map(fork_id="each").to(choice),
        g.edge_from(go, check).to(joined),
        g.edge_from(joined).to(behind),
        g.edge_from(behind).to(g.end_node),
    )
    return g.build()


@pytest.mark.parametrize(
    ("order", "then", "verdict"),
    [("arrival", "x", "stalled"), ("branch", "last", "stalled"), ("arrival", "last", "same")],
)
def test_nothing_may_change_that_a_task_reaches_whose_join_has_arrivals(order: str, then: str, verdict: str) -> None:
    async def main() -> None:
        store = MemoryStore()
        await left_waiting(store, mapped("arrival", "last"), ["now", "wait"])
        async with Engine.open(store, [mapped(order, then)]) as engine:
            assert (await engine.check("run")).verdict == verdict

    asyncio.run(main())


def test_a_run_that_has_stalled_can_be_accepted_where_its_log_still_folds() -> None:
    async def main() -> None:
        store, new = MemoryStore(), mapped("arrival", "x")
        await left_waiting(store, mapped("arrival", "last"), ["now", "wait"])
        async with Engine.open(store, [new]) as engine:
            with pytest.raises(RunConflict):
                await engine.accept("run")
            await engine.signal("run", "go", "then")
            with pytest.raises(Exception, match="stalled"):
                await engine.attach("run").result()
            handle = await engine.accept("run", by="ann", reason="harmless")
            assert await handle.result() == ["now", "then"]
            history = await engine.history("run")
            assert violations(history) == []
            (accepted,) = [recorded.event for recorded in history if isinstance(recorded.event, RunAccepted)]
            assert accepted == RunAccepted(new.fingerprint, "ann", "harmless")
            assert (await handle.info()).fingerprint == new.fingerprint

    asyncio.run(main())


def test_a_run_whose_log_doesnt_fold_cant_be_accepted() -> None:
    async def main() -> None:
        store = MemoryStore()
        await left_waiting(store, chain("a", "b"))
        async with Engine.open(store, [chain("x", "b")]) as engine:
            await engine.signal("run", "go", ">")
            with pytest.raises(Exception, match="stalled"):
                await engine.attach("run").result()
            with pytest.raises(GraphRuntimeError, match="doesn't fit"):
                await engine.accept("run")
            assert (await engine.get("run")).status == "STALLED"
            assert (await engine.get("run")).owner is None

    asyncio.run(main())
