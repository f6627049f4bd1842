"""Files: for their owner alone from the moment they are there, whatever the umask, and never where a link leads."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from perdure import Engine, GraphBuilder, SQLiteStore, StepContext, StoreReadOnly
from perdure.cli.main import run as command


def short() -> GraphBuilder[None, None, int, int]:
    g = GraphBuilder(name="short", input_type=int, output_type=int)

    @g.step
    async def same(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(same), g.edge_from(same).to(g.end_node))
    return g


GRAPH = short().build()


@pytest.fixture(autouse=True)
def anything_goes() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}


def test_database_wal_and_shared_memory_are_for_their_owner_alone(tmp_path: Path) -> None:
    async def running() -> None:
        async with Engine.open(tmp_path / "r.db", [GRAPH]) as engine:
            await (await engine.start(GRAPH, inputs=1, run_id="r")).result()
            assert modes(tmp_path) == {"r.db": 0o600, "r.db-wal": 0o600, "r.db-shm": 0o600}

    asyncio.run(running())


def test_copies_and_exports_are_for_their_owner_alone(tmp_path: Path) -> None:
    db = tmp_path / "r.db"
    asyncio.run(GRAPH.run(inputs=1, store=db, run_id="r"))
    assert command(["backup", str(tmp_path / "copy.db"), "--db", str(db)]) == 0
    assert command(["export", "r", "-o", str(tmp_path / "r.jsonl"), "--db", str(db)]) == 0
    assert command(["import", str(tmp_path / "r.jsonl"), "--db", str(tmp_path / "there.db")]) == 0
    assert set(modes(tmp_path).values()) == {0o600}


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_nothing_is_overwritten_and_no_link_is_followed(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db, victim, target = tmp_path / "r.db", tmp_path / "victim", tmp_path / "target"
    asyncio.run(GRAPH.run(inputs=1, store=db, run_id="r"))
    if kind != "dangling link":
        victim.write_text("precious")
    target.write_text("precious") if kind == "file" else target.symlink_to(victim)
    assert command(["backup", str(target), "--db", str(db)]) != 0
    assert "something is there already" in capsys.readouterr().err
    assert command(["export", "r", "-o", str(target), "--db", str(db)]) != 0
    assert str(target) in capsys.readouterr().err

    async def copying() -> None:
        store = SQLiteStore(db)
        await store.open()
        try:
            with pytest.raises(StoreReadOnly):
                await store.back_up(target)
        finally:
            await store.close()

    asyncio.run(copying())
    assert not victim.exists() if kind == "dangling link" else victim.read_text() == "precious"


def test_a_backup_has_no_name_before_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of one is a sound file without tables to SQLite, which an engine would take for a new store."""
    db, target = tmp_path / "r.db", tmp_path / "copy.db"
    asyncio.run(GRAPH.run(inputs=1, store=db, run_id="r"))
    named: list[str] = []

    def link(part: Path, name: Path) -> None:
        assert not target.exists()
        assert part.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(part)) as copy:
            assert copy.execute("SELECT count(*) FROM run").fetchall() == [(1,)]
        named.append(part.name)
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    assert command(["backup", str(target), "--db", str(db)]) == 0
    assert named
    assert modes(tmp_path) == {"r.db": 0o600, "copy.db": 0o600}
    monkeypatch.undo()
    assert command(["backup", str(tmp_path / "other.db"), "--db", str(db)]) == 0
    assert modes(tmp_path) == {"r.db": 0o600, "copy.db": 0o600, "other.db": 0o600}


def test_the_doctor_warns_of_a_folder_in_which_others_may_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o777)
    asyncio.run(GRAPH.run(inputs=1, store=folder / "r.db", run_id="r"))
    command(["doctor", "--db", str(folder / "r.db")])
    assert "warning  folder" in capsys.readouterr().out
    folder.chmod(0o700)
    command(["doctor", "--db", str(folder / "r.db")])
    assert "ok       folder" in capsys.readouterr().out
    (folder / "r.db").chmod(0o644)
    command(["doctor", "--db", str(folder / "r.db")])
    assert "warning  permissions" in capsys.readouterr().out
