"""A run is told from its log alone, as its engine would have told it."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from perdure import GraphBuilder, MemoryStore, StepContext, reduce_null
from perdure.engine.inspection.inspect import inspect_run
from perdure.engine.inspection.untyped import shown
from perdure.errors import RunNotFound, StoreCorrupt


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Point:
    x: int
    y: int


@dataclass
class Leaf:
    size: float = 0.5


@dataclass
class State:
    points: set[Point] = field(default_factory=set)
    by_pair: dict[tuple[int, int], int] = field(default_factory=dict)
    price: Decimal = Decimal(0)
    colour: Colour | None = None
    leaves: list[Leaf] = field(default_factory=list)
    text: str = ""
    raw: bytes = b""


g = GraphBuilder(name="many", state_type=State, input_type=list[int], output_type=Point)


@g.step
async def change(ctx: StepContext[State, None, int]) -> None:
    n, state = ctx.inputs, ctx.state
    state.points.add(Point(n, n))
    state.points.discard(Point(-1, -1))
    state.by_pair[n, n] = n
    state.price += Decimal(n)
    state.colour = Colour.RED
    state.leaves.append(Leaf(n / 2))
    state.leaves[0].size += 1
    state.text += "x" * 300_000
    state.raw = bytes([n])


@g.step
async def point(ctx: StepContext[State, None, None]) -> Point:
    return Point(ctx.state.by_pair[1, 1], 2)


done = g.join(reduce_null, initial=None)
g.add(
    g.edge_from(g.start_node).map().to(change),
    g.edge_from(change).to(done),
    g.edge_from(done).to(point),
    g.edge_from(point).to(g.end_node),
)
graph = g.build()


def test_a_state_of_any_classes_is_folded_without_them() -> None:
    async def main() -> None:
        store = MemoryStore()
        await store.open()
        state = State(points={Point(-1, -1), Point(5, 5)}, by_pair={(0, 0): 0}, leaves=[Leaf()])
        await graph.run(inputs=[1], state=state, store=store, run_id="many")
        inspection = await inspect_run(store, "many")
        assert inspection.state_problem == ""
        assert inspection.state == {
            "points": [[["x", 1], ["y", 1]], [["x", 5], ["y", 5]]],
            "by_pair": {"(0, 0)": 0, "(1, 1)": 1},
            "price": "1",
            "colour": "RED",
            "leaves": [{"size": 1.5}, {"size": 0.5}],
            "text": "x" * 300_000,
            "raw": "AQ==",
        }
        assert inspection.result == {"x": 1, "y": 2}
        assert (inspection.live_tasks(), inspection.open_joins()) == ([], [])
        assert sum(inspection.counts.values()) == inspection.info.last_seq == inspection.run.seq
        await store.close()

    asyncio.run(main())


def test_what_isnt_there_is_told() -> None:
    async def main() -> None:
        store = MemoryStore()
        await store.open()
        with pytest.raises(RunNotFound):
            await inspect_run(store, "nothing")
        await graph.run(inputs=[1], state=State(leaves=[Leaf()]), store=store, run_id="many")
        store._plans.clear()
        with pytest.raises(StoreCorrupt, match="the plan of its graph is missing"):
            await inspect_run(store, "many")
        await store.close()

    asyncio.run(main())


def test_json_is_made_of_anything() -> None:
    assert shown({1: float("nan"), "a": (1, {2, 1}), "b": b"\x00"}) == {"1": "nan", "a": [1, [1, 2]], "b": "AA=="}
    assert shown(Decimal("1.50")) == "1.50"
    assert shown(Colour.RED) == "Colour.RED"
