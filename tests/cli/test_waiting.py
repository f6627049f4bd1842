"""Runs that wait are listed, answered, signalled, paused and cancelled from processes that don't know their graphs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from orders import waits

from perdure import Engine, GraphBuilder, RunCancelled, RunPaused

SCHEMA = {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]}


class Review(msgspec.Struct):
    approved: bool


g = GraphBuilder(name="reviews", output_type=list[object])
by_law = g.human("law", form=Review, title="Read the contract", assignee="Ada")
by_finance = g.human("finance", form=SCHEMA, assignee="Bob")
both = g.parallel(by_law, by_finance, g.signal("go", int))
g.add(g.edge_from(g.start_node).to(both), g.edge_from(both).to(g.end_node))
reviews = g.build()


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"

    async def start() -> None:
        async with Engine.open(path, graphs=[reviews]) as engine:
            await (await engine.start(reviews, run_id="run")).until_waiting()
            await (await engine.start(waits, run_id="other")).until_waiting()

    asyncio.run(start())
    return path


def drive(db: Path, run: str) -> object:
    async def main() -> object:
        async with Engine.open(db, graphs=[reviews, waits]) as engine:
            return await engine.attach(run).result()

    return asyncio.run(main())


def test_waits_are_listed(perdure, db) -> None:
    code, out, err = perdure("waiting", "--db", db)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["RUN", "TASK", "KIND", "NAME", "PATH", "ASSIGNEE", "SINCE", "UNTIL", "TITLE"]
    assert len(out.splitlines()) == 5
    (task,) = perdure("waiting", "--db", db, "--assignee", "Ada", "--json").lines
    assert (task["run_id"], task["name"], task["title"], task["kind"]) == ("run", "law", "Read the contract", "human")
    assert task["form"]["$defs"]["Review"]["required"] == ["approved"]
    assert task["due_at"] is None
    assert [wait["kind"] for wait in perdure("waiting", "--db", db, "--run", "other", "--json").lines] == ["signal"]
    assert len(perdure("waiting", "--db", db, "--kind", "signal", "--json").lines) == 2
    assert len(perdure("waiting", "--db", db, "--limit", "1", "--json").lines) == 1
    assert perdure("waiting", "--db", db, "--assignee", "Eve")[1:] == ("", "nothing is waited for\n")
    assert perdure("waiting", "--db", db, "--run", "nope").code == 4


def test_a_run_is_answered_and_signalled_without_its_code(perdure, db) -> None:
    for task in perdure("waiting", "--db", db, "--run", "run", "--kind", "human", "--json").lines:
        code, out, err = perdure("respond", "run", task["task_id"], '{"approved": "yes"}', "--db", db)
        assert (code, out, len(err.splitlines())) == (5, "", 1)
        assert "approved" in err
        answer = ("respond", "run", task["task_id"], '{"approved": true}', "--by", "Ada", "--db", db)
        assert perdure(*answer) == (0, "", f"answered task {task['task_id']} of run run\n")
        assert perdure(*answer).code == 0
        assert perdure("respond", "run", task["task_id"], '{"approved": false}', "--db", db).code == 5
    assert perdure("signal", "run", "go", "7", "--db", db) == (0, "", "sent signal go to run run\n")
    assert drive(db, "run") == [Review(True), {"approved": True}, 7]
    code, _, err = perdure("signal", "run", "go", "--db", db)
    assert (code, "is over" in err) == (5, True)


def test_wrong_usage_is_told(perdure, db) -> None:
    code, _, err = perdure("respond", "run", "task", "yes", "--db", db)
    assert (code, "is no JSON" in err) == (2, True)
    assert perdure("respond", "run", "task", "1", "--db", db).code == 5
    assert perdure("respond", "nope", "task", "1", "--db", db).code == 4
    for verb in (["signal", "nope", "go"], ["pause", "nope"], ["cancel", "nope"]):
        assert perdure(*verb, "--db", db).code == 4
    assert perdure("waiting", "--db", db.with_name("none.db")).code == 4


def test_a_run_is_paused_and_cancelled_from_outside(perdure, db) -> None:
    assert perdure("pause", "run", "--by", "Ada", "--reason", "lunch", "--db", db)[:2] == (
        0,
        "run PAUSED\n",
    )
    with pytest.raises(RunPaused):
        drive(db, "run")
    assert "by Ada: lunch" in perdure("history", "run", "--db", db).out
    assert perdure("pause", "run", "--db", db).code == 5
    assert perdure("cancel", "run", "--db", db)[:2] == (0, "run CANCELLED\n")
    assert perdure("show", "run", "--db", db, "--json").data["status"] == "CANCELLED"
    assert perdure("cancel", "run", "--db", db).code == 5
    assert perdure("cancel", "other", "--db", db).code == 0
    with pytest.raises(RunCancelled):
        drive(db, "other")


def test_a_run_that_is_driven_here_is_woken_by_an_answer_of_another_process(db: Path) -> None:
    def outside(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "perdure.cli.main", *arguments, "--db", str(db)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    async def main() -> object:
        async with Engine.open(db, graphs=[reviews]) as engine:
            handle = engine.attach("run")
            result = asyncio.create_task(handle.result())
            assert engine.driven("run") is None
            for task in map(
                json.loads, (await asyncio.to_thread(outside, "waiting", "--run", "run", "--json")).splitlines()
            ):
                if task["kind"] == "signal":
                    await asyncio.to_thread(outside, "signal", "run", "go", "3")
                else:
                    await asyncio.to_thread(outside, "respond", "run", task["task_id"], '{"approved": false}')
            return await asyncio.wait_for(result, 20)

    assert asyncio.run(main()) == [Review(False), {"approved": False}, 3]
