"""Counting instructions, by valgrind: ``python -m benchmarks.instructions``, from the root of the repository.

They hardly vary from turn to turn, whatever else the machine does. What they come to depends on the interpreter and on how it
was compiled, so what is recorded is their ratio to those of the bound (``benchmarks/bound.py``): a loop written by hand that
records the same. The exit status is 1 if a ratio is more than a tenth above what was recorded; if that is meant, record it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import perdure
from benchmarks.bound import bound_chain, bound_map
from benchmarks.counting import KINDS, run

ROOT = Path(__file__).parents[1]
SIZES = {"chain": (20, 220), "map": (100, 2_100)}
"""What is counted, in two sizes: what is done once drops out of their difference."""

PYTHON = (3, 11)
RECORDED = {"chain": 2.01, "map": 1.86}
TOLERANCE = 1.1


async def _ours(kind: str, size: int, folder: Path) -> None:
    await run(perdure.SQLiteStore(folder / "runs.db", synchronous="NORMAL"), *KINDS[kind][0](size))


async def _bound(kind: str, size: int, folder: Path) -> None:
    await (bound_chain if kind == "chain" else bound_map)(folder, size)


def can_count() -> bool:
    """Say whether there is a valgrind that can run this interpreter."""
    if shutil.which("valgrind") is None:
        return False
    return (
        subprocess.run(
            ["valgrind", "--tool=none", sys.executable, "-c", ""], capture_output=True, check=False
        ).returncode
        == 0
    )


def instructions(whose: str, kind: str, size: int) -> int:
    """Return how many instructions a process takes that does the work once."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, "-m", "benchmarks.instructions", whose, kind, str(size)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2_000:]}")
    return int(found[1].replace(",", ""))


def main() -> int:
    """Count, print and compare."""
    if not can_count():
        print("valgrind isn't installed, or can't run this interpreter, so instructions aren't counted")
        return 0
    turns = [(whose, kind, size) for whose in ("ours", "bound") for kind in SIZES for size in SIZES[kind]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = dict(zip(turns, pool.map(lambda turn: instructions(*turn), turns), strict=True))
    is_more = False
    for kind, (small, large) in SIZES.items():
        ours, bound = (
            (counts[who, kind, large] - counts[who, kind, small]) / (large - small) for who in ("ours", "bound")
        )
        ratio, recorded = ours / bound, RECORDED[kind]
        is_more |= ratio > recorded * TOLERANCE
        print(
            f"{kind}: {ours:,.0f} instructions a unit, the bound {bound:,.0f}: {ratio:.2f} x, recorded {recorded:.2f} x"
        )
    if sys.version_info[:2] != PYTHON:
        print(f"recorded with Python {PYTHON[0]}.{PYTHON[1]}, so this is for information only")
        return 0
    return int(is_more)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        raise SystemExit(main())
    with tempfile.TemporaryDirectory() as temporary:
        work = _ours if sys.argv[1] == "ours" else _bound
        asyncio.run(work(sys.argv[2], int(sys.argv[3]), Path(temporary)))
