"""Killed at any commit and at random times, whatever a run does: waits, signals, races, retries, forks of runs, verbs.

The logs that are left are counted by kinds of events: a campaign in which one kind doesn't occur proves less than it says.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest

from crash.dramas import DRAMAS
from crash.harness import Life, Zygote, all_logs
from crash.programs import find
from perdure.events import AnyEvent, NodeCompleted, RunCompleted
from perdure.kernel.fold.run import Phase
from perdure.testing.invariants import violations
from random_graphs import has_race, kinds
from sometimes import Sometimes

KINDS = [kind.__name__ for kind in get_args(AnyEvent)]

KILLED = (
    "killed before there was a run",
    "killed while bodies ran",
    "killed while the run waited",
    "killed with an open join",
    "killed after the end",
    "killed a second time",
    "killed in a recovery",
)

MOST_KILLS = 6


class Kills:
    """Lives of programs, the kills they have lived through, and what was seen."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self.seen = Sometimes()
        self.cases = self.processes = 0
        self._zygote = zygote
        self._folder = folder

    def drama(self, name: str, places: list[dict[str, Any]]) -> bool:
        """Play a drama through deaths at some places; say whether each place was reached."""
        life = Life(self._zygote, self._new(), name, None)
        for place in places:
            self._process(life, waits=self._waits(life), **place)
            if not life.killed:
                break
        was_killed = life.killed
        answer = self._process(life, waits=self._waits(life)) if was_killed or not places else self._last
        assert answer["is_right"], (name, places, answer)
        self._end(life)
        return was_killed

    def rich(self, seed: int, rng: Random) -> None:
        """Run a random graph of all constructs, and kill it a few times."""
        name = f"rich/{seed}"
        program = find(name)
        assert program.block is not None
        life = Life(self._zygote, self._new(), name, program.build())
        for kind in kinds(program.block):
            self.seen.note(kind.__name__)
        for kills in range(MOST_KILLS + 1):
            run = life.remains.run
            is_spared = kills == MOST_KILLS or (run is not None and any(task.crashes for task in run.tasks.values()))
            how: dict[str, Any] = {"kill": (rng.randrange(1, program.size // 2 + 6), rng.choice(["before", "after"]))}
            if rng.random() < 0.5:
                how = {"after_s": rng.uniform(0.001, 0.02 + program.size / 3000)}
            answer = self._process(life, **({} if is_spared else how))
            if not life.killed:
                break
        assert answer["is_right"], (seed, program.block, answer)
        assert answer["result"] == repr(life.remains.output), (seed, program.block)
        if not has_race(program.block):
            changed = [r for r in life.remains.history if isinstance(r.event, NodeCompleted) and r.event.change]
            assert changed or not answer["state"][0], (seed, program.block)
        self._end(life)

    def _new(self) -> Path:
        folder = self._folder / f"life-{self.cases}-{self.processes}"
        folder.mkdir()
        return folder

    @staticmethod
    def _waits(life: Life) -> bool:
        return any(recorded.kind == "WaitOpened" for recorded in life.remains.history)

    def _process(self, life: Life, **how: Any) -> dict[str, Any]:
        before = len(life.remains.history)
        segments = sum(r.kind == "SegmentStarted" for r in life.remains.history)
        self._last = answer = life.process(**how)
        self.processes += 1
        if life.killed:
            self.cases += 1
            self._notice(life, before, segments)
        return answer

    def _notice(self, life: Life, before: int, segments: int) -> None:
        remains, seen = life.remains, self.seen
        now = sum(r.kind == "SegmentStarted" for r in remains.history)
        seen.note("killed before there was a run", not remains.history)
        seen.note("killed a second time", before > 0)
        seen.note("killed in a recovery", before > 0 and now == segments)
        if remains.history and isinstance(remains.history[-1].event, RunCompleted):
            seen.note("killed after the end")
        elif remains.run is not None:
            phases = {task.phase for task in remains.run.tasks.values()}
            seen.note("killed while bodies ran", Phase.RUNNING in phases)
            seen.note("killed while the run waited", Phase.WAITING in phases)
            seen.note("killed with an open join", bool(remains.run.joins))

    def _end(self, life: Life) -> None:
        for history in all_logs(life.path):
            assert violations(history) == []
            for recorded in history:
                self.seen.note(recorded.kind)
        shutil.rmtree(life.path.parent)


@pytest.mark.parametrize("name", DRAMAS)
def test_a_drama_killed_at_some_commits_ends_as_it_should(zygote: Zygote, tmp_path: Path, name: str) -> None:
    kills, rng = Kills(zygote, tmp_path), Random(name)
    kills.drama(name, [])
    places: list[dict[str, Any]] = [{"kill": (rng.randrange(1, 8), rng.choice(["before", "after"]))} for _ in range(4)]
    kills.drama(name, places[:1])
    kills.drama(name, places[1:])


def test_graphs_of_all_constructs_survive_random_kills(zygote: Zygote, tmp_path: Path) -> None:
    kills = Kills(zygote, tmp_path)
    for seed in range(12):
        kills.rich(seed, Random(f"kills {seed}"))
    assert kills.cases >= 20


@pytest.mark.campaign
def test_two_thousand_kills_at_every_commit_and_at_random_times(zygote: Zygote, tmp_path: Path) -> None:
    kills, began = Kills(zygote, tmp_path), time.perf_counter()
    for name in DRAMAS:
        for when in ("before", "after"):
            commit = 1
            while kills.drama(name, [{"kill": (commit, when)}]):
                commit += 1
        rng = Random(name)
        for _ in range(15):
            kills.drama(name, [{"kill": (rng.randrange(1, 6), "after")}, {"after_s": rng.uniform(0.001, 0.05)}])
    at_commits = kills.cases
    seed = 0
    while kills.cases < 2050:
        kills.rich(seed, Random(f"kills {seed}"))
        seed += 1
        if seed % 25 == 0:
            print(f"{kills.cases:,} kills so far, {seed} random graphs", flush=True)
    print(
        f"\n{kills.cases:,} kills ({at_commits:,} in {len(DRAMAS)} dramas, the rest in {seed:,} random graphs), "
        f"{kills.processes:,} processes, in {time.perf_counter() - began:.0f} s\nseen: {kills.seen}"
    )
    kills.seen.require([*KILLED, *KINDS], 3)
