"""Laws about what is kept beside the logs: snapshots and plans."""

from __future__ import annotations

from perdure.store.port import Store
from perdure.store.records import Snapshot
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import create, stored


def snapshot(seq: int) -> Snapshot:
    """Return a snapshot."""
    return Snapshot(format=1, fingerprint="f", seq=seq, head=b"\x00h", data=b"\xffdata" * seq, hash=b"hash")


class KeepingLaws(Laws):
    """Snapshots, plans, and everything over the end of a store."""

    @law
    async def test_the_last_snapshot_is_kept(self, store: Store) -> None:
        """It is a cache: dropping it does nothing to the run."""
        log = await create(store)
        assert await store.snapshot("run") is None
        for seq in (1, 2):
            await store.save_snapshot("run", snapshot(seq))
            assert await store.snapshot("run") == snapshot(seq)
        await store.drop_snapshot("run")
        await store.drop_snapshot("run")
        assert await store.snapshot("run") is None
        assert await stored(store) == log.rows

    @law
    async def test_each_run_has_a_snapshot_of_its_own(self, store: Store) -> None:
        """And there is none of a run that isn't there."""
        await create(store, "one")
        await create(store, "two")
        await store.save_snapshot("one", snapshot(1))
        await store.save_snapshot("two", snapshot(2))
        await store.save_snapshot("nobody", snapshot(3))
        await store.drop_snapshot("two")
        assert await store.snapshot("one") == snapshot(1)
        assert await store.snapshot("two") is None
        assert await store.snapshot("nobody") is None

    @law
    async def test_a_plan_is_kept_as_it_was_first_saved(self, store: Store) -> None:
        """It goes by the graph's fingerprint, so there is no other one."""
        assert await store.plan("f") is None
        await store.save_plan("f", "graph", '{"nodes": ["é"]}'.encode())
        await store.save_plan("f", "graph", b"{}")
        await store.save_plan("g", "graph", b"[]")
        assert await store.plan("f") == '{"nodes": ["é"]}'.encode()
        assert await store.plan("g") == b"[]"

    @law
    async def test_everything_is_there_when_the_store_is_opened_again(self, store: Store) -> None:
        """Runs, logs, leases, snapshots, plans, and the count of epochs."""
        log = await create(store, driven_until=1 << 52)
        await store.save_snapshot("run", snapshot(1))
        await store.save_plan("f", "graph", b"{}")
        before, epoch = await store.get("run"), await store.next_epoch()
        await store.close()
        again = self.make_store()
        await again.open()
        assert await again.get("run") == before
        assert await stored(again) == log.rows
        assert await again.snapshot("run") == snapshot(1)
        assert await again.plan("f") == b"{}"
        assert await again.next_epoch() > epoch
        await again.close()
