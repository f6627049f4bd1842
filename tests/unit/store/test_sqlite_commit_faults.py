"""COMMIT that raises: whether it happened is found out before anybody gets an answer."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from sqlite_stores import opened, query, run

from perdure.errors import Fenced, OutcomeUnknown, StoreError, StoreFaulty, StoreFull
from perdure.store.records import Lease
from perdure.store.sqlite import connection as connections
from perdure.store.sqlite import transactions
from perdure.testing.store_laws.leases import row_of
from perdure.testing.store_laws.writing import (
    FOREVER,
    START,
    WAITING,
    Log,
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


def failure(code: int = sqlite3.SQLITE_IOERR_WRITE) -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_TESTED"
    return error


class Faults:
    """What goes wrong with the statements to come; each is done once, for the next COMMIT or ROLLBACK."""

    def __init__(self) -> None:
        self.commit: list[str] = []
        self.roll_back = 0
        self.unreadable = False
        self.code = sqlite3.SQLITE_IOERR_WRITE
        self.meanwhile = lambda: None
        self.commits = 0


@pytest.fixture
def faults(monkeypatch):
    faults = Faults()

    class Faulty(connections.FunctionConnection):
        def execute(self, sql, parameters=(), /):
            word = sql.rstrip(";")
            if word == "COMMIT":
                faults.commits += 1
                fault = faults.commit.pop(0) if faults.commit else "none"
                if fault == "happened":
                    super().execute(sql)
                    faults.meanwhile()
                if fault == "rolled back":
                    super().execute("ROLLBACK")
                if fault != "none":
                    raise failure(faults.code)
            if word == "ROLLBACK" and faults.roll_back:
                faults.roll_back -= 1
                raise failure()
            if word.startswith("SELECT hash") and faults.unreadable:
                raise failure(sqlite3.SQLITE_IOERR_READ)
            return super().execute(sql, parameters)

    monkeypatch.setattr(connections, "FunctionConnection", Faulty)
    monkeypatch.setattr(transactions, "PAUSES_S", (0.0, 0.0, 0.0))
    return faults


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.mark.parametrize("outcome", ["happened", "didn't happen", "rolled back"])
def test_a_commit_that_raised_once_is_there_once(path, faults, outcome):
    async def main():
        async with opened(path) as store:
            log = await create(store)
            faults.commit = [outcome]
            faults.commits = 0
            await write(store, log, events(1), events(2))
            assert faults.commits == (1 if outcome == "happened" else 2)
            assert await stored(store) == log.rows
            await write(store, log)
            assert await stored(store) == log.rows

    run(main())


@pytest.mark.parametrize("outcome", ["happened", "didn't happen"])
def test_everything_works_over_a_commit_that_raised(path, faults, outcome):
    """Each operation gives the answer that it would have given."""

    async def main():
        async with opened(path) as store:
            faults.commit = [outcome]
            epoch = await store.next_epoch()
            log = Log("run", epoch)
            faults.commit = [outcome]
            new = log.creation(owner=owner(), lease_until=START)
            info, created = await store.create(new)
            assert created, "it was this call that created it"
            log.took(new.rows)
            assert (info.epoch, info.owner) == (epoch, owner())
            faults.commit = [outcome]
            assert (await store.create(new)) == (info, False)
            faults.commit = [outcome]
            (claimed,) = await store.claim(owner("me"), graphs=["graph"], now=START, until=FOREVER, limit=5)
            assert row_of(claimed) == await known(store)
            assert claimed.owner == owner("me"), "the lease isn't lost until it runs out"
            faults.commit = [outcome]
            assert await store.claim(owner("me"), graphs=["graph"], now=START, until=FOREVER, limit=5) == []
            lease = Lease("run", claimed.epoch, FOREVER + 1)
            faults.commit = [outcome]
            assert await store.heartbeat([lease, Lease("run", epoch, 0)]) == ["run"]
            assert (await known(store)).lease_until == FOREVER + 1
            for call in (
                store.save_plan("f", "graph", b"{}"),
                store.park("run", claimed.epoch, "STALLED", "why"),
                store.release([lease]),
            ):
                faults.commit = [outcome]
                await call
            assert await store.plan("f") == b"{}"
            assert (await known(store)).status == "STALLED"
            assert (await store.next_epoch()) > claimed.epoch

    run(main())


@pytest.mark.parametrize("outcome", ["happened", "didn't happen", "rolled back"])
def test_what_was_put_in_with_its_lease_by_a_commit_that_raised_is_there_with_it(path, faults, outcome):
    """Once, and under the lease that the caller was told of."""

    async def main():
        async with opened(path) as store:
            await create(store, update=WAITING, opened=[wait()])
            faults.commit = [outcome]
            put, entry, claimed = await store.put_and_claim(answer(), owner("me"), now=START, until=FOREVER)
            assert (put, row_of(claimed)) == ("accepted", await known(store))
            assert [*await store.inbox("run")] == [entry] == [*claimed.inbox]
            faults.commit = [outcome]
            assert await store.put_and_claim(answer(), owner("me"), now=START, until=FOREVER) == ("same", entry, None)

    run(main())


@pytest.mark.parametrize("outcome", ["happened", "didn't happen", "rolled back"])
def test_what_was_put_in_by_a_commit_that_raised_is_there_once(path, faults, outcome):
    """It is accepted, by the call that put it in, and taken out once."""

    async def main():
        async with opened(path) as store:
            log = await create(store, update=WAITING, opened=[wait()])
            for new in (answer(), signal(), signal()):
                faults.commit = [outcome]
                put, entry = await store.put(new)
                assert put == "accepted"
                assert [*await store.inbox("run")][-1] == entry
            numbers = [entry.number for entry in await store.inbox("run")]
            assert len(numbers) == 3
            faults.commit = [outcome]
            assert (await store.put(answer()))[0] == "same"
            faults.commit = [outcome]
            await write(store, log, closed=["task"], consumed=numbers, update=WAITING, release=True)
            assert [*await store.inbox("run")] == [*await store.waits()] == []
            assert await store.put(answer()) == ("same", None)

    run(main())


@pytest.mark.parametrize("outcome", ["happened", "didn't happen"])
def test_a_group_is_answered_as_a_whole(path, faults, outcome):
    """Whoever was refused in it stays refused, also if it is done again."""

    async def main():
        async with opened(path) as store:
            logs = [await create(store, f"run-{index}") for index in range(5)]
            stale = logs[0].commit()
            await write(store, logs[0])
            commits = [log.commit(events(1, 2)) for log in logs]
            faults.commit = [outcome]
            new = Log("new", await store.next_epoch())
            faults.commit = [outcome]
            calls = [store.append(stale), *map(store.append, commits), store.create(new.creation()), store.next_epoch()]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(answers[0], Fenced)
            assert answers[1:6] == [None] * 5
            assert answers[6][1], "it was created by this call"
            assert answers[7] == new.epoch + 1 or outcome != "happened"
            for log, commit in zip(logs, commits, strict=True):
                assert await stored(store, log.run_id) == (*log.rows, *commit.rows)

    run(main())


def test_a_commit_is_found_though_others_have_come_after_it(path, faults):
    """Another process has taken the run over in the moment between COMMIT and the look."""

    async def main():
        async with opened(path) as store:
            log = await create(store)
            commit = log.commit(events("mine"))
            log.took(commit.rows)
            (after,) = log.following(events("theirs"))

            def overtake():
                with closing(sqlite3.connect(path, isolation_level=None)) as other:
                    other.execute("UPDATE run SET epoch = epoch + 1")
                    other.execute(
                        "INSERT INTO log (run, first, count, epoch, ts, events, hash) VALUES (1, ?, 1, ?, ?, ?, ?)",
                        (after.first, after.epoch, after.ts, after.events.decode(), after.hash),
                    )

            faults.commit, faults.meanwhile = ["happened"], overtake
            await store.append(commit)
            assert await stored(store) == (*log.rows, after)

    run(main())


@pytest.mark.parametrize(
    ("code", "kind"), [(sqlite3.SQLITE_FULL, StoreFull), (sqlite3.SQLITE_IOERR_WRITE, StoreFaulty)]
)
def test_a_commit_that_goes_on_failing_did_not_happen(path, faults, code, kind):
    """The file says so; the store can be used again afterwards."""

    async def main():
        async with opened(path) as store:
            log = await create(store)
            before = await known(store)
            faults.code, faults.commit, faults.commits = code, ["didn't happen"] * 4, 0
            with pytest.raises(kind) as raised:
                await write(store, log)
            assert type(raised.value) is kind
            assert isinstance(raised.value.__cause__, sqlite3.Error)
            assert faults.commits == 4
            assert await known(store) == before
            await write(store, log)
            assert await stored(store) == log.rows

    run(main())


def test_of_a_commit_that_goes_on_failing_the_last_try_may_have_happened(path, faults):
    async def main():
        async with opened(path) as store:
            log = await create(store)
            faults.commit = ["didn't happen"] * 3 + ["happened"]
            await write(store, log)
            assert await stored(store) == log.rows

    run(main())


def test_an_fsync_that_goes_on_failing_leaves_the_outcome_unknown(path, faults):
    """The bytes may be on the disk all the same, and come back after a power cut."""

    async def main():
        async with opened(path) as store:
            log = await create(store)
            faults.code, faults.commit = sqlite3.SQLITE_IOERR_FSYNC, ["didn't happen"] * 4
            with pytest.raises(OutcomeUnknown, match="can't be told whether it happened"):
                await write(store, log)

    run(main())


@pytest.mark.parametrize("outcome", ["happened", "didn't happen"])
def test_where_the_file_cannot_be_read_either_the_outcome_is_unknown(path, faults, outcome):
    async def main():
        async with opened(path) as store:
            log = await create(store)
            faults.commit, faults.unreadable = [outcome], True
            with pytest.raises(OutcomeUnknown):
                await write(store, log)
            faults.unreadable = False
            rows = len(await stored(store))
            assert rows == (2 if outcome == "happened" else 1)
            assert query(path, "SELECT count(*) FROM log") == [(rows,)]

    run(main())


def test_a_transaction_that_cannot_be_rolled_back_is_not_gone_on_with(path, faults):
    async def main():
        async with opened(path) as store:
            log, other = await create(store), await create(store, "other")
            faults.commit, faults.roll_back = ["didn't happen"], 1
            await write(store, log)
            faults.commit, faults.roll_back = ["didn't happen"] * 4, 7
            with pytest.raises(StoreError):
                await write(store, log)
            faults.roll_back = 0
            await write(store, other)
            assert await stored(store) == log.rows
            assert await stored(store, "other") == other.rows

    run(main())
