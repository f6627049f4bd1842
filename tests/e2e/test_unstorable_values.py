"""Values that can't be stored are refused at once, with all that is needed to mend it, and nothing of them is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from perdure import CodecError, Engine, Graph, GraphBuilder, ReducerContext, StepContext
from perdure.events import NodeCompleted, RunFailed
from perdure.testing.invariants import violations


class Socket:
    """Something that can't be stored."""


@dataclass
class Order:
    lines: list[Any] = field(default_factory=list)


def bad() -> Order:
    return Order(["fine", Socket()])


def in_an_output() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="output", input_type=int, output_type=Any, types=[Order])

    @g.step
    async def culprit(ctx: StepContext[None, None, int]) -> Any:
        return bad()

    @g.step
    async def after(ctx: StepContext[None, None, Any]) -> Any:
        return 1

    g.add(g.edge_from(g.start_node).to(culprit), g.edge_from(culprit).to(after), g.edge_from(after).to(g.end_node))
    return g.build()


def in_the_state() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="state", state_type=Order, input_type=int, output_type=int)

    @g.step
    async def culprit(ctx: StepContext[Order, None, int]) -> int:
        ctx.state.lines.append(bad())
        return 1

    g.add(g.edge_from(g.start_node).to(culprit), g.edge_from(culprit).to(g.end_node))
    return g.build()


def in_an_item(kind: str) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name=kind, input_type=int, output_type=Any, types=[Order])

    if kind == "stream":

        @g.stream
        async def culprit(ctx: StepContext[None, None, int]) -> AsyncIterator[Any]:
            yield 1
            yield bad()

    else:

        @g.step
        async def culprit(ctx: StepContext[None, None, int]) -> list[Any]:
            return [1, bad()]

    @g.step
    async def after(ctx: StepContext[None, None, Any]) -> int:
        return 1

    join = g.join(lambda current, item: current + item, initial=0, node_id="join")
    g.add(
        g.edge_from(g.start_node).to(culprit),
        g.edge_from(culprit).map(fork_id="each").to(after),
        g.edge_from(after).to(join),
        g.edge_from(join).to(g.end_node),
    )
    return g.build()


def in_a_reducer() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="reducer", input_type=int, output_type=Any, types=[Order])

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        return [1, 2]

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    def reduce(ctx: ReducerContext[Any, Any], current: Any, item: int) -> Any:
        return bad()

    join = g.join(reduce, initial=None, node_id="culprit")
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(work),
        g.edge_from(work).to(join),
        g.edge_from(join).to(g.end_node),
    )
    return g.build()


GRAPHS = {
    "an output": in_an_output,
    "the state": in_the_state,
    "an item of a map": lambda: in_an_item("map"),
    "an item of a stream": lambda: in_an_item("stream"),
    "the value of a reducer": in_a_reducer,
}


def told(error: CodecError, where: str) -> None:
    assert where in "\n".join([str(error), *getattr(error, "__notes__", ())]), str(error)
    assert error.path.startswith("$"), error.path
    assert error.path.endswith(".lines[1]") or ".lines" in error.path, error.path
    assert "Socket" in str(error), str(error)
    assert "keep connections, locks and functions in deps" in str(error), "it says what to do"


@pytest.mark.parametrize("build", GRAPHS.values(), ids=GRAPHS.keys())
def test_a_value_that_cannot_be_stored_fails_the_run_and_is_not_half_written(tmp_path: Path, build: Any) -> None:
    graph = build()
    path = tmp_path / "runs.db"
    state = Order() if graph.state_type is Order else None
    with pytest.raises(CodecError) as caught:
        asyncio.run(asyncio.wait_for(graph.run(inputs=1, state=state, store=path, run_id="run"), 20))
    told(caught.value, "culprit")

    async def read() -> Any:
        async with Engine.open(path, [graph], recover=False) as engine:
            return await engine.history("run"), await engine.get("run")

    history, info = asyncio.run(read())
    assert violations(history) == []
    assert info.status == "FAILED"
    assert isinstance(history[-1].event, RunFailed)
    assert "Socket" in info.error
    completed = [recorded.event for recorded in history if isinstance(recorded.event, NodeCompleted)]
    assert all(b"Socket" not in bytes(event.output) for event in completed)


@pytest.mark.parametrize("what", ["inputs", "state"])
def test_a_run_whose_inputs_or_state_cannot_be_stored_is_not_created(tmp_path: Path, what: str) -> None:
    g = GraphBuilder(name="start", state_type=Order, input_type=Any, output_type=Any)

    @g.step
    async def one(ctx: StepContext[Order, None, Any]) -> Any:
        return 1

    g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(g.end_node))
    graph = g.build()

    async def main() -> None:
        async with Engine.open(tmp_path / "runs.db", [graph]) as engine:
            given: dict[str, Any] = {"inputs": 1, "state": Order(), what: bad()}
            with pytest.raises(CodecError) as caught:
                await engine.start(graph, **given, run_id="run")
            told(caught.value, "state" if what == "state" else "inputs")
            assert await engine.list() == []
            handle = await engine.start(graph, inputs=1, state=Order(), run_id="run")
            assert await handle.result() == 1

    asyncio.run(main())
