"""Laws about runs: how they come to be, and how they are found."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.store.port import Store
from perdure.store.records import RunInfo, RunUpdate
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import START, Log, create, events, known, owner, stored, write


class RunLaws(Laws):
    """Creating, getting and listing."""

    @law
    async def test_a_created_run_is_there_with_its_first_commit(self, store: Store) -> None:
        """Everything that was given comes back, and the run's position is that of its rows."""
        log = Log("run", await store.next_epoch())
        update = RunUpdate("WAITING", error="not yet", due_at=START + 5)
        new = log.creation(events(1, 2), events(3), update=update, owner=owner("me"), lease_until=START + 9)
        info, created = await store.create(new)
        assert created
        assert info == await known(store)
        assert (info.run_id, info.graph, info.fingerprint) == ("run", "graph", "fingerprint")
        assert (info.status, info.error, info.due_at) == ("WAITING", "not yet", START + 5)
        assert (info.last_seq, info.head, info.epoch) == (3, new.rows[-1].hash, log.epoch)
        assert (info.owner, info.lease_until) == (owner("me"), START + 9)
        assert (info.created_at, info.updated_at) == (START, START)
        assert (info.inputs_digest, info.state_digest) == ("inputs", "state")
        assert await stored(store) == new.rows

    @law
    async def test_creating_a_run_again_returns_what_is_there_and_changes_nothing(self, store: Store) -> None:
        """Also if the second one is of another graph, and brings other rows and blobs."""
        log = await create(store)
        await write(store, log, events("more"))
        before = await known(store)
        other = Log("run", await store.next_epoch(), graph="other", created_at=START + 1)
        info, created = await store.create(other.creation(events("something", "else"), owner=owner("thief")))
        assert not created
        assert info == before == await known(store)
        assert await stored(store) == log.rows

    @law
    async def test_of_many_who_create_a_run_at_once_one_does(self, store: Store) -> None:
        """Through two stores on the same data."""
        other = self.make_store()
        await other.open()
        logs = [Log("run", await store.next_epoch()) for _ in range(20)]
        created = await asyncio.gather(
            *[(other if index % 2 else store).create(log.creation()) for index, log in enumerate(logs)]
        )
        await other.close()
        (winner,) = [log for log, (_, was_created) in zip(logs, created, strict=True) if was_created]
        assert {info.epoch for info, _ in created} == {winner.epoch}
        assert await stored(store) == winner.following(events("started"))

    @law
    async def test_a_run_that_nobody_created_is_unknown(self, store: Store) -> None:
        """Reading finds nothing; it is no error."""
        assert await store.get("run") is None
        assert list(await store.read("run")) == []
        assert list(await store.list()) == []
        assert await store.snapshot("run") is None

    @law
    async def test_text_comes_back_as_it_was(self, store: Store) -> None:
        """Whatever characters are in it."""
        ids = ["with space", "quo'te\"s", "50%_", "ünï-çødé", "🦉", "a/b\\c", "x" * 200, "RUN", "run"]
        for run_id in ids:
            log = await create(store, run_id, events(run_id, "\u2028", "\x00"), graph=f"graph of {run_id}")
            await write(store, log, update=RunUpdate("FAILED", error=f"line\nof {run_id}"))
        for run_id in ids:
            info = await known(store, run_id)
            assert (info.run_id, info.graph, info.error) == (run_id, f"graph of {run_id}", f"line\nof {run_id}")
            assert (await stored(store, run_id, info.graph))[0].events == events(run_id, "\u2028", "\x00")
        assert {info.run_id for info in await store.list()} == set(ids)

    @law
    async def test_runs_are_listed_newest_first(self, store: Store) -> None:
        """By the time they were created; of those created at the same time, by their ids."""
        for run_id, created_at in (("b", 20), ("a", 10), ("d", 30), ("c", 20), ("e", 5)):
            await create(store, run_id, created_at=START + created_at)
        assert [info.run_id for info in await store.list()] == ["d", "c", "b", "a", "e"]
        assert [info.run_id for info in await store.list(limit=2)] == ["d", "c"]
        assert [info.run_id for info in await store.list(before=START + 20)] == ["a", "e"]
        assert [info.run_id for info in await store.list(before=START + 20, limit=1)] == ["a"]

    @law
    async def test_no_run_is_missed_or_met_twice_where_pages_are_turned(self, store: Store) -> None:
        """Though many are created at the same time, and the last one of a page is deleted before the next."""
        for index in range(12):
            await create(store, f"run-{index:02}", created_at=START + index // 5, tags={"half": str(index % 2)})
        for tags, expected in (({}, 12), ({"half": "1"}, 6)):
            met: list[str] = []
            last: RunInfo | None = None
            while page := await store.list(limit=2, after=last, tags=tags):
                last = page[-1]
                met += [info.run_id for info in page]
            assert met == sorted(met, reverse=True)
            assert len(set(met)) == len(met) == expected
        over = await create(store, "run-05x", created_at=START + 1, update=RunUpdate("COMPLETED"), tags={"half": "1"})
        gone = await known(store, over.run_id)
        assert await store.delete([over.run_id]) == [over.run_id]
        assert [info.run_id for info in await store.list(after=gone, limit=2)] == ["run-05", "run-04"]
        assert [info.run_id for info in await store.list(after=gone, limit=1, tags={"half": "1"})] == ["run-05"]
        assert await store.list(after=gone, since=START + 2) == []

    @law
    async def test_runs_are_listed_by_status_and_graph(self, store: Store) -> None:
        """Filters are taken together."""
        for index, status in enumerate(("RUNNING", "FAILED", "WAITING", "FAILED")):
            await create(
                store, f"run-{index}", graph=f"graph-{index % 2}", created_at=START + index, update=RunUpdate(status)
            )
        assert [info.run_id for info in await store.list(statuses=["FAILED"])] == ["run-3", "run-1"]
        assert [info.run_id for info in await store.list(statuses=["WAITING", "RUNNING"])] == ["run-2", "run-0"]
        assert [info.run_id for info in await store.list(graph="graph-0")] == ["run-2", "run-0"]
        assert [info.run_id for info in await store.list(statuses=["RUNNING"], graph="graph-1")] == []
        assert [info.run_id for info in await store.list(statuses=["COMPLETED"])] == []
        assert len(await store.list(statuses=["FAILED"], graph="graph-1", before=START + 3)) == 1

    @law
    async def test_runs_are_listed_by_tags_and_time(self, store: Store) -> None:
        """A run has to have every tag that is asked for, with the same text, whatever is in it."""
        odd = {"a.b": "1", 'qu"ote': "it's", "ünï": "🦉\n", "": "", "1": "true"}
        for index, tags in enumerate(({}, {"team": "a"}, {"team": "a", "size": "1"}, {"team": "b"}, odd)):
            await create(store, f"run-{index}", created_at=START + index, tags=tags)
        assert (await known(store, "run-4")).tags == odd
        assert (await known(store, "run-0")).tags == {}

        async def found(**conditions: Any) -> list[str]:
            return [info.run_id for info in await store.list(**conditions)]

        assert await found(tags={"team": "a"}) == ["run-2", "run-1"]
        assert await found(tags={"team": "a", "size": "1"}) == ["run-2"]
        assert await found(tags={"team": "a"}, limit=1) == ["run-2"]
        assert (
            await found(tags={"team": "A"}) == await found(tags={"tea": "a"}) == await found(tags={"a": "team"}) == []
        )
        for name, value in odd.items():
            assert await found(tags={name: value}) == ["run-4"]
        assert await found(tags=odd) == ["run-4"]
        assert await found(tags={}) == await found()
        assert await found(since=START + 3) == ["run-4", "run-3"]
        assert await found(since=START + 1, before=START + 3, tags={"team": "a"}) == ["run-2", "run-1"]
        assert await found(since=START + 2, before=START + 2) == []

    @law
    async def test_a_listed_run_is_as_it_is_got(self, store: Store) -> None:
        """Also after commits that changed nothing but the log."""
        log = await create(store, driven_until=START + 1)
        for _ in range(3):
            await write(store, log)
        (listed,) = await store.list()
        assert listed == await known(store)
        assert (listed.last_seq, listed.head) == (4, log.head)

    @law
    async def test_times_come_from_the_caller(self, store: Store) -> None:
        """A store has no clock: runs of long ago and of the far future are neither old nor due by themselves."""
        for run_id, time in (("past", 7), ("future", 1 << 52)):
            log = await create(store, run_id, created_at=time)
            await write(store, log)
            info = await known(store, run_id)
            assert (info.created_at, info.updated_at) == (time, time + 1)
        claimed = await store.claim(owner(), graphs=["graph"], now=3, until=4, limit=10)
        assert {info.run_id for info in claimed} == {"past", "future"}
        assert {info.lease_until for info in claimed} == {4}
        assert len(await store.orphans(3)) == 2
        assert len(await store.orphans(4)) == 0
        assert {info.updated_at for info in claimed} == {8, (1 << 52) + 1}
