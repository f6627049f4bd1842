"""Whether a file has stayed as it was is told by the time of its -wal file, and never wrongly."""

import os

import pytest
from sqlite_stores import opened, run

from perdure import SQLiteStore
from perdure.store.sqlite import unchanged
from perdure.store.sqlite.unchanged import COARSE_S, FINE_S, STANDS_S, Unchanged
from perdure.testing.store_laws.writing import create, write

SECOND = 1_000_000_000
LONG_AGO = 1_000 * SECOND + 1


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(unchanged, "time", clock)
    return clock


@pytest.fixture
def wal(tmp_path):
    """Return what writes to the -wal file of tmp_path/runs.db, at a time in nanoseconds."""

    def written(at: int) -> None:
        (tmp_path / "runs.db-wal").write_bytes(b"as large as before")
        os.utime(tmp_path / "runs.db-wal", ns=(at, at))

    return written


def test_an_answer_stands_until_the_file_is_written(tmp_path, clock, wal):
    wal(LONG_AGO)
    file = Unchanged(tmp_path / "runs.db")
    assert file.version() is None
    clock.now += FINE_S
    assert file.version() is None, "it hasn't been asked for yet"
    assert file.note(7) == 7
    assert file.version() == 7
    wal(LONG_AGO + 1)
    assert file.version() is None


@pytest.mark.parametrize(("tick", "while_s"), [(LONG_AGO, FINE_S), (LONG_AGO - 1, COARSE_S)])
def test_of_two_writes_in_one_tick_the_second_is_seen_as_well(tmp_path, clock, wal, tick, while_s):
    """An answer doesn't stand as long as the file may be written once more at what counts for the same time."""
    wal(tick)
    file = Unchanged(tmp_path / "runs.db")
    for _ in range(3):
        assert file.version() is None
        file.note(1)
        clock.now += while_s * 0.3
    wal(tick)
    assert file.version() is None
    file.note(2)
    clock.now += while_s * 0.2
    assert file.version() is None
    file.note(2)
    assert file.version() == 2


def test_an_answer_does_not_stand_for_long(tmp_path, clock, wal):
    """Should a file system not tell of writes."""
    wal(LONG_AGO)
    file = Unchanged(tmp_path / "runs.db")
    file.version()
    clock.now += FINE_S
    file.version()
    file.note(7)
    clock.now += STANDS_S * 0.9
    assert file.version() == 7
    clock.now += STANDS_S * 0.2
    assert file.version() is None


def test_what_cannot_be_told_is_asked_for(tmp_path, clock):
    """There is no -wal file before anything is written, nor once it was taken over into the file."""
    file = Unchanged(tmp_path / "runs.db")
    for _ in range(3):
        assert file.version() is None
        file.note(1)
        clock.now += COARSE_S


def test_a_store_that_is_left_alone_asks_nobody_and_sees_each_commit_of_another(tmp_path, clock):
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path) as store, opened(path) as other:
            log = await create(other)
            asked = []
            real = store._reader.ask
            store._reader.ask = lambda function: (asked.append(function), real(function))[1]
            for _ in range(3):
                os.utime(f"{path}-wal", ns=(LONG_AGO, LONG_AGO))
                seen = [await store.version()]
                clock.now += FINE_S
                seen += [await store.version() for _ in range(5)]
                assert len(asked) == 2
                assert len(set(seen)) == 1
                await write(other, log)
                assert await store.version() != seen[-1]
                asked.clear()
                clock.now += COARSE_S

    run(main())


def test_an_answer_to_one_connection_does_not_stand_for_the_next(tmp_path, clock):
    """SQLite counts for each connection by itself: the same number may mean another state of the file."""
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path) as other:
            await create(other)
            os.utime(f"{path}-wal", ns=(LONG_AGO, LONG_AGO))
            store = SQLiteStore(path, read_only=True)
            for _ in range(2):
                await store.open()
                asked = []
                real = store._reader.ask
                store._reader.ask = lambda function, asked=asked, real=real: (asked.append(function), real(function))[1]
                await store.version()
                clock.now += FINE_S
                await store.version()
                await store.version()
                assert len(asked) == 2
                await store.close()

    run(main())
