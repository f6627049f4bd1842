"""A process that is killed before or after any commit leaves a run that ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.harness import Zygote, kill_and_resume
from crash.programs import find
from examples import EXAMPLES

names = pytest.mark.parametrize("name", [example.name for example in EXAMPLES])


def kill_everywhere(
    zygote: Zygote, folder: Path, name: str, *, durability: str = "sync", times: tuple[str, ...] = ("before", "after")
) -> int:
    """Kill a program before and after each of its commits in turn; return how often that was."""
    kills = 0
    graph = find(name).build()
    for commit in range(1, 1000):
        for when in times:
            place = folder / f"{commit}-{when}"
            place.mkdir()
            killed, last = kill_and_resume(zygote, place, name, graph, kill=(commit, when), durability=durability)
            assert last["is_right"], f"killed {when} commit {commit}: {last['result']}"
            kills += killed
        if not killed:
            break
    return kills


@names
def test_an_example_killed_at_any_commit_ends_as_if_nothing_had_happened(
    zygote: Zygote, tmp_path: Path, name: str
) -> None:
    assert kill_everywhere(zygote, tmp_path, name) >= 3


@pytest.mark.parametrize(
    "name", ["class nodes", "stepped/class nodes", *(f"stepped/{example.name}" for example in EXAMPLES[::16])]
)
def test_class_nodes_and_runs_that_are_stepped_through_end_as_if_nothing_had_happened(
    zygote: Zygote, tmp_path: Path, name: str
) -> None:
    assert kill_everywhere(zygote, tmp_path, name) >= 3


@names
@pytest.mark.parametrize("durability", ["async", "exit"])
def test_an_example_that_writes_late_leaves_a_prefix_that_goes_on(
    zygote: Zygote, tmp_path: Path, name: str, durability: str
) -> None:
    """What was lost with the process is done again; what was durable isn't."""
    assert kill_everywhere(zygote, tmp_path, name, durability=durability, times=("after",)) >= 1
