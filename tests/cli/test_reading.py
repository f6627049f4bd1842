"""Commands that read need no user code, and say the same to people and to programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from damaged import damage

from perdure import events as ev
from perdure.cli.exits import Exit
from perdure.cli.wording import _WORDS


def test_runs_are_listed_newest_first(perdure, db) -> None:
    code, out, _ = perdure("runs", "--db", db)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["RUN", "left", "bad", "good"]
    listed = perdure("runs", "--db", db, "--json").lines
    assert [(entry["run_id"], entry["status"]) for entry in listed] == [
        ("left", "RUNNING"),
        ("bad", "FAILED"),
        ("good", "COMPLETED"),
    ]


def test_runs_can_be_chosen(perdure, db) -> None:
    assert [entry["run_id"] for entry in perdure("runs", "--db", db, "--status", "failed", "--json").lines] == ["bad"]
    assert len(perdure("runs", "--db", db, "--limit", "2", "--json").lines) == 2
    assert perdure("runs", "--db", db, "--graph", "other")[1:] == ("", "no runs\n")
    assert perdure("runs", "--db", db, "--graph", "other", "--json").lines == []


def test_runs_are_chosen_by_tag_and_time(perdure, db) -> None:
    def chosen(*options: str) -> list[str]:
        return [entry["run_id"] for entry in perdure("runs", "--db", db, "--json", *options).lines]

    assert chosen("--tag", "team=a b") == chosen("--tag", "team=a b", "--tag", "size=1") == ["good"]
    assert chosen("--tag", "team=a") == chosen("--tag", "team=a b", "--tag", "size=2") == []
    assert chosen("--since", "1h") == chosen("--before", "2999-01-01") == ["left", "bad", "good"]
    assert chosen("--since", "2999-01-01") == chosen("--before", "1h") == []
    assert perdure("runs", "--db", db, "--json", "--tag", "size=1").lines[0]["tags"] == {"team": "a b", "size": "1"}
    assert perdure("runs", "--db", db, "--tag", "team").code == 2


def test_the_database_is_named_by_the_environment(perdure, db, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PERDURE_DB", str(db))
    assert perdure("runs").code == 0
    monkeypatch.delenv("PERDURE_DB")
    monkeypatch.chdir(tmp_path)
    code, out, err = perdure("runs")
    assert (code, out) == (4, "")
    assert "perdure.db: there is no such database" in err
    assert not (tmp_path / "perdure.db").exists()


def test_a_complete_run_shows_state_and_result(perdure, db) -> None:
    data = perdure("show", "good", "--db", db, "--json").data
    assert data["status"] == "COMPLETED"
    assert data["result"] == 5
    assert data["inputs"] == [{"name": "a", "price": 2}, {"name": "b", "price": 3}] or data["inputs"] is None
    assert data["state"] == {"shipped": 2, "names": ["a", "b"], "log": ["a", "b"]}
    assert data["counts"]["ReducerUpdated"] == 2
    assert data["live_tasks"] == data["open_joins"] == []
    out = perdure("show", "good", "--db", db).out
    assert "COMPLETED" in out
    assert out.rstrip().endswith("Result\n5")


def test_a_failed_run_shows_where_and_why(perdure, db) -> None:
    data = perdure("show", "bad", "--db", db, "--json").data
    assert data["failure"]["type"] == "ValueError"
    assert data["failure"]["path"] == "orders[1]/ship"
    assert "Failure\nValueError: the parcel" in perdure("show", "bad", "--db", db).out


def test_an_unfinished_run_shows_live_tasks_with_paths_and_open_joins(perdure, db) -> None:
    data = perdure("show", "left", "--db", db, "--json").data
    assert [(task["path"], task["phase"], task["attempt"]) for task in data["live_tasks"]] == [
        ("orders[1]/ship", "ready", 1)
    ]
    assert [(joined["join"], joined["folded"]) for joined in data["open_joins"]] == [("total", 1)]
    assert data["state"]["log"] == ["a"]
    out = perdure("show", "left", "--db", db).out
    assert "Live tasks (1)" in out
    assert "orders[1]/ship" in out


def test_a_run_is_explained_to_people_and_to_programs(perdure, db) -> None:
    lines = perdure("explain", "left", "--db", db).out.splitlines()
    assert lines[0].startswith("run left of graph orders is RUNNING at event ")
    assert lines[1].startswith("  - nobody drives the run, and it is due")
    assert lines[-1].endswith("join total waits for 1 of 2 (1 arrived): orders[1]/ship hasn't started")
    data = perdure("explain", "left", "--db", db, "--json").data
    assert [reason["reason"] for reason in data["reasons"]] == [
        "NotDriven",
        "NoWorker",
        "ReadyToStart",
        "JoinWaits",
    ]
    assert data["reasons"][3]["pending"][0]["path"] == "orders[1]/ship"
    failed = perdure("explain", "bad", "--db", db, "--json").data["reasons"][0]
    assert (failed["reason"], failed["path"], failed["error"]["type"]) == ("Failed", "orders[1]/ship", "ValueError")
    assert "the run has completed" in perdure("explain", "good", "--db", db).out


def test_history_has_a_line_for_each_event(perdure, db) -> None:
    lines = perdure("history", "good", "--db", db).out.splitlines()
    events = perdure("history", "good", "--db", db, "--json").lines
    assert len(lines) == len(events) == perdure("show", "good", "--db", db, "--json").data["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert "orders[0]/ship" in "\n".join(lines)
    folds = perdure("history", "good", "--db", db, "--kind", "reducerupdated").out
    assert [" ".join(line.split()[3:]) for line in folds.splitlines()] == [
        "total ← orders[0]/ship",
        "total ← orders[1]/ship",
    ]
    assert perdure("history", "good", "--db", db, "--from", "5", "--json").lines == events[4:]
    assert perdure("history", "good", "--db", db, "--kind", "RunPaused", "--json").lines == []


def test_events_are_chosen_by_place_and_time(perdure, db) -> None:
    def kinds(*options: str) -> list[str]:
        return [event["kind"] for event in perdure("history", "good", "--db", db, "--json", *options).lines]

    assert kinds("--task", "orders[1]/ship") == ["NodeStarted", "NodeCompleted", "ReducerUpdated"]
    assert kinds("--node", "total", "--from", "2") == ["ReducerUpdated", "ReducerUpdated", "JoinClosed"]
    assert len(kinds("--from", "2", "--to", "4")) == 3
    assert kinds("--since", "1h") == kinds() == kinds("--until", "2999-01-01")
    assert kinds("--until", "1d") == kinds("--since", "2999-01-01T00:00:00Z") == []
    code, _, err = perdure("history", "good", "--db", db, "--since", "soon")
    assert code == 2
    assert "'soon' is no time" in err


def test_the_state_is_shown_as_it_was(perdure, db) -> None:
    events = perdure("history", "good", "--db", db, "--json", "--node", "ship", "--kind", "NodeCompleted").lines
    assert [perdure("state", "good", "--at", str(event["seq"]), "--db", db).data["shipped"] for event in events] == [
        1,
        2,
    ]
    assert perdure("state", "good", "--db", db).data == perdure("show", "good", "--db", db, "--json").data["state"]
    assert perdure("state", "good", "--at", "1", "--db", db).data == {"shipped": 0, "names": [], "log": []}
    code, _, err = perdure("state", "good", "--at", "999", "--db", db)
    assert code == 2
    assert "events" in err


def test_a_timeline_is_shown_to_people_and_to_programs(perdure, db) -> None:
    out = perdure("timeline", "good", "--db", db).out
    for heading in ("Batches", "Attempts, the longest first", "Joins", "Critical path", "What would have to be faster"):
        assert f"\n{heading}\n" in out
    data = perdure("timeline", "good", "--db", db, "--json").data
    assert [(batch["path"], batch["size"], batch["tasks"]) for batch in data["batches"]] == [("orders", 2, 2)]
    assert [one["path"] for one in data["attempts"]] == ["orders[0]/ship", "orders[1]/ship"]
    left = perdure("timeline", "left", "--db", db, "--json").data
    assert (left["ended_at"], left["batches"][0]["ended_at"]) == (None, None)


def test_two_runs_are_shown_side_by_side(perdure, db) -> None:
    data = perdure("diff", "good", "bad", "--db", db, "--json").data
    assert data["same_graph"] is True
    differs = {task["path"]: task["differs"] for task in data["differing"]}
    assert differs["orders[1]/ship"] == ["outcome", "output"]
    out = perdure("diff", "good", "bad", "--db", db).out
    assert "tasks and joins are the same" in out
    assert "completed, 3" in out
    assert "0 differ" in perdure("diff", "good", "good", "--db", db).out
    assert perdure("diff", "good", "nope", "--db", db).code == Exit.NOT_FOUND


def test_every_kind_of_event_has_words() -> None:
    assert set(_WORDS) == set(ev.AnyEvent.__args__)


def test_sound_logs_verify(perdure, db) -> None:
    code, out, _ = perdure("verify", "--db", db)
    assert code == 0
    assert out.endswith("3 of 3 runs are sound\n")
    assert perdure("verify", "good", "--db", db, "--json").data["sound"] is True


def test_damage_is_found_and_placed(perdure, db) -> None:
    damage(db, "bad")
    code, out, _ = perdure("verify", "--db", db)
    assert code == 1
    assert "damaged  bad" in out
    assert "what is stored isn't what was written" in out
    assert out.endswith("2 of 3 runs are sound\n")
    found = perdure("verify", "--db", db, "--json").data
    assert [(entry["run_id"], entry["sound"]) for entry in found["runs"]] == [
        ("good", True),
        ("bad", False),
        ("left", True),
    ]
    assert perdure("verify", "good", "--db", db).code == 0


def test_what_comes_before_damage_is_told(perdure, db) -> None:
    whole, began = (
        perdure("show", "bad", "--db", db, "--json").data,
        perdure("timeline", "bad", "--db", db, "--json").data,
    )
    damage(db, "bad", "ValueError")
    for command, heading in (("show", "Events"), ("timeline", "Attempts")):
        code, out, err = perdure(command, "bad", "--db", db)
        assert (code, heading in out) == (6, True)
        assert "the log can't be folded beyond event" in err
        code, out, _ = perdure(command, "bad", "--db", db, "--json")
        assert code == 6
        assert "what is stored isn't what was written" in json.loads(out)["problem"]
    shown = json.loads(perdure("show", "bad", "--db", db, "--json").out)
    assert 0 < sum(shown["counts"].values()) < sum(whole["counts"].values())
    told = json.loads(perdure("timeline", "bad", "--db", db, "--json").out)
    assert 0 < len(told["attempts"]) <= len(began["attempts"])
    assert (told["started_at"], told["ended_at"]) == (began["started_at"], None)
    assert perdure("diff", "good", "bad", "--db", db).code == 6


@pytest.mark.parametrize("command", ["show", "history", "verify", "explain", "state", "timeline"])
def test_an_unknown_run_is_not_found(perdure, db, command) -> None:
    code, out, err = perdure(command, "nope", "--db", db)
    assert code == 4
    assert (out, err) == ("", f"perdure: {db} holds no run 'nope'. `perdure runs` lists those there are\n")


@pytest.mark.parametrize("command", [["runs"], ["show", "x"], ["history", "x"], ["verify"]])
def test_a_file_that_is_no_store_is_refused_in_a_line(perdure, tmp_path, command) -> None:
    other = tmp_path / "other.txt"
    other.write_text("not a database, but long enough to be read as one: " * 50)
    code, out, err = perdure(*command, "--db", other)
    assert code == 6
    assert err.startswith(f"perdure: {other}")
    assert len(err.splitlines()) == 1
    assert out == ""


def test_wrong_usage_is_told_from_the_rest(perdure, db) -> None:
    assert perdure("nothing").code == 2
    assert perdure("show").code == 2
    assert perdure("runs", "--db", db, "--limit", "0").code == 2
    assert perdure("runs", "--db", db, "--status", "tired").code == 2
    assert perdure("--help").code == 0
    assert perdure("--version").out.startswith("perdure, version ")


def test_nothing_of_the_users_is_imported_and_a_closed_pipe_is_no_error(db) -> None:
    command = [sys.executable, "-m", "perdure.cli.main", "history", "good", "--db", str(db)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(db).parent)
    assert reader.stdout is not None
    assert reader.stdout.readline().split()[2] == b"RunStarted"
    reader.stdout.close()
    assert reader.stderr is not None
    assert reader.stderr.read() == b""
    reader.stderr.close()
    assert reader.wait() == 0
