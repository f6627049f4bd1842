"""Wherever a process dies, an answer that was acknowledged counts, once, and no other one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from perdure import AnswerRefused, Engine, Graph, GraphBuilder
from perdure.engine.owner import disappear
from perdure.testing.invariants import violations
from simulation.loop import Crash, SimulatedClock, SimulatedLoop
from simulation.processes import Connection, Deadly
from simulation.world import kinds

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _bury_the_dead() -> Iterator[None]:
    yield
    gc.collect()


def gates() -> Graph[Any, Any, Any, Any]:
    """Return a graph that asks one person, then two and for a signal, and sleeps a little and a while."""
    g = GraphBuilder(name="gates", output_type=list[Any])
    first, second, third = (g.human(name, form=str) for name in ("first", "second", "third"))
    nap = g.sleep(timedelta(seconds=0.5))
    both = g.parallel(second, third, g.signal("go", str), g.sleep(timedelta(seconds=2)))
    for source, target in ((g.start_node, first), (first, nap), (nap, both), (both, g.end_node)):
        g.add(g.edge_from(source).to(target))  # type: ignore[arg-type]
    return g.build()


class Lives:
    """A run over several processes, each of which answers everything with a word of its own."""

    def __init__(self, graph: Graph[Any, Any, Any, Any], durability: Any) -> None:
        self.graph = graph
        self.durability = durability
        self.store = Deadly()
        self.now = 1000.0
        self.count = 0
        self.tried: dict[str, list[str]] = {}
        self.acknowledged: dict[str, str] = {}

    def live(self, crash_at: int | None = None) -> tuple[Any, int]:
        self.count += 1
        loop = SimulatedLoop(self.now)
        try:
            return loop.run(self._life(SimulatedClock(loop)), crash_at=crash_at), loop.steps
        except Crash:
            self.store.process += 1
            disappear(self.engine._worker.owner)
            loop.bury()
            return None, loop.steps
        finally:
            self.now = loop.time() + 1.0

    async def _life(self, clock: SimulatedClock) -> Any:
        self.engine = engine = Engine.open(
            Connection(self.store), [self.graph], clock=clock, durability=self.durability
        )
        async with engine:
            handle = await engine.start(self.graph, run_id="run")
            while waiting := await handle.until_waiting():
                if all(wait.kind == "sleep" for wait in waiting):
                    break
                for wait in waiting:
                    if wait.kind != "sleep":
                        await self._give(handle, wait)
            return await handle.result(), await engine.history("run")

    async def _give(self, handle: Any, wait: Any) -> None:
        word = f"{wait.name} in life {self.count}"
        self.tried.setdefault(wait.name, []).append(word)
        if wait.kind == "signal":
            await handle.signal(wait.name, word)
            self.acknowledged.setdefault(wait.name, word)
            return
        # Two people answer at once; whoever is told that theirs counts mustn't be alone by luck.
        other = f"{word}, of another person"
        self.tried[wait.name].append(other)
        await asyncio.gather(
            self._respond(handle, wait, word, f"life {self.count}"),
            self._respond(handle, wait, other, "another person"),
        )

    async def _respond(self, handle: Any, wait: Any, word: str, by: str) -> None:
        try:
            await handle.respond(wait.task_id, word, by=by)
        except AnswerRefused:
            assert wait.name in self.acknowledged or len(self.tried[wait.name]) > 1
        else:
            assert wait.name not in self.acknowledged, "two different answers were acknowledged"
            self.acknowledged[wait.name] = word

    def check(self, outcome: Any) -> None:
        (second, third, go, _), history = outcome
        first = next(r.event.value for r in history if r.kind == "Answered")
        given = {"first": bytes(first).decode().strip('"'), "second": second, "third": third, "go": go}
        for name, word in given.items():
            assert word in self.tried[name]
            if name != "go":  # a signal that was on its way when the process died may have come before
                assert self.acknowledged.get(name, word) == word
        assert kinds(history).count("Answered") == 3
        assert kinds(history).count("TimerFired") == 2
        assert kinds(history).count("SignalReceived") == 1
        assert violations(history) == []


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_an_acknowledged_answer_counts_wherever_processes_die(durability: str) -> None:
    graph, rng = gates(), Random(1)
    whole = Lives(graph, durability)
    outcome, steps = whole.live()
    whole.check(outcome)
    for place in range(2, steps, 2 if durability == "sync" else 5):
        lives = Lives(graph, durability)
        lives.live(crash_at=place)
        if rng.random() < 0.3:
            lives.live(crash_at=rng.randrange(1, steps))
        outcome, _ = lives.live()
        lives.check(outcome)
