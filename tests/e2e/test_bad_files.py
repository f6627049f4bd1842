"""Files that can't be used, through the engine: a clear error, nothing hangs, and a run goes on once the file is mended."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    Engine,
    Graph,
    GraphBuilder,
    RunStalled,
    SQLiteStore,
    StepContext,
    StoreCorrupt,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
)
from perdure.store.sqlite.connection import call
from perdure.testing.invariants import violations


def growing(times: int, before: Any = lambda number: None) -> Graph[Any, Any, Any, Any]:
    """Return a graph that goes round a loop, with an output of some size each time."""
    g = GraphBuilder(name="growing", input_type=int, output_type=int)

    @g.step
    async def grow(ctx: StepContext[None, None, int]) -> tuple[int, str]:
        await asyncio.sleep(0)
        before(ctx.inputs)
        return ctx.inputs + 1, "x" * 20_000

    @g.step
    async def shrink(ctx: StepContext[None, None, tuple[int, str]]) -> int:
        return ctx.inputs[0]

    g.add(
        g.edge_from(g.start_node).to(grow),
        g.edge_from(grow).to(shrink),
        g.edge_from(shrink).to(
            g.decision(node_id="enough")
            .branch(g.match(int, matches=lambda number: number < times).to(grow))
            .branch(g.match(int).to(g.end_node))
        ),
    )
    return g.build()


GRAPH = growing(3)


def not_a_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 500)


def of_another_application(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE diary (day TEXT)")


def of_a_newer_version(path: Path) -> None:
    asyncio.run(GRAPH.run(inputs=0, store=path, run_id="old"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")


def a_folder(path: Path) -> None:
    path.mkdir()


BAD: dict[str, tuple[Any, type[StoreError]]] = {
    "no database": (not_a_database, StoreForeign),
    "of another application": (of_another_application, StoreForeign),
    "of a newer version": (of_a_newer_version, StoreTooNew),
    "a folder": (a_folder, StoreForeign),
}


@pytest.mark.parametrize(("spoil", "error"), BAD.values(), ids=BAD.keys())
def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(tmp_path: Path, spoil: Any, error: Any) -> None:
    path = tmp_path / "runs.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None

    async def opening() -> None:
        async with Engine.open(path, [GRAPH]):
            raise AssertionError("it was opened")

    for attempt in (opening(), GRAPH.run(inputs=0, store=path)):
        with pytest.raises(error) as caught:
            asyncio.run(asyncio.wait_for(attempt, 20))
        assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnly, match="folder"):
        asyncio.run(GRAPH.run(inputs=0, store=tmp_path / "nowhere" / "runs.db"))


def test_a_run_that_fills_the_disk_stops_with_a_clear_error_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async def main() -> None:
        entered: list[int] = []
        graph = growing(40, entered.append)
        store = SQLiteStore(tmp_path / "runs.db")
        async with Engine.open(store, [graph]) as engine:
            assert store._writing is not None
            await call(store._writing, lambda raw: raw.execute("PRAGMA max_page_count = 34").fetchall())
            handle = await engine.start(graph, inputs=0, run_id="run")
            with pytest.raises(StoreFull, match="free some space"):
                await asyncio.wait_for(handle.result(), 20)
            written = await engine.history("run")
            assert violations(written) == []
        before = len(entered)
        assert 2 <= before < 40
        assert await asyncio.wait_for(graph.run(inputs=0, store=tmp_path / "runs.db", run_id="run"), 20) == 40
        assert entered[before] >= before - 1, "only the step that wasn't recorded ran again"
        async with Engine.open(tmp_path / "runs.db", recover=False) as engine:
            history = await engine.history("run")
            assert violations(history) == []
            assert history[: len(written)] == written

    asyncio.run(main())


async def half_a_run(path: Path) -> None:
    """Leave a run that is in the middle."""
    entered = asyncio.Event()
    g = growing(3, lambda number: entered.set())
    async with Engine.open(path, [g]) as engine:
        await engine.start(g, inputs=0, run_id="run")
        await entered.wait()


def test_a_run_with_a_row_that_was_changed_is_stalled_and_says_where_and_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def main() -> None:
        await half_a_run(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema = ON")
            for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f'DROP TRIGGER "{trigger}"')
            changed = connection.execute("UPDATE log SET events = replace(CAST(events AS TEXT), 'growing', 'shrunk!')")
            assert changed.rowcount >= 1
        async with Engine.open(path, [GRAPH]) as engine:
            with pytest.raises(RunStalled, match="run"):
                await asyncio.wait_for(engine.attach("run").result(), 20)
            assert (await engine.get("run")).status == "STALLED"
            with pytest.raises(StoreCorrupt):
                await engine.history("run")
            other = await engine.start(GRAPH, inputs=0, run_id="other")
            assert await asyncio.wait_for(other.result(), 20) == 3

    asyncio.run(main())
