"""Laws about processes that are killed: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from perdure.store.port import Store
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import (
    FOREVER,
    START,
    WAITING,
    create,
    events,
    known,
    owner,
    stored,
    wait,
    write,
)

KILLS = 4


class Process:
    """A process that runs one of the programs beside this module, which print a number after each commit."""

    def __init__(self, name: str, place: tuple[str, str], run_id: str) -> None:
        program = [sys.executable, "-m", f"perdure.testing.store_laws.{name}", *place, run_id]
        self._process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program

    def wait_for(self, commits: int) -> int:
        """Wait until so many more commits were acknowledged; return the number of the last."""
        assert self._process.stdout is not None
        line = ""
        for _ in range(commits):
            line = self._process.stdout.readline()
            assert line, "the process has ended by itself"
        return int(line)

    def kill(self) -> list[int]:
        """End the process at once, wherever it is; return the numbers that it has said and nobody has read yet."""
        self._process.kill()
        rest, _ = self._process.communicate()
        complete, _, _ = rest.rpartition("\n")
        return [int(line) for line in complete.split()]


class CrashLaws(Laws):
    """Killed processes."""

    def _place(self) -> tuple[str, str]:
        place = self.in_other_process()
        if place is None:
            pytest.skip("no other process can get at the data of this store")
        return place

    @law
    async def test_what_a_killed_process_has_acknowledged_is_there(self, store: Store) -> None:
        """Every row is whole and follows the one before; the run can be taken over and goes on."""
        place, chance = self._place(), random.Random(7)  # noqa: S311 - it is to be repeatable
        for kill in range(KILLS):
            run_id = f"run-{kill}"
            process = Process("appender", place, run_id)
            try:
                acknowledged = process.wait_for(chance.randint(1, 60))
            finally:
                rest = process.kill()
            acknowledged = max([acknowledged, *rest])
            rows = await stored(store, run_id)
            seq = rows[-1].first + rows[-1].count - 1
            info = await known(store, run_id)
            assert acknowledged <= seq
            assert (info.last_seq, info.head) == (seq, rows[-1].hash)
            (info,) = await store.claim(
                owner("rescuer"), graphs=(), now=info.lease_until, until=info.lease_until + 1, limit=1, run_id=run_id
            )
            assert info.last_seq == seq

    @law
    async def test_a_killed_process_stands_in_nobodys_way(self, store: Store) -> None:
        """Another process, and this one, go on writing."""
        place = self._place()
        log = await create(store, "here")
        other = Process("appender", place, "other")
        try:
            killed = Process("appender", place, "killed")
            try:
                killed.wait_for(5)
                other.wait_for(5)
            finally:
                killed.kill()
            for turn in range(5):
                await write(store, log, events(turn))
            other.wait_for(5)
        finally:
            other.kill()
        assert await stored(store, "here") == log.rows
        assert await stored(store, "killed")
        assert await stored(store, "other")

    @law
    async def test_what_a_killed_process_was_told_is_accepted_is_there(self, store: Store) -> None:
        """And wakes the run, though the one who put it in is dead; each answer is there once."""
        place, chance = self._place(), random.Random(11)  # noqa: S311 - it is to be repeatable
        log = await create(store, update=WAITING, opened=[wait(f"task-{turn}") for turn in range(2000)])
        accepted: list[int] = []
        for _ in range(KILLS):
            process = Process("sender", place, "run")
            try:
                accepted.append(process.wait_for(chance.randint(1, 40)))
            finally:
                accepted += process.kill()
            there = await store.inbox("run")
            assert set(accepted) <= {entry.number for entry in there}
            answers = [entry.key for entry in there if entry.kind == "answer"]
            assert answers == [f"task-{turn}" for turn in range(len(answers))]
            assert await store.next_due(["graph"]) in (START, 0)
        (info,) = await store.claim(owner("rescuer"), graphs=["graph"], now=START, until=FOREVER, limit=1)
        log.epoch = info.epoch
        await write(store, log, consumed=[entry.number for entry in there], update=WAITING, release=True)
        assert (await known(store)).due_at is None
