"""A worker gives its leases up in time, whatever keeps it from extending them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from perdure import MemoryStore
from perdure.engine.workers.leases import Leases
from perdure.store.records import Lease


class Clock:
    """A clock that goes on when everybody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> int:
        return int(self.time * 1e6)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, woken))
        await woken

    async def go_on(self, until: float) -> None:
        while True:
            for _ in range(5):
                await asyncio.sleep(0)
            due = [sleeper for sleeper in self._sleepers if sleeper[0] <= until]
            if not due:
                self.time = until
                return
            first = min(due, key=lambda sleeper: sleeper[0])
            self._sleepers.remove(first)
            self.time = first[0]
            if not first[1].done():
                first[1].set_result(None)


class Store(MemoryStore):
    """A store whose heartbeats get stuck, or tell that leases are lost."""

    hangs = False
    lost: Sequence[str] = ()

    async def heartbeat(self, leases: Sequence[Lease]) -> Sequence[str]:
        if self.hangs:
            await asyncio.Event().wait()
        return self.lost


async def leases_of(store: Store) -> tuple[Leases, Clock, list[tuple[str, float]]]:
    clock, lost = Clock(), list[tuple[str, float]]()
    leases = Leases(store, clock, lambda run_id: lost.append((run_id, clock.time)), 15.0)
    leases.begin()
    await asyncio.sleep(0)
    return leases, clock, lost


@pytest.mark.parametrize(("hangs", "fenced"), [(True, [("run", 12.0)]), (False, [])])
def test_a_lease_that_cant_be_extended_is_given_up_before_it_runs_out(
    hangs: bool, fenced: list[tuple[str, float]]
) -> None:
    async def main() -> None:
        store = Store()
        store.hangs = hangs
        leases, clock, lost = await leases_of(store)
        leases.add("run", 1)
        await clock.go_on(60)
        assert lost == fenced
        assert leases.holds("run", 1) is not hangs
        await leases.end()

    asyncio.run(main())


def test_a_lease_counts_from_when_it_was_asked_for() -> None:
    async def main() -> None:
        store = Store()
        store.hangs = True
        leases, clock, lost = await leases_of(store)
        await clock.go_on(9)
        leases.add("run", 1, since=0)
        await clock.go_on(60)
        assert lost == [("run", 12.0)]
        await leases.end()

    asyncio.run(main())


def test_a_lease_that_somebody_else_has_is_lost_once() -> None:
    async def main() -> None:
        store = Store()
        store.lost = ["run"]
        leases, clock, lost = await leases_of(store)
        leases.add("run", 1)
        leases.add("other", 2)
        await clock.go_on(60)
        assert lost == [("run", 5.0)]
        assert leases.holds("other", 2)
        await leases.end()

    asyncio.run(main())


def test_dropping_a_lease_leaves_a_later_one_of_the_same_run_alone() -> None:
    async def main() -> None:
        leases, _, _ = await leases_of(Store())
        leases.add("run", 1)
        leases.add("run", 2)
        leases.drop("run", 1)
        assert leases.holds("run", 2)
        leases.drop("run", 2)
        assert not leases.holds("run", 2)
        await leases.end()

    asyncio.run(main())
