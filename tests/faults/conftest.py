"""Where the files of the campaigns lie."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is one: of a real disk only the time it takes would be seen."""
    memory = Path("/dev/shm")
    place = memory / f"perdure-{tmp_path.name}-{time.monotonic_ns()}" if memory.is_dir() else tmp_path / "images"
    place.mkdir()
    yield place
    shutil.rmtree(place, ignore_errors=True)
