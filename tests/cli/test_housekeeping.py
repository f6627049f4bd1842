"""Runs are exported, imported and pruned as a whole, databases backed up, measured and examined."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import msgspec
import pytest

from perdure import Engine, GraphBuilder
from perdure.cli.doctor import about_the_file
from perdure.cli.prune import without_origins
from perdure.engine.owner import appear, disappear
from perdure.store.sqlite.backup import FileFacts, has_wal_defect


def execute(db, statement: str) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(statement)
        connection.commit()


def age(db, run_id: str) -> None:
    """Make a run a year older; its log then isn't what was written, which pruning doesn't look at."""
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("DROP TRIGGER log_never_changes")
        connection.execute("UPDATE run SET created_at = created_at - 31536000000000 WHERE run_id = ?", (run_id,))
        connection.execute(
            "UPDATE log SET ts = ts - 31536000000000 WHERE run = (SELECT number FROM run WHERE run_id = ?)", (run_id,)
        )
        connection.commit()


def ids(perdure, db) -> set[str]:
    return {run["run_id"] for run in perdure("runs", "--db", db, "--json").lines}


def test_old_runs_in_a_status_are_pruned_and_others_stay(perdure, db) -> None:
    for run_id in ("good", "bad", "left"):
        age(db, run_id) if run_id == "good" else execute(db, "SELECT 1")
    assert perdure("prune", "--older-than", "30d", "--dry-run", "--db", db)[:2] == (0, "good\n")
    assert ids(perdure, db) == {"good", "bad", "left"}
    assert perdure("prune", "--older-than", "30d", "--status", "failed", "--db", db).out == ""
    assert perdure("prune", "--older-than", "30d", "--db", db, "--json").data == {
        "deleted": ["good"],
        "would_delete": [],
    }
    assert ids(perdure, db) == {"bad", "left"}
    assert perdure("prune", "--older-than", "soon", "--db", db).code == 2


def test_a_backup_holds_what_the_database_holds(perdure, db, tmp_path) -> None:
    copy = tmp_path / "copy.db"
    assert perdure("backup", copy, "--db", db).code == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    assert perdure("verify", "--db", copy).code == 0
    assert ids(perdure, copy) == ids(perdure, db)
    code, _, err = perdure("backup", copy, "--db", db)
    assert code == 6
    assert "overwrites nothing" in err


@pytest.mark.parametrize(("run_id", "status"), [("good", "COMPLETED"), ("bad", "FAILED"), ("left", "PAUSED")])
def test_an_exported_run_is_shown_elsewhere_without_its_code(perdure, db, tmp_path, run_id, status) -> None:
    file, elsewhere = tmp_path / "run.jsonl", tmp_path / "elsewhere.db"
    assert perdure("export", run_id, "-o", file, "--db", db).code == 0
    assert perdure("import", file, "--db", elsewhere)[:2] == (0, f"{run_id} {status}\n")
    assert perdure("verify", "--db", elsewhere).code == 0
    here, there = (perdure("show", run_id, "--db", place, "--json").data for place in (db, elsewhere))
    for volatile in ("owner", "status", "error"):
        here.pop(volatile, None)
        there.pop(volatile, None)
    assert there == here
    assert perdure("import", file, "--db", elsewhere).code == 5


def test_an_unfinished_run_that_was_imported_goes_on_when_it_is_resumed(perdure, db, tmp_path, monkeypatch) -> None:
    file, elsewhere = tmp_path / "run.jsonl", tmp_path / "elsewhere.db"
    perdure("export", "left", "-o", file, "--db", db)
    perdure("import", file, "--db", elsewhere)
    assert perdure("runs", "--db", elsewhere, "--json").lines[0]["status"] == "PAUSED"
    monkeypatch.setenv("ORDERS_GO_ON", "1")
    assert perdure("resume", "left", "--app", "orders:graph", "--db", elsewhere)[:2] == (0, "5\n")


def test_a_file_that_is_no_export_is_refused(perdure, db, tmp_path) -> None:
    file = tmp_path / "no.jsonl"
    file.write_text("hello\n")
    assert perdure("import", file, "--db", db).code == 6
    assert perdure("export", "nobody", "-o", tmp_path / "x.jsonl", "--db", db).code == 4
    assert not (tmp_path / "x.jsonl").exists()


def test_what_takes_up_space_is_shown(perdure, db) -> None:
    code, out, _ = perdure("du", "--db", db)
    assert code == 0
    assert "good" in out
    data = perdure("du", "--db", db, "--limit", "1", "--json").data
    assert data["runs"] == 3
    assert len(data["largest"]) == 1
    assert data["file"] >= sum(data["largest"][0][part] for part in ("log", "blobs", "snapshot"))


def test_the_doctor_finds_runs_that_stand_still(perdure, db) -> None:
    assert perdure("doctor", "--db", db).code == 0
    execute(db, "UPDATE run SET status = 'STALLED', error = 'the graph has changed' WHERE run_id = 'left'")
    code, out, _ = perdure("doctor", "--db", db)
    assert code == 1
    assert "left is stalled: the graph has changed" in out
    execute(db, "UPDATE run SET status = 'RUNNING', owner = NULL, lease_until = 0 WHERE run_id = 'left'")
    age(db, "left")
    assert "nobody drives it" in perdure("doctor", "--db", db).out


@pytest.mark.parametrize(
    ("version", "is_defective"),
    [
        ((3, 40, 1), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_versions_of_sqlite_with_the_defect_are_known(version, is_defective) -> None:
    assert has_wal_defect(version) is is_defective


def test_the_doctor_says_what_is_wrong_with_the_file() -> None:
    bad = FileFacts("3.40.1", True, 1, 2, 10, 1 << 30, 0, 1 << 20, "nfs4", True, 0o644, "page 3 is lost")
    verdicts = {finding.about: finding.verdict for finding in about_the_file(bad)}
    assert verdicts == {
        "sqlite": "warning",
        "schema": "warning",
        "structure": "problem",
        "disk": "problem",
        "wal": "warning",
        "space": "warning",
        "permissions": "warning",
        "folder": "ok",
    }


def test_a_run_that_another_was_forked_from_stays_for_as_long_as_that_does(perdure, db) -> None:
    assert perdure("fork", "good", "--at", "1", "--new-id", "fork", "--db", db).code == 0
    age(db, "good")
    for dry in (["--dry-run"], []):
        assert perdure("prune", "--older-than", "30d", *dry, "--db", db) == (
            0, "", f"0 runs {'would be' if dry else 'were'} deleted\n"
        )  # fmt: skip
    assert perdure("cancel", "fork", "--db", db).code == 0
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE run SET created_at = created_at - 31536000000000 WHERE run_id = 'fork'")
        connection.execute(
            "UPDATE log SET ts = ts - 31536000000000 WHERE run = (SELECT number FROM run WHERE run_id = 'fork')"
        )
        connection.commit()
    both = ("--older-than", "30d", "--status", "completed", "--status", "cancelled", "--db", db)
    for dry in (["--dry-run"], []):
        assert sorted(perdure("prune", *both, *dry).out.split()) == ["fork", "good"]
    assert ids(perdure, db) == {"bad", "left"}


def test_runs_are_deleted_in_an_order_in_which_no_fork_loses_its_origin() -> None:
    origins = {"fork": "good", "fork of fork": "fork", "live": "other"}
    assert without_origins(["fork of fork", "fork", "good", "other"], origins) == ["fork of fork", "fork", "good"]
    assert without_origins(["fork", "good"], origins) == []


BUSY = """
import asyncio, sys
from orders import Order, Shop, graph
from perdure import Engine

async def main() -> None:
    async with Engine.open(sys.argv[1], graphs=[graph], recover=False) as engine:
        number = 0
        while True:
            handle = await engine.start(graph, inputs=[Order("a", 2), Order("b", 3)], state=Shop(), run_id=f"busy-{number}")
            await handle.result()
            number += 1
            print(number, flush=True)

asyncio.run(main())
"""


def test_a_backup_is_made_while_another_process_writes(perdure, db, tmp_path) -> None:
    """And each of the copies is sound, and holds what was finished when it was begun."""
    writing = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(db)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert writing.stdout is not None
    try:
        for number in range(3):
            done = int(writing.stdout.readline())
            copy = tmp_path / f"copy-{number}.db"
            assert perdure("backup", copy, "--db", db).code == 0
            assert copy.stat().st_mode & 0o777 == 0o600
            assert perdure("doctor", "--db", copy, "--json").code == 0
            assert perdure("verify", "--db", copy).code == 0
            assert {f"busy-{index}" for index in range(done)} <= ids(perdure, copy)
    finally:
        writing.kill()
        writing.communicate()


def test_the_doctor_finds_the_lease_of_a_dead_process(perdure, db) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = appear()
    disappear(here)
    owner = msgspec.structs.replace(here, pid=ended.pid)
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(
            "UPDATE run SET owner = ?, lease_until = ? WHERE run_id = 'left'",
            (msgspec.json.encode(owner).decode(), 1 << 60),
        )
        connection.commit()
    out = perdure("doctor", "--db", db).out
    assert f"left is under the lease of pid {ended.pid}" in out
    assert perdure("recover", "left", "--db", db)[:2] == (0, "left RUNNING\n")
    assert "lease" not in perdure("doctor", "--db", db).out


@pytest.mark.parametrize("damage", ["DELETE FROM wait", "UPDATE wait SET schema = 'no JSON'"])
def test_the_doctor_finds_a_run_that_cannot_be_answered_and_a_fork_of_it_can(perdure, tmp_path, damage) -> None:
    db = tmp_path / "asking.db"
    g = GraphBuilder(name="asking", output_type=int)
    ask = g.human("ask", form=int)
    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(g.end_node))
    graph = g.build()
    asyncio.run(graph.run(store=db, run_id="lost", until="waiting"))
    assert perdure("doctor", "--db", db, "--json").code == 0
    execute(db, damage)
    code, out, _ = perdure("doctor", "--db", db)
    assert code == 1
    assert "lost waits" in out
    seq = asyncio.run(events_in(db))
    assert perdure("fork", "lost", "--at", seq, "--new-id", "found", "--db", db).code == 0
    assert perdure("waiting", "--db", db, "--json").lines[0]["run_id"] == "found"
    assert perdure("respond", "found", "ask", "3", "--db", db).code == 0


async def events_in(db) -> int:
    async with Engine.open(db, drive=False) as engine:
        return (await engine.get("lost")).last_seq
