"""The disk is full, or fails: at its nth call, once or for good, before or after it did what it was asked to do.

Whatever fails, no run goes on unrecorded, nothing acknowledged is lost, everybody who waits gets a result or an error that
names the file and says what to do, and when the disk is well again, every run comes to its end: in the engine that met the fault,
in one that is opened afterwards, and on what a process that dies at the moment of the error leaves behind.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from faults.disk import Disk, Fault, Note, on
from faults.images import Platter, write_image
from faults.witness import Logs, Witness, acknowledge, read_logs, see_through, started
from faults.workload import Told, Workload
from perdure import OutcomeUnknown, SQLiteStore, StoreError
from perdure.engine.inspection.history import read_history
from perdure.store.sqlite import transactions

STUCK_S = 20
PATIENCE_S = 0.6
"""How long somebody waits for a disk to get well that goes on failing."""

LEASE_S = 0.9

SETTINGS = ("PRAGMA wal_autocheckpoint = 24",)

KINDS: dict[str, tuple[int, ...]] = {
    "write": (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_FULL),
    "sync": (apsw.SQLITE_IOERR_FSYNC,),
    "truncate": (apsw.SQLITE_IOERR_TRUNCATE,),
    "open": (apsw.SQLITE_CANTOPEN,),
    "read": (apsw.SQLITE_IOERR_READ,),
    "lock": (apsw.SQLITE_BUSY, apsw.SQLITE_IOERR_LOCK),
    "size": (apsw.SQLITE_IOERR_FSTAT,),
    "access": (apsw.SQLITE_IOERR_ACCESS,),
    "delete": (apsw.SQLITE_IOERR_DELETE,),
}
SOME = {"write": (1, 129, 171), "sync": (1, 12), "read": (12, 63), "lock": (1, 3), "size": (1, 12)}
"""The calls at which the short form fails, else the first: while the file is made, and while runs are driven."""

LATE = ("write", "sync", "truncate", "delete")
"""What may have been done though it failed."""


@dataclass
class Case:
    """A fault, and how it ends.

    Attributes:
        ending: whether the engine ``stays`` open until the disk is well again, or is ``closed`` before.
    """

    workload: Workload
    folder: Path
    fault: Fault
    ending: str
    met: Counter[str]

    def run(self) -> bool:
        """Go through it; say whether the fault was met at all."""
        path = self.folder / "runs.db"
        self.folder.mkdir()
        self.workload.entered.clear()
        self.disk, self.told, self.acknowledged = Disk(), Told(), dict[str, list[Any]]()
        self.disk.settings, self.disk.fault = SETTINGS, self.fault
        self.workload.note = self._take
        self.errors: list[BaseException] = []
        try:
            with on(self.disk):
                asyncio.run(self._live(path))
            self.workload.note = lambda what: None
            self.workload.entered[:] = asyncio.run(self._checked_entries(path))
            asyncio.run(asyncio.wait_for(see_through(self.workload, path, self.told, self.acknowledged), STUCK_S))
            if self.errors and self.fault.nth % 2:
                self._die_instead()
        except BaseException as error:
            error.add_note(f"{self.fault}, {self.ending}; the file is in {self.folder}")
            raise
        shutil.rmtree(self.folder)
        return self.fault.hits > 0

    def _take(self, what: tuple[str, str, Any]) -> None:
        self.disk.note(what)
        acknowledge(what, self.told, self.acknowledged)

    async def _live(self, path: Path) -> None:
        store = Witness(path, self._take, lock_timeout_s=0.05)
        try:
            async with self.workload.engine(store, lease_s=LEASE_S) as engine:
                await self._try_all(engine)
                if self.ending == "stays" and self.errors:
                    self.fault.is_healed = True
                    self.met["engines that stayed"] += 1
                    await asyncio.wait_for(self.workload.live(engine, self.told), STUCK_S)
        except StoreError as error:  # it couldn't be opened
            self._check(error)
            self.met["engines that couldn't be opened"] += 1
        finally:
            self.fault.is_healed = True

    async def _try_all(self, engine: Any) -> None:
        """Let everybody get a result or an error; a disk that goes on failing gets well after a while."""
        tasks = [
            asyncio.create_task(self.workload._see_through(engine, self.told, run_id)) for run_id in self.workload.begun
        ]
        _, waiting = await asyncio.wait(tasks, timeout=PATIENCE_S if self.fault.lasts else STUCK_S)
        if self.fault.lasts:
            self.met["handles that waited for the disk to get well"] += len(waiting)
            self.fault.is_healed = True
            if waiting:
                _, waiting = await asyncio.wait(waiting, timeout=STUCK_S)
        assert not waiting, f"{len(waiting)} of {len(tasks)} wait for ever"
        for task in tasks:
            if (error := task.exception()) is not None:
                self._check(error)

    def _check(self, error: BaseException) -> None:
        """An error says which file it is about, and what to do."""
        if not self.errors:
            self.disk.note(("error", "", None))
        self.errors.append(error)
        assert isinstance(error, StoreError), repr(error)
        assert "runs.db" in str(error), str(error)
        assert error.remedy, str(error)
        assert error.remedy in str(error)
        self.met[type(error).__name__] += 1

    async def _checked_entries(self, path: Path) -> list[tuple[str, str, int]]:
        """No body was entered whose start isn't recorded."""
        store = SQLiteStore(path)
        await store.open()
        allowed = set()
        for info in await store.list():
            allowed |= started(info.run_id, [each async for each in read_history(store, info)])
        await store.close()
        entered = self.workload.entered
        assert {*entered} <= allowed, "a body was entered before its start was recorded"
        assert len({*entered}) == len(entered), "an attempt was entered twice"
        return entered

    def _die_instead(self) -> None:
        """Resume on what a process would leave behind that dies when it meets the error."""
        platter, told, acknowledged = Platter(), Told(), dict[str, list[Any]]()
        for done in self.disk.trace:
            if isinstance(done, Note):
                if done.what[0] == "error":
                    break
                acknowledge(done.what, told, acknowledged)
            else:
                platter.take(done)
        path = write_image(platter.image("as it was", Random(0), Counter()), self.folder / "dead")
        asyncio.run(asyncio.wait_for(self._resume_dead(path, told, acknowledged), STUCK_S))
        self.met["processes that died of it"] += 1

    async def _resume_dead(self, path: Path, told: Told, acknowledged: Logs) -> None:
        logs = await read_logs(path, [*self.workload.begun])
        if any(len(rows) > len(acknowledged.get(run_id, [])) for run_id, rows in logs.items()):
            unknown = any(isinstance(error, OutcomeUnknown) for error in self.errors)
            self.met["commits that raised and are there"] += 1
            self.met["commits of unknown outcome that are there"] += unknown
        await see_through(self.workload, path, told, acknowledged)


def cases(kind: str, folder: Path, met: Counter[str], *, nths: Iterable[int] = range(1, 10_000)) -> Iterator[Case]:
    """Yield cases with the fault at the first call, the next one, and so on."""
    workload = Workload(width=3, rounds=1)
    for code in KINDS[kind]:
        for lasts in (False, True):
            for is_late in (False, True) if kind in LATE else (False,):
                for nth in nths:
                    fault = Fault(frozenset({kind}), nth, code, lasts, is_late)
                    ending = "stays" if nth % 3 == 0 else "closed"
                    case = Case(workload, folder / f"{kind}-{code}-{lasts}-{is_late}-{nth}", fault, ending, met)
                    met["cases"] += 1
                    yield case
                    if not fault.hits:
                        met["passed without a fault"] += 1
                        break


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "PAUSES_S", (0.001, 0.002, 0.004))


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_disk_loses_nothing_and_leaves_nobody_waiting(tmp_path: Path, kind: str) -> None:
    met: Counter[str] = Counter()
    for case in cases(kind, tmp_path, met, nths=SOME.get(kind, (1,))):
        met["cases in which it failed"] += case.run()
    assert met["cases in which it failed"] > 0
    if kind == "sync":
        assert met["OutcomeUnknown"] > 0


@pytest.mark.campaign
@pytest.mark.parametrize("kind", KINDS)
def test_campaign_a_failing_disk_loses_nothing_and_leaves_nobody_waiting(folder: Path, kind: str) -> None:
    met: Counter[str] = Counter()
    began = time.perf_counter()
    for case in cases(kind, folder, met):
        met["cases in which it failed"] += case.run()
    print(f"\n{kind}: {met['cases']} cases in {time.perf_counter() - began:.0f} s", flush=True)
    print("   " + ", ".join(f"{name}: {count}" for name, count in sorted(met.items())), flush=True)
    assert met["passed without a fault"] > 0
    if kind == "sync":
        assert met["commits of unknown outcome that are there"] > 0
    if kind == "write":
        assert met["StoreFull"] > 0
        assert met["engines that stayed"] > 0
        assert met["processes that died of it"] > 0
