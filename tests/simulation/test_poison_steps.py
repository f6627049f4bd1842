"""Whatever a step, or code beside one, does: its run ends with an error that says so, and other runs go on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any

import pytest

from perdure import Engine, Graph, GraphBuilder, MemoryStore, Retry, Status, StepContext, reduce_sum
from perdure.events import RunFailed
from perdure.testing.invariants import violations
from simulation.world import World

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    yield
    gc.collect()


class Strange(BaseException):
    """No Exception."""


class Rude(Exception):
    """An exception that can't be told."""

    def __str__(self) -> str:
        raise RuntimeError("I won't say")

    __repr__ = __str__


@dataclass(frozen=True)
class Frozen(Exception):
    """An exception that nothing can be noted on."""

    code: int = 3


def unlisted() -> Exception:
    """Return an exception whose notes are no list."""
    error = ValueError("unlisted")
    error.__notes__ = None  # type: ignore[assignment]
    return error


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*given: Any) -> Any:
        raise error

    return function


def one_step(body: Callable[[Any], Any], **options: Any) -> Graph[Any, Any, Any, Any]:
    """Return a graph of one step."""
    g = GraphBuilder(name="poison", output_type=Any)

    async def step(ctx: StepContext[None, None, None]) -> Any:
        result = body(ctx)
        return await result if asyncio.iscoroutine(result) else result

    node = g.step(step, node_id="step", **options)
    g.add(g.edge_from(g.start_node).to(node), g.edge_from(node).to(g.end_node))
    return g.build()


def deep() -> Any:
    value: Any = 1
    for _ in range(100):
        value = [value]
    return value


def endless(depth: int) -> int:
    return endless(depth + 1)


async def deaf(ctx: Any) -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)


BODIES: dict[str, tuple[Graph[Any, Any, Any, Any], str]] = {
    "raises what is no Exception": (one_step(raising(Strange("strange"))), "Strange"),
    "exits": (one_step(raising(SystemExit(3))), "SystemExit"),
    "raises GeneratorExit": (one_step(raising(GeneratorExit())), "GeneratorExit"),
    "raises StopIteration": (one_step(raising(StopIteration())), "RuntimeError"),
    "raises StopAsyncIteration": (one_step(raising(StopAsyncIteration())), "StopAsyncIteration"),
    "raises as if cancelled": (one_step(raising(asyncio.CancelledError())), "CancelledError"),
    "raises what can't be told": (one_step(raising(Rude())), "Rude"),
    "raises what can't be noted on": (one_step(raising(Frozen())), "Frozen"),
    "raises what has strange notes": (one_step(raising(unlisted())), "ValueError"),
    "raises what UTF-8 can't express": (one_step(raising(ValueError("no file \udcff"))), "ValueError"),
    "raises a group": (one_step(raising(BaseExceptionGroup("g", [Strange(), ValueError()]))), "BaseExceptionGroup"),
    "recurs without end": (one_step(lambda ctx: endless(0)), "RecursionError"),
    "runs out of memory": (one_step(raising(MemoryError())), "MemoryError"),
    "returns what can't be stored": (one_step(lambda ctx: object()), "CodecError"),
    "returns what is too deep": (one_step(lambda ctx: deep()), "CodecError"),
    "is deaf to its cancellation": (one_step(deaf, timeout=1), "StepTimeout"),
    "blocks the loop": (one_step(lambda ctx: time.sleep(0.05) or raising(ValueError("slow"))()), "ValueError"),
    "has a predicate that raises": (
        one_step(raising(ValueError("v")), retry=Retry(retry_on=raising(KeyError("test")))),
        "ValueError",
    ),
}


@dataclass
class Total:
    kept: Annotated[int, lambda current, base, mine: 1 // 0] = 0
    seen: list[int] = field(default_factory=list)


def beside(what: str) -> Graph[Any, Any, Any, Any]:  # noqa: C901
    """Return a graph in which code beside the steps raises."""
    g = GraphBuilder(name="poison", state_type=Total, output_type=Any)
    boom = raising(ZeroDivisionError(what))

    @g.step
    async def one(ctx: StepContext[Total, None, Any]) -> int:
        if what == "a merge":
            ctx.state.kept += 1
        return 1

    @g.step
    async def two(ctx: StepContext[Total, None, Any]) -> int:
        if what == "a merge":
            ctx.state.kept += 1
        return 2

    @g.step
    async def last(ctx: StepContext[Total, None, int]) -> int:
        return ctx.inputs

    async def route(ctx: StepContext[Total, None, Any]) -> Any:
        return boom()

    def reducer(current: int, item: int) -> int:
        return int(boom())

    if what == "a router":
        router = g.router(route, node_id="router")
        g.add(g.edge_from(g.start_node).to(router), g.edge_from(router).to(one, two))
        join = g.join(reduce_sum, initial=0)
        g.add(g.edge_from(one, two).to(join), g.edge_from(join).to(last))
    elif what in ("a reducer", "a merge"):
        join = g.join(reducer if what == "a reducer" else reduce_sum, initial=0)
        g.add(g.edge_from(g.start_node).to(one, two), g.edge_from(one, two).to(join), g.edge_from(join).to(last))
    elif what == "an initial value":
        join = g.join(reduce_sum, initial_factory=boom)
        g.add(g.edge_from(g.start_node).to(one, two), g.edge_from(one, two).to(join), g.edge_from(join).to(last))
    elif what == "a transform":
        g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).transform(boom).to(last))
    elif what == "a transform behind a join":
        join = g.join(reduce_sum, initial=0)
        g.add(g.edge_from(g.start_node).to(one, two), g.edge_from(one, two).to(join))
        g.add(g.edge_from(join).transform(boom).to(last))
    elif what == "a match":
        choice = g.decision().branch(g.match(int, matches=boom).to(last))
        g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(choice))
    elif what == "a sleep":
        nap: Any = g.sleep(boom)
        g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(nap), g.edge_from(nap).to(last))
    elif what == "a title":
        ask: Any = g.human("ask", form=int, title=boom)
        g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(ask), g.edge_from(ask).to(last))
    g.add(g.edge_from(last).to(g.end_node))
    return g.build(validate_graph_structure=False)


PLACES = [
    "a router",
    "a reducer",
    "an initial value",
    "a transform",
    "a transform behind a join",
    "a match",
    "a sleep",
    "a title",
]


def healthy() -> Graph[Any, Any, Any, Any]:
    """Return a graph that sleeps and ends."""
    g = GraphBuilder(name="healthy", input_type=int, output_type=int)
    nap = g.sleep(timedelta(seconds=8))

    @g.step
    async def double(ctx: StepContext[None, None, int]) -> int:
        await asyncio.sleep(0.5)
        return ctx.inputs * 2

    g.add(g.edge_from(g.start_node).to(double), g.edge_from(double).to(nap), g.edge_from(nap).to(g.end_node))
    return g.build()


def poisoned(graph: Graph[Any, Any, Any, Any], error: str) -> None:
    """Run a graph whose code does something bad beside one that does nothing wrong."""
    other = healthy()

    async def main(engine: Engine) -> None:
        state = Total() if graph.state_type is Total else None
        good = await engine.start(other, inputs=4)
        bad = await engine.start(graph, state=state, run_id="bad")
        assert await good.result() == 8
        assert await bad.status() is Status.FAILED
        history = await engine.history("bad")
        assert isinstance(history[-1].event, RunFailed)
        assert history[-1].event.error.type.rpartition(".")[2] == error
        with pytest.raises(BaseException):  # noqa: B017, PT011
            await bad.result()
        assert engine.driven("bad") is None
        assert violations(history) == []

    World().live(main, graph, other)


@pytest.mark.parametrize("name", BODIES)
def test_a_run_whose_step_misbehaves_fails_and_others_go_on(name: str) -> None:
    poisoned(*BODIES[name])


@pytest.mark.parametrize("what", PLACES)
def test_a_run_with_code_that_raises_beside_its_steps_fails_and_others_go_on(what: str) -> None:
    poisoned(beside(what), "ZeroDivisionError")


def test_a_run_with_a_merge_that_raises_fails_and_others_go_on() -> None:
    poisoned(beside("a merge"), "StateConflict")


def test_a_step_that_raises_a_keyboard_interrupt_ends_the_process_and_not_its_run() -> None:
    store, calls = MemoryStore(), []

    def interrupted(ctx: Any) -> str:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return "done"

    graph = one_step(interrupted)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(graph.run(store=store, run_id="run"))
    assert asyncio.run(graph.run(store=store, run_id="run")) == "done"
