"""Laws about commits: whole, fenced, and told apart by run."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from perdure.errors import Fenced, StoreCorrupt
from perdure.store.chain import blob_name
from perdure.store.port import Store
from perdure.store.records import RunUpdate
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import FOREVER, START, Log, create, events, known, owner, stored, write


class LogLaws(Laws):
    """Appending."""

    @law
    async def test_a_commit_is_there_when_append_returns(self, store: Store) -> None:
        """With what it changes in the run's row."""
        log = await create(store)
        update = RunUpdate("WAITING", error="soon", due_at=START + 60, fingerprint="newer")
        commit = log.commit(events("a", "b"), events("c"), update=update)
        await store.append(commit)
        log.took(commit.rows)
        assert await stored(store) == log.rows
        info = await known(store)
        assert (info.last_seq, info.head, info.updated_at) == (4, log.head, log.rows[-1].ts)
        assert (info.status, info.error, info.due_at, info.fingerprint) == ("WAITING", "soon", START + 60, "newer")

    @law
    async def test_a_commit_says_all_about_the_status_of_its_run(self, store: Store) -> None:
        """What it doesn't mention is cleared; the graph's fingerprint stays."""
        log = await create(store)
        await write(store, log, update=RunUpdate("WAITING", error="soon", due_at=START + 60, fingerprint="newer"))
        await write(store, log, update=RunUpdate("RUNNING"))
        info = await known(store)
        assert (info.status, info.error, info.due_at, info.fingerprint) == ("RUNNING", "", None, "newer")

    @law
    async def test_the_position_of_a_run_is_that_of_its_log(self, store: Store) -> None:
        """After each commit, whether or not it changes anything else about the run."""
        log = await create(store)
        for status in ("RUNNING", "RUNNING", "WAITING", "WAITING", "RUNNING", "COMPLETED"):
            await write(store, log, events(status, 1), update=RunUpdate(status))
            info = await known(store)
            assert (info.status, info.last_seq, info.head) == (status, log.seq, log.head)
            assert info.updated_at == log.rows[-1].ts

    @law
    async def test_a_commit_under_another_epoch_is_refused(self, store: Store) -> None:
        """A lower one as a higher one."""
        log = await create(store)
        for epoch in (log.epoch - 1, log.epoch + 1, 0, 1 << 40):
            with pytest.raises(Fenced):
                await store.append(msgspec.structs.replace(log.commit(), epoch=epoch))
        await write(store, log)
        assert await stored(store) == log.rows

    @law
    async def test_a_commit_that_does_not_follow_the_log_is_refused(self, store: Store) -> None:
        """One that was made before another one came, is repeated, or leaves a gap."""
        log = await create(store)
        early = log.commit(events("early", "early"))
        await write(store, log)
        late = Log(log.run_id, log.epoch)
        late.took((*log.rows, *log.following(events("lost"))))
        for commit in (early, late.commit(), msgspec.structs.replace(log.commit(), after=0)):
            with pytest.raises(Fenced):
                await store.append(commit)
        await write(store, log)
        assert await stored(store) == log.rows

    @law
    async def test_a_commit_to_a_run_that_is_not_there_is_refused(self, store: Store) -> None:
        """It doesn't create the run."""
        with pytest.raises(Fenced):
            await store.append(Log("nobody", 1).commit())
        assert await store.get("nobody") is None
        assert list(await store.read("nobody")) == []

    @law
    async def test_a_refused_commit_leaves_nothing(self, store: Store) -> None:
        """No row, no blob, no status, though others were committed with it."""
        log, bystander = await create(store, "run"), await create(store, "bystander")
        blob = b"lost"
        refused = msgspec.structs.replace(
            log.commit(events(1), events(2), update=RunUpdate("FAILED", error="no"), blobs={blob_name(blob): blob}),
            epoch=log.epoch + 1,
        )
        before = await known(store)
        good = bystander.commit()
        outcomes = await asyncio.gather(store.append(refused), store.append(good), return_exceptions=True)
        bystander.took(good.rows)
        assert isinstance(outcomes[0], Fenced)
        assert outcomes[1] is None
        assert await known(store) == before
        assert await stored(store) == log.rows
        assert await stored(store, "bystander") == bystander.rows
        with pytest.raises(StoreCorrupt):
            await store.blob("run", blob_name(blob))

    @law
    async def test_logs_of_runs_do_not_mix(self, store: Store) -> None:
        """Though their commits are made in turns and at once."""
        logs = [await create(store, run_id) for run_id in ("r", "ru", "run", "run2")]
        for turn in range(10):
            commits = [log.commit(*[events(turn)] * (index % 3 + 1)) for index, log in enumerate(logs)]
            await asyncio.gather(*map(store.append, commits))
            for log, commit in zip(logs, commits, strict=True):
                log.took(commit.rows)
        for log in logs:
            assert await stored(store, log.run_id) == log.rows

    @law
    async def test_of_two_writers_at_one_position_one_gets_in(self, store: Store) -> None:
        """Through two stores on the same data, and again and again."""
        other = self.make_store()
        await other.open()
        log = await create(store)
        for turn in range(20):
            commits = log.commit(events(turn, "first")), log.commit(events(turn, "second"), events("more"))
            outcomes = await asyncio.gather(store.append(commits[0]), other.append(commits[1]), return_exceptions=True)
            (winner,) = [commit for commit, outcome in zip(commits, outcomes, strict=True) if outcome is None]
            assert sum(isinstance(outcome, Fenced) for outcome in outcomes) == 1
            log.took(winner.rows)
        await other.close()
        assert await stored(store) == log.rows

    @law
    async def test_who_has_lost_its_lease_gets_nothing_in(self, store: Store) -> None:
        """From the moment of the claim, whether or not its lease would have gone on by its own clock."""
        log = await create(store, driven_until=START + 10)
        stale = log.commit(events("stale"))
        (info,) = await store.claim(owner("next"), graphs=["graph"], now=START + 10, until=FOREVER, limit=1)
        with pytest.raises(Fenced):
            await store.append(stale)
        log.epoch = info.epoch
        await write(store, log, events("new"))
        with pytest.raises(Fenced):
            await store.append(stale)
        assert await stored(store) == log.rows

    @law
    async def test_a_blob_comes_and_goes_with_its_commit(self, store: Store) -> None:
        """Each run has its own; one that is brought along twice is there once."""
        small, large = b"\x00\xff small", bytes(range(256)) * 20_000
        first = Log("first", await store.next_epoch())
        new = first.creation(blobs={blob_name(small): small})
        await store.create(new)
        first.took(new.rows)
        second = await create(store, "second")
        for log in (first, second):
            await store.append(log.commit(blobs={blob_name(large): large, blob_name(small): small}))
            assert await store.blob(log.run_id, blob_name(large)) == large
            assert await store.blob(log.run_id, blob_name(small)) == small

    @law
    async def test_a_blob_that_is_missed_is_an_error(self, store: Store) -> None:
        """The log refers to it, so something is lost."""
        blob = b"data"
        log = await create(store, "one")
        await create(store, "other")
        await store.append(log.commit(blobs={blob_name(blob): blob}))
        for run_id, digest in (("one", blob_name(b"else")), ("other", blob_name(blob)), ("nobody", blob_name(blob))):
            with pytest.raises(StoreCorrupt):
                await store.blob(run_id, digest)
