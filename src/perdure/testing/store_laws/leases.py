"""Laws about leases: one driver per run."""

from __future__ import annotations

import asyncio

from perdure.store.port import Store
from perdure.store.records import Announced, Claimed, Lease, RunInfo, RunUpdate
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import (
    FOREVER,
    START,
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

NOW = START + 1_000_000
LATER = NOW + 15_000_000


async def claim(
    store: Store, *, graphs: tuple[str, ...] = ("graph",), now: int = NOW, limit: int = 100, run_id: str | None = None
) -> list[RunInfo]:
    """Claim runs for fifteen seconds; return what claim says of them, besides what came along."""
    claimed = await store.claim(owner("claimer"), graphs=graphs, now=now, until=LATER, limit=limit, run_id=run_id)
    return [row_of(one) for one in claimed]


def row_of(claimed: Claimed) -> RunInfo:
    """Return what is known of a claimed run besides what came along with its lease."""
    return RunInfo(*[getattr(claimed, field) for field in RunInfo.__struct_fields__])


class LeaseLaws(Laws):
    """Claiming, extending and ending leases."""

    @law
    async def test_a_claimed_run_is_driven_by_who_claimed_it(self, store: Store) -> None:
        """What claim returns is what is stored."""
        log = await create(store)
        await write(store, log)
        (info,) = await claim(store)
        assert (info.owner, info.lease_until) == (owner("claimer"), LATER)
        assert (info.last_seq, info.head) == (log.seq, log.head)
        assert info == await known(store)

    @law
    async def test_with_its_lease_a_run_comes_along_as_it_is(self, store: Store) -> None:
        """What is in its inbox, and its log if that is short; what is large may be left to be read by itself."""
        await create(store, "empty", update=RunUpdate("WAITING", due_at=NOW))
        for name in ("short", "long", "large", "full"):
            log = await create(store, name, opened=[wait(run_id=name)])
            for _ in range(40 if name == "long" else 2):
                await write(store, log, events("x" * (70_000 if name == "large" else 10)))
            await store.put(signal(b'"%b"' % (b"x" * (70_000 if name == "full" else 10)), run_id=name))
            await store.put(answer(run_id=name))
        claimed = await store.claim(owner(), graphs=["graph"], now=LATER, until=FOREVER, limit=100)
        assert len(claimed) == 5
        for info in claimed:
            rows, inbox = await stored(store, info.run_id), await store.inbox(info.run_id)
            assert info.log == rows or (info.log is None and info.run_id in ("long", "large"))
            assert info.inbox == tuple(inbox) or (info.inbox is None and info.run_id == "full")

    @law
    async def test_only_runs_that_can_go_on_are_claimed(self, store: Store) -> None:
        """Neither those that have ended nor those that were stopped."""
        for status in ("PENDING", "RUNNING", "WAITING", "PAUSED", "STALLED", "COMPLETED", "FAILED", "CANCELLED"):
            await create(store, status, update=RunUpdate(status, due_at=0))
        assert {info.run_id for info in await claim(store)} == {"PENDING", "RUNNING", "WAITING"}
        for status in ("PAUSED", "STALLED", "COMPLETED", "FAILED", "CANCELLED"):
            assert await claim(store, run_id=status) == []

    @law
    async def test_a_run_is_not_claimed_under_a_lease_that_has_not_run_out(self, store: Store) -> None:
        """It has run out at its very end."""
        await create(store, driven_until=NOW + 1)
        assert await claim(store, now=NOW) == []
        assert await claim(store, now=NOW, run_id="run") == []
        assert len(await claim(store, now=NOW + 1)) == 1
        assert await claim(store, now=NOW + 1) == []

    @law
    async def test_a_run_is_not_claimed_before_it_is_due(self, store: Store) -> None:
        """One that names no time is due at once."""
        for status in ("PENDING", "RUNNING", "WAITING"):
            await create(store, f"{status} later", update=RunUpdate(status, due_at=NOW + 1))
        for status in ("PENDING", "RUNNING"):
            await create(store, status, update=RunUpdate(status))
        assert {info.run_id for info in await claim(store, now=NOW)} == {"PENDING", "RUNNING"}
        assert await claim(store, now=NOW, run_id="WAITING later") == []
        later = await claim(store, now=NOW + 1)
        assert {info.run_id for info in later} == {"PENDING later", "RUNNING later", "WAITING later"}
        assert {info.due_at for info in later} == {NOW + 1}

    @law
    async def test_a_run_that_waits_for_no_time_is_never_due(self, store: Store) -> None:
        """Released, with a lease that has run out, or created so; and also if it is asked for by its id."""
        await create(store, "created", update=RunUpdate("WAITING"))
        await create(store, "run out", update=RunUpdate("WAITING"), driven_until=NOW)
        released = await create(store, "released", update=RunUpdate("WAITING"), driven_until=NOW)
        await store.release([Lease("released", released.epoch, 0)])
        for run_id in ("created", "run out", "released"):
            assert await claim(store, now=FOREVER, run_id=run_id) == []
        assert await claim(store, now=FOREVER) == []
        assert await store.next_due(["graph"]) is None

    @law
    async def test_the_next_time_is_when_the_first_run_can_be_claimed(self, store: Store) -> None:
        """Of the graphs that are asked for: due, and with its lease run out."""
        assert await store.next_due(["graph"]) is None
        await create(store, "over", update=RunUpdate("COMPLETED", due_at=NOW))
        await create(store, "stopped", update=RunUpdate("PAUSED", due_at=NOW))
        await create(store, "other", graph="other", update=RunUpdate("WAITING", due_at=NOW + 1))
        assert await store.next_due(["graph"]) is None
        await create(store, "due", update=RunUpdate("WAITING", due_at=NOW + 9))
        assert await store.next_due(["graph"]) == NOW + 9
        await create(store, "driven", update=RunUpdate("WAITING", due_at=NOW), driven_until=NOW + 5)
        assert await store.next_due(["graph"]) == NOW + 5
        assert await store.next_due(["other", "graph", "graph"]) == NOW + 1
        assert await store.next_due([]) is None
        await create(store, "free")
        due = await store.next_due(["graph", "unknown"])
        assert due is not None
        assert due <= 0
        for now in (NOW, NOW + 4):
            assert [info.run_id for info in await claim(store, now=now)] == ["free"] * (now == NOW)
        assert await store.next_due(["graph"]) == NOW + 5
        assert [info.run_id for info in await claim(store, now=NOW + 5)] == ["driven"]
        assert await store.next_due(["graph"]) == NOW + 9

    @law
    async def test_runs_that_are_left_to_others_are_neither_claimed_nor_due(self, store: Store) -> None:
        """By the fingerprint of their graph; one that is asked for by its id is claimed."""
        for name in ("mine", "theirs"):
            log = await create(store, name, update=RunUpdate("WAITING", due_at=NOW + len(name)))
            await write(store, log, update=RunUpdate("WAITING", due_at=NOW + len(name), fingerprint=name))
        assert await store.next_due(["graph"], ["theirs"]) == NOW + 4
        assert await store.next_due(["graph"], ["mine"]) == NOW + 6
        assert await store.next_due(["graph"], ["mine", "theirs"]) is None
        claimed = await store.claim(owner(), graphs=["graph"], now=LATER, until=FOREVER, limit=9, leaving=["theirs"])
        assert [info.run_id for info in claimed] == ["mine"]
        assert await store.next_due(["graph"], ["theirs"]) == FOREVER
        assert [info.run_id for info in await claim(store, now=LATER, run_id="theirs")] == ["theirs"]

    @law
    async def test_a_worker_is_known_from_what_it_said_last_until_it_is_to_be_gone(self, store: Store) -> None:
        """Or until it withdraws."""
        one, two = (Announced(owner(name), (name, "both"), LATER) for name in ("one", "two"))

        async def workers(now: int) -> list[Announced]:
            return sorted(await store.workers(now), key=lambda worker: worker.owner.id)

        await store.withdraw(one.owner)
        for worker in (one, two):
            await store.announce(worker, NOW)
        assert await workers(NOW) == [one, two]
        again = Announced(one.owner, (), LATER + 1)
        await store.announce(again, NOW)
        assert await workers(LATER) == [again]
        await store.announce(two, LATER)
        assert await workers(NOW) == [again, two], "what is announced is kept until something is"
        await store.announce(one, LATER)
        assert await workers(NOW) == [one]
        await store.withdraw(one.owner)
        assert await workers(NOW) == []

    @law
    async def test_a_run_that_is_due_is_not_claimed_under_a_lease(self, store: Store) -> None:
        """Both have to be over."""
        await create(store, update=RunUpdate("WAITING", due_at=NOW), driven_until=NOW + 5)
        assert await claim(store, now=NOW + 4) == []
        assert len(await claim(store, now=NOW + 5)) == 1

    @law
    async def test_only_runs_of_the_given_graphs_are_claimed(self, store: Store) -> None:
        """Unless it is asked for one run, of whatever graph."""
        for name in ("a", "b", "c", "d"):
            await create(store, f"run of {name}", graph=name)
        assert await claim(store, graphs=()) == []
        assert {info.graph for info in await claim(store, graphs=("a", "c", "unknown"))} == {"a", "c"}
        assert [info.graph for info in await claim(store, graphs=(), run_id="run of d")] == ["d"]
        assert await claim(store, graphs=(), run_id="nobody") == []

    @law
    async def test_what_has_been_free_for_longest_is_claimed_first(self, store: Store) -> None:
        """Since its lease ran out, or since it was due."""
        await create(store, "second", driven_until=NOW - 5)
        await create(store, "third", update=RunUpdate("WAITING", due_at=NOW - 4))
        await create(store, "first", update=RunUpdate("WAITING", due_at=NOW - 9))
        await create(store, "fourth", driven_until=NOW - 3)
        assert [info.run_id for info in await claim(store, limit=3)] == ["first", "second", "third"]
        assert [info.run_id for info in await claim(store, limit=3)] == ["fourth"]

    @law
    async def test_of_many_who_claim_at_once_each_run_has_one(self, store: Store) -> None:
        """Through two stores on the same data; and no epoch is given out twice."""
        other = self.make_store()
        await other.open()
        for index in range(30):
            await create(store, f"run-{index}")
        rounds = await asyncio.gather(*[claim(which, limit=4) for which in (store, other) * 10])
        await other.close()
        claimed = [info for infos in rounds for info in infos]
        assert len(claimed) == 30
        assert len({info.run_id for info in claimed}) == 30
        assert len({info.epoch for info in claimed}) == 30

    @law
    async def test_epochs_only_grow(self, store: Store) -> None:
        """Whoever asks for one, and however: a higher one is a later one."""
        other = self.make_store()
        await other.open()
        given = [await store.next_epoch(), await other.next_epoch()]
        for index in range(3):
            log = await create(store, f"run-{index}")
            given.append(log.epoch)
        given += sorted(info.epoch for info in await claim(store))
        given += [await other.next_epoch(), await store.next_epoch()]
        await other.close()
        assert given == sorted(set(given))

    @law
    async def test_a_heartbeat_extends_what_is_held_and_names_what_is_lost(self, store: Store) -> None:
        """What is lost isn't extended."""
        held, taken, released = [await create(store, name, driven_until=NOW) for name in ("held", "taken", "released")]
        await claim(store, run_id="taken")
        await store.release([Lease("released", released.epoch, 0)])
        leases = [Lease(log.run_id, log.epoch, LATER + 7) for log in (held, taken, released)]
        lost = await store.heartbeat([*leases, Lease("nobody", 1, LATER)])
        assert sorted(lost) == ["nobody", "released", "taken"]
        assert (await known(store, "held")).lease_until == LATER + 7
        assert (await known(store, "taken")).lease_until == LATER
        assert (await known(store, "released")).lease_until <= NOW
        assert list(await store.heartbeat([])) == []

    @law
    async def test_a_released_run_can_be_claimed_at_once(self, store: Store) -> None:
        """Releasing a lease that is lost does nothing to the one who has it."""
        log = await create(store, driven_until=FOREVER)
        await store.release([Lease("run", log.epoch, 0), Lease("nobody", 1, 0)])
        assert (await known(store)).owner is None
        (info,) = await claim(store)
        await store.release([Lease("run", log.epoch, 0)])
        assert await known(store) == info

    @law
    async def test_the_lease_of_a_dead_owner_can_be_ended(self, store: Store) -> None:
        """But not the one of who came after it."""
        log = await create(store, driven_until=FOREVER)
        await store.expire("run", log.epoch)
        (info,) = await claim(store)
        await store.expire("run", log.epoch)
        await store.expire("nobody", 1)
        assert await known(store) == info

    @law
    async def test_a_parked_run_stays_as_it_is(self, store: Store) -> None:
        """Its log is untouched and its lease ended; only the present owner can park it."""
        log = await create(store, driven_until=FOREVER)
        await store.park("run", log.epoch - 1, "STALLED", "not mine to say")
        assert (await known(store)).status == "RUNNING"
        await store.park("run", log.epoch, "STALLED", "its graph has changed")
        await store.park("nobody", 1, "STALLED", "isn't there")
        info = await known(store)
        assert (info.status, info.error, info.owner) == ("STALLED", "its graph has changed", None)
        assert info.lease_until <= START
        assert await claim(store, now=FOREVER) == []
        assert await stored(store) == log.rows

    @law
    async def test_orphans_are_the_runs_under_a_lease(self, store: Store) -> None:
        """Only those that could go on: whether their owner lives is for the caller to find out."""
        for name in ("driven", "ended", "expired", "free"):
            ended = RunUpdate("COMPLETED" if name == "ended" else "RUNNING")
            until = {"free": 0, "expired": NOW}.get(name, LATER)
            await create(store, name, update=ended, driven_until=until)
        (orphan,) = await store.orphans(NOW)
        assert orphan == await known(store, "driven")
        assert orphan.owner == owner()
        assert [*await store.orphans(NOW, owner())] == [], "who asks about others knows of himself that he lives"
        assert [*await store.orphans(NOW, owner("another"))] == [orphan]
