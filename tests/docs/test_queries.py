"""The queries in the reference of the schema run, and say what they are there for."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure import SQLiteStore

ROOT = Path(__file__).parents[2]
QUERIES = re.findall(
    r"^```sql\n(.*?)^```", (ROOT / "docs/reference/schema.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What perdure 0.1.0 has left behind, brought up to date."""
    path = tmp_path_factory.mktemp("queries") / "runs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((ROOT / "tests/unit/store/files/version_1.sql").read_text("utf-8"))

    async def main() -> None:
        store = SQLiteStore(path)
        await store.open()
        await store.close()

    asyncio.run(main())
    return path


def ask(db: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_reference_runs_and_finds_something(db: Path, query: str) -> None:
    query = query.replace("'double-4'", "'order-1'").replace("'-7 days'", "'-9999 days'")
    assert ask(db, query.strip().rstrip(";"))


def test_the_views_tell_what_was_done_to_runs(db: Path) -> None:
    verbs = ask(db, "SELECT run_id, verb, by, reason FROM verbs WHERE by <> '' ORDER BY ts")
    assert verbs == [
        ("order-1", "start", "ann", ""),
        ("order-1-again", "fork", "bob", ""),
        ("review-1", "respond", "ann", ""),
        ("review-1", "pause", "cleo", "holidays"),
    ]
    assert ask(db, "SELECT about FROM verbs WHERE verb = 'fork' AND run_id = 'order-1-again'") == [("order-1",)]


def test_the_views_tell_what_has_run(db: Path) -> None:
    assert ask(db, "SELECT node, attempts, outcome FROM tasks WHERE run_id = 'order-1'") == [
        ("ship", 1, "completed"),
        ("ship", 1, "completed"),
    ]
    outcomes = "SELECT outcome, error FROM tasks WHERE run_id = 'order-2' ORDER BY outcome"
    assert ask(db, outcomes)[-1] == ("failed", "ValueError: it costs less than nothing")
    assert ask(db, "SELECT fork, size FROM batches WHERE run_id = 'order-1'") == [("items", 2)]
    assert ask(db, "SELECT node, outcome, folded FROM joins WHERE run_id = 'order-1'") == [("total", "closed", 2)]
    instances = ask(db, "SELECT joins.instance = batches.instance FROM joins JOIN batches USING (run_id)")
    assert (1,) in instances


def test_the_views_tell_who_was_waited_for_and_who_answered(db: Path) -> None:
    waits = ask(db, "SELECT name, assignee, outcome, by, value, ended_at IS NULL FROM waits ORDER BY name")
    assert waits == [("law", "ann", "answered", "ann", 1, 0), ("money", "bob", None, None, None, 1)]
