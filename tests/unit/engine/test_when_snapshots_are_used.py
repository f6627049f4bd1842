"""When snapshots are taken, when they are used, and when they aren't."""

import asyncio
from dataclasses import dataclass, field

import msgspec
import pytest

from perdure import Engine, GraphBuilder, MemoryStore, StepContext, reduce_list_append
from perdure.engine.driving import snapshots
from perdure.kernel.fold.run import Chunk, Feed, Instance, OpenJoin, Run, Task
from perdure.kernel.fold.snapshot import SavedFeed, SavedInstance, SavedJoin, SavedTask
from perdure.store.chain import snapshot_hash

SIZE = 300


@dataclass
class Seen:
    total: int = 0
    items: list[int] = field(default_factory=list)


class Blocked:
    """A graph that maps, joins and then waits until it is let go."""

    def __init__(self, reducer=reduce_list_append, initial_factory=list[int]) -> None:
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()
        self.ran: list[int] = []
        g = GraphBuilder(name="blocked", state_type=Seen, input_type=list[int], output_type=int)

        @g.step
        async def double(ctx: StepContext[Seen, None, int]) -> int:
            if ctx.inputs == SIZE - 1 and not self.go_on.is_set():
                self.arrived.set()
                await asyncio.Event().wait()
            self.ran.append(ctx.inputs)
            ctx.state.total += ctx.inputs
            ctx.state.items.append(ctx.inputs)
            return ctx.inputs * 2

        @g.step
        async def add_up(ctx: StepContext[Seen, None, list[int]]) -> int:
            return sum(ctx.inputs)

        join = g.join(reducer, initial_factory=initial_factory)
        g.add(
            g.edge_from(g.start_node).map().to(double),
            g.edge_from(double).to(join),
            g.edge_from(join).to(add_up),
            g.edge_from(add_up).to(g.end_node),
        )
        self.graph = g.build()


class CountingStore(MemoryStore):
    """Counts the rows that are read, and the snapshots that are dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.rows_read = 0
        self.dropped = 0

    async def read(self, run_id, after=0, limit=512):
        rows = await super().read(run_id, after, limit)
        self.rows_read += len(rows)
        return rows

    async def drop_snapshot(self, run_id) -> None:
        self.dropped += 1
        await super().drop_snapshot(run_id)


@pytest.fixture(autouse=True)
def eager(monkeypatch) -> None:
    monkeypatch.setattr(snapshots, "WORTHWHILE_BYTES", 2_000)


async def interrupted(store: MemoryStore, blocked: Blocked) -> None:
    """Drive a run until all of its items but one are done, and hand it back."""
    async with Engine.open(store, graphs=[blocked.graph]) as engine:
        await engine.start(blocked.graph, inputs=list(range(SIZE)), state=Seen(), run_id="it")
        await blocked.arrived.wait()
        await asyncio.sleep(0)
    blocked.go_on.set()


async def recovered(store: MemoryStore, blocked: Blocked) -> None:
    """Drive it on, and check what comes of it."""
    done = [*blocked.ran]
    async with Engine.open(store, graphs=[blocked.graph]) as engine:
        handle = engine.attach("it")
        assert await handle.result() == sum(range(SIZE)) * 2
        state = await handle.state()
    assert sorted(blocked.ran) == list(range(SIZE))
    assert blocked.ran[: len(done)] == done
    assert (state.total, sorted(state.items)) == (sum(range(SIZE)), list(range(SIZE)))


def test_recovery_reads_only_what_has_followed_the_snapshot() -> None:
    async def law() -> None:
        store, blocked = CountingStore(), Blocked()
        await store.open()
        await interrupted(store, blocked)
        snapshot, info = await store.snapshot("it"), await store.get("it")
        assert snapshot is not None
        rows = await store.read("it")
        behind = [row for row in rows if row.first > snapshot.seq]
        assert len(behind) < len(rows)
        store.rows_read = 0
        await recovered(store, blocked)
        assert info is not None
        assert store.rows_read <= len(behind) + 1
        await store.close()

    asyncio.run(law())


def test_the_snapshot_of_a_run_that_is_complete_is_dropped() -> None:
    async def law() -> None:
        store, blocked = CountingStore(), Blocked()
        await store.open()
        await interrupted(store, blocked)
        await recovered(store, blocked)
        assert await store.snapshot("it") is None
        await store.close()

    asyncio.run(law())


@pytest.mark.parametrize("field_name", ["format", "fingerprint", "seq", "head", "data", "hash", "unreadable", "ahead"])
def test_a_snapshot_that_does_not_fit_is_dropped_and_the_log_folded(field_name) -> None:
    wrong = {
        "format": {"format": 999},
        "fingerprint": {"fingerprint": "another"},
        "seq": {"seq": 2},
        "head": {"head": b"another"},
        "data": {"data": b"[]"},
        "hash": {"hash": b"another"},
        "unreadable": {"data": b"[]"},
        "ahead": {"seq": 1_000_000},
    }

    async def law() -> None:
        store, blocked = CountingStore(), Blocked()
        await store.open()
        await interrupted(store, blocked)
        snapshot = await store.snapshot("it")
        assert snapshot is not None
        bad = msgspec.structs.replace(snapshot, **wrong[field_name])
        if field_name not in ("data", "hash"):  # it is wrong, but whole
            hash_ = snapshot_hash("it", bad.format, bad.fingerprint, bad.seq, bad.head, bad.data)
            bad = msgspec.structs.replace(bad, hash=hash_)
        await store.save_snapshot("it", bad)
        store.dropped = 0
        await recovered(store, blocked)
        assert store.dropped >= 1
        await store.close()

    asyncio.run(law())


def test_a_run_whose_join_folds_what_cannot_be_stored_has_no_snapshots() -> None:
    class Box:
        def __init__(self) -> None:
            self.items: list[int] = []

    def reduce(current: Box, item: int) -> Box:
        current.items.append(item)
        return current

    async def law() -> None:
        store = CountingStore()
        await store.open()
        blocked = Blocked(reduce, Box)
        await interrupted(store, blocked)
        assert await store.snapshot("it") is None
        await store.close()

    asyncio.run(law())


def test_every_part_of_a_run_is_held_or_follows_from_what_is_held() -> None:
    """A field that is added to a run has to be added to its snapshot, with a new format, or shown to follow."""
    derived = {
        Task: set(),
        Instance: {"tasks", "counts", "joins", "arriving", "aside"},
        Feed: {"then", "arms"},
        OpenJoin: {"scope", "unfolded", "aside"},  # no snapshot is taken while something is put aside
        Chunk: {"decoded"},
    }
    held = {Task: SavedTask, Instance: SavedInstance, Feed: SavedFeed, OpenJoin: SavedJoin}
    for kind, saved in held.items():
        assert set(kind.__struct_fields__) - derived[kind] <= set(saved.__struct_fields__), kind.__name__
    assert set(Chunk.__struct_fields__) - derived[Chunk] == {"items", "first", "by", "seq"}
    of_run = {
        "seq", "status", "durability", "deadline", "max_steps", "crashes", "segment", "placed", "state", "states", "tasks", "ready",
        "maps", "joins", "ends", "loose_ends", "lost", "failures", "signals",
    }  # fmt: skip
    follows = {
        "plan", "run_id", "reading", "root", "running", "alarms", "freed", "queues", "arrivals", "fresh", "settled",
        "stirred",
    }  # fmt: skip
    never = {"successor"}  # no snapshot is taken of a run that is about to go on as a new one
    assert set(Run.__slots__) == of_run | follows | never


def test_all_snapshots_of_a_run_together_are_no_longer_than_its_log() -> None:
    """However often one is taken: each only when the log has grown by twice what the last one took."""
    sizes: list[int] = []

    class Weighing(MemoryStore):
        async def save_snapshot(self, run_id, snapshot) -> None:
            sizes.append(len(snapshot.data))
            await super().save_snapshot(run_id, snapshot)

    async def law() -> None:
        store, blocked = Weighing(), Blocked()
        await store.open()
        blocked.go_on.set()
        async with Engine.open(store, graphs=[blocked.graph]) as engine:
            for number in range(3):
                sizes.clear()
                run_id = f"run {number}"
                await (
                    await engine.start(blocked.graph, inputs=list(range(SIZE)), state=Seen(), run_id=run_id)
                ).result()
                logged = sum(len(row.events) for row in await store.read(run_id))
                assert sizes
                assert sum(sizes) <= logged

    asyncio.run(law())
