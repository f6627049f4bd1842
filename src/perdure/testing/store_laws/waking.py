"""Laws about waking: a run with something in its inbox is driven, whoever was first.

The race that counts is between the driver that gives a waiting run up and somebody who puts something in. If the driver is
first, the run is free and waits, and what is put in makes it due. If it is second, its commit finds the inbox not empty, and
leaves the run due. Either way whoever looks next can claim it.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest

from perdure.errors import Fenced
from perdure.store.port import Store
from perdure.store.records import NewEntry, RunUpdate
from perdure.testing.store_laws.faults import SEED, cancelled
from perdure.testing.store_laws.inbox import accept
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.leases import LATER, NOW, claim, row_of
from perdure.testing.store_laws.writing import (
    FOREVER,
    RUNNING,
    START,
    WAITING,
    Log,
    answer,
    create,
    known,
    owner,
    signal,
    wait,
    write,
)


class WakingLaws(Laws):
    """Giving runs up and waking them."""

    @law
    async def test_a_commit_can_give_the_lease_up(self, store: Store) -> None:
        """So that a run that only waits is free in the moment in which that is recorded."""
        log = await create(store, driven_until=FOREVER)
        await write(store, log, opened=[wait()], update=RunUpdate("WAITING", due_at=NOW + 5), release=True)
        info = await known(store)
        assert (info.status, info.owner, info.lease_until, info.due_at) == ("WAITING", None, 0, NOW + 5)
        assert (info.epoch, info.last_seq, info.head) == (log.epoch, log.seq, log.head)
        assert [*await store.orphans(NOW)] == []
        assert await claim(store, now=NOW + 4) == []
        assert len(await claim(store, now=NOW + 5)) == 1
        with pytest.raises(Fenced):
            await write(store, log)

    @law
    async def test_a_run_that_gave_its_lease_up_without_waiting_can_be_claimed_at_once(self, store: Store) -> None:
        """As with a lease that is released by itself."""
        log = await create(store, driven_until=FOREVER)
        await write(store, log, release=True)
        assert len(await claim(store)) == 1

    @law
    async def test_what_comes_in_wakes_a_waiting_run(self, store: Store) -> None:
        """An answer, a signal, or anything else; from the time at which it came."""
        for kind in ("answer", "signal", "cancel"):
            run_id = f"woken by {kind}"
            for due_at in (None, NOW + 99):
                log = await create(store, f"{run_id} {due_at}", update=RunUpdate("WAITING", due_at=due_at))
                await write(store, log, opened=[wait(run_id=log.run_id)], update=RunUpdate("WAITING", due_at=due_at))
                assert await claim(store) == []
                await accept(store, NewEntry(log.run_id, kind, "task", b"null", "ann", NOW))
                assert await store.next_due(["graph"]) == NOW
                assert await claim(store, now=NOW - 1) == []
                assert [info.run_id for info in await claim(store)] == [log.run_id]

    @law
    async def test_who_puts_something_in_can_take_the_lease_with_it(self, store: Store) -> None:
        """The run comes along as it is then, and nobody else can have it."""
        for kind in ("answer", "signal"):
            log = await create(store, kind, update=WAITING, opened=[wait(run_id=kind)])
            new = NewEntry(kind, kind, "task", b"null", "ann", NOW)
            put, entry, claimed = await store.put_and_claim(new, owner("me"), now=NOW, until=LATER)
            assert (put, [entry]) == ("accepted", await store.inbox(kind))
            assert claimed is not None
            assert row_of(claimed) == await known(store, kind)
            assert (claimed.owner, claimed.lease_until, claimed.inbox) == (owner("me"), LATER, (entry,))
            assert claimed.log == log.rows
            assert claimed.epoch > log.epoch
            assert await claim(store, run_id=kind) == []
            log.epoch = claimed.epoch
            assert entry is not None
            await write(store, log, consumed=[entry.number], closed=["task"], update=WAITING, release=True)
            assert await claim(store) == [], "nothing is left that would wake it"

    @law
    async def test_who_puts_something_in_takes_no_lease_that_cannot_be_claimed(self, store: Store) -> None:
        """Since somebody has it, the run isn't to be driven, it isn't due yet, or nothing was put in."""

        async def put(new: NewEntry, now: int = NOW) -> tuple[str, bool]:
            said, _, claimed = await store.put_and_claim(new, owner("me"), now=now, until=FOREVER)
            return said, claimed is not None

        await create(store, "driven", driven_until=NOW + 1, update=WAITING)
        assert await put(signal(run_id="driven")) == ("accepted", False)
        assert (await known(store, "driven")).owner == owner()
        assert await put(signal(run_id="driven"), NOW + 1) == ("accepted", True)
        for status in ("PAUSED", "STALLED"):
            await create(store, status, update=RunUpdate(status))
            assert await put(signal(run_id=status)) == ("accepted", False)
        await create(store, "COMPLETED", update=RunUpdate("COMPLETED"))
        assert await put(signal(run_id="COMPLETED")) == ("over", False)
        assert await put(signal(run_id="nobody")) == ("missing", False)
        await create(store, "early", update=WAITING)
        assert await put(signal(run_id="early", at=NOW + 1)) == ("accepted", False)
        await create(store, update=WAITING, opened=[wait()])
        await accept(store, answer())
        for refused in (answer(by="bob"), answer(task="unknown")):
            assert (await put(refused))[1] is False
        assert (await known(store)).owner is None
        assert await put(answer()) == ("same", True), "what is there already is still to be taken up"
        assert await put(answer()) == ("same", False)

    @law
    async def test_of_many_who_put_something_in_one_takes_the_lease(self, store: Store) -> None:
        """Through two stores on the same data, and beside those who claim; all that was put in is there."""
        other = self.make_store()
        await other.open()
        for turn in range(20):
            run_id = f"run-{turn}"
            await create(store, run_id, update=WAITING)
            signals = [signal(run_id=run_id, at=NOW)] * 4
            stores = [store, other, store, other]
            putting = [
                which.put_and_claim(new, owner("me"), now=NOW, until=FOREVER)
                for which, new in zip(stores, signals, strict=True)
            ]
            claiming = [which.claim(owner(), graphs=["graph"], now=NOW, until=FOREVER, limit=9) for which in stores[:2]]
            put, claimed = await asyncio.gather(asyncio.gather(*putting), asyncio.gather(*claiming))
            leases = [lease for _, _, lease in put if lease is not None] + [info for infos in claimed for info in infos]
            assert [lease.epoch for lease in leases] == [(await known(store, run_id)).epoch]
            assert [entry.number for entry in await store.inbox(run_id)] == sorted(
                entry.number for _, entry, _ in put if entry is not None
            )
        await other.close()

    @law
    async def test_a_cancelled_caller_has_put_in_and_claimed_or_neither(self, store: Store) -> None:
        """Asking again says which."""
        seen: Counter[bool] = Counter()
        for turn in range(60):
            run_id = f"run-{turn}"
            await create(store, run_id, update=WAITING, opened=[wait(run_id=run_id)])
            first = store.put_and_claim(answer(run_id=run_id), owner("me"), now=NOW, until=FOREVER)
            answered = await cancelled(first, (turn * SEED) % 40)
            put, _, claimed = await store.put_and_claim(answer(run_id=run_id), owner("me"), now=NOW, until=FOREVER)
            assert (put, claimed is None) in ([("same", True)] if answered else [("same", True), ("accepted", False)])
            assert len(await store.inbox(run_id)) == 1
            assert (await known(store, run_id)).owner == owner("me")
            seen[claimed is None] += 1
        assert len(seen) == 2, f"not all that can happen has happened: {seen}"

    @law
    async def test_what_comes_in_never_makes_a_run_due_later(self, store: Store) -> None:
        """One that is due already, or at all times, stays so."""
        for run_id, update in (("due", RunUpdate("WAITING", due_at=NOW - 5)), ("running", RUNNING)):
            await create(store, run_id, update=update)
            await accept(store, signal(run_id=run_id, at=NOW))
            await accept(store, signal(run_id=run_id, at=NOW + 9))
            assert (await known(store, run_id)).due_at == update.due_at
            assert [info.run_id for info in await claim(store, now=NOW - 5)] == [run_id]

    @law
    async def test_what_is_refused_wakes_nobody(self, store: Store) -> None:
        """Nor does it change the run in any way."""
        log = await create(store, update=WAITING, opened=[wait()])
        number = await accept(store, answer())
        await write(store, log, closed=["task"], consumed=[number], update=WAITING)
        before = await known(store)
        for refused in (answer(), answer(by="bob"), answer(task="unknown")):
            await store.put(refused)
        assert await known(store) == before
        assert await claim(store, now=FOREVER) == []

    @law
    async def test_what_comes_in_under_a_lease_is_for_who_holds_it(self, store: Store) -> None:
        """It is told so, until it has taken everything out or given the run up; nobody else can claim it."""
        log = await create(store, driven_until=LATER, update=WAITING)
        await create(store, "empty", driven_until=LATER)
        await create(store, "free")
        await accept(store, signal(run_id="free"))
        assert await store.mail(owner()) == {}
        numbers = [await accept(store, signal(at=NOW)) for _ in range(2)]
        assert await store.mail(owner()) == {"run": numbers[-1]}
        again = msgspec.structs.replace(owner("worker"), pid=1, host="elsewhere")
        assert await store.mail(again) == {"run": numbers[-1]}
        assert await store.mail(owner("somebody else")) == {}
        assert "run" not in [info.run_id for info in await claim(store)]
        await write(store, log, consumed=numbers[:1], update=WAITING)
        assert await store.mail(owner()) == {"run": numbers[-1]}
        await write(store, log, consumed=numbers[1:], update=WAITING)
        assert await store.mail(owner()) == {}
        await accept(store, signal(at=NOW))
        await write(store, log, update=WAITING, release=True)
        assert await store.mail(owner()) == {}

    @law
    async def test_a_commit_hides_nothing_that_came_in(self, store: Store) -> None:
        """A waiting run with something left in its inbox is due at once, whatever the commit says."""
        log = await create(store, driven_until=NOW)
        number = await accept(store, signal())
        for update in (WAITING, RunUpdate("WAITING", due_at=FOREVER), RunUpdate("RUNNING", due_at=FOREVER)):
            await write(store, log, update=update)
            assert (await known(store)).due_at == 0
        assert await store.next_due(["graph"]) == NOW
        await write(store, log, update=RunUpdate("WAITING", due_at=NOW + 7), consumed=[number])
        assert (await known(store)).due_at == NOW + 7

    @law
    async def test_a_run_is_given_up_due_if_something_is_left_in_its_inbox(self, store: Store) -> None:
        """In the same commit as some of it was taken out; else it waits."""
        for left in (1, 0):
            log = await create(store, f"{left} left", driven_until=FOREVER)
            numbers = [await accept(store, signal(run_id=log.run_id)) for _ in range(2)]
            await write(store, log, update=WAITING, consumed=numbers[left:], release=True)
            info = await known(store, log.run_id)
            assert (info.owner, info.due_at) == (None, 0 if left else None)
            assert [claimed.run_id for claimed in await claim(store)] == [log.run_id] * left

    @law
    async def test_a_driver_that_died_is_followed_by_one_that_finds_what_came_in(self, store: Store) -> None:
        """Before or after its lease ran out."""
        for run_id, until in (("before", NOW), ("after", 1)):
            await create(store, run_id, update=WAITING, driven_until=until)
            await accept(store, signal(run_id=run_id, at=NOW - 1))
            assert await claim(store, now=NOW - 2) == []
            (info,) = await claim(store)
            assert info.run_id == run_id
            assert len(await store.inbox(run_id)) == 1

    @law
    async def test_a_run_that_is_given_up_while_something_comes_in_is_woken(self, store: Store) -> None:
        """Through two stores on the same data, in every order: the wake-up is never lost, and never for nothing."""
        other = self.make_store()
        await other.open()
        log = await create(store, driven_until=FOREVER)
        left = 0
        for turn in range(150):
            seen = [entry.number for entry in await store.inbox("run")]
            giving_up = write(store, log, consumed=seen, update=WAITING, release=True)
            putting = [which.put(signal(at=NOW)) for which in (other, store)[: 1 + turn % 2]]
            calls = [giving_up, *putting] if turn % 3 else [*putting, giving_up]
            ticks = turn % 7
            tasks = []
            for call in calls:
                tasks.append(asyncio.ensure_future(call))
                for _ in range(ticks):
                    await asyncio.sleep(0)
            await asyncio.gather(*tasks)
            there = await store.inbox("run")
            assert len(there) == len(putting)
            left += (await known(store)).due_at == 0
            (info,) = await store.claim(owner(), graphs=["graph"], now=NOW, until=FOREVER, limit=9)
            log.epoch = info.epoch
            assert info.last_seq == log.seq
        await other.close()
        assert 0 < left < 150, f"of 150 commits {left} were second; both orders must be seen"

    @law
    async def test_nobody_claims_a_run_for_what_was_taken_out(self, store: Store) -> None:
        """Two drivers that give it up to each other: every entry is taken out once, and then it rests."""
        other = self.make_store()
        await other.open()
        log = await create(store, update=WAITING)
        taken: list[int] = []

        async def drive(which: Store, name: str) -> None:
            idle = 0
            while idle < 40:
                claimed = await which.claim(owner(name), graphs=["graph"], now=NOW, until=FOREVER, limit=1)
                idle = 0 if claimed else idle + 1
                for info in claimed:
                    log.epoch = info.epoch
                    numbers = [entry.number for entry in await which.inbox("run")]
                    await write(which, log, consumed=numbers, update=WAITING, release=True)
                    taken.extend(numbers)

        async def put(which: Store) -> list[int]:
            return [await accept(which, signal(at=NOW)) for _ in range(20)]

        _, _, *put_in = await asyncio.gather(drive(store, "one"), drive(other, "two"), put(store), put(other))
        await drive(store, "the last")
        await other.close()
        assert sorted(taken) == sorted(number for numbers in put_in for number in numbers)
        assert (await known(store)).due_at is None

    @law
    async def test_the_version_changes_with_whatever_is_committed(self, store: Store) -> None:
        """By this store or another one on the same data; and it stays while nothing is."""
        other = self.make_store()
        await other.open()
        for index, which in enumerate((store, other)):
            log = Log(f"run-{index}", await which.next_epoch())
            seen = [await store.version()]

            async def changed(seen: list[int] = seen) -> bool:
                seen.append(await store.version())
                return seen[-1] != seen[-2]

            run = log.creation(owner=owner(), lease_until=LATER, opened=[wait(run_id=log.run_id)])
            await which.create(run)
            assert await changed()
            log.took(run.rows)
            await accept(which, answer(run_id=log.run_id))
            assert await changed()
            await write(which, log, update=WAITING, release=True)
            assert await changed()
            assert len(await which.claim(owner(), graphs=["graph"], now=NOW, until=LATER, limit=1)) == 1
            assert await changed()
            assert await which.claim(owner(), graphs=["graph"], now=NOW, until=LATER, limit=1) == []
            await which.inbox(log.run_id)
            await which.waits()
            await which.mail(owner())
            await which.next_due(["graph"])
            assert not await changed()
        await other.close()

    @law
    async def test_times_of_waits_do_not_make_a_run_due(self, store: Store) -> None:
        """What counts is what the commit says of the run."""
        await create(store, update=WAITING, opened=[wait(due_at=START)])
        assert await claim(store, now=FOREVER) == []
