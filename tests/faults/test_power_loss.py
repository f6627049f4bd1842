"""The power goes: whatever the disk then holds, nothing that was acknowledged is lost, and every run comes to its end.

The engine is run over a disk that records what is asked of it. From the record images are built: after each entry of it,
with what an fsync has not covered there, not there, out of order, torn or overwritten with garbage. On each image the engine
is opened again, on SQLite as Python has it, and everything has to come right.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from faults.disk import Disk, Done, Note, on
from faults.images import MANNERS, Platter, write_image
from faults.witness import Logs, Witness, acknowledge, read_logs, see_through
from faults.workload import Told, Workload
from perdure.store.records import Row

LONG_S = 60


class Recording:
    """One life of an engine over a disk.

    Attributes:
        trace: what was asked of the disk, with what was acknowledged in between.
        logs: what was in the store in the end.
    """

    def __init__(self, folder: Path, *, synchronous: Any = "FULL", settings: tuple[str, ...] = (), **how: Any) -> None:
        loops = how.pop("loops", 1)
        self.workload = Workload(loops=loops)
        self.synchronous = synchronous
        disk = Disk()
        disk.settings = settings
        path = folder / "traced.db"
        self.workload.note = disk.note
        with on(disk):
            asyncio.run(asyncio.wait_for(self._live(path, disk, how), LONG_S))
        self.trace: list[Done] = disk.trace
        self.logs: Logs = asyncio.run(read_logs(path, [*self.workload.begun]))
        assert self.logs.keys() == self.workload.begun.keys()
        self.workload.note = lambda what: None

    async def _live(self, path: Path, disk: Disk, how: dict[str, Any]) -> None:
        store = Witness(path, disk.note, synchronous=self.synchronous)
        async with self.workload.engine(store, **how) as engine:
            await self.workload.live(engine, Told())


OFTEN = 8
"""How often a manner is tried after each of the few entries in which a file is made."""


class Survey:
    """Images of one recording, and what became of them.

    Attributes:
        met: how often what happened.
    """

    def __init__(self, recording: Recording, folder: Path, seed: int) -> None:
        self.recording = recording
        self.folder = folder
        self.met: Counter[str] = Counter()
        self._chance = Random(seed)
        self._seen: set[int] = set()

    def images(self, manners: tuple[str, ...], every: int) -> None:
        """Resume on images after each entry while the file is made, and then after one of so many, taken at random."""
        platter, told, acknowledged = Platter(), Told(), dict[str, list[Row]]()
        for number, done in enumerate(self.recording.trace):
            if isinstance(done, Note):
                acknowledge(done.what, told, acknowledged)
                continue
            platter.take(done)
            times = OFTEN if platter.is_being_made else self._chance.randrange(every) == 0
            for manner in MANNERS[1:2] * (times > 0) if platter.is_settled else manners * times:
                image = platter.image(manner, self._chance, self.met)
                self._resume(image, told, acknowledged, f"{manner} after entry {number}")
        self.met += platter.seen

    def _resume(self, image: dict[str, bytes], told: Told, acknowledged: Logs, where: str) -> None:
        known = hash((*sorted(image.items()), *sorted(told.results), *sorted(told.answers), *sorted(told.runs)))
        if known in self._seen:
            self.met["images that were like others"] += 1
            return
        self._seen.add(known)
        path = write_image(image, self.folder / f"image-{len(self._seen)}")
        try:
            asyncio.run(asyncio.wait_for(self._recover(path, told, acknowledged), LONG_S))
        except BaseException as error:
            error.add_note(f"{where}; the image is in {path.parent}")
            raise
        shutil.rmtree(path.parent)
        self.met["images"] += 1

    async def _recover(self, path: Path, told: Told, acknowledged: Logs) -> None:
        recording = self.recording
        logs = await read_logs(path, [*recording.workload.begun])
        for run_id, rows in recording.logs.items():
            found = logs.get(run_id, [])
            assert rows[: len(found)] == found, f"run {run_id}: what is there is no prefix of what was written"
            there, known = {row.hash for row in found}, {row.hash for row in acknowledged.get(run_id, [])}
            lost = len(known - there)
            assert not lost or recording.synchronous != "FULL", f"run {run_id}: {lost} acknowledged commits are lost"
            self.met["acknowledged commits lost"] += lost
            self.met["commits found that weren't acknowledged"] += len(there - known)
        if recording.synchronous != "FULL":
            told = Told(runs=told.runs & logs.keys())  # and all else is said once more
            told.signals, told.answers = set(), set()
        await see_through(recording.workload, path, told)


SMALL_LOG = ("PRAGMA wal_autocheckpoint = 24",)
"""So that a short trace has checkpoints in it; else they come after 1,000 pages, and when the file is closed."""


def test_nothing_acknowledged_is_lost_with_the_power(folder: Path) -> None:
    survey = Survey(Recording(folder, settings=SMALL_LOG), folder, seed=1)
    survey.images(MANNERS, every=40)
    assert survey.met["acknowledged commits lost"] == 0
    assert survey.met["pages written by a checkpoint"] > 0


def test_without_an_fsync_for_each_commit_the_power_takes_the_end_of_a_log_and_no_more(folder: Path) -> None:
    survey = Survey(Recording(folder, synchronous="NORMAL", settings=SMALL_LOG), folder, seed=2)
    survey.images(MANNERS[1:], every=40)
    assert survey.met["acknowledged commits lost"] > 0


def test_the_images_would_show_a_store_that_leaves_fsync_out(folder: Path, monkeypatch: Any) -> None:
    """The checker can tell: with ``synchronous = OFF`` it finds losses."""
    from perdure.store.sqlite.queries import QUERIES

    monkeypatch.setitem(QUERIES, "survive_power_loss", "PRAGMA synchronous = OFF;")
    recording = Recording(folder)
    monkeypatch.undo()
    survey = Survey(recording, folder, seed=3)
    with pytest.raises(AssertionError, match="acknowledged commits are lost"):
        survey.images(("nothing",), every=5)


@pytest.mark.campaign
def test_campaign_nothing_acknowledged_is_lost_with_the_power(folder: Path) -> None:
    print()
    total: Counter[str] = Counter()
    for number, (durability, settings, loops) in enumerate(
        [
            ("sync", SMALL_LOG, 2),
            ("sync", (), 2),
            ("async", SMALL_LOG, 3),
            ("exit", SMALL_LOG, 3),
            ("sync", SMALL_LOG, 4),
        ]
    ):
        began = time.perf_counter()
        recording = Recording(folder, settings=settings, durability=durability, loops=loops)
        survey = Survey(recording, folder, seed=100 + number)
        survey.images(MANNERS + MANNERS[2:], every=6)
        (folder / "traced.db").unlink()
        _show(f"FULL, {durability}, {settings or 'checkpoints as they come'}", recording, survey, began)
        total += survey.met
    assert total["acknowledged commits lost"] == 0
    _check_met(
        total,
        "commits found that weren't acknowledged",
        "pages written by a checkpoint",
        "checkpoints that were cut short",
        "write-ahead logs begun",
        "writes torn in the write-ahead log",
        "writes torn in the file",
        "sectors of garbage in the journal",
        "sectors of garbage in the write-ahead log",
        "sectors of garbage in the file",
        "writes that came out of order",
        "names that weren't in the folder yet",
        "deletions",
    )


@pytest.mark.campaign
def test_campaign_without_an_fsync_for_each_commit_what_is_left_is_a_prefix(folder: Path) -> None:
    print()
    total: Counter[str] = Counter()
    for number, (durability, loops) in enumerate([("sync", 2), ("async", 3)]):
        began = time.perf_counter()
        recording = Recording(folder, synchronous="NORMAL", settings=SMALL_LOG, durability=durability, loops=loops)
        survey = Survey(recording, folder, seed=200 + number)
        survey.images(MANNERS + MANNERS[2:], every=6)
        (folder / "traced.db").unlink()
        _show(f"NORMAL, {durability}", recording, survey, began)
        total += survey.met
    _check_met(
        total, "acknowledged commits lost", "writes torn in the write-ahead log", "checkpoints that were cut short"
    )


def _show(what: str, recording: Recording, survey: Survey, began: float) -> None:
    took = time.perf_counter() - began
    print(f"{what}: {len(recording.trace)} entries, {survey.met['images']} images in {took:.0f} s", flush=True)
    print("   " + ", ".join(f"{name}: {count}" for name, count in sorted(survey.met.items())), flush=True)


def _check_met(met: Counter[str], *names: str) -> None:
    assert [name for name in names if met[name] == 0] == [], "the campaign hasn't met these"
