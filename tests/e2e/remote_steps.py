"""Functions that run in other processes, and so have to be at the top of a module."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from perdure import Graph, GraphBuilder, StepContext


@dataclass
class Seen:
    pids: list[int] = field(default_factory=list)
    total: int = 0


class Stubborn(Exception):
    """An exception that can be pickled, but not read back."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")


def squared(ctx: StepContext[Seen, Any, int]) -> int:
    ctx.state.pids.append(os.getpid())
    ctx.state.total += ctx.inputs
    return ctx.inputs**2


def endless(ctx: StepContext[Any, Any, Any]) -> None:
    time.sleep(600)


def giving_a_function(ctx: StepContext[Any, Any, Any]) -> Any:
    return lambda: None


def raising(ctx: StepContext[Any, Any, Any]) -> Any:
    raise KeyError(ctx.inputs)


def stubborn(ctx: StepContext[Any, Any, Any]) -> Any:
    raise Stubborn(1, 2)


def told(ctx: StepContext[Any, Any, Any]) -> Any:
    return ctx.run_id, ctx.attempt, bool(ctx.task_id), bool(ctx.idempotency_key), ctx.deps


g = GraphBuilder(name="squares", state_type=Seen, input_type=list[int], output_type=list[int])


@g.step(executor="process")
def decorated(ctx: StepContext[Seen, None, int]) -> int:
    ctx.state.pids.append(os.getpid())
    ctx.state.total += ctx.inputs
    return ctx.inputs**2


@g.step(join="all")
async def gathered(ctx: StepContext[Seen, None, list[int]]) -> list[int]:
    return ctx.inputs


g.add(
    g.edge_from(g.start_node).map().to(decorated),
    g.edge_from(decorated).to(gathered),
    g.edge_from(gathered).to(g.end_node),
)
squares: Graph[Seen, None, list[int], list[int]] = g.build()
