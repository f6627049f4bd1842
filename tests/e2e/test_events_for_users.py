"""What happens in a run can be followed live, replayed from its log, and heard of by a callback: the same events each time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    Batches,
    Engine,
    Graph,
    GraphBuilder,
    GraphSetupError,
    MemoryStore,
    Recorded,
    RunInterrupted,
    StepContext,
    reduce_list_append,
)
from perdure.events import NodeStarted

pytestmark = pytest.mark.anyio


def analysis(gate: asyncio.Event | None = None, fails: bool = False) -> Graph[None, None, str, list[str]]:
    """Return a graph that fetches, looks at what it has from two sides, and merges that."""
    g = GraphBuilder(name="analysis", input_type=str, output_type=list[str])

    @g.step
    async def fetch(ctx: StepContext[None, None, str]) -> str:
        return ctx.inputs

    @g.step
    async def sentiment(ctx: StepContext[None, None, str]) -> str:
        if gate is not None:
            await gate.wait()
        return "glad"

    @g.step
    async def entities(ctx: StepContext[None, None, str]) -> str:
        if fails:
            raise ValueError("no entities")
        return "two"

    merge = g.join(reduce_list_append, initial_factory=list[str], node_id="merge")
    g.add(
        g.edge_from(g.start_node).to(fetch),
        g.edge_from(fetch).to(sentiment, entities, fork_id="sides"),
        g.edge_from(sentiment, entities).to(merge),
        g.edge_from(merge).to(g.end_node),
    )
    return g.build()


def plain(events: list[Recorded]) -> list[tuple[int, int, str]]:
    return [(recorded.seq, recorded.ts, recorded.kind) for recorded in events]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return tmp_path / "runs.db" if request.param == "file" else MemoryStore()


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_followed_live_replayed_and_called_back_are_the_same_events(store: Any, durability: Any) -> None:
    gate, graph = asyncio.Event(), None
    graph = analysis(gate)
    heard: list[Recorded] = []
    live: list[Recorded] = []

    def hear(run_id: str, recorded: Recorded) -> None:
        assert run_id == "r"
        heard.append(recorded)

    async with Engine.open(store, [graph], on_event=hear, durability=durability) as engine:
        handle = await engine.start(graph, inputs="x", run_id="r")
        async for recorded in handle.events():
            live.append(recorded)
            gate.set()
        replayed = [recorded async for recorded in handle.events()]
        later = [recorded async for recorded in handle.events(from_seq=4)]
        history = await engine.history("r")
    assert plain(live) == plain(replayed) == plain(heard) == plain(list(history))
    assert live[-1].kind == "RunCompleted"
    assert plain(later) == plain(live[3:])


async def test_events_are_followed_from_another_process(tmp_path: Path) -> None:
    gate = asyncio.Event()
    graph = analysis(gate)
    opened = Engine.open(tmp_path / "runs.db", [graph]), Engine.open(tmp_path / "runs.db", recover=False)
    async with opened[0] as driving, opened[1] as watching:
        await driving.start(graph, inputs="x", run_id="r")
        kinds = []
        async for recorded in watching.attach("r").events():
            kinds.append(recorded.kind)
            gate.set()
    assert (kinds[0], kinds[-1]) == ("RunStarted", "RunCompleted")


async def test_a_follower_who_stops_looking_doesnt_hold_the_run(store: Any) -> None:
    graph = analysis()
    async with Engine.open(store, [graph]) as engine:
        handle = await engine.start(graph, inputs="x")
        events = handle.events()
        assert (await anext(events)).kind == "RunStarted"
        assert sorted(await handle.result()) == ["glad", "two"]
        assert [recorded.seq async for recorded in events][:1] == [2]


async def test_a_follower_learns_that_the_engine_was_closed(store: Any) -> None:
    graph, begun = analysis(asyncio.Event()), asyncio.Event()
    async with Engine.open(store, [graph]) as engine:
        handle = await engine.start(graph, inputs="x")

        async def follow() -> None:
            async for _ in handle.events():
                begun.set()

        following = asyncio.ensure_future(follow())
        await begun.wait()
    with pytest.raises(RunInterrupted, match="closed"):
        await following


async def test_a_callback_that_raises_is_called_once_and_the_run_goes_on(store: Any) -> None:
    graph, calls = analysis(), []

    def break_down(run_id: str, recorded: Recorded) -> None:
        calls.append(recorded.seq)
        raise LookupError("the callback is broken")

    async with Engine.open(store, [graph], on_event=break_down) as engine:
        handle = await engine.start(graph, inputs="x")
        assert sorted(await handle.result()) == ["glad", "two"]
    assert calls == [1]


def test_a_callback_has_to_be_a_plain_function() -> None:
    async def hear(run_id: str, recorded: Recorded) -> None:
        raise NotImplementedError

    with pytest.raises(GraphSetupError, match="on_event"):
        Engine.open(MemoryStore(), on_event=hear)


async def test_the_events_tell_what_ran_together_how_long_it_took_and_what_a_join_waited_for(store: Any) -> None:
    graph = analysis()
    batches = Batches(graph)
    async with Engine.open(store, [graph]) as engine:
        handle = await engine.start(graph, inputs="x")
        async for recorded in handle.events():
            batches.add(recorded)
    [batch] = batches.of("sides")
    assert [member.node for member in batch.members.values()] == ["sentiment", "entities"]
    assert batch.size == 2
    ends = [member.ended_at or 0 for member in batch.members.values()]
    assert batch.took_s == (max(ends) - batch.opened_at) / 1e6
    assert batch.failed == []
    assert batch.joins["merge"].waited_for == ["sides[0]/sentiment", "sides[1]/entities"]
    assert batch.joins["merge"].closed_at is not None
    [whole] = batches.of("__start__")
    assert [member.node for member in whole.members.values()] == ["fetch", "sentiment", "entities"]


async def test_the_events_tell_which_branch_has_failed(store: Any) -> None:
    graph = analysis(asyncio.Event(), fails=True)
    batches = Batches(graph)
    async with Engine.open(store, [graph]) as engine:
        handle = await engine.start(graph, inputs="x")
        async for recorded in handle.events():
            batches.add(recorded)
        with pytest.raises(ValueError, match="no entities"):
            await handle.result()
    [batch] = batches.of("sides")
    assert [(member.path, member.error) for member in batch.failed] == [
        ("sides[1]/entities", "ValueError: no entities")
    ]
    assert batch.took_s is None  # the other one was interrupted, and would run again


async def heard_beside_the_logs(engine: Engine, heard: dict[str, list[Recorded]]) -> None:
    for info in await engine.list():
        assert heard[info.run_id] == list(await engine.history(info.run_id)), info.run_id


async def test_a_callback_hears_of_a_fork_from_its_first_event_on() -> None:
    heard: dict[str, list[Recorded]] = defaultdict(list)
    graph = analysis()
    async with Engine.open(
        MemoryStore(), [graph], on_event=lambda run, recorded: heard[run].append(recorded)
    ) as engine:
        await (await engine.start(graph, inputs="text", run_id="run")).result()
        [task] = [r.event.task for r in heard["run"] if isinstance(r.event, NodeStarted) and r.event.node == "entities"]
        for options in ({"at": task}, {"inputs": "other"}, {"outputs": {task: "three"}}):
            handle = await engine.fork_run("run", **options)
            await handle.result()
        assert len(heard) == 4
        await heard_beside_the_logs(engine, heard)


async def test_a_callback_hears_of_what_a_run_goes_on_as_from_its_first_event_on() -> None:
    heard: dict[str, list[Recorded]] = defaultdict(list)
    g = GraphBuilder(name="countdown", input_type=int, output_type=int)

    @g.step
    async def count(ctx: StepContext[None, None, int]) -> int:
        if ctx.inputs:
            ctx.continue_as_new(ctx.inputs - 1)
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(count), g.edge_from(count).to(g.end_node))
    graph = g.build()
    async with Engine.open(
        MemoryStore(), [graph], on_event=lambda run, recorded: heard[run].append(recorded)
    ) as engine:
        assert await (await engine.start(graph, inputs=3, run_id="run")).result() == 0
        assert len(heard) == 4
        await heard_beside_the_logs(engine, heard)
