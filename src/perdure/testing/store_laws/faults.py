"""Laws about what goes wrong on the caller's side: answers that are lost, callers that are cancelled, stores that are closed.

A caller that is cancelled learns nothing about its commit. What it, or whoever comes after it, can do is to try again: if the
commit is there, the fence refuses it, and if it isn't, it is made. Either way it is there once, and whole.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from perdure.errors import Fenced, StoreClosed
from perdure.store.chain import blob_name
from perdure.store.port import Store
from perdure.store.records import Append, Lease
from perdure.testing.store_laws.keeping import snapshot
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import (
    FOREVER,
    START,
    Log,
    create,
    events,
    known,
    owner,
    signal,
    stored,
    write,
)

CANCELLATIONS = 500
SEED = 20_231


class FaultLaws(Laws):
    """Lost answers, cancelled callers, closed stores."""

    @law
    async def test_a_commit_whose_answer_was_lost_is_refused_when_repeated(self, store: Store) -> None:
        """It is in the log once, with the hash by which it can be told."""
        log = await create(store)
        commit = log.commit(events(1), events(2, 3))
        await store.append(commit)
        with pytest.raises(Fenced):
            await store.append(commit)
        assert tuple(await store.read("run", log.seq)) == commit.rows

    @law
    async def test_a_creation_whose_answer_was_lost_finds_the_run_when_repeated(self, store: Store) -> None:
        """Under the epoch and the owner that it was created with."""
        log = Log("run", await store.next_epoch())
        run = log.creation(owner=owner("me"), lease_until=FOREVER)
        await store.create(run)
        info, created = await store.create(run)
        assert not created
        assert (info.epoch, info.owner, info.head) == (log.epoch, owner("me"), run.rows[-1].hash)

    @law
    async def test_a_claim_whose_answer_was_lost_holds_until_the_lease_runs_out(self, store: Store) -> None:
        """So nobody drives the run for a while, and never two."""
        await create(store)
        (lost,) = await store.claim(owner(), graphs=["graph"], now=START, until=START + 10, limit=1)
        assert await store.claim(owner(), graphs=["graph"], now=START + 9, until=FOREVER, limit=1) == []
        (info,) = await store.claim(owner(), graphs=["graph"], now=START + 10, until=FOREVER, limit=1)
        assert info.epoch > lost.epoch

    @law
    async def test_a_cancelled_caller_leaves_the_whole_commit_or_nothing(self, store: Store) -> None:
        """Wherever it is cancelled; and the store goes on."""
        await self.cancel_callers(store, CANCELLATIONS, SEED)

    async def cancel_callers(self, store: Store, count: int, seed: int) -> Counter[str]:
        """Cancel so many callers, each at a random point, and check after each what is there.

        Returns:
            How often the caller had its answer, was cancelled and its commit had happened, or had not.
        """
        chance = random.Random(seed)  # noqa: S311 - it is to be repeatable
        other = self.make_store()
        await other.open()
        seen: Counter[str] = Counter()
        logs = [await create(store, f"run-{index}") for index in range(6)]
        for turn in range(count):
            log, *company = chance.sample(logs, chance.choice((1, 1, 3)))
            blob = b"%d" % turn
            contents = [events(turn, *range(chance.randrange(3))) for _ in range(chance.randint(1, 3))]
            commit = log.commit(*contents, blobs={blob_name(blob): blob})
            beside = [asyncio.ensure_future(_write(store, friend)) for friend in company]
            answered = await cancelled(store.append(commit), _patience(chance))
            await asyncio.gather(*beside)
            try:
                await other.append(commit)
            except Fenced:
                seen["answered" if answered else "cancelled, and it had happened"] += 1
            else:
                assert not answered, f"seed {seed}, turn {turn}: an acknowledged commit wasn't there"
                seen["cancelled, and it had not happened"] += 1
            found = tuple(await other.read(log.run_id, log.seq))
            assert found == commit.rows, f"seed {seed}, turn {turn}: a commit isn't there once and whole"
            assert await other.blob(log.run_id, blob_name(blob)) == blob
            log.took(commit.rows)
        for log in logs:
            assert await stored(store, log.run_id) == log.rows
        await other.close()
        assert len(seen) == 3, f"seed {seed}: not all that can happen has happened: {seen}"
        return seen

    @law
    async def test_a_cancelled_creator_leaves_the_whole_run_or_none(self, store: Store) -> None:
        """And a cancelled claimer a lease or none."""
        chance = random.Random(SEED)  # noqa: S311 - it is to be repeatable
        for turn in range(60):
            log = Log(f"run-{turn}", await store.next_epoch())
            run = log.creation(events(1, 2), events(3), owner=owner(), lease_until=START + 1)
            answered = await cancelled(store.create(run), chance.random() * 40)
            info, created = await store.create(run)
            assert not (answered and created)
            assert (info.epoch, info.last_seq) == (log.epoch, 3)
            assert await stored(store, log.run_id) == run.rows
            claim = store.claim(owner("me"), graphs=["graph"], now=START + 1, until=FOREVER, limit=9)
            answered = await cancelled(claim, chance.random() * 40)
            again = await store.claim(owner("me"), graphs=["graph"], now=START + 1, until=FOREVER, limit=9)
            assert not (answered and again)
            info = await known(store, log.run_id)
            assert (info.owner, info.lease_until) == (owner("me"), FOREVER)
            assert info.epoch > log.epoch

    @law
    async def test_a_store_that_is_closed_refuses_everything(self, store: Store) -> None:
        """With an error of its own, also when it is closed once more."""
        log = await create(store)
        await store.close()
        await store.close()
        run, lease = Log("new", 9).creation(), Lease("run", log.epoch, FOREVER)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.create(run),
            store.next_epoch,
            lambda: store.append(log.commit()),
            lambda: store.read("run"),
            lambda: store.blob("run", "digest"),
            lambda: store.get("run"),
            store.list,
            lambda: store.claim(owner(), graphs=["graph"], now=0, until=1, limit=1),
            lambda: store.orphans(0),
            lambda: store.next_due(["graph"]),
            lambda: store.put(signal()),
            lambda: store.put_and_claim(signal(), owner(), now=0, until=1),
            lambda: store.inbox("run"),
            store.waits,
            lambda: store.mail(owner()),
            store.version,
            lambda: store.heartbeat([lease]),
            lambda: store.release([lease]),
            lambda: store.expire("run", log.epoch),
            lambda: store.park("run", log.epoch, "STALLED", ""),
            lambda: store.save_plan("f", "graph", b"{}"),
            lambda: store.plan("f"),
            lambda: store.save_snapshot("run", snapshot(1)),
            lambda: store.snapshot("run"),
            lambda: store.drop_snapshot("run"),
        ]
        for call in calls:
            with pytest.raises(StoreClosed):
                await call()

    @law
    async def test_a_store_that_was_closed_can_be_opened_again(self, store: Store) -> None:
        """The same object, with all that it kept."""
        log = await create(store)
        await store.close()
        await store.open()
        await write(store, log)
        assert await stored(store) == log.rows

    @law
    async def test_a_store_that_was_opened_twice_is_closed_twice(self, store: Store) -> None:
        """Whoever has opened it may use it until they close it."""
        await asyncio.gather(store.open(), store.open())
        await store.close()
        await create(store)
        await store.close()
        assert await store.get("run") is not None
        await store.close()
        with pytest.raises(StoreClosed):
            await store.get("run")

    @law
    async def test_closing_finishes_what_was_handed_in(self, store: Store) -> None:
        """Those who wait get their answers."""
        logs = [Log(f"run-{index}", await store.next_epoch()) for index in range(40)]
        waiting = [asyncio.ensure_future(store.create(log.creation())) for log in logs]
        await asyncio.sleep(0)  # so that they have been handed in
        await store.close()
        assert all(created for _, created in await asyncio.gather(*waiting))
        await store.open()
        assert len(await store.list()) == 40


def _patience(chance: random.Random) -> float:
    """Return after how many turns of the event loop a caller is cancelled: before it began, soon, late, or never."""
    return chance.choice((1, 4, 30, 100, 300, math.inf)) * (1 - chance.random())


async def cancelled(call: Awaitable[object], ticks: float) -> bool:
    """Start a call, cancel it after so many turns of the event loop, and say whether it had answered before."""
    task = asyncio.ensure_future(call)
    if math.isinf(ticks):
        await asyncio.wait([task])
    for _ in range(0 if task.done() else int(ticks)):
        await asyncio.sleep(0)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome
    return not isinstance(outcome, asyncio.CancelledError)


async def _write(store: Store, log: Log) -> None:
    """Append a commit to a log, as one of several at once."""
    commit: Append = log.commit(events("beside"))
    await store.append(commit)
    log.took(commit.rows)
