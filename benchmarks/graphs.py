"""The graphs that are measured, each also in the words of pydantic-graph.

Both builders are used name for name the same way, so one function makes either: it is given the module to build with.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any


@dataclasses.dataclass
class Total:
    """A number beside a long list."""

    total: int = 0
    ballast: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Texts:
    """A list that grows."""

    items: list[str] = dataclasses.field(default_factory=list)


def loop(module: Any, length: int) -> Any:
    """Return a chain: one step, run ``length`` times by way of a decision."""
    g = module.GraphBuilder(name="loop", input_type=int, output_type=int)

    @g.step
    async def add_one(ctx: module.StepContext[None, None, int]) -> int:  # type: ignore[name-defined]
        return ctx.inputs + 1

    again = g.decision().branch(g.match(int, matches=lambda number: number < length).to(add_one))
    g.add(
        g.edge_from(g.start_node).to(add_one),
        g.edge_from(add_one).to(again.branch(g.match(int).to(g.end_node))),
    )
    return g.build()


def line(module: Any, length: int) -> Any:
    """Return a chain of ``length`` steps that are different nodes."""
    g = module.GraphBuilder(name="line", input_type=int, output_type=int)

    async def add_one(ctx: module.StepContext[None, None, int]) -> int:  # type: ignore[name-defined]
        return ctx.inputs + 1

    steps = [g.step(add_one, node_id=f"step_{number}") for number in range(length)]
    nodes = [g.start_node, *steps, g.end_node]
    g.add(*(g.edge_from(one).to(other) for one, other in itertools.pairwise(nodes)))
    return g.build()


def mapped(module: Any, *, summed: bool = False) -> Any:
    """Return a map over a list into a join that collects, or adds up, what came of the items."""
    g = module.GraphBuilder(name="mapped", input_type=list[int], output_type=int if summed else list[int])

    @g.step
    async def add_one(ctx: module.StepContext[None, None, int]) -> int:  # type: ignore[name-defined]
        return ctx.inputs + 1

    if summed:
        join = g.join(module.reduce_sum, initial=0)
    else:
        join = g.join(module.reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).map().to(add_one),
        g.edge_from(add_one).to(join),
        g.edge_from(join).to(g.end_node),
    )
    return g.build()


def totalled(module: Any) -> Any:
    """Return the same map with state, to which each arm adds its item."""
    g = module.GraphBuilder(name="totalled", state_type=Total, input_type=list[int], output_type=list[int])

    @g.step
    async def add_one(ctx: module.StepContext[Total, None, int]) -> int:  # type: ignore[name-defined]
        ctx.state.total += ctx.inputs
        return ctx.inputs + 1

    join = g.join(module.reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).map().to(add_one),
        g.edge_from(add_one).to(join),
        g.edge_from(join).to(g.end_node),
    )
    return g.build()


def growing(module: Any, length: int) -> Any:
    """Return a chain whose step appends 1 KB to a list in the state each time."""
    g = module.GraphBuilder(name="growing", state_type=Texts, input_type=int, output_type=int)

    @g.step
    async def append(ctx: module.StepContext[Texts, None, int]) -> int:  # type: ignore[name-defined]
        ctx.state.items.append("x" * 1024)
        return ctx.inputs + 1

    again = g.decision().branch(g.match(int, matches=lambda number: number < length).to(append))
    g.add(
        g.edge_from(g.start_node).to(append),
        g.edge_from(append).to(again.branch(g.match(int).to(g.end_node))),
    )
    return g.build()
