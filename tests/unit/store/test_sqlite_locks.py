"""Other processes that write to the same file."""

import asyncio
import sqlite3
import threading
import time

import pytest
from sqlite_stores import LockHolder, opened, python, run

from perdure.errors import StoreLocked
from perdure.store.records import Lease
from perdure.store.sqlite import patience
from perdure.testing.store_laws.writing import create, known, stored, write


@pytest.fixture
def waited(monkeypatch):
    """An event that is set when somebody has found the file locked and waits."""
    event = threading.Event()

    class Time:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def sleep(seconds: float) -> None:
            event.set()
            time.sleep(seconds)

    monkeypatch.setattr(patience, "time", Time)
    return event


def test_a_file_that_stays_locked_is_given_up_after_the_deadline(tmp_path):
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path, lock_timeout_s=0.2) as store:
            log = await create(store)
            with LockHolder(path) as holder:
                began = time.monotonic()
                with pytest.raises(StoreLocked, match="end it"):
                    await write(store, log)
                assert 0.2 <= time.monotonic() - began < 5
                assert await known(store), "reading needs no lock"
                holder.let_go()
            await write(store, log)
            assert await stored(store) == log.rows

    run(main())


def test_many_that_wait_for_a_lock_wait_for_one_deadline(tmp_path):
    """They share a transaction, so they share its fate; one by one they would wait for minutes."""
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path, lock_timeout_s=0.2) as store:
            logs = [await create(store, f"run-{index}") for index in range(50)]
            with LockHolder(path):
                began = time.monotonic()
                calls = [store.append(log.commit()) for log in logs]
                calls.append(store.heartbeat([Lease("run-0", 1, 1)]))
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                assert time.monotonic() - began < 3
            assert {type(outcome) for outcome in outcomes} == {StoreLocked}
            assert len({id(outcome) for outcome in outcomes}) == len(outcomes)
            await asyncio.gather(*[write(store, log) for log in logs])

    run(main())


def test_a_lock_that_is_released_in_time_is_no_error(tmp_path, waited):
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path) as store:
            log = await create(store)
            with LockHolder(path) as holder:
                writing = asyncio.ensure_future(write(store, log))
                await asyncio.to_thread(waited.wait, 20)
                assert not writing.done()
                holder.let_go()
                await writing
            assert await stored(store) == log.rows

    run(main())


def test_opening_waits_for_a_lock_too(tmp_path, waited):
    """Of a process that is just making the file."""
    path = tmp_path / "runs.db"
    path.touch()

    async def main():
        with LockHolder(path) as holder:
            opening = asyncio.ensure_future(open_and_create(path))
            await asyncio.to_thread(waited.wait, 20)
            holder.let_go()
            await opening

    run(main())


async def open_and_create(path):
    async with opened(path) as store:
        await create(store)


def test_a_new_file_is_made_once_by_many(tmp_path):
    """Stores that are opened at once on a file that isn't there yet."""
    path = tmp_path / "runs.db"

    async def one(index):
        async with opened(path) as store:
            await create(store, f"run-{index}")
            return await store.next_epoch()

    async def main():
        return await asyncio.gather(*[one(index) for index in range(16)])

    assert len(set(run(main()))) == 16


OPEN_AND_CREATE = """
import asyncio, sys
from perdure.store.sqlite.store import SQLiteStore
from perdure.testing.store_laws.writing import create, write

async def main(path, name):
    store = SQLiteStore(path)
    await store.open()
    log = await create(store, name)
    for _ in range(30):
        await write(store, log)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_processes_share_a_new_file(tmp_path):
    path = tmp_path / "runs.db"

    async def main():
        names = [f"process-{index}" for index in range(3)]
        done = await asyncio.gather(*[asyncio.to_thread(python, OPEN_AND_CREATE, path, name) for name in names])
        assert [(process.returncode, process.stderr) for process in done] == [(0, "")] * 3
        async with opened(path) as store:
            for name in names:
                assert len(await stored(store, name)) == 31

    run(main())


def test_of_two_writers_neither_starves(tmp_path):
    """Each of two stores gets through with a load that would keep the other out for good if locks weren't shared."""
    path = tmp_path / "runs.db"

    async def load(store: object, name: str) -> None:
        log = await create(store, name)
        for _ in range(100):
            await write(store, log)

    async def main():
        async with opened(path) as one, opened(path) as two:
            await asyncio.gather(load(one, "one"), load(two, "two"))
            assert len(await stored(one, "two")) == len(await stored(two, "one")) == 101

    run(main())


def test_patience_ends_with_the_error_that_it_waited_out():
    def locked():
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    def broken():
        raise sqlite3.OperationalError("no such table")

    began = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        patience.patiently(locked, 0.05)
    assert time.monotonic() - began >= 0.05
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        patience.patiently(broken, 10)
