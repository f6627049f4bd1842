"""Laws about what is done with whole runs: deleting, measuring, exporting, adopting."""

from __future__ import annotations

import msgspec
import pytest

from perdure.errors import RunConflict, StoreCorrupt
from perdure.store.chain import blob_name
from perdure.store.export import export_run, import_run, read_export
from perdure.store.port import Store
from perdure.store.records import Brought, RunUpdate
from perdure.testing.store_laws.keeping import snapshot
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import (
    START,
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

DATA = b"x" * 1000


async def filled(store: Store, run_id: str, status: str = "COMPLETED") -> Log:
    """Create a run with a blob, a snapshot, and whatever a run in this status can have."""
    log = await create(store, run_id, events("a"), opened=[wait(run_id=run_id)])
    await store.put(signal(run_id=run_id))
    content = f'[["noted",{{"$":"blob","v":"{blob_name(DATA)}"}}]]'.encode()
    commit = log.commit(content, update=RunUpdate(status), blobs={blob_name(DATA): DATA})
    await store.append(commit)
    log.took(commit.rows)
    await store.save_snapshot(run_id, snapshot(1))
    return log


class HousekeepingLaws(Laws):
    """Deleting, measuring, exporting and adopting."""

    @law
    async def test_runs_that_are_over_are_deleted_as_a_whole(self, store: Store) -> None:
        """And no others; what is deleted can be made anew, and has nothing of the former."""
        for run_id, status in (("done", "COMPLETED"), ("bad", "FAILED"), ("off", "CANCELLED"), ("on", "WAITING")):
            await filled(store, run_id, status)
        assert sorted(await store.delete(["done", "bad", "on", "nobody"])) == ["bad", "done"]
        assert {info.run_id for info in await store.list()} == {"off", "on"}
        assert list(await store.read("done")) == []
        assert await store.snapshot("done") is None
        assert list(await store.inbox("bad")) == []
        with pytest.raises(StoreCorrupt):
            await store.blob("done", blob_name(DATA))
        assert await store.blob("off", blob_name(DATA)) == DATA
        log = await create(store, "done")
        assert await stored(store, "done") == log.rows

    @law
    async def test_a_run_stays_for_as_long_as_one_that_was_forked_from_it(self, store: Store) -> None:
        """And it is told which those are."""
        await filled(store, "source")
        log = Log("fork", await store.next_epoch())
        await store.create(
            msgspec.structs.replace(log.creation(events("a")), origin="source", update=RunUpdate("CANCELLED"))
        )
        assert await store.origins() == {"fork": "source"}
        assert list(await store.delete(["source"])) == []
        assert sorted(await store.delete(["fork", "source"])) == ["fork", "source"]
        assert await store.origins() == {}

    @law
    async def test_sizes_are_told_the_largest_first(self, store: Store) -> None:
        """In bytes of what is stored."""
        await filled(store, "large")
        log = await create(store, "small")
        large, small = await store.sizes()
        assert (large.run_id, large.graph, large.status, large.blobs) == ("large", "graph", "COMPLETED", 1000)
        assert large.snapshot == len(snapshot(1).data)
        assert (small.run_id, small.log, small.blobs, small.snapshot) == ("small", len(log.rows[0].events), 0, 0)

    @law
    async def test_an_exported_run_comes_back_as_it_was(self, store: Store) -> None:
        """With its log, blobs, waits, inbox, plan, and what was answered."""
        await store.save_plan("fingerprint", "graph", b'{"nodes":{}}')
        log = await filled(store, "done", "WAITING")
        await store.put(answer(run_id="done"))
        before, waits, inbox = await known(store, "done"), await store.waits(), await store.inbox("done")
        lines = [line async for line in export_run(store, before)]
        assert all(line.count(b"\n") == 1 for line in lines)
        exported = read_export(lines, "a file")
        with pytest.raises(RunConflict):
            await import_run(store, exported)
        await write(store, log, update=RunUpdate("CANCELLED"))
        await store.delete(["done"])
        info = await import_run(store, exported)
        assert (info.status, info.last_seq, info.head) == (before.status, before.last_seq, before.head)
        assert (info.created_at, info.inputs_digest, info.owner) == (before.created_at, before.inputs_digest, None)
        assert await stored(store, "done") == tuple(exported.rows)
        assert await store.blob("done", blob_name(DATA)) == DATA
        assert await store.waits() == waits
        assert [(entry.kind, entry.key, entry.value) for entry in await store.inbox("done")] == [
            (entry.kind, entry.key, entry.value) for entry in inbox
        ]

    @law
    async def test_an_export_that_is_damaged_or_cut_short_is_refused(self, store: Store) -> None:
        """Whatever line is missing or changed."""
        await filled(store, "done")
        lines = [line async for line in export_run(store, await known(store, "done"))]
        rows = [place for place, line in enumerate(lines) if b'"row"' in line]
        for place in rows:
            with pytest.raises(StoreCorrupt):
                read_export(lines[:place] + lines[place + 1 :], "a file")
        with pytest.raises(StoreCorrupt):
            read_export([line.replace(b'"a"', b'"b"') for line in lines], "a file")
        with pytest.raises(StoreCorrupt):
            read_export(lines[:-1], "a file")

    @law
    async def test_no_lease_has_an_epoch_of_a_run_that_was_adopted(self, store: Store) -> None:
        """Else its epochs would go back."""
        log = Log("run", 1000)
        run = log.creation(events("a"))
        _, is_new = await store.adopt(run, Brought())
        assert is_new
        assert not (await store.adopt(run, Brought()))[1]
        assert await store.next_epoch() > 1000
        (claimed,) = await store.claim(owner(), graphs=["graph"], now=START, until=START + 1, limit=1)
        assert claimed.epoch > 1000
