"""The work of a step is what was recorded: a guard that no clock and no busy machine can mislead.

What is counted doesn't say how long it takes, but whoever adds a call to each step sees it here. If that is meant, run
``python -m benchmarks.counting`` and put what it prints into ``RECORDED``; so too if there is less to do than before.
"""

from __future__ import annotations

import sys

import pytest
from benchmarks.counting import Work, commits_of, work_of

from faults.disk import Disk, on

PYTHON = (3, 11)
"""Other interpreters call other functions for the same work."""

RECORDED = {
    "chain": Work(calls=327.0, events=2.0, rows=1.0, bytes=104.0),
    "map": Work(calls=102.56, events=3.0, rows=0.0, bytes=156.13),
    "runs": Work(calls=320.56, events=2.8, rows=1.2, bytes=168.2),
    "append": Work(calls=451.0, events=2.0, rows=1.0, bytes=1159.0),
}

TOLERANCE = 1.05

COMMITS = {"chain": (200, 210), "map": (2_000, 40), "runs": (1_000, 60), "append": (200, 210)}
"""How many steps are run, and how many transactions they may take: of many at once, many share one."""


@pytest.mark.parametrize("kind", RECORDED)
def test_a_step_is_no_more_work_than_was_recorded(kind: str) -> None:
    if sys.getprofile() is not None:
        pytest.skip("something else counts calls already")
    work, recorded = work_of(kind), RECORDED[kind]
    remedy = f"recorded: {recorded}; if that is meant, run `python -m benchmarks.counting` and record what it prints"
    assert (work.events, work.rows) == (recorded.events, recorded.rows), remedy
    assert work.bytes <= recorded.bytes * TOLERANCE, remedy
    if sys.version_info[:2] == PYTHON:
        assert work.calls <= recorded.calls * TOLERANCE, remedy


@pytest.mark.parametrize("kind", COMMITS)
def test_commits_are_shared_by_all_that_is_ready_at_once(kind: str) -> None:
    size, limit = COMMITS[kind]
    assert size / 1_000 < commits_of(kind, size) <= limit


def test_a_commit_is_one_fsync() -> None:
    """Seen by a disk of the tests' own: what is left when shorter is taken from longer is what each step costs."""
    commits, fsyncs = [], []
    for length in (100, 300):
        disk = Disk()
        with on(disk):
            commits.append(commits_of("chain", length, "FULL"))
        fsyncs.append(disk.calls["sync"])
    assert fsyncs[1] - fsyncs[0] == pytest.approx(commits[1] - commits[0], abs=2)
    assert commits[1] - commits[0] == pytest.approx(200, abs=10)
