"""A process that is killed before or after any commit leaves a run that ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.harness import Zygote, kill_and_resume
from examples import EXAMPLES


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.mark.parametrize("name", [example.name for example in EXAMPLES])
def test_an_example_killed_at_any_commit_ends_as_if_nothing_had_happened(
    zygote: Zygote, tmp_path: Path, name: str
) -> None:
    kills = 0
    for commit in range(1, 1000):
        for when in ("before", "after"):
            folder = tmp_path / f"{commit}-{when}"
            folder.mkdir()
            killed, last = kill_and_resume(zygote, folder, name, kill=(commit, when))
            assert last["is_right"], f"killed {when} commit {commit}: {last['result']}"
            kills += killed
        if not killed:
            break
    assert kills >= 3
