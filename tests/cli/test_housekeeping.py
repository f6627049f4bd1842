"""Runs are exported, imported and pruned as a whole, databases backed up, measured and examined."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from perdure.cli.doctor import about_the_file
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
    return {run["run_id"] for run in perdure("runs", "--db", db, "--json").data}


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


@pytest.mark.parametrize("run_id", ["good", "bad", "left"])
def test_an_exported_run_is_shown_elsewhere_without_its_code(perdure, db, tmp_path, run_id) -> None:
    file, elsewhere = tmp_path / "run.jsonl", tmp_path / "elsewhere.db"
    assert perdure("export-run", run_id, file, "--db", db).code == 0
    assert perdure("import-run", file, "--db", elsewhere)[:2] == (0, f"{run_id}\n")
    assert perdure("verify", "--db", elsewhere).code == 0
    here, there = (perdure("show", run_id, "--db", place, "--json").data for place in (db, elsewhere))
    for volatile in ("owner", "status", "error"):
        here.pop(volatile, None)
        there.pop(volatile, None)
    assert there == here
    assert perdure("import-run", file, "--db", elsewhere).code == 5


def test_an_unfinished_run_that_was_imported_goes_on_when_it_is_resumed(perdure, db, tmp_path, monkeypatch) -> None:
    file, elsewhere = tmp_path / "run.jsonl", tmp_path / "elsewhere.db"
    perdure("export-run", "left", file, "--db", db)
    perdure("import-run", file, "--db", elsewhere)
    assert perdure("runs", "--db", elsewhere, "--json").data[0]["status"] == "PAUSED"
    monkeypatch.setenv("ORDERS_GO_ON", "1")
    assert perdure("resume", "left", "--app", "orders:graph", "--db", elsewhere)[:2] == (0, "5\n")


def test_a_file_that_is_no_export_is_refused(perdure, db, tmp_path) -> None:
    file = tmp_path / "no.jsonl"
    file.write_text("hello\n")
    assert perdure("import-run", file, "--db", db).code == 6
    assert perdure("export-run", "nobody", tmp_path / "x.jsonl", "--db", db).code == 4
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
    bad = FileFacts("3.40.1", True, 1, 10, 0, 0, 1 << 20, "nfs4", True, 0o644, "page 3 is lost")
    verdicts = {finding.about: finding.verdict for finding in about_the_file(bad)}
    assert verdicts == {
        "sqlite": "warning",
        "schema": "ok",
        "structure": "problem",
        "disk": "problem",
        "space": "warning",
        "permissions": "warning",
        "folder": "ok",
    }
