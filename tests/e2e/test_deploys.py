"""Types may gain fields between deploys while a run is in the middle: what was stored is read as the new type."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from perdure import Engine, Graph, GraphBuilder, StepContext, upcast, versioned
from perdure.testing.invariants import violations


def deploy(
    state_type: Any, item_type: Any, make: Any, use: Any, *, hold: asyncio.Event | None
) -> Graph[Any, Any, Any, Any]:
    """Return the graph as one deploy has it: a step that gives an item out, and one that the old process never ends."""
    g = GraphBuilder(name="deployed", state_type=state_type, input_type=int, output_type=list[Any])

    async def first(ctx: StepContext[Any, None, int]) -> Any:
        return make(ctx)

    async def second(ctx: StepContext[Any, None, Any]) -> list[Any]:
        if hold is not None:
            hold.set()
            await asyncio.Event().wait()
        return use(ctx)

    first.__annotations__ = {"ctx": StepContext[state_type, None, int], "return": item_type}
    second.__annotations__ = {"ctx": StepContext[state_type, None, item_type], "return": list[Any]}
    one, two = g.step(first, node_id="first"), g.step(second, node_id="second")
    g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(two), g.edge_from(two).to(g.end_node))
    return g.build()


def dataclasses(kind: str) -> tuple[Any, Any, Any, Any]:
    old = make_dataclass("Item", [("name", str)])
    new = make_dataclass("Item", [("name", str), ("weight", int, field(default=3))])
    old_state = make_dataclass("Ledger", [("seen", int, field(default=0))])
    new_state = make_dataclass(
        "Ledger", [("seen", int, field(default=0)), ("notes", list, field(default_factory=list))]
    )
    return old, new, old_state, new_state


def structs(kind: str) -> tuple[Any, Any, Any, Any]:
    return (
        msgspec.defstruct("Item", [("name", str)]),
        msgspec.defstruct("Item", [("name", str), ("weight", int, 3)]),
        msgspec.defstruct("Ledger", [("seen", int, 0)]),
        msgspec.defstruct("Ledger", [("seen", int, 0), ("notes", list, msgspec.field(default_factory=list))]),
    )


def models(kind: str) -> tuple[Any, Any, Any, Any]:
    notes: Any = (list, pydantic.Field(default_factory=list))
    return (
        pydantic.create_model("Item", name=(str, ...)),
        pydantic.create_model("Item", name=(str, ...), weight=(int, 3)),
        pydantic.create_model("Ledger", seen=(int, 0)),
        pydantic.create_model("Ledger", seen=(int, 0), notes=notes),
    )


async def crash_in_the_middle(path: Path, graph: Graph[Any, Any, Any, Any], state: Any, held: asyncio.Event) -> None:
    """Leave a run as a crash would: its log ends while its second step runs."""
    async with Engine.open(path, [graph]) as engine:
        await engine.start(graph, inputs=7, state=state, run_id="run")
        await asyncio.wait_for(held.wait(), 20)


@pytest.mark.parametrize("types", [dataclasses, structs, models])
def test_a_run_in_the_middle_goes_on_when_its_types_have_gained_fields(tmp_path: Path, types: Any) -> None:
    old, new, old_state, new_state = types("")

    def make(ctx: Any) -> Any:
        ctx.state.seen += 1
        return old(name="nut")

    def use(ctx: Any) -> list[Any]:
        ctx.state.notes.append(ctx.inputs.weight)
        return [ctx.inputs.name, ctx.inputs.weight, ctx.state.seen, list(ctx.state.notes)]

    async def main() -> None:
        held = asyncio.Event()
        before = deploy(old_state, old, make, use, hold=held)
        await crash_in_the_middle(tmp_path / "runs.db", before, old_state(), held)
        after = deploy(new_state, new, make, use, hold=None)
        async with Engine.open(tmp_path / "runs.db", [after]) as engine:
            assert await engine.attach("run").result() == ["nut", 3, 1, [3]]
            assert violations(await engine.history("run")) == []

    asyncio.run(main())


class OldRow(TypedDict):
    name: str


class NewRow(TypedDict):
    name: str
    weight: NotRequired[int]


def test_a_typed_dict_may_gain_a_key_that_is_not_required(tmp_path: Path) -> None:
    async def main() -> None:
        held = asyncio.Event()
        before = deploy(None, OldRow, lambda ctx: OldRow(name="nut"), None, hold=held)
        await crash_in_the_middle(tmp_path / "runs.db", before, None, held)
        use: Any = lambda ctx: [ctx.inputs["name"], ctx.inputs.get("weight")]  # noqa: E731
        after = deploy(None, NewRow, None, use, hold=None)
        async with Engine.open(tmp_path / "runs.db", [after]) as engine:
            assert await engine.attach("run").result() == ["nut", None]

    asyncio.run(main())


def test_an_upcast_reads_what_an_older_version_of_a_type_has_stored(tmp_path: Path) -> None:
    old = dataclass(type("Price", (), {"__annotations__": {"euros": int}}))
    new = versioned(2)(dataclass(type("Price", (), {"__annotations__": {"cents": int, "currency": str}})))

    @upcast(new, from_version=1)
    def to_cents(stored: dict[str, Any]) -> dict[str, Any]:
        return {"cents": stored["euros"] * 100, "currency": "EUR"}

    async def main() -> None:
        held = asyncio.Event()
        before = deploy(None, old, lambda ctx: old(euros=5), None, hold=held)
        await crash_in_the_middle(tmp_path / "runs.db", before, None, held)
        after = deploy(None, new, None, lambda ctx: [ctx.inputs.cents, ctx.inputs.currency], hold=None)
        async with Engine.open(tmp_path / "runs.db", [after]) as engine:
            assert await engine.attach("run").result() == [500, "EUR"]

    asyncio.run(main())
