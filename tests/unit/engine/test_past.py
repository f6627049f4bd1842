"""What a run was at an event, and which events are about what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from perdure import Engine, GraphBuilder, GraphRuntimeError, GraphSetupError, MemoryStore, StepContext, reduce_sum
from perdure.engine.driving import snapshots


@dataclass
class Till:
    taken: int = 0
    log: list[str] = field(default_factory=list)


g = GraphBuilder(name="till", state_type=Till, input_type=list[int], output_type=int)


@g.step
async def take(ctx: StepContext[Till, None, int]) -> int:
    ctx.state.taken += ctx.inputs
    ctx.state.log.append("x" * 200_000 * (ctx.inputs == 3))
    return ctx.inputs


total = g.join(reduce_sum, initial=0, node_id="total")
g.add(
    g.edge_from(g.start_node).map(fork_id="coins").to(take),
    g.edge_from(take).to(total),
    g.edge_from(total).to(g.end_node),
)
graph = g.build()


def test_the_state_at_an_event_is_what_had_been_committed_by_then() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with Engine.open(store, graphs=[graph]) as engine:
            handle = await engine.start(graph, inputs=[1, 2, 3], state=Till(), run_id="run")
            assert await handle.result() == 6
            history = await engine.history("run")
            states = [await engine.state_at("run", recorded.seq) for recorded in history]
            assert states[0] == Till()
            assert states[-1] == await handle.state()
            assert type(states[-1]) is Till
            takings = [state.taken for state in states]
            changes = [recorded.seq for recorded in history if recorded.kind == "NodeCompleted"][-3:]
            assert [later - earlier for earlier, later in pairwise(takings) if later != earlier] == [
                1,
                2,
                3,
            ]
            assert [takings[seq - 1] for seq in changes] == [1, 3, 6]
            with pytest.raises(
                GraphRuntimeError, match=f"has events 1 to {len(history)}, and no event {len(history) + 1}"
            ):
                await engine.state_at("run", len(history) + 1)
        async with Engine.open(store) as stranger:
            assert [(await stranger.state_at("run", seq))["taken"] for seq in changes] == [1, 3, 6]
            assert await stranger.state_at("run", 1) == {"taken": 0, "log": []}

    asyncio.run(main())


def test_events_are_chosen_by_place_kind_and_time() -> None:
    async def main() -> None:
        async with Engine.open(MemoryStore(), graphs=[graph]) as engine:
            await (await engine.start(graph, inputs=[1, 2, 3], state=Till(), run_id="run")).result()
            whole = await engine.history("run")

            async def kinds(**conditions: object) -> list[str]:
                return [recorded.kind for recorded in await engine.history("run", **conditions)]  # type: ignore[arg-type]

            assert await engine.history("run", from_seq=3, to_seq=5) == whole[2:5]
            mine = ["NodeStarted", "NodeCompleted", "ReducerUpdated"]
            assert await kinds(task="coins[1]/take") == mine
            [started] = await engine.history("run", task="coins[1]/take", kinds=["NodeStarted"])
            assert await kinds(task=started.event.task) == mine  # type: ignore[union-attr]
            assert sorted(await kinds(node="take")) == ["NodeCompleted"] * 3 + ["NodeStarted"] * 3
            assert await kinds(node="total") == ["ReducerUpdated"] * 3 + ["JoinClosed"]
            assert (await kinds(node="coins"))[0] == "ForkOpened"
            assert await kinds(node="nowhere") == []
            last = datetime.fromtimestamp(whole[-1].ts / 1e6, UTC)
            assert await engine.history("run", until=last + timedelta(hours=1)) == whole
            assert await engine.history("run", since=last + timedelta(hours=1)) == []
            assert await engine.history("run", until=last - timedelta(hours=1)) == []
            with pytest.raises(GraphSetupError, match="no kind of event 'NodeBegun'"):
                await kinds(kinds=["NodeBegun"])
            with pytest.raises(GraphSetupError, match="time zone"):
                await kinds(since=datetime(2026, 1, 1))  # noqa: DTZ001

    asyncio.run(main())


def test_the_state_of_a_long_run_is_told_from_its_snapshot_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "WORTHWHILE_BYTES", 2_000)
    w = GraphBuilder(name="long", state_type=Till, input_type=list[int], output_type=int)

    @w.step
    async def count(ctx: StepContext[Till, None, int]) -> int:
        await asyncio.sleep(0)
        ctx.state.taken += 1
        return ctx.inputs

    ask = w.human("ask", form=int)
    summed = w.join(reduce_sum, initial=0)
    w.add(
        w.edge_from(w.start_node).map().to(count),
        w.edge_from(count).to(summed),
        w.edge_from(summed).to(ask),
        w.edge_from(ask).to(w.end_node),
    )
    long = w.build()

    async def main() -> None:
        store = MemoryStore()
        async with Engine.open(store, graphs=[long]) as engine:
            handle = await engine.start(long, inputs=[1] * 300, state=Till(), run_id="run")
            await handle.until_waiting()
            snapshot = await store.snapshot("run")
            assert snapshot is not None
            read = store.read
            rows_from = []

            async def noted_read(run_id: str, after: int, limit: int) -> object:
                rows_from.append(after)
                return await read(run_id, after, limit)

            last = (await engine.get("run")).last_seq
            before = [(await engine.state_at("run", seq)).taken for seq in (1, snapshot.seq - 1)]
            monkeypatch.setattr(store, "read", noted_read)
            after = [(await engine.state_at("run", seq)).taken for seq in (snapshot.seq, snapshot.seq + 1, last)]
            assert min(rows_from) >= snapshot.seq - 1
            assert [*before, *after] == sorted([*before, *after])
            assert after[-1] == 300
            assert await store.snapshot("run") is not None

    asyncio.run(main())
