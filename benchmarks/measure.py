"""Measuring: contenders take turns, and what counts is the median.

Machines are noisy, and a ratio of two figures taken minutes apart says little. So the contenders of a benchmark run one
after the other in each round, each on a folder of its own, and a ratio is the median of the ratios of the rounds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass
class Measured:
    """One turn of one contender.

    Attributes:
        units: how many units of work were done.
        seconds: how long they took.
        extra: other figures, by name.
    """

    units: int
    seconds: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self):
        """Measure what is done inside."""
        gc.collect()
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began

    @property
    def figure(self) -> float:
        """Microseconds for each unit."""
        return self.seconds / self.units * 1e6


Contender = Callable[[Path], Awaitable[Measured]]


@dataclass
class Benchmark:
    """Contenders for the same work.

    Attributes:
        name: what it is called on the command line.
        title: what is done.
        contenders: each by its name; the first is the one the others are compared with.
        goals: for a contender, what it should reach: as text, and a test of the figures of all.
    """

    name: str
    title: str
    contenders: Mapping[str, Contender]
    goals: Mapping[str, tuple[str, Callable[[Figures], bool]]] = field(default_factory=dict)
    unit: str = "µs a step"
    rounds: int | None = None


@dataclass
class Figures:
    """The medians of a benchmark.

    Attributes:
        of: the figure of each contender.
        ratios: for each pair of contenders, the median of the ratios of the rounds.
        extra: other figures, for each contender.
    """

    of: dict[str, float]
    ratios: dict[tuple[str, str], float]
    extra: dict[str, dict[str, float]]


def measure(benchmark: Benchmark, rounds: int, folder: Path | None) -> Figures:
    """Let the contenders take turns and return the medians."""
    names = list(benchmark.contenders)
    turns: dict[str, list[Measured]] = {name: [] for name in names}
    for number in range(benchmark.rounds or rounds):
        for name in names if number % 2 == 0 else reversed(names):
            here = Path(tempfile.mkdtemp(prefix="perdure-benchmark-", dir=folder))
            try:
                turns[name].append(asyncio.run(benchmark.contenders[name](here)))  # type: ignore[arg-type]
            finally:
                shutil.rmtree(here, ignore_errors=True)
    return Figures(
        {name: median(turn.figure for turn in taken) for name, taken in turns.items()},
        {
            (one, other): median(a.figure / b.figure for a, b in zip(turns[one], turns[other], strict=True))
            for one in names
            for other in names
            if one != other
        },
        {
            name: {key: median(turn.extra[key] for turn in taken) for key in taken[0].extra}
            for name, taken in turns.items()
        },
    )


def shown(benchmark: Benchmark, figures: Figures) -> str:
    """Return the figures as a table for people."""
    lines = [f"{benchmark.name}: {benchmark.title}", ""]
    first = next(iter(figures.of))
    for name, figure in figures.of.items():
        ratio = f"{figures.ratios[name, first]:8.2f} ×" if name != first else " " * 10
        line = f"  {name:<34}{figure:12.1f} {benchmark.unit}{ratio}"
        extra = "   ".join(f"{key} {value:,.1f}" for key, value in figures.extra[name].items())
        goal = ""
        if name in benchmark.goals:
            text, holds = benchmark.goals[name]
            goal = f"[goal {text}: {'met' if holds(figures) else 'MISSED'}]"
        lines.append("   ".join(part for part in (line, extra, goal) if part))
    return "\n".join(lines)


def as_json(benchmark: Benchmark, figures: Figures) -> str:
    """Return the figures as a line of JSON."""
    first = next(iter(figures.of))
    contenders: dict[str, Any] = {
        name: {
            benchmark.unit: round(figure, 2),
            f"ratio to {first}": round(figures.ratios[name, first], 3) if name != first else 1.0,
            **{key: round(value, 2) for key, value in figures.extra[name].items()},
            **(
                {"goal": benchmark.goals[name][0], "met": benchmark.goals[name][1](figures)}
                if name in benchmark.goals
                else {}
            ),
        }
        for name, figure in figures.of.items()
    }
    return json.dumps({"benchmark": benchmark.name, "title": benchmark.title, "contenders": contenders})


def main_file_bytes(path: Path) -> int:
    """Return the size of a database's main file once its write-ahead log has been taken over into it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return path.stat().st_size
