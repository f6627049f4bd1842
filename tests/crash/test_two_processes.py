"""Two processes on one file: each run is driven by one of them, and one that has slept through its lease can't go on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from perdure import Engine, Recorded
from perdure.events import NodeStarted, RunCompleted, SegmentStarted
from perdure.testing.invariants import violations


class Contender:
    """A process that drives runs beside another one."""

    def __init__(self, path: Path, name: str, runs: int) -> None:
        self.entries = Path(f"{path}-{name}")
        command = [sys.executable, str(Path(__file__).with_name("contender.py")), str(path), name, str(runs)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def results(self) -> list[list[int]]:
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, err
        results: list[list[int]] = json.loads(out)
        return results

    def entered(self) -> list[tuple[str, ...]]:
        return [tuple(line.split()) for line in self.entries.read_text().splitlines()]


@pytest.fixture
def contenders(tmp_path: Path) -> Iterator[list[Contender]]:
    started: list[Contender] = []
    yield started
    for contender in started:
        if contender.process.poll() is None:
            contender.process.send_signal(signal.SIGCONT)
            contender.process.kill()
        contender.process.communicate()


def histories(path: Path, runs: int) -> list[Sequence[Recorded]]:
    async def read() -> list[Sequence[Recorded]]:
        async with Engine.open(path, recover=False) as engine:
            return [await engine.history(f"run-{number}") for number in range(runs)]

    return asyncio.run(read())


def expected(runs: int) -> list[list[int]]:
    return [[item * 2 + 1 for item in range(number % 7 + 3)] for number in range(runs)]


def query(path: Path, sql: str) -> list[tuple[int, ...]]:
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        return connection.execute(sql).fetchall()


def stop_and_end_leases(contender: Contender, path: Path) -> None:
    """Stop a process at a moment at which it isn't writing, and let its leases run out."""
    while True:
        contender.process.send_signal(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
                connection.execute("UPDATE run SET lease_until = 0")
                return
        except sqlite3.OperationalError:  # it holds the lock
            contender.process.send_signal(signal.SIGCONT)
            time.sleep(0.0005)  # for it to go on


def test_of_two_processes_that_start_the_same_runs_one_drives_each(tmp_path: Path, contenders: list[Contender]) -> None:
    path, runs = tmp_path / "runs.db", 60
    contenders += [Contender(path, name, runs) for name in ("a", "b")]
    for contender in contenders:
        contender.go()
    assert [contender.results() for contender in contenders] == [expected(runs)] * 2
    entered = Counter(entry for contender in contenders for entry in contender.entered())
    assert set(entered.values()) == {1}
    for history in histories(path, runs):
        assert violations(history) == []
        assert sum(isinstance(recorded.event, SegmentStarted) for recorded in history) == 1


def test_a_process_that_has_slept_through_its_lease_writes_nothing_more(
    tmp_path: Path, contenders: list[Contender]
) -> None:
    """Its leases are ended as if they had run out; the other takes over, and what the first then appends is refused."""
    path, runs = tmp_path / "runs.db", 120
    contenders += [Contender(path, name, runs) for name in ("a", "b")]
    sleeper, other = contenders
    sleeper.go()
    while not query(path, "SELECT count(*) FROM run WHERE status = 'RUNNING'")[0][0]:
        time.sleep(0.001)  # for another process to have written
    stop_and_end_leases(sleeper, path)
    other.go()
    results = other.results()
    sleeper.process.send_signal(signal.SIGCONT)
    assert results == expected(runs)
    assert sleeper.results() == expected(runs), "who was fenced gives out what the other has recorded"
    taken_over = 0
    for history in histories(path, runs):
        assert violations(history) == []
        assert isinstance(history[-1].event, RunCompleted)
        begun = [recorded.event for recorded in history if isinstance(recorded.event, NodeStarted)]
        assert len({(event.task, event.attempt) for event in begun}) == len(begun)
        taken_over += sum(isinstance(recorded.event, SegmentStarted) for recorded in history) > 1
    assert taken_over, "no run was in the midst of being driven"
