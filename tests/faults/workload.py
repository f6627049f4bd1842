"""What is done on a disk while it fails: runs of four kinds, and somebody who starts, answers and signals them.

The same is done again after each fault. Who was told that something is done doesn't do it again: had it been lost, a run
would wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from perdure import AnswerRefused, Engine, Graph, GraphBuilder, Retry, RunHandle, StepContext, reduce_sum

WIDTH, ROUNDS = 6, 3


@dataclass
class Ledger:
    """What the steps of a run note."""

    notes: list[str] = field(default_factory=list)
    total: int = 0


Entered = Callable[[str, str, int], Awaitable[Any] | None]


async def entering(ctx: StepContext[Any, Entered, Any]) -> None:
    held = ctx.deps(ctx.run_id, ctx.task_id, ctx.attempt)
    if held is not None:
        await held


def mapping(width: int = WIDTH) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="mapping", state_type=Ledger, deps_type=object, input_type=int, output_type=int)

    @g.step
    async def split(ctx: StepContext[Ledger, Any, int]) -> list[int]:
        await entering(ctx)
        return list(range(ctx.inputs))

    @g.step
    async def work(ctx: StepContext[Ledger, Any, int]) -> int:
        await entering(ctx)
        await asyncio.sleep(0)
        ctx.state.total += ctx.inputs
        ctx.state.notes.append(f"item {ctx.inputs}")
        return 2 * ctx.inputs

    @g.step
    async def close(ctx: StepContext[Ledger, Any, int]) -> int:
        await entering(ctx)
        return ctx.inputs + ctx.state.total

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).to(split),
        g.edge_from(split).map(fork_id="each").to(work),
        g.edge_from(work).to(total),
        g.edge_from(total).to(close),
        g.edge_from(close).to(g.end_node),
    )
    return g.build()


def looping(rounds: int = ROUNDS) -> Graph[Any, Any, Any, Any]:
    """With outputs of some size, the last of them kept as a blob."""
    g = GraphBuilder(name="looping", deps_type=object, input_type=int, output_type=int)

    @g.step
    async def grow(ctx: StepContext[None, Any, int]) -> tuple[int, str]:
        await entering(ctx)
        return ctx.inputs + 1, "x" * 9_000

    @g.step
    async def shrink(ctx: StepContext[None, Any, tuple[int, str]]) -> int:
        await entering(ctx)
        return ctx.inputs[0]

    @g.step
    async def swell(ctx: StepContext[None, Any, int]) -> str:
        await entering(ctx)
        return f"{ctx.inputs}" * 300_000

    @g.step
    async def measure(ctx: StepContext[None, Any, str]) -> int:
        await entering(ctx)
        return len(ctx.inputs)

    g.add(
        g.edge_from(g.start_node).to(grow),
        g.edge_from(grow).to(shrink),
        g.edge_from(shrink).to(
            g.decision(node_id="enough")
            .branch(g.match(int, matches=lambda number: number < rounds).to(grow))
            .branch(g.match(int).to(swell))
        ),
        g.edge_from(swell).to(measure),
        g.edge_from(measure).to(g.end_node),
    )
    return g.build()


def asking() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="asking", deps_type=object, input_type=str, output_type=str)
    paid = g.signal("paid", int)
    editor = g.human("editor", form=str, title="Read it")

    @g.step
    async def report(ctx: StepContext[None, Any, str]) -> str:
        await entering(ctx)
        return f"{ctx.inputs}!"

    g.add(
        g.edge_from(g.start_node).to(paid),
        g.edge_from(paid).to(editor),
        g.edge_from(editor).to(report),
        g.edge_from(report).to(g.end_node),
    )
    return g.build()


def retrying() -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="retrying", deps_type=object, input_type=int, output_type=int)
    patience = Retry(max_attempts=9, initial_interval=0.002, jitter=False)

    @g.step(retry=patience)
    async def stumble(ctx: StepContext[None, Any, int]) -> int:
        await entering(ctx)
        if ctx.attempt == 1:
            raise ConnectionError("not yet")
        return ctx.inputs + 1

    nap = g.sleep(timedelta(milliseconds=1), node_id="nap")
    g.add(
        g.edge_from(g.start_node).to(stumble),
        g.edge_from(stumble).to(nap),
        g.edge_from(nap).to(g.end_node),
    )
    return g.build()


@dataclass
class Told:
    """What somebody has been told, and what was entered."""

    runs: set[str] = field(default_factory=set)
    signals: set[str] = field(default_factory=set)
    answers: set[str] = field(default_factory=set)
    results: dict[str, Any] = field(default_factory=dict)

    def take(self, what: tuple[str, str, Any]) -> None:
        kind, run_id, value = what
        if kind == "result":
            self.results[run_id] = value
        elif kind in ("run", "signal", "answer"):
            getattr(self, f"{kind}s").add(run_id)


class Workload:
    """Runs to be started, and what they come to.

    Attributes:
        expected: the results, by run.
        note: called with what is acknowledged.
        entered: the attempts whose bodies were entered: run, task, number.
    """

    def __init__(self, *, width: int = WIDTH, rounds: int = ROUNDS, loops: int = 1) -> None:
        graphs = [mapping(width), looping(rounds), asking(), retrying()]
        self.graphs: list[Graph[Any, Any, Any, Any]] = graphs
        self.begun: dict[str, tuple[Graph[Any, Any, Any, Any], Any, Any]] = {
            "mapping": (graphs[0], width, 3 * sum(range(width))),
            "asking": (graphs[2], "", "fine!"),
            "retrying": (graphs[3], 1, 2),
            **{f"looping {number}": (graphs[1], 0, 300_000 * len(str(rounds))) for number in range(loops)},
        }
        self.entered: list[tuple[str, str, int]] = []
        self.note: Callable[[tuple[str, str, Any]], None] = lambda what: None

    @property
    def expected(self) -> dict[str, Any]:
        return {run_id: result for run_id, (_, _, result) in self.begun.items()}

    def engine(self, store: Any, **how: Any) -> Engine:
        return Engine.open(store, self.graphs, deps=lambda *attempt: self.entered.append(attempt), **how)

    async def live(self, engine: Engine, told: Told) -> None:
        """Do what isn't done yet, and wait for all results; with the first error everything ends."""
        async with asyncio.TaskGroup() as group:
            for run_id in self.begun:
                group.create_task(self._see_through(engine, told, run_id))

    async def _see_through(self, engine: Engine, told: Told, run_id: str) -> None:
        graph, inputs, _ = self.begun[run_id]
        if run_id in told.runs:
            handle: RunHandle[Any] = engine.attach(run_id)
        else:
            state = Ledger() if graph.name == "mapping" else None
            handle = await engine.start(graph, inputs=inputs, state=state, run_id=run_id)
            self.note(("run", run_id, None))
        if graph.name == "asking":
            await self._answer(handle, told)
        result = await handle.result()
        assert result == self.begun[run_id][2]
        self.note(("result", run_id, result))

    async def _answer(self, handle: RunHandle[Any], told: Told) -> None:
        run_id = handle.run_id
        if run_id not in told.signals and not await _is_over(handle):
            with suppress(AnswerRefused):  # it came through before, and the run is over by now
                await handle.signal("paid", 5, by="shop")
                self.note(("signal", run_id, None))
        while run_id not in told.answers:
            for wait in await handle.until_waiting():
                if wait.kind == "human":
                    with suppress(AnswerRefused):
                        await handle.respond(wait.task_id, "fine", by="ann")
                        self.note(("answer", run_id, None))
                        return
            if await _is_over(handle):
                return
            await asyncio.sleep(0)


async def _is_over(handle: RunHandle[Any]) -> bool:
    return (await handle.info()).status == "COMPLETED"
