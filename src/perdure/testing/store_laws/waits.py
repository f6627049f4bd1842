"""Laws about waits: they are there while the run waits, as the log says, for others to list and answer."""

from __future__ import annotations

import msgspec
import pytest

from perdure.errors import Fenced
from perdure.store.port import Store
from perdure.store.records import NewEntry, RunUpdate, Wait
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import (
    FOREVER,
    START,
    WAITING,
    Log,
    answer,
    create,
    known,
    signal,
    stored,
    wait,
    write,
)


async def waiting(store: Store, run_id: str | None = None) -> list[str]:
    """Return the tasks that wait."""
    return [open_wait.task for open_wait in await store.waits(run_id=run_id)]


class WaitLaws(Laws):
    """Opening, listing and closing waits."""

    @law
    async def test_an_open_wait_is_listed_as_it_was_opened(self, store: Store) -> None:
        """With the run's creation or with a commit; what is empty or none comes back so."""
        first = wait("first", due_at=START + 7)
        second = msgspec.structs.replace(
            wait("second", opened_at=START + 1, kind="signal", assignee=""), name="paid\n🦉", schema=b"null", title=""
        )
        log = await create(store, opened=[first])
        assert [*await store.waits()] == [first]
        await write(store, log, opened=[second], update=WAITING)
        assert [*await store.waits()] == [first, second]

    @law
    async def test_a_closed_wait_is_listed_no_more(self, store: Store) -> None:
        """Only that of the task, and only of this run; closing what isn't open does nothing."""
        log = await create(store, opened=[wait("a"), wait("b")])
        await create(store, "other", opened=[wait("a", "other")])
        await write(store, log, closed=["a", "unknown"])
        assert await waiting(store, "run") == ["b"]
        assert await waiting(store, "other") == ["a"]
        assert await waiting(store, "nobody") == []
        await write(store, log, closed=["b"], opened=[wait("c"), wait("b", opened_at=START + 1)])
        assert await waiting(store, "run") == ["c", "b"]

    @law
    async def test_a_wait_that_is_opened_again_goes_on_as_that(self, store: Store) -> None:
        """As when it is passed on to somebody else; it is one wait."""
        log = await create(store, opened=[wait()])
        passed_on = wait(assignee="bob", opened_at=START + 5, due_at=START + 9)
        await write(store, log, opened=[passed_on])
        assert [*await store.waits()] == [passed_on]

    @law
    async def test_a_wait_is_found_by_its_task(self, store: Store) -> None:
        """Only in the run that is named, and only if it is of the kind that is asked for."""
        await create(store, opened=[wait("a"), wait("b", kind="signal")])
        await create(store, "other", opened=[wait("a", "other"), wait("c", "other")])
        assert [*await store.waits(run_id="run", task="a")] == [wait("a")]
        assert [*await store.waits(run_id="run", task="b", kind="signal")] == [wait("b", kind="signal")]
        assert [*await store.waits(run_id="run", task="b", kind="human")] == []
        assert [*await store.waits(run_id="run", task="c")] == []

    @law
    async def test_waits_are_listed_oldest_first_and_by_page(self, store: Store) -> None:
        """Of those opened at once, by run and task; a page begins behind a wait though that is closed meanwhile."""
        logs = [await create(store, run_id) for run_id in ("b", "a")]
        for log in logs:
            for at in (1, 0):
                tasks = [wait(f"t{index}", log.run_id, opened_at=START + at) for index in (2, 0, 1)]
                await write(
                    store, log, opened=[msgspec.structs.replace(each, task=f"{each.task}-{at}") for each in tasks]
                )
        expected = [(at, run_id, f"t{index}-{at}") for at in (0, 1) for run_id in ("a", "b") for index in range(3)]
        for limit in (1, 4, 5, 12, 100):
            found: list[Wait] = []
            after: Wait | None = None
            while page := await store.waits(limit=limit, after=after):
                assert len(page) <= limit
                found += page
                after = page[-1]
            assert [(each.opened_at - START, each.run_id, each.task) for each in found] == expected
        (first, *_) = await store.waits(limit=1)
        await write(store, logs[1], closed=[first.task])
        (second,) = await store.waits(limit=1, after=first)
        assert (second.run_id, second.task) == ("a", "t1-0")
        assert [each.task for each in await store.waits(run_id="b", limit=2, after=second)] == ["t0-0", "t1-0"]

    @law
    async def test_waits_are_listed_by_run_assignee_and_kind(self, store: Store) -> None:
        """Filters are taken together."""
        for run_id in ("one", "two"):
            kinds = (("a", "human", "ann"), ("b", "human", "bob"), ("c", "sleep", ""))
            await create(
                store, run_id, opened=[wait(task, run_id, kind=kind, assignee=who) for task, kind, who in kinds]
            )
        assert [each.task for each in await store.waits(assignee="ann")] == ["a", "a"]
        assert [each.task for each in await store.waits(kind="human", run_id="one")] == ["a", "b"]
        assert [each.task for each in await store.waits(assignee="")] == ["c", "c"]
        assert [each.run_id for each in await store.waits(kind="human", assignee="bob", run_id="two")] == ["two"]
        assert [*await store.waits(kind="sleep", assignee="bob")] == []
        assert len(await store.waits(kind="human", limit=3)) == 3

    @law
    async def test_a_run_that_is_over_waits_for_nothing(self, store: Store) -> None:
        """However it ended; the waits of other runs stay."""
        await create(store, "other", opened=[wait(run_id="other")])
        for status in ("COMPLETED", "FAILED", "CANCELLED"):
            log = await create(store, status, opened=[wait(run_id=status)], driven_until=FOREVER)
            await write(store, log, update=RunUpdate(status))
            assert await waiting(store, status) == []
            assert await store.put(answer(run_id=status)) == ("closed", None)
        assert await waiting(store) == ["task"]

    @law
    async def test_a_failed_run_that_is_retried_waits_anew(self, store: Store) -> None:
        """For what its commit opens; what was acknowledged before and not used yet is still there."""
        log = await create(store, opened=[wait()], driven_until=FOREVER)
        kept = [(await store.put(new))[1] for new in (signal(), answer())]
        await store.put(NewEntry("run", "cancel", "", b"null", "ann", START))
        await write(store, log, update=RunUpdate("FAILED"))
        assert [*await store.inbox("run")] == kept
        await write(store, log, opened=[wait()])
        assert await waiting(store) == ["task"]
        assert (await store.put(answer(b'"other"')))[0] == "taken"
        for final in ("COMPLETED", "CANCELLED"):
            log = await create(store, final, driven_until=FOREVER)
            await store.put(signal(run_id=final))
            await write(store, log, update=RunUpdate(final))
            assert [*await store.inbox(final)] == []

    @law
    async def test_a_parked_run_keeps_its_waits_and_its_inbox(self, store: Store) -> None:
        """It goes on with them when its graph fits again."""
        log = await create(store, opened=[wait()], driven_until=FOREVER)
        _, entry = await store.put(answer())
        await store.park("run", log.epoch, "STALLED", "its graph has changed")
        assert await waiting(store) == ["task"]
        assert [*await store.inbox("run")] == [entry]

    @law
    async def test_a_stale_commit_changes_no_waits(self, store: Store) -> None:
        """Nor the inbox, nor the lease: what the fence refuses is refused as a whole."""
        log = await create(store, opened=[wait()], driven_until=FOREVER)
        _, entry = await store.put(answer())
        assert entry is not None
        before, stale = await known(store), Log("run", log.epoch - 1)
        stale.took(log.rows)
        behind = Log("run", log.epoch)
        for refused in (stale, behind):
            with pytest.raises(Fenced):
                await write(
                    store,
                    refused,
                    opened=[wait("new"), wait(assignee="thief")],
                    closed=["task"],
                    consumed=[entry.number],
                    update=WAITING,
                    release=True,
                )
        assert await known(store) == before
        assert [*await store.waits()] == [wait()]
        assert [*await store.inbox("run")] == [entry]

    @law
    async def test_waits_and_inbox_are_there_when_the_store_is_opened_again(self, store: Store) -> None:
        """And numbers go on from where they were, though the last entry was taken out."""
        log = await create(store, opened=[wait(), wait("b")], driven_until=FOREVER)
        await store.put(answer())
        (_, used), (_, kept) = await store.put(answer(task="b")), await store.put(signal())
        _, last = await store.put(signal())
        assert used is not None
        assert last is not None
        await write(store, log, closed=["b"], consumed=[used.number, last.number])
        await store.close()
        again = self.make_store()
        await again.open()
        try:
            assert [*await again.waits()] == [wait()]
            assert [entry.kind for entry in await again.inbox("run")] == ["answer", "signal"]
            assert [*await again.inbox("run")][-1] == kept
            assert (await again.put(answer(task="b")))[0] == "same"
            _, next_one = await again.put(signal())
            assert next_one is not None
            assert next_one.number > last.number
            assert await stored(again) == log.rows
        finally:
            await again.close()
