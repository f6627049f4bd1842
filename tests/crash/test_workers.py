"""Several workers on one file, of which some are stopped and others killed: every run ends once, and nothing finished runs again.

The short forms run with the suite; the long ones, with their figures, with ``-m campaign``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from crash.drudge import DRUDGERY_BODIES, LETTER_BODIES, WIDTH, build, build_letters, expected
from perdure import Engine, Graph
from perdure.events import NodeCompleted, RunCompleted, SegmentStarted
from perdure.testing.invariants import violations

POLL_S = 0.02
LONG_LEASE_S = 300.0


class Crew:
    """Worker processes on one file."""

    def __init__(self, path: Path, lease_s: float, slow_s: float) -> None:
        self.path = path
        self._arguments = [str(lease_s), str(slow_s)]
        self._names = count()
        self.processes: list[subprocess.Popen[str]] = []
        self.entries: list[Path] = []

    def hire(self) -> subprocess.Popen[str]:
        name = f"worker{next(self._names)}"
        program = str(Path(__file__).with_name("drudge.py"))
        process = subprocess.Popen(
            [sys.executable, program, str(self.path), name, *self._arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        self.processes.append(process)
        self.entries.append(Path(f"{self.path}-{name}"))
        return process

    def entered(self) -> list[tuple[str, str, int]]:
        """Return the attempts whose bodies were entered: run, task and number."""
        lines = [line.split() for path in self.entries for line in path.read_text().splitlines()]
        return [(run, task, int(attempt)) for run, task, attempt in lines]

    def dismiss(self) -> None:
        for process in self.processes:
            self.end(process)

    def end(self, process: subprocess.Popen[str]) -> str:
        """Kill a worker if it still lives; return what it has printed."""
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        printed = "" if process.stdout.closed else process.stdout.read()
        process.stdout.close()
        return printed


@pytest.fixture
def crews() -> Iterator[list[Crew]]:
    hired: list[Crew] = []
    yield hired
    for crew in hired:
        crew.dismiss()


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        return connection.execute(sql).fetchall()


def started(path: Path, runs: int) -> None:
    """Start runs, from a process that drives none."""

    async def main() -> None:
        graph = build()
        async with Engine.open(path, drive=False) as client:
            for first in range(0, runs, 500):
                numbers = range(first, min(first + 500, runs))
                await asyncio.gather(*(client.start(graph, inputs=n, run_id=f"run-{n}") for n in numbers))

    asyncio.run(main())


def written(path: Path, letters: int, seed: int, acknowledged: dict[int, list[int]]) -> None:
    """Start runs that ask, and answer and signal them at any time, from a process that drives none.

    Args:
        path: the file.
        letters: how many.
        seed: of the moments, and of what is said.
        acknowledged: is given, for each run, the answer and the signal that were acknowledged.
    """
    dice = random.Random(seed)

    async def one(client: Engine, graph: Graph[Any, Any, Any, Any], number: int) -> None:
        run_id, answer, receipt = f"letter-{number}", dice.randrange(1000), dice.randrange(1000)
        acknowledged[number] = [answer, receipt]
        await client.start(graph, inputs=number, run_id=run_id)

        async def signal_it() -> None:
            await asyncio.sleep(dice.uniform(0, 3))  # before it waits for that, while it does, or in a lost lease
            await client.signal(run_id, "receipt", receipt, by="postman")

        async def answer_it() -> None:
            while not (waiting := await client.waiting(run_id, kind="human")):
                await asyncio.sleep(0.1)
            await asyncio.sleep(dice.uniform(0, 1))
            await client.respond(run_id, waiting[0].task_id, answer, by="reader")

        await asyncio.gather(signal_it(), answer_it())

    async def main() -> None:
        graph, at_once = build_letters(), asyncio.Semaphore(20)

        async def in_turn(client: Engine, number: int) -> None:
            async with at_once:
                await one(client, graph, number)

        async with Engine.open(path, [graph], drive=False) as client:
            await asyncio.gather(*(in_turn(client, number) for number in range(letters)))

    asyncio.run(main())


@contextlib.contextmanager
def meanwhile(*works: tuple[Callable[..., None], tuple[Any, ...]]) -> Iterator[None]:
    """Do work in threads while something else is done; whatever fails there fails here."""
    with ThreadPoolExecutor(max(1, len(works))) as pool:
        done = [pool.submit(work, *arguments) for work, arguments in works]
        yield
        for one in done:
            one.result()


def unfinished(path: Path, runs: int) -> int:
    """Return how many of so many runs are unfinished, or not even started."""
    ((ended,),) = query(
        path, "SELECT count(*) FROM run WHERE status IN ('COMPLETED', 'FAILED', 'CANCELLED', 'STALLED')"
    )
    assert isinstance(ended, int)
    return runs - ended


def check_logs(path: Path, outputs: Mapping[str, Any]) -> Counter[str]:
    """Check every log, and that each run has ended once with the right value; return what was found."""
    found: Counter[str] = Counter()

    async def main() -> None:
        async with Engine.open(path, [build(), build_letters()], recover=False) as engine:
            for run_id, output in outputs.items():
                history = await engine.history(run_id)
                assert violations(history) == []
                assert sum(isinstance(recorded.event, RunCompleted) for recorded in history) == 1, history[-1]
                assert await engine.attach(run_id).result() == output
                epochs = {recorded.epoch for recorded in history}
                found.update(events=len(history), taken_over=len(epochs) > 2)
                found["finished"] += sum(isinstance(recorded.event, NodeCompleted) for recorded in history)
                segments = [recorded.event for recorded in history if isinstance(recorded.event, SegmentStarted)]
                found.update(f"before: {segment.before}" for segment in segments if segment.before)

    asyncio.run(main())
    return found


def drudgery(runs: int) -> dict[str, int]:
    """Return what comes of so many runs."""
    return {f"run-{number}": expected(number) for number in range(runs)}


def check_entries(crew: Crew, runs: int, letters: int = 0) -> int:
    """Check that every body was entered, and none whose task had finished; return how many were entered again."""
    entered, bodies = crew.entered(), runs * DRUDGERY_BODIES + letters * LETTER_BODIES
    assert len({(run, task) for run, task, _ in entered}) == bodies
    for run, task, attempt in (entry for entry, times in Counter(entered).items() if times > 1):
        raise AssertionError(f"attempt {attempt} of {task} of {run} was entered twice")
    return len(entered) - bodies


def stop_owners_at_random(crew: Crew, runs: int, stops: int, lease_s: float, seed: int) -> Counter[str]:
    """Stop a worker that drives runs beyond its leases, let it go on, and so on."""
    dice, found = random.Random(seed), Counter[str]()
    while found["stops"] < stops and unfinished(crew.path, runs):
        owners = {
            pid
            for (pid,) in query(
                crew.path, "SELECT DISTINCT json_extract(owner, '$.pid') FROM run WHERE owner IS NOT NULL"
            )
        }
        driving = [process for process in crew.processes if process.pid in owners]
        if not driving:
            continue
        process = dice.choice(driving)
        time.sleep(dice.uniform(0, 0.05))  # at any moment of its work
        process.send_signal(signal.SIGSTOP)
        time.sleep(lease_s * dice.uniform(1.1, 1.5))  # for its leases to run out
        held = query(crew.path, f"SELECT count(*) FROM run WHERE json_extract(owner, '$.pid') = {process.pid}")
        process.send_signal(signal.SIGCONT)
        found["stops"] += 1
        found["still held"] += held[0][0]  # type: ignore[operator]
    return found


def wait_for_the_end(path: Path, runs: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while left := unfinished(path, runs):
        assert time.monotonic() < deadline, f"{left} runs are unfinished"
        time.sleep(POLL_S)


def stop_and_go_on(
    crews: list[Crew], path: Path, *, runs: int, letters: int, stops: int, lease_s: float, slow_s: float, seed: int
) -> Counter[str]:
    crew = Crew(path, lease_s, slow_s)
    crews.append(crew)
    for _ in range(3):
        crew.hire()
    acknowledged: dict[int, list[int]] = {}
    with meanwhile((started, (path, runs)), (written, (path, letters, seed, acknowledged))):
        found = stop_owners_at_random(crew, runs + letters, stops, lease_s, seed)
    wait_for_the_end(path, runs + letters, 120)
    found += check_logs(path, drudgery(runs) | {f"letter-{number}": said for number, said in acknowledged.items()})
    found["bodies entered again"] = check_entries(crew, runs, letters)
    found["acknowledged"] = 2 * len(acknowledged)
    return found


def test_workers_that_sleep_through_their_leases_write_nothing_stale(tmp_path: Path, crews: list[Crew]) -> None:
    """What was acknowledged in the meantime isn't lost, and nothing is taken for a crash."""
    path = tmp_path / "runs.db"
    found = stop_and_go_on(crews, path, runs=150, letters=20, stops=3, lease_s=1.0, slow_s=0.8, seed=1)
    assert found["stops"]
    assert found["taken_over"]
    assert {kind for kind in found if kind.startswith("before: ")} == {"before: lives"}


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(3))
def test_60_stops_beyond_the_lease(
    tmp_path: Path, crews: list[Crew], capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    runs, letters = 6_000, 500
    began = time.monotonic()
    path = tmp_path / "runs.db"
    found = stop_and_go_on(crews, path, runs=runs, letters=letters, stops=60, lease_s=0.6, slow_s=0.8, seed=seed)
    with capsys.disabled():
        print(
            f"\n{found['stops']} stops of an owner beyond its lease, 3 workers, {runs + letters} runs, {found['events']} "
            f"events: 0 stale, 0 lost, {found['acknowledged']} acknowledged answers and signals taken up once, every run "
            f"completed once; {found['taken_over']} runs were taken over, {found['before: lives']} of them from a process "
            f"that lived, {found['bodies entered again']} unfinished bodies entered again, {time.monotonic() - began:.0f} s"
        )
    assert found["stops"] >= 60
    assert {kind for kind in found if kind.startswith("before: ")} == {"before: lives"}


def kill_now_and_then(
    crews: list[Crew], path: Path, *, runs: int, every_s: float, kills: int, slow_s: float
) -> Counter[str]:
    crew, found, dice = Crew(path, LONG_LEASE_S, slow_s), Counter[str](), random.Random(2)
    crews.append(crew)
    alive = [crew.hire() for _ in range(3)]
    with meanwhile((started, (path, runs))):
        next_kill = time.monotonic() + every_s
        while unfinished(path, runs):
            time.sleep(POLL_S)
            if found["kills"] < kills and time.monotonic() >= next_kill and unfinished(path, runs):
                next_kill += every_s
                crew.end(alive.pop(dice.randrange(len(alive))))
                found["kills"] += 1
                alive.append(crew.hire())
    found += check_logs(path, drudgery(runs))
    found["bodies entered again"] = check_entries(crew, runs)
    return found


def test_runs_of_killed_workers_are_taken_over_at_once(tmp_path: Path, crews: list[Crew]) -> None:
    """Their leases would last for minutes: the next worker sees that the process is dead."""
    began = time.monotonic()
    found = kill_now_and_then(crews, tmp_path / "runs.db", runs=150, every_s=0.3, kills=2, slow_s=0.5)
    assert found["kills"]
    assert time.monotonic() - began < LONG_LEASE_S


@pytest.mark.campaign
def test_10000_runs_three_workers_one_killed_every_few_seconds(
    tmp_path: Path, crews: list[Crew], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = 10_000
    began = time.monotonic()
    found = kill_now_and_then(crews, tmp_path / "runs.db", runs=runs, every_s=5.0, kills=1000, slow_s=0.3)
    with capsys.disabled():
        print(
            f"\n{runs} runs started by one process, driven by 3 workers, {found['kills']} killed: all complete, "
            f"{found['finished']} tasks finished once, {found['taken_over']} runs taken over, "
            f"{found['bodies entered again']} unfinished bodies entered again, {time.monotonic() - began:.0f} s in all"
        )
    assert found["kills"] >= 2


def test_a_worker_that_is_terminated_lets_its_bodies_end_and_releases_its_runs(
    tmp_path: Path, crews: list[Crew]
) -> None:
    path = tmp_path / "runs.db"
    crew = Crew(path, 15.0, 0.5)
    crews.append(crew)
    started(path, 30)
    worker = crew.hire()
    while len(crew.entered()) < 30:
        time.sleep(POLL_S)
    worker.terminate()
    assert worker.wait(timeout=20) == 0
    assert crew.end(worker) == "drained\n"
    assert query(path, "SELECT count(*) FROM run WHERE owner IS NOT NULL") == [(0,)]
    interrupted = query(path, "SELECT count(*) FROM events WHERE kind = 'NodeInterrupted'")
    assert interrupted == [(0,)], "bodies that were running have ended"
    crew.hire()
    wait_for_the_end(path, 30, 60)
    check_logs(path, drudgery(30))
    assert check_entries(crew, 30) == 0


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_twice_interrupts_its_bodies_and_releases_its_runs(
    tmp_path: Path, crews: list[Crew], again: signal.Signals
) -> None:
    path = tmp_path / "runs.db"
    stubborn, successors = Crew(path, 15.0, 3600.0), Crew(path, 15.0, 0.0)
    crews += [stubborn, successors]
    started(path, 10)
    worker = stubborn.hire()
    while len(stubborn.entered()) < 10 * (DRUDGERY_BODIES - 1):  # each run has all its slow ones
        time.sleep(POLL_S)
    worker.terminate()
    while query(path, "SELECT count(*) FROM worker") != [(0,)]:  # it has told that it takes no more
        time.sleep(POLL_S)
    worker.send_signal(again)
    assert worker.wait(timeout=20) == 0
    assert query(path, "SELECT count(*) FROM run WHERE owner IS NOT NULL") == [(0,)]
    interrupted = query(path, "SELECT count(*) FROM events WHERE kind = 'NodeInterrupted'")
    assert interrupted == [(10 * WIDTH,)]
    successors.hire()
    wait_for_the_end(path, 10, 60)
    found = check_logs(path, drudgery(10))
    assert not [kind for kind in found if kind.startswith("before: ")], "nothing was left in flight"
