"""Nodes that are classes take part in graphs, and in durable runs: an instance is stored by its fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from examples.class_nodes import Halve, Trail, collatz
from perdure import (
    BaseNode,
    End,
    Engine,
    GraphBuilder,
    GraphRunContext,
    GraphRuntimeError,
    GraphSetupError,
    JoinNode,
    StepContext,
    StepNode,
    reduce_list_append,
)
from perdure.events import NodeCompleted

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "runs.db" if request.param == "file" else None


async def test_a_node_goes_on_with_the_node_it_returns(store: Path | None) -> None:
    state = Trail()
    assert await collatz().run(inputs=6, state=state, store=store) == 9
    assert state.seen == [6, 3, 10, 5, 16, 8, 4, 2, 1]


async def test_a_run_of_class_nodes_goes_on_where_it_was(tmp_path: Path) -> None:
    graph, store = collatz(), tmp_path / "runs.db"
    async with graph.iter(inputs=6, state=Trail(), store=store, run_id="r") as run:
        for _ in range(4):
            await run.next()
        assert run.next_task[0].inputs == Halve(10)  # type: ignore[index]
    state = Trail()
    async with graph.iter(inputs=6, state=state, store=store, run_id="r") as run:
        [task] = await run.next()  # type: ignore[misc]
        assert task.inputs == Halve(10)
        async for _ in run:
            pass
        assert run.output == 9
    assert state.seen == [6, 3, 10, 5, 16, 8, 4, 2, 1]


async def test_what_a_node_returns_is_recorded_once_and_without_its_wrapping(tmp_path: Path) -> None:
    graph, store = collatz(), tmp_path / "runs.db"
    await graph.run(inputs=2, state=Trail(), store=store, run_id="r")
    async with Engine.open(store, [graph]) as engine:
        completed = [r.event for r in await engine.history("r") if isinstance(r.event, NodeCompleted)]
    values = [bytes(v) for event in completed if event.route is not None for v in event.route.values]
    assert values == [b'{"$":"Halve","v":{"n":1}}', b"2"]
    assert all(b"End" not in bytes(event.output) for event in completed)


async def test_a_node_hands_over_to_a_step_and_a_step_to_a_node(store: Path | None) -> None:
    g = GraphBuilder(name="hand_over", input_type=int, output_type=str)

    @g.step
    async def tell(ctx: StepContext[None, None, int]) -> str:
        return f"told {ctx.inputs}"

    @dataclass
    class Ask(BaseNode[None, None, str]):
        n: int

        async def run(self, ctx: GraphRunContext[None, None]) -> Annotated[StepNode[None, None], tell] | End[str]:
            return tell.as_node(self.n) if self.n else End("nothing")

    @g.step
    async def begin(ctx: StepContext[None, None, int]) -> Ask:
        return Ask(ctx.inputs)

    g.add(
        g.edge_from(g.start_node).to(begin),
        g.edge_from(begin).to(Ask),
        g.node(Ask),
        g.edge_from(tell).to(g.end_node),
    )
    graph = g.build()
    assert await graph.run(inputs=3, store=store) == "told 3"
    assert await graph.run(inputs=0, store=store) == "nothing"


async def test_nodes_in_the_arms_of_a_map_hand_over_to_a_join(store: Path | None) -> None:
    g = GraphBuilder(name="gathered", input_type=list[int], output_type=list[int])
    gather = g.join(reduce_list_append, initial_factory=list[int], node_id="gather", order="branch")

    @dataclass
    class Double(BaseNode[None, None, list[int]]):
        n: int

        async def run(self, ctx: GraphRunContext[None, None]) -> Annotated[JoinNode[None, None], gather]:
            return gather.as_node(self.n * 2)

    @g.step
    async def made(ctx: StepContext[None, None, int]) -> Double:
        return Double(ctx.inputs)

    g.add(
        g.edge_from(g.start_node).map().to(made),
        g.edge_from(made).to(Double),
        g.node(Double),
        g.edge_from(gather).to(g.end_node),
    )
    assert await g.build().run(inputs=[1, 2, 3], store=store) == [2, 4, 6]


async def test_a_node_may_only_return_what_it_is_annotated_with() -> None:
    g = GraphBuilder(name="liar", output_type=int)

    @dataclass
    class Other(BaseNode[None, None, int]):
        async def run(self, ctx: GraphRunContext[None, None]) -> End[int]:
            return End(1)

    @dataclass
    class Liar(BaseNode[None, None, int]):
        async def run(self, ctx: GraphRunContext[None, None]) -> End[int]:
            return Other()  # type: ignore[return-value]

    g.add(g.edge_from(g.start_node).transform(lambda ctx: Liar()).to(Liar), g.node(Liar))
    with pytest.raises(GraphRuntimeError, match="'Liar' has returned a Other, and is annotated with End"):
        await g.build().run()


def test_what_isnt_annotated_with_nodes_cant_be_added() -> None:
    g = GraphBuilder(name="wrong", output_type=int)

    @dataclass
    class Silent(BaseNode[None, None, int]):
        async def run(self, ctx):  # type: ignore[no-untyped-def]
            return End(1)

    @dataclass
    class Vague(BaseNode[None, None, int]):
        async def run(self, ctx: GraphRunContext[None, None]) -> BaseNode[None, None, int] | End[int]:
            return End(1)

    @dataclass
    class Unmarked(BaseNode[None, None, int]):
        async def run(self, ctx: GraphRunContext[None, None]) -> StepNode[None, None]:
            raise NotImplementedError

    with pytest.raises(GraphSetupError, match="can't be told"):
        g.node(Silent)
    with pytest.raises(GraphSetupError, match="names BaseNode, and has to name each class"):
        g.node(Vague)
    with pytest.raises(GraphSetupError, match="not whose it is"):
        g.node(Unmarked)
    with pytest.raises(GraphSetupError, match="no subclass of BaseNode"):
        g.node(int)  # type: ignore[arg-type]
    with pytest.raises(GraphSetupError, match="no subclass of BaseNode"):
        g.match_node(int)  # type: ignore[type-var]
