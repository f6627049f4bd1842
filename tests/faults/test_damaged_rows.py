"""Rows that aren't what was written: the run they belong to is set aside and says why, and all others go on.

What a log holds is chained, so a change in it is noticed, whichever it is; unless somebody writes new hashes as well, when
the fold still refuses what can't follow. A snapshot is a cache: a damaged one is dropped. The row of a run, its waits and its
inbox aren't chained; there, what can't be read is noticed, and what can be read is taken for what was meant.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from faults.specimens import (
    FINISHED,
    GRAPHS,
    RESULTS,
    SOUND,
    UNFINISHED,
    altered,
    enough,
    make,
    rehash,
    small_snapshots,
)
from perdure import Engine, PerdureError, RunFailed, RunStalled, StoreCorrupt
from perdure.testing.invariants import violations

PATIENCE_S = 20

FOLDED = ("half", "answered", "signalled")
"""The runs that are folded from the beginning; of others what comes before a snapshot isn't read when they go on."""

LOG = "(SELECT number FROM run WHERE run_id = '{run}')"


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("specimen") / "specimen.db"
    patch = small_snapshots()
    asyncio.run(make(path))
    with closing(sqlite3.connect(path)) as connection:
        for table in ("log", "run", "blob", "snapshot", "inbox", "wait"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0, table
    yield path
    patch.undo()


class Outcome:
    """What became of the runs of a damaged file."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.errors: dict[str, PerdureError] = {}
        self.status: dict[str, str] = {}
        self.reason: dict[str, str] = {}
        self.histories: dict[str, Any] = {}


async def survey(path: Path, victim: str = "") -> Outcome:
    """Open a file, let all runs come to where they come, and look at them; for the victim nobody waits long."""
    outcome = Outcome()
    async with Engine.open(path, GRAPHS, deps=enough) as engine:
        runs = (SOUND, *UNFINISHED, *FINISHED)
        patience = {run_id: 1.0 if run_id == victim else PATIENCE_S for run_id in runs}
        await asyncio.gather(*[_see_to(engine, run_id, outcome, patience[run_id]) for run_id in runs])
    return outcome


async def _see_to(engine: Engine, run_id: str, outcome: Outcome, patience_s: float) -> None:
    handle = engine.attach(run_id)
    try:
        async with asyncio.timeout(patience_s):
            while await _answered(engine, run_id):
                await asyncio.sleep(0.01)
            if (await handle.info()).status != "WAITING":
                outcome.results[run_id] = await handle.result()
    except TimeoutError:
        pass
    except PerdureError as error:
        outcome.errors[run_id] = error
    try:
        info = await handle.info()
        outcome.status[run_id], outcome.reason[run_id] = info.status, info.error
        await engine.explain(run_id)
        outcome.histories[run_id] = await engine.history(run_id)
    except PerdureError as error:
        outcome.histories[run_id] = error


async def _answered(engine: Engine, run_id: str) -> bool:
    """Answer what a run asks for; say whether it may ask for more, or has still to take up what came in."""
    for wait in await engine.attach(run_id).until_waiting():
        if wait.kind == "human":
            await engine.respond(run_id, wait.task_id, "fine", by="ann")
            return True
    has_mail = bool(await engine._store.inbox(run_id))
    return (await engine.get(run_id)).status == "WAITING" and has_mail


def damaged(specimen: Path, tmp_path: Path, damage: Callable[[sqlite3.Connection], Any]) -> Path:
    path = tmp_path / "runs.db"
    shutil.copy(specimen, path)
    with closing(altered(path)) as connection:
        damage(connection)
    return path


def came_through(outcome: Outcome, *but: str) -> None:
    """All runs but some have come to their right end."""
    for run_id in {SOUND, *UNFINISHED, "completed"} - {*but}:
        assert outcome.results.get(run_id) == RESULTS[run_id], (run_id, outcome.errors.get(run_id))
        assert violations(outcome.histories[run_id]) == []
    if "failed" not in but:
        assert isinstance(outcome.errors["failed"], RunFailed)
    assert not isinstance(outcome.histories[SOUND], PerdureError)


IN_LOG = {
    "a changed character": "UPDATE log SET events = replace(CAST(events AS TEXT), '[', '{{') WHERE run = {log} AND first = 1",
    "JSON cut short": "UPDATE log SET events = substr(CAST(events AS TEXT), 1, length(events) / 2) WHERE run = {log}",
    "bytes that are no text": "UPDATE log SET events = CAST(x'5bff5d' AS TEXT) WHERE run = {log}",
    "an unknown kind": "UPDATE log SET events = replace(CAST(events AS TEXT), 'NodeStarted', 'NodeDreamt') WHERE run = {log}",
    "a row lost": "DELETE FROM log WHERE run = {log} AND id = (SELECT min(id) + 1 FROM log WHERE run = {log})",
    "the first row lost": "DELETE FROM log WHERE run = {log} AND first = 1",
    "two rows swapped": "UPDATE log SET events = (SELECT events FROM log AS other WHERE other.run = log.run AND other.id <> log.id LIMIT 1)"
    " WHERE run = {log}",
    "rows of another run": "UPDATE log SET events = (SELECT events FROM log AS other WHERE run = {sound} LIMIT 1) WHERE run = {log}",
    "a wrong epoch": "UPDATE log SET epoch = epoch + 1 WHERE run = {log}",
    "a wrong time": "UPDATE log SET ts = ts - 1 WHERE run = {log}",
    "a wrong count": "UPDATE log SET count = count + 1 WHERE run = {log}",
    "a wrong hash": "UPDATE log SET hash = zeroblob(16) WHERE run = {log}",
    "seqs moved on": "UPDATE log SET first = first + 1000 WHERE run = {log}",
    "a seq twice": "INSERT INTO log (run, first, count, epoch, ts, events, hash)"
    " SELECT run, first + 1, count, epoch, ts, events, hash FROM log WHERE run = {log} AND count > 1",
}


def statement(text: str, run_id: str) -> str:
    return text.format(log=LOG.format(run=run_id), sound=LOG.format(run=SOUND))


@pytest.mark.parametrize("damage", IN_LOG)
@pytest.mark.parametrize("run_id", ["half", "completed"])
def test_a_log_that_was_changed_stops_its_run_with_the_place_and_no_other(
    specimen: Path, tmp_path: Path, damage: str, run_id: str
) -> None:
    path = damaged(specimen, tmp_path, lambda connection: connection.execute(statement(IN_LOG[damage], run_id)))
    outcome = asyncio.run(survey(path))
    came_through(outcome, run_id)
    if run_id == "half":
        assert outcome.status[run_id] == "STALLED"
        assert "run 'half'" in outcome.reason[run_id]
        assert "event" in outcome.reason[run_id]
        assert isinstance(outcome.errors[run_id], RunStalled)
    if damage != "a seq twice" or run_id == "half":
        assert isinstance(outcome.histories[run_id], StoreCorrupt)
    assert outcome.results.get(run_id, RESULTS[run_id]) == RESULTS[run_id]


@pytest.mark.parametrize(
    "column",
    ["data = x'00'", "data = substr(data, 1, length(data) - 1)", "hash = zeroblob(16)", "head = zeroblob(16)", "seq = seq - 1", "format = 99",
     "fingerprint = 'another'", "fingerprint = CAST(x'ff' AS TEXT)", "seq = 9999"],
)  # fmt: skip
def test_a_damaged_snapshot_is_dropped_and_the_log_folded(specimen: Path, tmp_path: Path, column: str) -> None:
    path = damaged(specimen, tmp_path, lambda connection: connection.execute(f"UPDATE snapshot SET {column}"))
    came_through(asyncio.run(survey(path)))


@pytest.mark.parametrize("damage", ["UPDATE blob SET data = x'00'", "DELETE FROM blob"])
def test_a_run_without_its_blob_is_stalled(specimen: Path, tmp_path: Path, damage: str) -> None:
    path = damaged(specimen, tmp_path, lambda connection: connection.execute(damage))
    outcome = asyncio.run(survey(path))
    came_through(outcome, "stored")
    assert outcome.status["stored"] == "STALLED"
    assert "the blob" in outcome.reason["stored"]


IN_RUN = {
    "no owner that could be": "owner = '{'",
    "no tags": "tags = '['",
    "no text": "tags = CAST(x'ff' AS TEXT)",
    "no status": "status = 'DREAMING'",
    "the fingerprint of no graph": "fingerprint = 'nobody'",
    "more than is in the log": "known_seq = 9999",
    "another id": "run_id = 'another'",
}


@pytest.mark.parametrize("damage", IN_RUN)
def test_a_run_whose_row_was_damaged_is_stalled_and_no_other(specimen: Path, tmp_path: Path, damage: str) -> None:
    change = f"UPDATE run SET {IN_RUN[damage]} WHERE run_id = 'half'"
    outcome = asyncio.run(survey(damaged(specimen, tmp_path, lambda connection: connection.execute(change))))
    came_through(outcome, "half")
    if damage == "another id":
        assert "half" not in outcome.status
    else:
        assert outcome.status["half"] == "STALLED"
        assert outcome.reason["half"]
        assert isinstance(outcome.errors["half"], RunStalled)


def test_a_run_that_is_over_by_its_log_and_not_by_its_row_is_stalled(specimen: Path, tmp_path: Path) -> None:
    change = "UPDATE run SET status = 'RUNNING' WHERE run_id = 'completed'"
    outcome = asyncio.run(survey(damaged(specimen, tmp_path, lambda connection: connection.execute(change))))
    came_through(outcome, "completed")
    assert outcome.status["completed"] == "STALLED"
    assert "COMPLETED by its log" in outcome.reason["completed"]


@pytest.mark.parametrize("content", ["'{'", "'7e'", "CAST(x'ff' AS TEXT)", "''"])
def test_what_came_in_and_is_no_json_any_more_is_refused_and_can_be_said_again(
    specimen: Path, tmp_path: Path, content: str
) -> None:
    change = f"UPDATE inbox SET value = {content}"
    outcome = asyncio.run(survey(damaged(specimen, tmp_path, lambda connection: connection.execute(change))))
    came_through(outcome, "signalled")
    kinds = [recorded.kind for recorded in outcome.histories["answered"]]
    assert "AnswerRefused" in kinds
    assert kinds.index("AnswerRefused") < kinds.index("Answered")
    assert outcome.status["signalled"] == "WAITING"
    assert "AnswerRefused" in [recorded.kind for recorded in outcome.histories["signalled"]]


@pytest.mark.parametrize("change", ["kind = 'cancel'", "kind = 'pause', value = '{'", "by = CAST(x'ff' AS TEXT)"])
def test_a_run_with_something_in_its_inbox_that_nobody_puts_there_is_stalled(
    specimen: Path, tmp_path: Path, change: str
) -> None:
    change = f"UPDATE inbox SET {change}"
    outcome = asyncio.run(survey(damaged(specimen, tmp_path, lambda connection: connection.execute(change))))
    came_through(outcome, "answered", "signalled")
    for run_id in ("answered", "signalled"):
        assert outcome.status[run_id] == "STALLED"
        assert outcome.reason[run_id]


# --- at random ---------------------------------------------------------------------------------------------------


def mutated(content: bytes, chance: Random) -> bytes:
    """Return JSON with something changed that may still be JSON."""
    way = chance.randrange(6)
    if way == 0:  # a bit
        at = chance.randrange(len(content))
        return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
    if way == 1:
        return content[: chance.randrange(len(content))]
    parts = json.loads(content)
    if way == 2 and isinstance(parts, list) and len(parts) > 1:
        chance.shuffle(parts)
    elif way == 3 and isinstance(parts, list) and parts:
        parts.insert(chance.randrange(len(parts)), chance.choice(parts))
    elif way == 4 and isinstance(parts, list) and parts:
        del parts[chance.randrange(len(parts))]
    else:
        _change_somewhere(parts, chance)
    return json.dumps(parts, separators=(",", ":")).encode()


def _change_somewhere(parts: Any, chance: Random) -> None:
    while isinstance(parts, list | dict) and parts:
        key = chance.randrange(len(parts)) if isinstance(parts, list) else chance.choice([*parts])
        if not isinstance(parts[key], list | dict) or not parts[key] or chance.random() < 0.2:
            parts[key] = chance.choice(
                [None, -1, 0, 1, 2**63, "", "nobody", [], {}, True, 1.5, [[]], "\x00", "1" * 300]
            )
            return
        parts = parts[key]


class Damage:
    """One change of one thing in a file, at random."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.run_id = chance.choice([*UNFINISHED, *FINISHED])
        self.is_rehashed = chance.random() < 0.5
        self.table = chance.choices(("log", "run", "inbox", "wait", "snapshot", "blob"), (8, 3, 2, 1, 2, 2))[0]
        self.what = ""

    def __call__(self, connection: sqlite3.Connection) -> None:
        chance = self.chance
        key = "number" if self.table == "run" else "run"
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({self.table})")]
        rows = connection.execute(
            f"SELECT rowid, * FROM {self.table} WHERE {key} = {LOG.format(run=self.run_id)}"
        ).fetchall()
        if not rows:
            self.table = ""
            return
        row = chance.choice(rows)
        if chance.random() < 0.15 and self.table != "run":
            connection.execute(f"DELETE FROM {self.table} WHERE rowid = ?", (row[0],))
            self.what = f"{self.table} of {self.run_id}: a row deleted"
        else:
            names = [name for name in columns if name not in ("id", "number", "run", "run_id", "graph", "hash")]
            name = chance.choice(names) if self.table != "log" or chance.random() < 0.3 else "events"
            value = row[1 + columns.index(name)]
            new = self._changed(value)
            self.what = f"{self.table}.{name} of {self.run_id}: {value!r:.60} is {new!r:.60}"
            text = isinstance(value, str)
            place = "CAST(? AS TEXT)" if text else "?"
            connection.execute(f"UPDATE OR IGNORE {self.table} SET {name} = {place} WHERE rowid = ?", (new, row[0]))
        if self.is_rehashed and self.table == "log":
            rehash(connection, self.run_id)

    def _changed(self, value: Any) -> Any:
        chance = self.chance
        if value is None:
            return None
        if isinstance(value, int):
            return chance.choice([0, 1, -1, value + 1, value - 1, 2**62, -(2**62)])
        if isinstance(value, str) and value[:1] in ("[", "{"):
            return mutated(value.encode(), chance)
        content = value.encode() if isinstance(value, str) else value or b"x"
        at = chance.randrange(len(content) or 1)
        return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]


def damage_at_random(specimen: Path, folder: Path, seed: int, met: Counter[str]) -> None:
    damage = Damage(Random(seed))
    place = folder / f"damage-{seed}"
    place.mkdir()
    try:
        path = damaged(specimen, place, damage)
        outcome = asyncio.run(asyncio.wait_for(survey(path, damage.run_id), PATIENCE_S * 3))
        came_through(outcome, damage.run_id)
        _check_victim(damage, outcome, met)
    except BaseException as error:
        error.add_note(f"seed {seed}: {damage.what}, rehashed: {damage.is_rehashed}; the file is in {place}")
        raise
    shutil.rmtree(place)


def _check_victim(damage: Damage, outcome: Outcome, met: Counter[str]) -> None:
    run_id, table = damage.run_id, damage.table
    met[f"changes of {table or 'nothing'}"] += 1
    error, status = outcome.errors.get(run_id), outcome.status.get(run_id)
    if table == "log" and not damage.is_rehashed:
        assert outcome.results.get(run_id, RESULTS.get(run_id)) == RESULTS.get(run_id), "a wrong result was given out"
        is_noticed = isinstance(outcome.histories[run_id], StoreCorrupt)
        met["changes of a log that were noticed"] += is_noticed
        met["changes of a log that changed nothing"] += not is_noticed
        if is_noticed and run_id in FOLDED:
            assert status == "STALLED"
    if table == "snapshot":
        assert outcome.results.get(run_id) == RESULTS.get(run_id)
    if status == "STALLED":
        met["runs that were set aside"] += 1
        assert outcome.reason[run_id]
    elif isinstance(error, StoreCorrupt):
        met["runs that couldn't be read"] += 1
    elif run_id in outcome.results:
        met["runs that went on"] += 1
    else:
        met[f"runs that are {status}"] += 1
    if damage.is_rehashed and table == "log":
        met["changes under new hashes"] += 1


def test_whatever_is_changed_the_other_runs_go_on(specimen: Path, tmp_path: Path) -> None:
    for seed in range(8):
        damage_at_random(specimen, tmp_path, seed, Counter())


@pytest.mark.campaign
def test_campaign_whatever_is_changed_the_other_runs_go_on(specimen: Path, folder: Path) -> None:
    met: Counter[str] = Counter()
    began = time.perf_counter()
    for seed in range(1000, 1600):
        damage_at_random(specimen, folder, seed, met)
    print(f"\n600 changes in {time.perf_counter() - began:.0f} s")
    print("   " + ", ".join(f"{name}: {count}" for name, count in sorted(met.items())), flush=True)
    for name in (
        "runs that were set aside",
        "changes of a log that were noticed",
        "changes under new hashes",
        "runs that went on",
    ):
        assert met[name] > 0
