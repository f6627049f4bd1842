"""A graph for the tests of the command line: it maps orders, ships each, and adds up what they cost."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from perdure import Engine, GraphBuilder, Registry, StepContext, reduce_sum


@dataclass
class Shop:
    shipped: int = 0
    names: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)


@dataclass
class Order:
    name: str
    price: int


g = GraphBuilder(name="orders", state_type=Shop, input_type=list[Order], output_type=int)


@g.step
async def ship(ctx: StepContext[Shop, None, Order]) -> int:
    ctx.state.shipped += 1
    ctx.state.names.add(ctx.inputs.name)
    ctx.state.log.append(ctx.inputs.name)
    if ctx.inputs.name == "broken":
        raise ValueError("the parcel\nis broken")
    if ctx.inputs.name == "slow" and "ORDERS_GO_ON" not in os.environ:
        await anyio.sleep_forever()
    return ctx.inputs.price


total = g.join(reduce_sum, initial=0, node_id="total")
g.add(
    g.edge_from(g.start_node).map(fork_id="orders", downstream_join_id="total").to(ship),
    g.edge_from(ship).to(total),
    g.edge_from(total).to(g.end_node),
)
graph = g.build()


registry = Registry([graph])
graphs = [graph]


def make_graph() -> object:
    return graph


def make_engine(db: Path) -> Engine:
    return Engine.open(db, graphs=[graph], recover=False)


def fail() -> None:
    raise RuntimeError("no")


number = 3


w = GraphBuilder(name="waits", output_type=int)
go = w.signal("go", int)
w.add(w.edge_from(w.start_node).to(go), w.edge_from(go).to(w.end_node))
waits = w.build()

both = [graph, waits]
