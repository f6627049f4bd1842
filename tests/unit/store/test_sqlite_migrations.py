"""The schema is brought up to date in one transaction that is rehearsed before it is committed.

Files of all earlier versions are kept as SQL in ``files/``. The next version here is made up.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_stores import opened, query, run

from perdure import SQLiteStore
from perdure.engine.inspection.inspect import inspect_run
from perdure.engine.inspection.verify import verify_run
from perdure.errors import StoreError, StoreReadOnly, StoreTooNew, StoreUnsupported
from perdure.store.sqlite import schema
from perdure.store.sqlite.queries import migrations
from perdure.testing.store_laws.writing import create, stored, write

NEWEST = migrations()[-1][0]

NEXT_STEP = f"""
ALTER TABLE run ADD COLUMN color TEXT NOT NULL DEFAULT '{{}}';
CREATE TABLE bookmark (name TEXT PRIMARY KEY, run INTEGER NOT NULL) STRICT;
CREATE INDEX bookmark_by_run ON bookmark (run);
PRAGMA user_version = {NEWEST + 1};
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of the present version, with a run."""

    async def main() -> None:
        async with opened(tmp_path / "runs.db") as store:
            await write(store, await create(store))

    run(main())
    return tmp_path / "runs.db"


def release(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    """Pretend that this perdure knows more versions."""
    steps = [*migrations(), *((number, script) for number, script in enumerate(scripts, NEWEST + 1))]
    monkeypatch.setattr(schema, "migrations", lambda: steps)


def test_an_older_file_is_brought_up_to_date_and_keeps_what_it_holds(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = query(path, "SELECT * FROM log")
    release(monkeypatch, NEXT_STEP)

    async def main() -> None:
        async with opened(path) as store:
            assert len(await stored(store)) == 2
            await create(store, "another")

    run(main())
    assert query(path, "PRAGMA user_version") == [(NEWEST + 1,)]
    assert query(path, "SELECT * FROM log")[: len(before)] == before
    assert query(path, "SELECT color FROM run") == [("{}",), ("{}",)]


def test_a_new_file_has_the_schema_that_an_older_one_is_brought_to(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(monkeypatch, NEXT_STEP)

    async def main() -> None:
        async with opened(path), opened(tmp_path / "new.db"):
            pass

    run(main())
    names = "SELECT type, name FROM sqlite_schema ORDER BY 1, 2"
    assert query(path, names) == query(tmp_path / "new.db", names)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    lines = NEXT_STEP.strip().splitlines()
    release(monkeypatch, "\n".join([*lines[:at], "INSERT INTO nowhere VALUES (1);", *lines[at:]]))
    before = query(path, "SELECT * FROM sqlite_schema")

    async def main() -> None:
        with pytest.raises(StoreError):
            async with opened(path):
                pass

    run(main())
    assert query(path, "SELECT * FROM sqlite_schema") == before
    assert query(path, "PRAGMA user_version") == [(NEWEST,)]


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE bookmark_of_mine (name TEXT)",
        "DROP INDEX run_by_creation",
        "ALTER TABLE snapshot ADD COLUMN mine TEXT",
    ],
)
def test_a_file_that_would_differ_from_a_new_one_is_left_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
    release(monkeypatch, NEXT_STEP)

    async def main() -> None:
        with pytest.raises(StoreUnsupported, match="nothing was changed"):
            async with opened(path):
                pass

    run(main())
    assert query(path, "PRAGMA user_version") == [(NEWEST,)]
    assert query(path, "SELECT count(*) FROM log") == [(2,)]


def test_of_many_who_open_an_older_file_at_once_one_brings_it_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(monkeypatch, NEXT_STEP)

    async def one() -> int:
        async with opened(path) as store:
            return len(await stored(store))

    async def main() -> list[int]:
        return await asyncio.gather(*(one() for _ in range(6)))

    assert run(main()) == [2] * 6


def test_a_file_of_a_newer_version_is_refused_by_an_older_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with monkeypatch.context() as newer:
            release(newer, NEXT_STEP)
            async with opened(path):
                pass
        with pytest.raises(StoreTooNew):
            async with opened(path):
                pass

    run(main())


FILES = Path(__file__).with_name("files")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A file that perdure 0.1.0 has written."""
    path = tmp_path / "first.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FILES / "version_1.sql").read_text("utf-8"))
    return path


def test_there_is_a_file_of_every_earlier_version() -> None:
    assert {path.name for path in FILES.glob("*.sql")} == {f"version_{number}.sql" for number, _ in migrations()[:-1]}


def test_a_file_of_the_first_version_is_brought_up_to_date(first: Path, tmp_path: Path) -> None:
    """All that was in it stays, its logs are sound, and runs that were forked know from which; what goes on has no origin."""
    logs = query(first, "SELECT run, first, count, epoch, ts, events, hash FROM log ORDER BY id")

    async def main() -> None:
        async with opened(first) as store, opened(tmp_path / "new.db"):
            verdicts = [await verify_run(store, info) for info in await store.list()]
            assert [verdict.problem for verdict in verdicts] == [""] * 6
            assert await store.origins() == {"order-1-again": "order-1"}
            assert await store.delete(["order-1", "poll"]) == ["poll"]
            assert len(await store.answered("review-1")) == 1
            assert [wait.assignee for wait in await store.waits()] == ["bob"]

    before = query(first, "SELECT * FROM runs ORDER BY number")
    run(main())
    assert query(first, "PRAGMA user_version") == [(NEWEST,)]
    kept = [row for row in logs if row[0] != before[3][0]]
    assert query(first, "SELECT run, first, count, epoch, ts, events, hash FROM log ORDER BY id") == kept
    names = "SELECT type, name FROM sqlite_schema ORDER BY 1, 2"
    assert query(first, names) == query(tmp_path / "new.db", names)


def test_a_file_of_the_first_version_is_read_without_being_changed(first: Path) -> None:
    async def main() -> None:
        store = SQLiteStore(first, read_only=True)
        await store.open()
        assert {info.run_id: info.status for info in await store.list()} == {
            "order-1": "COMPLETED", "order-2": "FAILED", "order-1-again": "COMPLETED", "poll": "COMPLETED",
            "poll~2": "COMPLETED", "review-1": "PAUSED",
        }  # fmt: skip
        inspection = await inspect_run(store, "order-1-again")
        assert (inspection.result, inspection.run.seq) == (3, inspection.info.last_seq)
        assert [wait.assignee for wait in await store.waits()] == ["bob"]
        with pytest.raises(StoreReadOnly):
            await store.delete(["order-1"])
        await store.close()

    before = first.read_bytes()
    run(main())
    assert first.read_bytes() == before
    assert query(first, "PRAGMA user_version") == [(1,)]
