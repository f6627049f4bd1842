"""Killed before or after any commit, or any answer or signal, a run that waits ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.harness import Zygote
from crash.test_kill_at_every_commit import kill_everywhere
from examples.waits import WAITING

names = pytest.mark.parametrize("name", [example.name for example in WAITING])


@names
def test_a_run_that_waits_ends_the_same_wherever_its_process_is_killed(
    zygote: Zygote, tmp_path: Path, name: str
) -> None:
    assert kill_everywhere(zygote, tmp_path, name) >= 6


@names
@pytest.mark.parametrize("durability", ["async", "exit"])
def test_a_run_that_waits_and_writes_late_ends_the_same(
    zygote: Zygote, tmp_path: Path, name: str, durability: str
) -> None:
    assert kill_everywhere(zygote, tmp_path, name, durability=durability, times=("after",)) >= 3
