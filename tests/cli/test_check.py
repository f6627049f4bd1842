"""Which runs go on with the present graph can be told before a deploy, and a stalled one accepted."""

from __future__ import annotations

import sqlite3
from contextlib import closing


def test_runs_of_the_same_graph_are_told_so(perdure, db) -> None:
    code, out, _ = perdure("check", "--app", "orders:graph", "--db", db)
    assert code == 0
    assert "same" in out
    assert perdure("check", "--app", "orders:graph", "--db", db, "--json").lines == [
        {"run_id": "left", "graph": "orders", "status": "RUNNING", "verdict": "same", "reason": None}
    ]


def test_runs_of_a_graph_that_the_app_lacks_are_told_so(perdure, db) -> None:
    code, out, _ = perdure("check", "--app", "orders:waits", "--db", db)
    assert code == 1
    assert "wasn't given a graph 'orders'" in out


def test_a_stalled_run_is_accepted(perdure, db, monkeypatch) -> None:
    assert perdure("accept", "left", "--app", "orders:graph", "--db", db).code == 5
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE run SET status = 'STALLED', owner = NULL, lease_until = 0 WHERE run_id = 'left'")
        connection.commit()
    assert perdure("accept", "left", "--app", "orders:graph", "--db", db, "--by", "ann").code == 0
    assert "RunAccepted" in perdure("history", "left", "--db", db).out
    monkeypatch.setenv("ORDERS_GO_ON", "1")
    assert perdure("resume", "left", "--app", "orders:graph", "--db", db)[:2] == (0, "5\n")
