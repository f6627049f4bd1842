"""A step that takes its process down again and again is found out, and the others don't pay for it."""

from __future__ import annotations

from pathlib import Path

from crash.harness import Remains, Zygote
from crash.programs import find
from perdure.events import NodeCompleted, RunFailed
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
