"""The critical path and the differences of runs, against what can be found out by trying, and by reading the events one by one."""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import Engine, MemoryStore, Recorded
from perdure import events as ev
from perdure.engine.inspection.timeline import RunDiff, Timeline
from perdure.ids import START_TASK, identify
from property.test_forks import again
from random_graphs import Block, Tally, build, random_block
from simulation.loop import SimulatedClock, SimulatedLoop

S = 1_000_000

blocks = st.builds(lambda rng, depth: random_block(rng, depth), st.randoms(use_true_random=False), st.integers(1, 3))


def usual(task: str) -> int:
    """Return how many seconds a task takes, unless a test says otherwise."""
    return 1 + zlib.crc32(task.encode()) % 40


def timed(block: Block, changed: dict[str, int]) -> Timeline:
    """Run a graph in which some tasks take another number of seconds than usual, and all else takes none."""
    loop = SimulatedLoop()

    async def main() -> Timeline:
        graph = build(block, pace=lambda task: changed.get(task, usual(task)))
        async with Engine.open(MemoryStore(), [graph], clock=SimulatedClock(loop), recover=False) as engine:
            await (await engine.start(graph, inputs=7, state=Tally(), run_id="run")).result()
            return await engine.timeline("run")

    return loop.run(main())


def took(timeline: Timeline) -> int:
    assert timeline.ended_at is not None
    return timeline.ended_at - timeline.started_at


def on_path(timeline: Timeline) -> dict[str, int]:
    """Return for how long the bodies of tasks are on the critical path."""
    found: dict[str, int] = defaultdict(int)
    for part in timeline.critical_path:
        if part.took:
            assert part.what == "runs"  # there are neither limits nor waits
            found[part.task] += part.took
    return found


@settings(max_examples=12)
@given(blocks, st.randoms(use_true_random=False))
def test_only_what_is_on_the_critical_path_decides_how_long_a_run_takes(block: Block, rng: Random) -> None:
    timeline = timed(block, {})
    whole, path = took(timeline), on_path(timeline)
    assert sum(path.values()) == whole
    tasks = {span.task: span.ended_at - span.started_at for span in timeline.attempts if span.ended_at is not None}
    beside, slow = sorted(tasks.keys() - path.keys()), sorted(path)
    for task in rng.sample(beside, min(3, len(beside))):
        assert took(timed(block, {task: 0})) == whole
    for task in rng.sample(slow, min(3, len(slow))):
        faster = timed(block, {task: 0})
        assert whole - tasks[task] <= took(faster) <= whole
        assert took(faster) < whole or task not in on_path(faster)
        if path[task] == tasks[task] == usual(task) * S:  # a stream goes on beside its arms
            assert took(timed(block, {task: usual(task) + 7})) == whole + 7 * S


# --- in what two runs differ ---


def facts(history: Sequence[Recorded]) -> dict[str, dict[str, Any]]:
    """Return what is to be compared of each task and join, read from the events alone."""
    found: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"outcome": "", "output": [], "decision": None, "attempts": 0, "took": 0}
    )
    sources: dict[str, str] = {}
    begun: dict[str, int] = {}
    for recorded in history:
        event = recorded.event
        if isinstance(event, ev.NodeStarted):
            found[event.task]["attempts"] += 1
            begun[event.task] = recorded.ts
        elif isinstance(event, ev.ForkOpened):
            sources[event.instance] = event.task
        elif isinstance(event, ev.ItemsTaken):
            found[sources[event.instance]]["output"].append(msgspec.json.encode(event.items))
        elif isinstance(event, ev.NodeCompleted | ev.JoinClosed):
            is_task = isinstance(event, ev.NodeCompleted)
            id_ = event.task if is_task else identify("join", event.join, event.instance)
            value = event.output if is_task else event.value
            found[id_]["outcome"] = "completed" if is_task else "closed"
            found[id_]["output"].append(bytes(value))
            if event.route is not None:
                found[id_]["decision"] = event.route.chosen
                found[id_]["output"].append(msgspec.json.encode((event.route.values, event.route.spreads)))
            found[id_]["took"] += recorded.ts - begun.get(id_, recorded.ts)
    return found


def differing(a: dict[str, dict[str, Any]], b: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """Return in what each task and join differs."""
    found = {}
    for id_ in a.keys() | b.keys():
        if id_ not in b or id_ not in a:
            found[id_] = {"only in a" if id_ in a else "only in b"}
        elif aspects := {name for name in a[id_] if name != "took" and (a[id_][name] or ()) != (b[id_][name] or ())}:
            found[id_] = aspects
    return found


def told(diff: RunDiff) -> dict[str, set[str]]:
    return {task.task: set(task.differs) for task in diff.differing}


@settings(max_examples=30)
@given(blocks, st.integers(0, 3), st.integers(0, 20))
def test_two_runs_differ_in_what_their_events_differ_in(block: Block, more: int, slower_s: int) -> None:
    loop = SimulatedLoop()

    async def main() -> None:
        store, clock, histories = MemoryStore(), SimulatedClock(loop), []
        for run_id, inputs, added_s in (("a", 7, 0), ("b", 7 + more, slower_s)):
            graph = build(block, pace=lambda task, added_s=added_s: usual(task) + added_s)  # type: ignore[misc]
            async with Engine.open(store, [graph], clock=clock, recover=False) as engine:
                await (await engine.start(graph, inputs=inputs, state=Tally(), run_id=run_id)).result()
                histories.append(await engine.history(run_id))
            await store.open()
        async with Engine.open(store, recover=False) as engine:
            diff = await engine.diff("a", "b")
            assert not (await engine.diff("a", "a")).differing
        a, b = map(facts, histories)
        assert told(diff) == differing(a, b)
        assert {task.task: task.slower_by for task in (*diff.slower, *diff.faster)} == {
            id_: by for id_ in a.keys() & b.keys() if (by := b[id_]["took"] - a[id_]["took"])
        }

    loop.run(main())


@settings(max_examples=30)
@given(blocks, st.data())
def test_a_fork_differs_from_its_source_only_downstream_of_what_is_given(block: Block, data: Any) -> None:
    async def main() -> None:
        graph = build(block)
        async with Engine.open(MemoryStore(), [graph]) as engine:
            await (await engine.start(graph, inputs=7, state=Tally(), run_id="run")).result()
            source = await engine.history("run")
            given = {
                one.event.task: one.event.output
                for one in source
                if isinstance(one.event, ev.NodeCompleted)
                and one.event.task != START_TASK
                and msgspec.json.encode(one.event.output).isdigit()
            }
            task = data.draw(st.sampled_from(sorted(given)))
            handle = await engine.fork_run("run", outputs={task: msgspec.json.decode(given[task]) + 1})
            await handle.result()
            fork = await engine.history(handle.run_id)
            diff = await engine.diff("run", handle.run_id)
        assert told(diff) == differing(facts(source), facts(fork))
        assert "output" in told(diff)[task]
        anew = again(fork) | {task}
        in_both = {one.task for one in diff.differing if one.a is not None and one.b is not None}
        begun = {one.event.task for one in source if isinstance(one.event, ev.NodeStarted)}
        assert in_both & begun <= anew  # where another way is taken, others are only in one of the two

    asyncio.run(main())
