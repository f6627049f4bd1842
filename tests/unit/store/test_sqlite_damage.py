"""Damage to the file: it is noticed, said with perdure's own errors, and nothing that was changed is given out."""

import random
import sqlite3
from contextlib import closing

import pytest
from sqlite_stores import in_writer, opened, query, run

from perdure.errors import PerdureError, StoreCorrupt, StoreForeign
from perdure.store.chain import blob_name
from perdure.testing.store_laws.keeping import snapshot
from perdure.testing.store_laws.writing import (
    answer,
    create,
    events,
    known,
    owner,
    signal,
    stored,
    wait,
    write,
)

RUNS, PAGE = 12, 8192


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a file of many pages, and the logs in it."""
    path = tmp_path_factory.mktemp("sound") / "runs.db"

    async def main():
        logs = {}
        async with opened(path, synchronous="NORMAL") as store:
            for index in range(RUNS):
                run_id = f"run-{index}"
                log = logs[run_id] = await create(store, run_id, driven_until=1 << 52, opened=[wait(run_id=run_id)])
                await store.put((answer if index % 2 else signal)(run_id=run_id))
                await store.save_snapshot(log.run_id, snapshot(1))
            for turn in range(20):
                for log in logs.values():
                    await write(store, log, events(turn, "x" * 600))
        return logs

    logs = run(main())
    return path.read_bytes(), logs


@pytest.fixture
def place(tmp_path, sound):
    """Write a file of given bytes."""
    path = tmp_path / "runs.db"

    def write_bytes(data: bytes):
        path.write_bytes(data)
        return path

    return write_bytes


def test_pages_that_were_overwritten_in_the_midst_of_the_logs_are_noticed(place, sound):
    data, logs = sound
    first = len(data) // PAGE * 3 // 4  # behind the pages that hold the schema
    path = place(data[: first * PAGE] + b"\xaa" * (3 * PAGE) + data[(first + 3) * PAGE :])

    async def main():
        async with opened(path) as store:
            corrupt = 0
            for run_id, log in logs.items():
                try:
                    assert await stored(store, run_id) == log.rows
                except StoreCorrupt as error:
                    corrupt += 1
                    assert str(path) in str(error)
                    assert "backup" in str(error)
            return corrupt

    assert run(main()) > 0


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_damaged_nothing_wrong_is_given_out(place, sound, seed):
    """Rows are as they were written or refused, and no error of SQLite or of Python comes through."""
    data, logs = sound
    chance = random.Random(seed)
    seen = set()

    async def main(path):
        async with opened(path) as store:
            await attempt(store.list())
            await attempt(store.orphans(0))
            for run_id, log in logs.items():
                rows = await attempt(stored(store, run_id))
                assert rows is None or rows == log.rows[: len(rows)]
                if rows is not None and len(rows) < len(log.rows):
                    info = await attempt(store.get(run_id))
                    assert info is None or info.run_id != run_id or info.last_seq >= rows[-1].first
                await attempt(store.get(run_id))
                await attempt(store.snapshot(run_id))
                waits = await attempt(store.waits(run_id=run_id))
                assert waits is None or all(each.run_id == run_id for each in waits)
                await attempt(store.inbox(run_id))
                await attempt(store.put(answer(b"2", run_id=run_id)))
                await attempt(store.put_and_claim(signal(run_id=run_id), owner(), now=1 << 53, until=1 << 53))
            await attempt(store.mail(owner()))
            await attempt(store.next_due(["graph"]))
            await attempt(store.version())
            await attempt(store.claim(owner(), graphs=["graph"], now=1 << 53, until=1 << 54, limit=100))
            await attempt(store.append(logs["run-0"].commit()))
            assert not store._writing.in_transaction

    async def attempt(call):
        try:
            return await call
        except PerdureError as error:
            seen.add(type(error))
            return None

    for _ in range(12):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 5, 40))):
            at, size = chance.randrange(100, len(data)), chance.choice((1, 1, 8, 100, 5000))
            damaged[at : at + size] = chance.randbytes(size)[: len(data) - at]
        path = place(bytes(damaged))
        for beside in (path.with_name("runs.db-wal"), path.with_name("runs.db-shm")):
            beside.unlink(missing_ok=True)
        try:
            run(main(path))
        except (StoreCorrupt, StoreForeign) as error:
            seen.add(type(error))
    assert StoreCorrupt in seen


@pytest.mark.parametrize("size", [PAGE // 2, PAGE, PAGE * 3, PAGE * 3 + 17])
def test_a_file_that_was_cut_short_is_noticed(place, sound, size):
    data, logs = sound
    path = place(data[:size])

    async def main():
        async with opened(path) as store:
            for run_id, log in logs.items():
                assert await stored(store, run_id) == log.rows

    with pytest.raises((StoreCorrupt, StoreForeign)):
        run(main())


def test_a_blob_that_was_changed_is_noticed(tmp_path):
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path) as store:
            log = await create(store)
            await store.append(log.commit(blobs={blob_name(b"data"): b"data"}))
            query(path, "UPDATE blob SET data = x'00'")
            await store.blob("run", blob_name(b"data"))

    with pytest.raises(StoreCorrupt, match="isn't what was written"):
        run(main())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE run SET owner = '{'",
        "UPDATE run SET owner = '{}'",
        "UPDATE run SET owner = CAST(x'ff' AS TEXT)",
        "UPDATE run SET tags = '['",
        "UPDATE run SET tags = CAST(x'7b80' AS TEXT)",
        "UPDATE run SET error = CAST(x'ff' AS TEXT)",
        "UPDATE run SET status = 'DREAMING'",
    ],
)
def test_a_run_whose_row_cannot_be_read_is_stalled_and_the_others_are_not(tmp_path, damage):
    path = tmp_path / "runs.db"
    due = {"graphs": ("graph",), "now": 9, "until": 10, "limit": 5}

    async def main():
        async with opened(path) as store:
            log = await create(store, driven_until=5)
            await create(store, "other", driven_until=5)
            query(path, f"{damage} WHERE run_id = 'run'")
            infos = [known(store), store.create(log.creation()), store.claim(owner(), **due, run_id="run", anyway=True)]
            one, (there, is_new), none = [await info for info in infos]
            for info in (one, there, *[each for each in await store.list() if each.run_id == "run"]):
                assert (info.status, info.owner) == ("STALLED", None)
                assert "the row of the run isn't what is ever written" in info.error
            assert (is_new, none) == (False, [])
            assert {info.run_id for info in await store.list()} == {"run", "other"}
            assert {info.run_id for info in await store.orphans(0)} >= {"other"}
            assert await store.mail(owner()) == {}
            assert [info.run_id for info in await store.claim(owner(), **due)] == ["other"]
            assert query(path, "SELECT status, owner FROM run WHERE run_id = 'run'") == [("STALLED", None)]
            assert query(path, "SELECT error FROM run WHERE run_id = 'run'") == [(one.error,)]
            assert await stored(store) == log.rows, "its log is there, to be looked at"

    run(main())


def test_a_run_whose_id_is_no_text_any_more_is_set_aside(tmp_path):
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path) as store:
            await create(store)
            await create(store, "other")
            query(path, "UPDATE run SET run_id = CAST(x'72ff' AS TEXT) WHERE run_id = 'run'")
            claimed = await store.claim(owner(), graphs=("graph",), now=9, until=10, limit=5)
            assert [info.run_id for info in claimed] == ["other"]
            assert {(info.run_id, info.status) for info in await store.list()} >= {("r\\xff", "STALLED")}

    run(main())


def test_epochs_go_on_where_their_counter_was_set_back(tmp_path):
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path) as store:
            log = await create(store, driven_until=5)
            query(path, "UPDATE counter SET value = 0")
            (claimed,) = await store.claim(owner(), graphs=("graph",), now=9, until=10, limit=5)
            assert claimed.epoch > log.epoch
            query(path, "DELETE FROM counter")
            with pytest.raises(StoreCorrupt, match="counter of epochs"):
                await store.next_epoch()

    run(main())


def test_a_damaged_page_stops_its_run_and_no_other(place, sound):
    data, logs = sound
    path = place(data)
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("SELECT pageno FROM dbstat WHERE name = 'snapshot' AND pagetype = 'leaf'").fetchall()
    at = (pages[0][0] - 1) * PAGE
    path.write_bytes(data[:at] + b"\xaa" * PAGE + data[at + PAGE :])

    async def main():
        async with opened(path) as store:
            with pytest.raises(StoreCorrupt):
                await store.save_snapshot("run-0", snapshot(2))
            await write(store, logs["run-1"])
            assert await in_writer(store, "SELECT count(*) FROM log WHERE run = 2") == [(22,)]

    run(main())


@pytest.mark.parametrize(
    "change",
    ["schema = 'no JSON'", "title = CAST(x'ff' AS TEXT)"],
)
def test_a_wait_that_cannot_be_read_hides_no_other(tmp_path, change):
    path = tmp_path / "runs.db"

    async def main():
        async with opened(path) as store:
            for run_id in ("one", "two"):
                await create(store, run_id, opened=[wait(run_id=run_id)])
            await in_writer(
                store, f"UPDATE wait SET {change} WHERE run = (SELECT number FROM run WHERE run_id = 'one')"
            )
            assert [each.run_id for each in await store.waits()] == ["two"]
            with pytest.raises(StoreCorrupt):
                await store.waits(run_id="one")

    run(main())
