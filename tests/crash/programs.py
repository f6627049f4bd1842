"""What is run to be killed: examples by name, and random graphs by seed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from constructs import GIVEN, some_construct
from examples import EXAMPLES
from examples.class_nodes import Trail, collatz
from examples.waits import WAITING, WaitingExample
from perdure import Failure, Graph, GraphBuilder, StepContext, reduce_sum
from random_graphs import Block, Tally, build, evaluate, has_race, possible, random_block, size


@dataclass(frozen=True)
class Program:
    """A graph with its inputs, and what its result has to be."""

    build: Callable[[], Graph[Any, Any, Any, Any]]
    inputs: Any
    state: Callable[[], Any]
    view: Callable[[Any], Any]
    is_right: Callable[[Any, Any], bool]
    size: int = 20
    """About how many commits it takes."""
    block: Block | None = None
    answer: Callable[[Any], Any] | None = None
    """What is given to its waits."""
    is_stepped: bool = False
    """Whether its caller steps through it."""


def find(name: str) -> Program:
    """Return a program by name: that of an example, ``random/SEED``, or one that is stepped through, ``stepped/NAME``."""
    if name in POISONS:
        return Program(
            POISONS[name], 1, lambda: None, lambda given: given, lambda given, state: given == [0, 1, 2, "gone", 4]
        )
    if name.startswith("stepped/"):
        return replace(find(name.removeprefix("stepped/")), is_stepped=True)
    if name == "class nodes":
        return Program(
            collatz,
            6,
            Trail,
            lambda given: given,
            lambda given, state: (given, state.seen) == (9, [6, 3, 10, 5, 16, 8, 4, 2, 1]),
        )
    kind, _, seed = name.partition("/")
    if kind == "random":
        return random_program(int(seed))
    if kind == "rich":
        return random_program(int(seed), most=40, more=some_construct)
    for waiting in WAITING:
        if waiting.name == name:
            return waiting_program(waiting)
    example = next(example for example in EXAMPLES if example.name == name)

    def is_right(result: Any, state: Any) -> bool:
        return example.view(result) == example.expected and (
            example.expected_state is None or example.expected_state(state)
        )

    return Program(example.build, example.inputs, example.state, example.view, is_right)


def waiting_program(example: WaitingExample) -> Program:
    """Return an example that waits."""
    return Program(
        example.build,
        example.inputs,
        lambda: None,
        example.view,
        lambda result, state: example.view(result) == example.expected,
        answer=example.answer,
    )


def poison() -> Graph[Any, Any, Any, Any]:
    """Return a graph one arm of which takes its process down whenever it runs."""
    g = GraphBuilder(name="poison", input_type=int, output_type=int)

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(5))

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return ctx.inputs

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(work),
        g.edge_from(work).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


def poison_collected(
    die: Callable[[], Any] = lambda: os.kill(os.getpid(), signal.SIGKILL), **limits: Any
) -> Graph[Any, Any, Any, Any]:
    """Return a graph like that in which the other arms, and a step after them, go on without the one that is given up."""
    g = GraphBuilder(name="poison collected", input_type=int, output_type=list[Any])

    @g.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(5))

    @g.step(**limits)
    async def work(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs == 3:
            die()
        return ctx.inputs

    @g.step
    async def after(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    @g.step(join="all", on_error="collect")
    async def gathered(ctx: StepContext[None, None, list[int | Failure]]) -> list[Any]:
        return ["gone" if isinstance(item, Failure) else item for item in ctx.inputs]

    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(work),
        g.edge_from(work).to(after),
        g.edge_from(after).to(gathered),
        g.edge_from(gathered).to(g.end_node),
    )
    return g.build()


POISONS: dict[str, Callable[[], Graph[Any, Any, Any, Any]]] = {
    "poison": poison,
    "poison collected": poison_collected,
    "poison under a limit": lambda: poison_collected(max_concurrency=2),
    "poison that may kill once": lambda: poison_collected(max_crashes=1),
    "poison that exits": lambda: poison_collected(lambda: os._exit(3)),
    "poison that breaks memory": lambda: poison_collected(lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    "poison that aborts": lambda: poison_collected(os.abort),
}


def random_program(seed: int, *, most: int = 60, more: Any = None) -> Program:
    """Return a random graph of moderate size; a third of them have races, whose winners nobody can foretell."""
    rng, is_rich = Random(f"program {seed}"), more is not None
    if is_rich:
        more = partial(more, races=seed % 3 == 0)
    while True:
        block = random_block(rng, rng.randrange(2, 5), races=seed % 3 == 0, more=more)
        races = has_race(block)
        if races != (seed % 3 == 0):
            continue
        expected = Tally()
        result = None if races else evaluate(block, 7, expected)
        if (races and size(block) <= most) or 3 <= expected.count <= most:
            break
    values = possible(block, 7)

    def is_right(given: Any, state: Any) -> bool:
        if races:
            return given in values
        return given == result and (state.count, state.total) == (expected.count, expected.total)

    return Program(
        lambda: build(block, seed=seed, long_s=0.01),
        7,
        Tally,
        lambda given: given,
        is_right,
        2 * (expected.count or size(block)),
        block,
        (lambda wait: GIVEN) if is_rich else None,
    )
