"""What is known of a store by what it has said, and what it must hold after a fault because of that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faults.workload import Told, Workload
from perdure import Recorded, SQLiteStore
from perdure.events import Answered, NodeCancelled, NodeCompleted, NodeStarted, SignalKept, SignalReceived
from perdure.store.records import Append, NewRun, Row
from perdure.testing.invariants import violations

Logs = dict[str, list[Row]]


class Witness(SQLiteStore):
    """A store that tells what it has acknowledged."""

    def __init__(self, path: Any, note: Any, **how: Any) -> None:
        super().__init__(path, **how)
        self._note = note

    async def create(self, run: NewRun) -> Any:
        created = await super().create(run)
        if created[1]:
            self._note(("rows", run.run_id, run.rows))
        return created

    def append(self, append: Append) -> Any:
        return self._appended(append)

    async def _appended(self, append: Append) -> None:
        await super().append(append)
        self._note(("rows", append.run_id, append.rows))


async def read_logs(path: Path, runs: Sequence[str]) -> Logs:
    """Return what is in a file, row by row; nothing of runs that aren't there."""
    store = SQLiteStore(path, synchronous="NORMAL")
    await store.open()
    try:
        logs: Logs = {}
        for run_id in runs:
            rows: list[Row] = []
            while page := await store.read(run_id, rows[-1].first + rows[-1].count - 1 if rows else 0):
                rows += page
            if rows:
                logs[run_id] = rows
        return logs
    finally:
        await store.close()


def acknowledge(what: tuple[str, str, Any], told: Told, acknowledged: Logs) -> None:
    """Take down what was acknowledged."""
    kind, run_id, value = what
    told.take(what)
    if kind == "rows":
        acknowledged.setdefault(run_id, []).extend(value)


def finished(history: Sequence[Recorded]) -> set[str]:
    """Return the tasks that must never be entered again."""
    return {each.event.task for each in history if isinstance(each.event, NodeCompleted | NodeCancelled)}


def started(run_id: str, history: Sequence[Recorded]) -> set[tuple[str, str, int]]:
    """Return the attempts that were allowed to begin."""
    return {(run_id, each.event.task, each.event.attempt) for each in history if isinstance(each.event, NodeStarted)}


async def see_through(workload: Workload, path: Path, told: Told, acknowledged: Logs | None = None) -> None:
    """Open a store again after a fault, with nothing wrong any more, and see to it that all comes right.

    Args:
        workload: what is done there.
        path: the file.
        told: what somebody has been told before the fault.
        acknowledged: the rows that were committed before it.

    Raises:
        AssertionError: something that was acknowledged is lost, or something else is not as it must be.
    """
    logs = await read_logs(path, [*acknowledged]) if acknowledged else {}
    for run_id, rows in (acknowledged or {}).items():
        there = {row.hash for row in logs.get(run_id, [])}
        assert all(row.hash in there for row in rows), f"run {run_id}: an acknowledged commit is lost"
    async with workload.engine(SQLiteStore(path), recover=False, drive=False) as engine:
        present = {info.run_id: info for info in await engine.list()}
        assert told.runs <= present.keys(), "a run that was started is lost"
        before = {run_id: await engine.history(run_id) for run_id in present}
        for run_id in told.results:
            assert present[run_id].status == "COMPLETED", "the end of a run that was given out is lost"
        for run_id, kinds, mail in (
            *((run_id, (SignalReceived, SignalKept), "signal") for run_id in told.signals),
            *((run_id, (Answered,), "answer") for run_id in told.answers),
        ):
            kept = [entry.kind for entry in await engine._store.inbox(run_id)]
            is_recorded = any(isinstance(each.event, kinds) for each in before[run_id])
            assert is_recorded or mail in kept, f"{mail} that was acknowledged is lost"
    for run_id, history in before.items():
        assert violations(history) == [], run_id
    entered = len(workload.entered)
    async with workload.engine(SQLiteStore(path)) as engine:
        await workload.live(engine, told)
        for run_id in workload.begun:
            history = await engine.history(run_id)
            assert violations(history) == [], run_id
            recorded = before.get(run_id, [])
            assert [*history[: len(recorded)]] == [*recorded], "what was recorded has changed"
            again = {task for run, task, _ in workload.entered[entered:] if run == run_id}
            assert not again & finished(recorded), "a task that had ended was entered again"
            allowed = started(run_id, history)
            assert {each for each in workload.entered[entered:] if each[0] == run_id} <= allowed
