"""A run that was exported is opened, explained, compared and forked on a machine that has no code of it; or refused as a whole."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest
from orders import waits

from perdure import Engine

WITHOUT_CODE = """
import sys
sys.modules["orders"] = None
from perdure.cli.main import main
main()
"""


def elsewhere(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Call a command in a process that can't import the graphs of these tests."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_CODE, *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
    )  # fmt: skip


@pytest.fixture
def moved(perdure, db: Path, tmp_path: Path) -> Path:
    """Another database, with the runs good and bad imported into it."""
    there = tmp_path / "there.db"
    for run in ("good", "bad"):
        assert perdure("export", run, "-o", tmp_path / run, "--db", db).code == 0
        assert perdure("import", tmp_path / run, "--db", there).code == 0
    return there


@pytest.mark.parametrize("command", ["show", "explain", "history", "timeline", "state", "trace", "export", "verify"])
def test_what_is_told_there_is_what_is_told_here(perdure, db, moved, command) -> None:
    for run in ("good", "bad"):
        here, there = perdure(command, run, "--db", db), elsewhere(command, run, "--db", moved)
        assert (there.returncode, there.stderr) == (here.code, here.err)
        assert there.stdout == here.out


def test_two_runs_are_compared_there(moved) -> None:
    done = elsewhere("diff", "good", "bad", "--db", moved, "--json")
    assert {task["path"] for task in json.loads(done.stdout)["differing"]} >= {"orders[1]/ship"}


def test_a_fork_is_made_there_and_driven_by_who_has_the_code(perdure, moved) -> None:
    planned = elsewhere("plan", "good", "fork", "--at", "orders[1]/ship", "--db", moved, "--json")
    assert [task["path"] for task in json.loads(planned.stdout)["tasks"]] == ["orders[1]/ship"]
    done = elsewhere(
        "fork", "good", "--at", "orders[1]/ship", "--new-id", "again", "--by", "ann", "--reason", "lost", "--db", moved
    )
    assert (done.returncode, done.stdout) == (0, "again PENDING\n")
    assert perdure("recover", "again", "--app", "orders:graph", "--db", moved)[:2] == (0, "5\n")
    started = perdure("history", "again", "--kind", "RunStarted", "--db", moved, "--json").lines[0]
    assert (started["by"], started["reason"], started["origin"]) == ("ann", "lost", "good")
    assert [run["run_id"] for run in perdure("runs", "--tag", "team=a b", "--db", moved, "--json").lines] == [
        "again",
        "good",
    ]


def test_it_comes_through_a_pipe(db, tmp_path) -> None:
    exported = elsewhere("export", "bad", "--db", db)
    done = subprocess.run(
        [sys.executable, "-m", "perdure.cli.main", "import", "-", "--db", tmp_path / "piped.db", "--json"],
        input=exported.stdout, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"run_id": "bad", "status": "FAILED"}


def test_what_came_in_and_what_was_answered_goes_along(perdure, tmp_path) -> None:
    from test_waiting import reviews

    db, there = tmp_path / "here.db", tmp_path / "there.db"

    async def main() -> str:
        async with Engine.open(db, graphs=[reviews, waits]) as engine:
            handle = await engine.start(reviews, run_id="run")
            open_ = await handle.until_waiting()
            (law,) = [wait.task_id for wait in open_ if wait.name == "law"]
            await engine.respond("run", law, {"approved": True}, by="Ada")
            while await engine._store.inbox("run"):
                await asyncio.sleep(0)
            await handle.until_waiting()
            return law

    law = asyncio.run(main())
    assert perdure("signal", "run", "later", "3", "--db", db).code == 0  # nobody drives the run: it stays in the inbox
    assert perdure("export", "run", "-o", tmp_path / "run", "--db", db).code == 0
    assert perdure("import", tmp_path / "run", "--as-is", "--db", there)[:2] == (0, "run WAITING\n")
    assert (
        perdure("respond", "run", law, '{"approved": true}', "--by", "Ada", "--db", there).code == 0
    )  # the same again
    assert perdure("respond", "run", law, '{"approved": true}', "--by", "Eve", "--db", there).code == 5
    assert [wait["name"] for wait in perdure("waiting", "--kind", "human", "--db", there, "--json").lines] == [
        "finance"
    ]
    assert perdure("respond", "run", "finance", '{"approved": false}', "--db", there).code == 0
    with closing(sqlite3.connect(there)) as connection:
        kept = connection.execute("SELECT kind, key, value FROM inbox ORDER BY number").fetchall()
    assert [row[:2] for row in kept] == [("signal", "later"), ("answer", kept[1][1])]


def contents(db: Path) -> list[object]:
    with closing(sqlite3.connect(db)) as connection:
        tables = ("run", "log", "blob", "wait", "inbox", "answered", "plan")
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


def test_a_file_with_any_line_changed_missing_or_doubled_is_refused_and_nothing_has_happened(
    perdure, db, tmp_path
) -> None:
    perdure("export", "bad", "-o", tmp_path / "bad", "--db", db)
    lines = (tmp_path / "bad").read_bytes().splitlines(keepends=True)
    broken = [lines[:-1], lines[:2], lines + lines[-1:], [lines[0], *lines[2:]]]
    for place, line in enumerate(lines):
        broken += [lines[:place] + lines[place + 1 :], lines[: place + 1] + lines[place:]]
        half = len(line) // 2
        broken.append([*lines[:place], line[:half] + bytes([line[half] ^ 1]) + line[half + 1 :], *lines[place + 1 :]])
    there = tmp_path / "there.db"
    assert perdure("import", tmp_path / "bad", "--db", there).code == 0
    before = contents(there)
    for wrong in broken:
        (tmp_path / "wrong").write_bytes(b"".join(wrong))
        code, out, err = perdure("import", tmp_path / "wrong", "--db", there)
        assert (code, out, len(err.splitlines())) == (6, "", 1)
    code, out, err = perdure("import", tmp_path / "bad", "--db", there)
    assert (code, out) == (5, "")
    assert "holds a run 'bad' already" in err
    assert contents(there) == before


def test_a_file_of_a_newer_format_is_refused(perdure, db, tmp_path) -> None:
    perdure("export", "bad", "-o", tmp_path / "bad", "--db", db)
    text = (tmp_path / "bad").read_text().replace('"format":2', '"format":3')
    (tmp_path / "bad").write_text(text)
    code, _, err = perdure("import", tmp_path / "bad", "--db", tmp_path / "there.db")
    assert (code, "Upgrade perdure" in err) == (6, True)


def test_nothing_is_written_over_and_nothing_is_left_behind(perdure, db, tmp_path) -> None:
    file = tmp_path / "run"
    assert perdure("export", "good", "-o", file, "--db", db).code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    code, out, err = perdure("export", "good", "-o", file, "--db", db)
    assert (code, out, "File exists" in err) == (5, "", True)
    assert perdure("export", "good", "-o", tmp_path / "no" / "run", "--db", db).code == 6
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("DROP TRIGGER log_never_changes")
        connection.execute("UPDATE log SET events = replace(events, '\"orders\"', '\"ordeal\"')")
        connection.commit()
    assert perdure("export", "good", "-o", tmp_path / "damaged", "--db", db).code == 6
    assert not (tmp_path / "damaged").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"created_at": 1 << 62},
        {"due_at": -1},
        {"status": "PERFECT"},
        {"tags": {"a\nb": "x"}},
        {"tags": {"a": "x" * 201}},
        {"tags": {f"t{number}": "x" for number in range(65)}},
        {"origin": "\x1b[2J"},
    ],
    ids=["created_at", "due_at", "status", "a tag's name", "a tag's text", "many tags", "origin"],
)
def test_a_file_that_keeps_to_no_limit_is_refused_though_its_hashes_fit(perdure, db, tmp_path, changed) -> None:
    assert perdure("export", "good", "-o", tmp_path / "good", "--db", db).code == 0
    header, run, *others, end = (tmp_path / "good").read_bytes().splitlines()
    lines = [header, json.dumps({**json.loads(run), **changed}).encode(), *others]
    digest = blake2b(b"".join(line + b"\n" for line in lines), digest_size=16).hexdigest()
    (tmp_path / "bad").write_bytes(b"\n".join([*lines, json.dumps({**json.loads(end), "digest": digest}).encode()]))
    code, out, err = perdure("import", tmp_path / "bad", "--db", tmp_path / "there.db")
    assert (code, out) == (6, "")
    assert "it isn't what was written" in err
    assert perdure("import", tmp_path / "good", "--db", tmp_path / "there.db").code == 0


def test_times_that_are_in_no_calendar_can_be_told(perdure, db) -> None:
    """As somebody may write them into a file."""
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(f"UPDATE run SET created_at = {1 << 62}")
        connection.commit()
    for command in ("runs", "doctor"):
        assert perdure(command, "--db", db).code in (0, 1)
    for command in ("show", "explain", "timeline", "history"):
        assert perdure(command, "good", "--db", db).code == 0
