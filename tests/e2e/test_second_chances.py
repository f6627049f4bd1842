"""A lost arm, a lost race and a missed quorum: who takes them, and what a retry runs again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    Engine,
    Failure,
    GraphBuilder,
    MemoryStore,
    QuorumNotReached,
    StepContext,
    reduce_list_append,
)
from perdure.testing.invariants import violations


class Work:
    """Steps that fail for as long as they are told to, and count how often they have run."""

    def __init__(self, *failing: str) -> None:
        self.failing = set(failing)
        self.ran: Counter[str] = Counter()

    def step(self, g: Any, name: str, value: Any = None) -> Any:
        async def body(ctx: StepContext[None, None, Any]) -> int:
            self.ran[name] += 1
            for _ in range(3 if name.startswith("slow") else 0):
                await asyncio.sleep(0)
            if name in self.failing:
                raise ValueError(f"{name} failed")
            return ctx.inputs if value is None else value

        return g.step(body, node_id=name)


def group_graph(build: Callable[[Any], Any], **how: Any) -> Any:
    g = GraphBuilder(name="group", input_type=int, output_type=Any, **how)
    g.add_edge(g.start_node, (made := build(g)))
    g.add_edge(made, g.end_node)
    return g.build()


async def twice(graph: Any, work: Work, inputs: Any = 7) -> tuple[BaseException, Any]:
    """Run a graph that fails, then retry it with all steps mended; return the failure and the result."""
    async with Engine.open(MemoryStore(), [graph]) as engine:
        handle = await engine.start(graph, inputs=inputs, run_id="run")
        with pytest.raises(Exception) as failed:  # noqa: PT011 - which one is what is looked at
            await handle.result()
        work.failing.clear()
        planned = await engine.plan("run", "retry")
        ran = Counter(work.ran)
        result = await asyncio.wait_for((await engine.retry("run")).result(), 10)
        history = await engine.history("run")
        assert violations(history) == []
        again = sum((work.ran - ran).values())
        assert again >= len(planned.tasks) > 0
        for seq in range(1, len(history) + 1):
            forked = await engine.fork_run("run", at=seq)
            assert ordered(await asyncio.wait_for(forked.result(), 10)) == ordered(result), seq
        return failed.value, result


def ordered(result: Any) -> Any:
    return sorted(result) if isinstance(result, list) else result


def test_a_quorum_missed_inside_of_a_race_loses_the_arm_and_another_may_win() -> None:
    work = Work("a", "b")
    graph = group_graph(
        lambda g: g.race(
            g.parallel(work.step(g, "a"), work.step(g, "b"), work.step(g, "c"), min_ok=2, on_error="collect"),
            work.step(g, "slow", 11),
        )
    )
    assert asyncio.run(graph.run(inputs=1)) == 11
    assert asyncio.run(graph.run(inputs=1, store=MemoryStore())) == 11


def test_a_race_lost_inside_of_a_race_loses_the_arm() -> None:
    work = Work("a", "b")
    graph = group_graph(lambda g: g.race(g.race(work.step(g, "a"), work.step(g, "b")), work.step(g, "slow", 11)))
    assert asyncio.run(graph.run(inputs=1)) == 11


def test_a_race_of_missed_quorums_fails_with_the_last_one_as_it_was_raised() -> None:
    work = Work("a", "b", "slow")
    graph = group_graph(
        lambda g: g.race(
            work.step(g, "a"),
            g.parallel(work.step(g, "b"), work.step(g, "slow"), min_ok=1, on_error="collect"),
        )
    )
    with pytest.raises(QuorumNotReached) as missed:
        asyncio.run(graph.run(inputs=1))
    assert any("a failed" in note for note in missed.value.__notes__)


def test_a_quorum_missed_where_failures_are_collected_is_collected() -> None:
    work = Work("a")
    graph = group_graph(
        lambda g: g.parallel(
            g.parallel(work.step(g, "a"), work.step(g, "b"), min_ok=2, on_error="collect"),
            work.step(g, "c", 11),
            on_error="collect",
        )
    )
    failure, other = asyncio.run(graph.run(inputs=1))
    assert isinstance(failure, Failure)
    assert failure.error_type == "QuorumNotReached"
    assert other == 11


def test_a_retry_runs_the_arms_of_a_lost_race_again() -> None:
    work = Work("a", "b")
    graph = group_graph(lambda g: g.race(work.step(g, "a", 5), work.step(g, "b", 5)))
    error, result = asyncio.run(twice(graph, work))
    assert isinstance(error, ValueError)
    assert result == 5


@pytest.mark.parametrize("order", ["arrival", "branch"])
def test_a_retry_after_a_missed_quorum_runs_what_failed_and_folds_what_came_once(order: Any) -> None:
    work = Work("odd")
    g = GraphBuilder(name="quorum", input_type=list[int], output_type=list[int])

    @g.step
    async def look(ctx: StepContext[None, None, int]) -> int:
        work.ran["look"] += 1
        if ctx.inputs % 2 and work.failing:
            raise ValueError("odd")
        return ctx.inputs

    join = g.join(reduce_list_append, initial_factory=list[int], on_error="collect", min_ok=4, order=order)
    g.add(
        g.edge_from(g.start_node).map().to(look),
        g.edge_from(look).to(join),
        g.edge_from(join).to(g.end_node),
    )
    error, result = asyncio.run(twice(g.build(), work, [0, 1, 2, 3, 4]))
    assert isinstance(error, QuorumNotReached)
    assert ordered(result) == [0, 1, 2, 3, 4]


def test_a_retry_runs_an_arm_again_in_which_others_were_cancelled_with_the_one_that_failed() -> None:
    work = Work("a", "b")
    graph = group_graph(
        lambda g: g.race(
            g.parallel(work.step(g, "done", 1), work.step(g, "a", 2), work.step(g, "slow", 3)),
            work.step(g, "b", [1, 2, 3]),
        )
    )
    _, result = asyncio.run(twice(graph, work))
    assert result == [1, 2, 3]
