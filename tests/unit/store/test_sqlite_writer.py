"""The writer: groups, order, and what happens to it when loops and callers come to an end."""

import asyncio
import contextlib
import gc
import threading

import aiosqlite
import msgspec
import pytest
from sqlite_stores import in_writer, opened, query, run

from perdure.errors import StoreClosed, StoreError
from perdure.store.records import RunUpdate
from perdure.store.sqlite.store import SQLiteStore
from perdure.store.sqlite.writer import GROUP_LIMIT, LONE_COMMITS
from perdure.testing.store_laws.writing import Log, create, events, known, stored, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def hops(monkeypatch):
    """The calls into connections' threads."""
    calls = []
    execute = aiosqlite.Connection._execute

    async def counting(self, function, *args, **kwargs):
        calls.append(function)
        return await execute(self, function, *args, **kwargs)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", counting)
    return calls


def test_what_is_handed_in_at_once_is_committed_at_once(path):
    async def main():
        async with opened(path) as store:
            logs = [await create(store, f"run-{index}") for index in range(100)]
            before = store.commits
            await asyncio.gather(*[write(store, log) for log in logs])
            assert store.commits - before <= 2
            before = store.commits
            await asyncio.gather(*[store.next_epoch() for _ in range(2 * GROUP_LIMIT)])
            assert store.commits - before == 2

    run(main())


def test_what_is_handed_in_at_once_after_lone_commits_is_shared(path):
    """Whoever is the first carries his own; the others wait, and go together."""

    async def main():
        async with opened(path) as store:
            logs = [await create(store, f"run-{index}") for index in range(50)]
            for _ in range(LONE_COMMITS + 1):
                await write(store, logs[0])
            before = store.commits
            landings = [store.append(log.commit()) for log in logs]
            await asyncio.gather(*landings)
            assert store.commits - before <= 3

    run(main())


def test_a_lone_commit_is_one_call_into_the_thread(path, hops):
    """The first ones as those after them, when the caller carries its commit itself."""

    async def main():
        async with opened(path) as store:
            log = await create(store)
            for turn in range(LONE_COMMITS + 3):
                hops.clear()
                await write(store, log, events(turn), update=RunUpdate(f"status {turn % 2}"))
                assert len(hops) == 1

    run(main())


def test_commits_are_made_in_the_order_in_which_they_were_handed_in(path):
    """Also where a caller that carried its own commit is overtaken by nobody."""

    async def main():
        async with opened(path) as store:
            log = await create(store)
            for _ in range(LONE_COMMITS + 1):
                await write(store, log)
            commits = []
            for turn in range(50):
                commits.append(log.commit(events(turn)))
                log.took(commits[-1].rows)
            await asyncio.gather(*map(store.append, commits))
            assert await stored(store) == log.rows

    run(main())


def spoiled(log: Log, how: str):
    """Return a commit that can't be made, for a reason that isn't the fence's."""
    commit = log.commit()
    (row,) = commit.rows
    if how == "no text":
        return msgspec.structs.replace(commit, rows=(msgspec.structs.replace(row, events=b"\xff"),))
    if how == "too large a number":
        return msgspec.structs.replace(commit, rows=(msgspec.structs.replace(row, ts=1 << 70),))
    if how == "nothing where something must be":
        return msgspec.structs.replace(commit, rows=(msgspec.structs.replace(row, hash=None),))
    return msgspec.structs.replace(commit, rows=(row, row))


@pytest.mark.parametrize("how", ["no text", "too large a number", "nothing where something must be", "twice the same"])
@pytest.mark.parametrize("place", [0, 17, 39])
def test_one_that_cannot_be_done_does_not_take_the_others_with_it(path, how, place):
    """And it is told why, with an error of perdure's own."""

    async def main():
        async with opened(path) as store:
            logs = [await create(store, f"run-{index}") for index in range(40)]
            commits = [log.commit(events(1), events(2)) for log in logs]
            commits[place] = spoiled(logs[place], how)
            before = store.commits
            answers = await asyncio.gather(*map(store.append, commits), return_exceptions=True)
            assert store.commits - before < 15, "the others still share transactions"
            assert type(answers[place]) is StoreError
            assert answers[place].__cause__ is not None
            assert [answer for answer in answers if answer is not None] == [answers[place]]
            assert await stored(store, f"run-{place}") == logs[place].rows
            await asyncio.gather(*[store.next_epoch() for _ in range(3)])
            await write(store, logs[place])
            with pytest.raises(StoreError):
                await store.append(spoiled(logs[place], how))
            assert await stored(store, f"run-{place}") == logs[place].rows

    run(main())


def test_a_cancelled_caller_that_carried_its_commit_holds_nobody_up(path):
    """What was handed in meanwhile is carried on by a task, and nothing is lost."""

    async def main():
        async with opened(path) as store:
            log, others = await create(store), [await create(store, f"other-{index}") for index in range(5)]
            for _ in range(30):
                for _ in range(LONE_COMMITS + 1):
                    await write(store, log)
                commit = log.commit()
                alone = asyncio.ensure_future(store.append(commit))
                await asyncio.sleep(0)
                waiting = [asyncio.ensure_future(write(store, other)) for other in others]
                await asyncio.sleep(0)
                alone.cancel()
                await asyncio.gather(*waiting)
                with contextlib.suppress(asyncio.CancelledError):
                    await alone
                log.took(commit.rows)
                assert await stored(store) == log.rows
            for other in others:
                assert await stored(store, other.run_id) == other.rows

    run(main())


def test_a_writer_whose_task_is_cancelled_goes_on(path):
    """``asyncio.run`` cancels every task at its end; those that clean up then still get their answers."""

    async def main():
        async with opened(path) as store:
            logs = [await create(store, f"run-{index}") for index in range(4)]
            for turn in range(40):
                writing = [asyncio.ensure_future(write(store, log)) for log in logs]
                for _ in range(turn % 8):
                    await asyncio.sleep(0)
                for task in asyncio.all_tasks():
                    if task.get_name() == "perdure-writer":
                        task.cancel()
                await asyncio.gather(*writing)
            for log in logs:
                assert await stored(store, log.run_id) == log.rows
                assert len(log.rows) == 41

    run(main())


def test_a_loop_that_ends_lets_tasks_write_their_last(path):
    """With no store closed, and every task cancelled at once."""
    written = []

    async def last_words(store, log):
        try:
            await asyncio.Event().wait()
        finally:
            await write(store, log)
            written.append(log.run_id)

    async def main():
        store = SQLiteStore(path)
        await store.open()
        tasks = []
        for index in range(5):
            log = await create(store, f"run-{index}")
            tasks.append(asyncio.ensure_future(last_words(store, log)))
        await asyncio.sleep(0)

    with pytest.warns(ResourceWarning, match="dropped before it was closed"):
        asyncio.run(main())
        gc.collect()
    assert len(written) == 5
    assert query(path, "SELECT count(*) FROM log") == [(10,)]


def test_a_store_that_is_dropped_ends_its_threads_and_says_so(path):
    async def main():
        store = SQLiteStore(path)
        await store.open()
        await create(store)
        return [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]

    before = set(threading.enumerate())
    with pytest.warns(ResourceWarning, match="dropped before it was closed"):
        threads = asyncio.run(main())
        gc.collect()
    assert len(threads) == 2
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert not path.with_name("runs.db-wal").exists()


def test_a_store_is_used_in_the_loop_that_opened_it(path):
    store = SQLiteStore(path)
    asyncio.run(store.open())

    async def elsewhere():
        for call in (store.next_epoch, lambda: store.get("run"), store.open, store.close):
            with pytest.raises(StoreClosed, match="another event loop"):
                await call()

    asyncio.run(elsewhere())
    with pytest.warns(ResourceWarning):
        store = None
        gc.collect()


def test_a_store_can_be_opened_in_one_loop_after_another(path):
    store = SQLiteStore(path)

    async def main(turn):
        await asyncio.gather(*[store.open() for _ in range(3)])
        await create(store, f"run-{turn}")
        await asyncio.gather(*[store.close() for _ in range(3)])

    for turn in range(3):
        asyncio.run(main(turn))
    assert query(path, "SELECT count(*) FROM run") == [(3,)]


def test_closing_while_commits_wait_finishes_them(path):
    """Those in the thread, those that wait behind them, and nothing after."""

    async def main():
        async with opened(path) as store:
            logs = [await create(store, f"run-{index}") for index in range(10)]
            for _ in range(LONE_COMMITS + 1):
                await write(store, logs[0])
            writing = [asyncio.ensure_future(write(store, log)) for log in logs]
            await asyncio.sleep(0)
            closing = asyncio.ensure_future(store.close())
            await asyncio.sleep(0)
            with pytest.raises(StoreClosed):
                await write(store, logs[0])
            await asyncio.gather(closing, *writing)
        return logs

    logs = run(main())
    assert query(path, "SELECT count(*) FROM log") == [(sum(len(log.rows) for log in logs),)]


def test_closing_is_finished_though_the_caller_is_cancelled(path):
    async def main():
        store = SQLiteStore(path)
        for turn in range(12):
            await store.open()
            logs = [await create(store, f"run-{turn}-{index}") for index in range(3)]
            writing = [asyncio.ensure_future(write(store, log)) for log in logs]
            await asyncio.sleep(0)
            closing = asyncio.ensure_future(store.close())
            for _ in range(turn + 1):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(*writing)
            with contextlib.suppress(asyncio.CancelledError):
                await closing
            with pytest.raises(StoreClosed):
                await store.next_epoch()
            assert not path.with_name("runs.db-wal").exists(), "both connections are closed"

    run(main())


def test_opening_that_is_cancelled_leaves_a_store_that_can_be_opened(path):
    async def main():
        store = SQLiteStore(path)
        for ticks in (0, 1, 2, 3, 5, 8, 13, 21, 50):
            opening = asyncio.ensure_future(store.open())
            for _ in range(ticks):
                await asyncio.sleep(0)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opening
                await store.close()
            await store.open()
            await store.next_epoch()
            await store.close()

    run(main())


def test_reading_is_possible_while_a_commit_waits(path):
    """It has a connection of its own, and sees what was committed before."""

    async def main():
        async with opened(path) as store:
            log = await create(store)
            await in_writer(store, "BEGIN IMMEDIATE")
            await in_writer(store, "UPDATE run SET status = 'FAILED'")
            assert (await known(store)).status == "RUNNING"
            await in_writer(store, "ROLLBACK")
            await write(store, log)

    run(main())
