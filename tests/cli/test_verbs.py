"""Runs are stopped, started again and forked from the command line, with and without their graph."""

from __future__ import annotations

import sqlite3

import pytest


def status(perdure, db, run: str) -> str:
    return perdure("show", run, "--db", db, "--json").data["status"]


def test_an_unfinished_run_is_paused_and_resumed_without_its_graph_and_recovered_with_it(
    perdure, db, monkeypatch
) -> None:
    assert perdure("pause", "left", "--by", "Ada", "--reason", "night", "--db", db).code == 0
    assert status(perdure, db, "left") == "PAUSED"
    assert "by Ada: night" in perdure("history", "left", "--kind", "RunPaused", "--db", db).out
    assert perdure("pause", "left", "--db", db).code == 5
    code, _, err = perdure("recover", "left", "--db", db)
    assert (code, "resume it to go on" in err) == (5, True)
    assert perdure("plan", "left", "resume", "--db", db, "--json").data["tasks"][0]["path"] == "orders[1]/ship"
    assert perdure("resume", "left", "--db", db, "--json").data == {"run_id": "left", "status": "RUNNING"}
    assert perdure("recover", "left", "--db", db).out == "left RUNNING\n"
    monkeypatch.setenv("ORDERS_GO_ON", "1")
    assert perdure("recover", "left", "--app", "orders:graph", "--by", "Bea", "--db", db)[:2] == (0, "5\n")
    assert perdure("recover", "left", "--app", "orders:graph", "--db", db).code == 5


def test_a_run_is_cancelled_for_good(perdure, db) -> None:
    assert perdure("cancel", "left", "--reason", "enough", "--db", db).code == 0
    assert status(perdure, db, "left") == "CANCELLED"
    for verb in ("cancel", "pause", "resume", "retry"):
        assert perdure(verb, "left", "--db", db).code == 5
    assert perdure("cancel", "nowhere", "--db", db).code == 4


def test_a_failed_run_is_retried_here_or_left_to_a_worker(perdure, db, monkeypatch) -> None:
    code, _, err = perdure("retry", "bad", "--app", "orders:graph", "--db", db)
    assert (code, err) == (1, "perdure: run 'bad' failed: ValueError: the parcel is broken\n")
    assert status(perdure, db, "bad") == "FAILED"
    planned = perdure("plan", "bad", "retry", "--db", db)
    assert planned.code == 0
    assert "orders[1]/ship" in planned.out
    assert perdure("retry", "bad", "--by", "Ada", "--db", db)[:2] == (0, "bad RUNNING\n")
    assert perdure("retry", "good", "--db", db).code == 5


def test_a_run_is_forked_without_its_graph_and_goes_on_with_it(perdure, db, monkeypatch) -> None:
    events = perdure("show", "good", "--db", db, "--json").data["events"]
    for at in (1, events // 2, events):
        new = f"new-{at}"
        out = perdure("fork", "good", "--at", at, "--new-id", new, "--db", db, "--json")
        assert out.data == {"run_id": new, "status": "PENDING"}
        assert perdure("recover", new, "--app", "orders:graph", "--db", db)[:2] == (0, "5\n")
    assert perdure("fork", "good", "--at", 1, "--new-id", "new-1", "--db", db).code == 5
    assert perdure("fork", "good", "--at", 999, "--db", db).code == 5


def test_another_output_or_input_is_given_as_json(perdure, db) -> None:
    shipped = perdure("history", "good", "--kind", "NodeStarted", "--db", db, "--json").lines
    task = next(event["task"] for event in (entry.get("event", entry) for entry in shipped) if "task" in event)
    out = perdure(
        "fork", "good", "--output", f"{task}=40", "--new-id", "dear", "--app", "orders:graph", "--db", db, "--json"
    )
    assert out.code == 0, out.err
    assert int(perdure("recover", "dear", "--app", "orders:graph", "--db", db).out) in (42, 43)
    assert perdure("fork", "good", "--output", f"{task}=40", "--db", db).code == 2
    for wrong in ("x", "x={"):
        assert perdure("fork", "good", "--output", wrong, "--app", "orders:graph", "--db", db).code == 2


@pytest.mark.parametrize("verb", ["resume", "recover", "retry"])
def test_a_plan_is_refused_where_its_verb_is(perdure, db, verb) -> None:
    assert perdure("plan", "good", verb, "--db", db).code == 5


def test_a_plan_leaves_the_file_as_it_is_and_brings_no_schema_up_to_date(perdure, db) -> None:
    connection = sqlite3.connect(db)
    connection.execute(
        "PRAGMA user_version = 1"
    )  # as though an earlier version had made it: whoever writes would migrate it
    connection.close()
    for app in ((), ("--app", "orders:graph")):
        assert perdure("plan", "bad", "retry", *app, "--db", db).code == 0
        assert perdure("plan", "good", "fork", "--at", 5, *app, "--db", db).code == 0
    connection = sqlite3.connect(db)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
