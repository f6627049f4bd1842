"""The schema: what it refuses, what it shows, and that all SQL is in files."""

import ast
import json
import re
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest
from sqlite_stores import in_writer, opened, query, run

from perdure.errors import StoreError
from perdure.store.chain import blob_name
from perdure.store.records import RunUpdate
from perdure.store.sqlite.connection import call
from perdure.store.sqlite.queries import QUERIES, migrations, statements
from perdure.testing.store_laws.keeping import snapshot
from perdure.testing.store_laws.writing import (
    START,
    WAITING,
    answer,
    create,
    events,
    known,
    signal,
    stored,
    wait,
    write,
)

SOURCES = sorted(Path(str(files("perdure.store.sqlite"))).glob("*.py"))


@pytest.fixture
def path(tmp_path):
    """A file with two runs, each of which waits for one task, has had an answer, and has a signal in its inbox."""
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path) as store:
            for run_id in ("one", "two"):
                waits = [wait(task, run_id, due_at=START + 9) for task in ("a", "b")]
                log = await create(store, run_id, events("a", {"x": 1}), opened=waits)
                await store.put(signal(run_id=run_id))
                _, entry = await store.put(answer(task="a", run_id=run_id))
                await write(store, log, events("b"), events("c", "d"))
                blobs = {blob_name(b"data"): b"data"}
                await store.append(log.commit(blobs=blobs, closed=["a"], consumed=[entry.number]))
                await store.save_snapshot(run_id, snapshot(1))

    run(main())
    return path


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log SET ts = ts + 1",
        "UPDATE log SET events = '[]' WHERE id = 1",
        "UPDATE OR REPLACE log SET id = 1 WHERE id = 2",
        "DELETE FROM log",
        "DELETE FROM log WHERE id = (SELECT max(id) FROM log)",
        "REPLACE INTO log SELECT id, run, first, count, epoch, ts, '[]', hash FROM log WHERE id = 1",
        "INSERT OR REPLACE INTO log (run, first, count, epoch, ts, events, hash) "
        "SELECT run, first, count, epoch, ts, '[]', hash FROM log WHERE id = 2",
        "INSERT INTO log (run, first, count, epoch, ts, events, hash) "
        "SELECT run, first, count, epoch, ts, '[]', hash FROM log WHERE id = 2",
    ],
)
def test_the_log_is_append_only(path, statement):
    async def main():
        async with opened(path) as store:
            with pytest.raises(sqlite3.IntegrityError):
                await in_writer(store, statement)
            return [await stored(store, run_id) for run_id in ("one", "two")]

    before = query(path, "SELECT * FROM log")
    assert len(run(main())[0]) == 4
    assert query(path, "SELECT * FROM log") == before


@pytest.mark.parametrize("statement", ["UPDATE log SET ts = 0", "DELETE FROM log WHERE run = 1"])
def test_the_log_is_append_only_for_other_programs_too(path, statement):
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        query(path, statement)


def test_a_run_goes_as_a_whole(path):
    query(path, "DELETE FROM run WHERE run_id = 'one'")
    assert query(path, "SELECT DISTINCT run FROM log") == [(2,)]
    assert query(path, "SELECT run FROM blob") == [(2,)]
    assert query(path, "SELECT run FROM snapshot") == [(2,)]
    for table in ("wait", "inbox", "answered"):
        assert query(path, f"SELECT DISTINCT run FROM {table}") == [(2,)]

    async def main():
        async with opened(path) as store:
            assert await store.get("one") is None
            assert len(await stored(store, "two")) == 4
            log = await create(store, "one")
            assert await stored(store, "one") == log.rows

    run(main())


def test_a_run_made_after_the_last_one_went_has_nothing_of_it(path):
    """SQLite gives it the same number."""

    async def main():
        async with opened(path) as store:
            await in_writer(store, "DELETE FROM run WHERE run_id = 'two'")
            log = await create(store, "three")
            assert query(path, "SELECT number FROM run WHERE run_id = 'three'") == [(2,)]
            assert await stored(store, "three") == log.rows
            assert await store.snapshot("three") is None
            assert list(await store.read("two")) == []
            with pytest.raises(StoreError):
                await store.blob("three", blob_name(b"data"))

    run(main())


def test_the_view_of_events_has_a_row_for_each(path):
    rows = query(path, "SELECT seq, kind, event, epoch FROM events WHERE run_id = 'one' ORDER BY seq")
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row[1] for row in rows} == {"noted"}
    assert [json.loads(row[2])[1] for row in rows] == ["a", {"x": 1}, "b", "c", "d", "something"]
    assert query(path, "SELECT count(*) FROM events") == [(12,)]


def test_the_view_of_runs_says_where_each_log_stands(path):
    assert query(path, "SELECT run_id, last_seq FROM runs ORDER BY number") == [("one", 6), ("two", 6)]


def test_the_view_of_what_is_waited_for_has_a_row_for_each_open_wait(path):
    columns = "run_id, task, kind, title, assignee, opened_at, due_at"
    rows = query(path, f"SELECT {columns} FROM waiting ORDER BY run_id")
    assert rows == [(run_id, "b", "human", "Approve b?", "ann", START, START + 9) for run_id in ("one", "two")]
    query(path, "UPDATE run SET status = 'CANCELLED' WHERE run_id = 'one'")
    assert query(path, "SELECT run_id FROM waiting") == [("two",)]
    assert query(path, "SELECT DISTINCT run FROM inbox") == [(2,)]


PLANS = {
    "claimable": [
        "SEARCH run USING INDEX run_to_drive (graph=? AND ready_at<?)",
        "SEARCH run USING INTEGER PRIMARY KEY (rowid=?)",
    ],
    "claimable_run": ["SEARCH run USING INDEX sqlite_autoindex_run_1 (run_id=?)"],
    "next_due": ["SEARCH run USING INDEX run_to_drive (graph=? AND ready_at>?)"],
    "list_runs": ["SEARCH run USING INDEX run_by_creation (created_at>? AND created_at<?)"],
    "list_tagged_runs": [
        "SEARCH tag USING PRIMARY KEY (name=? AND value=? AND created_at>? AND created_at<?)",
        "SEARCH run USING INTEGER PRIMARY KEY (rowid=?)",
    ],
    "mail": ["SCAN inbox USING COVERING INDEX inbox_by_run", "SEARCH run USING INTEGER PRIMARY KEY (rowid=?)"],
    "read_waits": [
        "SEARCH wait USING INDEX wait_by_age (opened_at>?)",
        "SEARCH run USING INTEGER PRIMARY KEY (rowid=?)",
    ],
    "read_waits_of_run": ["SEARCH wait USING INDEX sqlite_autoindex_wait_1 (run=?)"],
    "positions": [
        "SEARCH run USING INDEX sqlite_autoindex_run_1 (run_id=?)",
        "SEARCH inbox USING COVERING INDEX inbox_by_run (run=?)",
    ],
    "read_inbox": ["SEARCH inbox USING INDEX inbox_by_run (run=? AND rowid>?)"],
    "unused_answer": ["SEARCH inbox USING INDEX inbox_holds_one_answer (run=? AND key=?)"],
    "awaits_answer": ["SEARCH wait USING INDEX sqlite_autoindex_wait_1 (run=? AND task=?)"],
    "used_answer": ["SEARCH answered USING INDEX sqlite_autoindex_answered_1 (run=? AND task=?)"],
    "wake_run": ["SEARCH run USING INTEGER PRIMARY KEY (rowid=?)"],
    "orphans": ["SEARCH run USING INDEX run_under_lease (lease_until>?)"],
}


@pytest.mark.parametrize("name", PLANS)
def test_what_is_asked_all_the_time_is_found_by_an_index(path, name):
    """No table is read from end to end, however many runs wait; but the inbox, which is empty as a rule."""
    sql = QUERIES[name]
    parameters = [None] * max([int(number) for number in re.findall(r"\?(\d+)", sql)], default=sql.count("?"))
    plan = [row[3] for row in query(path, f"EXPLAIN QUERY PLAN {sql}", *parameters)]
    for step in PLANS[name]:
        assert any(line.startswith(step) for line in plan), plan
    scans = [line for line in plan if line.startswith("SCAN") and not re.match("SCAN (json_each|mine|inbox)", line)]
    assert [line for line in scans if not line.startswith("SCAN CONSTANT")] == []


@pytest.mark.parametrize("name", ["insert_run", "change_run", "release_run", "take_lease", "extend_lease", "wake_run"])
def test_whoever_writes_a_run_builds_no_temporary_table(path, name):
    """SQLite builds one for each IN of three values or more, in an index or a trigger, whenever a row is written."""
    sql = QUERIES[name]
    parameters = [None] * max([int(number) for number in re.findall(r"\?(\d+)", sql)], default=sql.count("?"))
    assert "OpenEphemeral" not in [step[1] for step in query(path, f"EXPLAIN {sql}", *parameters)]


def test_a_commit_without_waits_costs_no_statement_for_them(path):
    """The fence tells whether something is in the inbox."""

    async def main():
        async with opened(path) as store:
            log = await create(store, "three")
            seen = []
            await call(store._writing, lambda raw: raw.set_trace_callback(seen.append))
            await write(store, log)
            await write(store, log, update=WAITING)
            await call(store._writing, lambda raw: raw.set_trace_callback(None))
            return [statement.split()[0].strip(";") for statement in seen]

    commit = ["BEGIN", "SELECT", "INSERT"]
    traced_for_its_trigger = "UPDATE"
    assert run(main()) == [*commit, "COMMIT", *commit, "UPDATE", traced_for_its_trigger, "COMMIT"]


def test_a_commit_that_changes_nothing_about_its_run_leaves_its_row_alone(path):
    """It is half of what a commit costs."""

    async def main():
        async with opened(path) as store:
            log = await create(store, "three")
            before = query(path, "SELECT * FROM run WHERE run_id = 'three'")
            for _ in range(3):
                await write(store, log)
            assert query(path, "SELECT * FROM run WHERE run_id = 'three'") == before
            assert (await known(store, "three")).last_seq == 4
            await write(store, log, update=RunUpdate("COMPLETED"))
            assert query(path, "SELECT status, known_seq FROM run WHERE run_id = 'three'") == [("COMPLETED", 5)]

    run(main())


def test_a_log_that_has_lost_its_end_is_known_to_be_longer(path):
    """From the last time the run's row was written: whoever reads the log misses the rest."""

    query(path, "UPDATE run SET known_seq = 6")
    query(path, "DROP TRIGGER log_never_shrinks")
    query(path, "DELETE FROM log WHERE run = 1 AND first = 6")

    async def look():
        async with opened(path) as store:
            return (
                (await known(store, "one")).last_seq,
                (await store.list())[1].last_seq,
                len(await stored(store, "one")),
            )

    assert run(look()) == (6, 6, 3)


def test_connections_are_set_up(path):
    async def main():
        async with opened(path) as store, opened(path, synchronous="NORMAL") as normal:
            settings = {}
            for name in (
                "synchronous",
                "journal_size_limit",
                "busy_timeout",
                "trusted_schema",
                "recursive_triggers",
                "wal_autocheckpoint",
                "query_only",
            ):
                settings[name] = (await in_writer(store, f"PRAGMA {name}"))[0][0]
            reading = await store._read(
                lambda raw: [
                    raw.execute(f"PRAGMA {name}").fetchall()[0][0]
                    for name in ("query_only", "wal_autocheckpoint", "busy_timeout", "trusted_schema")
                ]
            )
            return settings, reading, (await in_writer(normal, "PRAGMA synchronous"))[0][0]

    settings, reading, normal = run(main())
    assert settings == {
        "synchronous": 2,
        "journal_size_limit": 64 << 20,
        "busy_timeout": 0,
        "trusted_schema": 0,
        "recursive_triggers": 1,
        "wal_autocheckpoint": 1000,
        "query_only": 0,
    }
    assert reading == [1, 0, 0, 0]
    assert normal == 1


def test_readers_hold_no_cursor(path):
    """Or the -wal file couldn't be emptied, and would grow for as long as they do."""

    async def main():
        async with opened(path) as store:
            log = await create(store, "large")
            for _ in range(6):
                await write(store, log, events("x" * (1 << 20)))
            assert len(await store.read("large")) < 7
            await store.get("one")
            await store.list(limit=1)
            await store.read("one", 0, 1)
            await store.plan("none")
            return query(path, "PRAGMA wal_checkpoint(TRUNCATE)")

    assert run(main()) == [(0, 0, 0)]


def test_the_schema_is_made_of_the_files():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for version, script in migrations():
            for statement in statements(script):
                connection.execute(statement)
            assert connection.execute("PRAGMA user_version").fetchall() == [(version,)]
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        assert {"run", "log", "blob", "snapshot", "plan", "wait", "inbox", "answered"} <= names
        assert {
            "counter",
            "events",
            "runs",
            "waiting",
            "attempts",
            "tasks",
            "batches",
            "joins",
            "waits",
            "verbs",
        } <= names
        for name, sql in QUERIES.items():
            parameters = [None] * (max([int(n) for n in re.findall(r"\?(\d+)", sql)], default=sql.count("?")))
            connection.execute(f"EXPLAIN {sql}", parameters)
            assert sql.count(";") == 1, f"{name} is more than one statement"


def test_no_table_has_a_clock():
    for sql in (*QUERIES.values(), *(script for _, script in migrations())):
        assert not re.search(r"CURRENT_|'now'|strftime|datetime|unixepoch|julianday", sql)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_only_constant_sql_is_executed(source):
    """Each statement is one of ``QUERIES``, by a constant or by a name that was given, or a step of the schema."""
    tree = ast.parse(source.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            assert not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|PRAGMA|BEGIN|COMMIT|CREATE)\b", node.value), (
                node.value
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "execute":
            statement = ast.unparse(node.args[0])
            assert statement.startswith("QUERIES[") or (source.stem, statement) == ("schema", "statement"), statement


def test_every_query_is_used():
    text = "".join(path.read_text() for path in SOURCES)
    assert [name for name in QUERIES if f'"{name}"' not in text] == []
