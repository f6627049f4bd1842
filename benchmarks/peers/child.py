"""The peer's side of a turn: ``python -m benchmarks.peers.with_… WORK FOLDER SIZE`` does it once and prints a line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from benchmarks.measure import Measured

Work = Callable[[Path, int], Awaitable[Measured | None]]


def answer(works: Mapping[str, Work]) -> None:
    """Do the work that the command line names, and print what it took.

    Work that returns nothing has prepared for other work; it prints an empty line of JSON.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=sorted(works))
    parser.add_argument("folder", type=Path)
    parser.add_argument("size", type=int)
    given = parser.parse_args()
    measured = asyncio.run(works[given.work](given.folder, given.size))  # type: ignore[arg-type]
    print(json.dumps(dataclasses.asdict(measured) if measured else {}), flush=True)
    sys.stdout.flush()
    os._exit(0)  # a peer may leave threads behind, which have no part in what is measured


def leave_as_if_killed() -> None:
    """End the process at once, as a crash would, having told that all is prepared."""
    print("{}", flush=True)
    os._exit(0)
