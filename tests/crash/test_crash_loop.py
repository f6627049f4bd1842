"""A step that takes its process down again and again is found out, and the others don't pay for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.harness import Remains, Zygote
from crash.programs import find
from perdure.events import NodeCompleted, NodeFailed, NodeStarted, RunFailed
from perdure.testing.invariants import violations


def test_a_step_that_kills_its_process_is_given_up_and_what_the_others_did_is_kept(
    zygote: Zygote, tmp_path: Path
) -> None:
    path, entries = tmp_path / "runs.db", tmp_path / "entries"
    deaths = 0
    while (answer := zygote.ask(program="poison", path=str(path), entries=str(entries)))["killed"]:
        deaths += 1
        assert deaths < 20
    assert "CrashLoop" in answer["error"]
    assert "each[3]/work" in answer["error"]
    remains = Remains(path, find("poison").build())
    assert violations(remains.history) == []
    assert isinstance(remains.history[-1].event, RunFailed)
    done = sum(isinstance(recorded.event, NodeCompleted) for recorded in remains.history)
    assert done >= 5, "the start, the split, and the arms that were before it"


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("poison collected", 5),
        ("poison under a limit", 5),
        ("poison that may kill once", 3),
        ("poison that exits", 5),
        ("poison that breaks memory", 5),
        ("poison that aborts", 5),
    ],
)
def test_the_culprit_is_collected_as_a_failure_and_the_innocent_finish(
    zygote: Zygote, tmp_path: Path, name: str, most: int
) -> None:
    path, entries = tmp_path / "runs.db", tmp_path / "entries"
    deaths = 0
    while (answer := zygote.ask(program=name, path=str(path), entries=str(entries)))["killed"]:
        deaths += 1
        assert deaths <= most
    assert answer.get("is_right"), answer
    remains = Remains(path, find(name).build())
    assert violations(remains.history) == []
    [failed] = [recorded.event for recorded in remains.history if isinstance(recorded.event, NodeFailed)]
    assert (failed.error.type, failed.outcome) == ("CrashLoop", "collect")
    starts = [recorded.event for recorded in remains.history if isinstance(recorded.event, NodeStarted)]
    assert sum(event.task == failed.task for event in starts) == deaths
