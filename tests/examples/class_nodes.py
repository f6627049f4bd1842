"""Nodes that are classes, each going on with the node it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perdure import BaseNode, End, Graph, GraphBuilder, GraphRunContext, StepContext


@dataclass
class Trail:
    seen: list[int] = field(default_factory=list)


@dataclass
class Halve(BaseNode[Trail, None, int]):
    n: int

    async def run(self, ctx: GraphRunContext[Trail, None]) -> Grow | Halve | End[int]:
        ctx.state.seen.append(self.n)
        if self.n == 1:
            return End(len(ctx.state.seen))
        half = self.n // 2
        return Halve(half) if half == 1 or half % 2 == 0 else Grow(half)


@dataclass
class Grow(BaseNode[Trail, None, int]):
    n: int

    async def run(self, ctx: GraphRunContext[Trail, None]) -> Halve:
        ctx.state.seen.append(self.n)
        return Halve(self.n * 3 + 1)


def collatz() -> Graph[Any, Any, Any, Any]:
    """Return a graph that counts the steps from a number down to 1; from 6 they are 9."""
    g = GraphBuilder(name="collatz", state_type=Trail, input_type=int, output_type=int)

    @g.step
    async def begin(ctx: StepContext[Trail, None, int]) -> Halve | Grow:
        return Halve(ctx.inputs) if ctx.inputs % 2 == 0 else Grow(ctx.inputs)

    first = g.decision(node_id="first").branch(g.match_node(Halve)).branch(g.match_node(Grow))
    g.add(g.node(Halve), g.node(Grow), g.edge_from(g.start_node).to(begin), g.edge_from(begin).to(first))
    return g.build()
