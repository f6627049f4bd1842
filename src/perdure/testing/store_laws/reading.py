"""Laws about reading a log."""

from __future__ import annotations

from perdure.store.port import Store
from perdure.store.records import Row
from perdure.testing.store_laws.law import Laws, law
from perdure.testing.store_laws.writing import create, events, stored, write


class ReadingLaws(Laws):
    """Reading, from anywhere and page by page."""

    @law
    async def test_a_log_is_read_from_any_seq(self, store: Store) -> None:
        """Beginning with the row that holds the next event, also if that is in the middle of it."""
        log = await create(store, "run", events(1))
        await create(store, "another")
        for count in (3, 1, 5, 2, 1):
            await write(store, log, events(*range(count)))
        await create(store, "yet another")
        for after in range(log.seq + 3):
            wanted = [row for row in log.rows if row.first + row.count - 1 > after]
            for limit in (1, 2, 3, 100):
                assert list(await store.read("run", after, limit)) == wanted[:limit], (after, limit)

    @law
    async def test_rows_of_one_commit_are_read_one_by_one(self, store: Store) -> None:
        """A commit of several rows is a whole only as it is written."""
        log = await create(store)
        await write(store, log, events(1, 2), events(3), events(4, 5, 6))
        seq, read = 0, list[Row]()
        while page := await store.read("run", seq, 1):
            (row,) = page
            read.append(row)
            seq = row.first + row.count - 1
        assert tuple(read) == log.rows

    @law
    async def test_a_page_of_large_rows_is_short_but_never_empty(self, store: Store) -> None:
        """So that reading a log doesn't take the memory of all of it."""
        log = await create(store)
        for index in range(8):
            await write(store, log, events(str(index) * (1 << 20)))
        page = await store.read("run", 0, 1000)
        assert 1 <= len(page) < len(log.rows)
        assert await stored(store) == log.rows

    @law
    async def test_what_is_read_is_what_was_written_byte_by_byte(self, store: Store) -> None:
        """JSON isn't written anew: its spaces, escapes and numbers stay."""
        log = await create(store)
        for data in (
            b'[ ["a" , 1.0] ]',
            b'[["\\u00e9"]]',
            '[["é"]]'.encode(),
            b'[["x",1e400]]',
            b'[["y",{"b":1,"a":2}]]',
        ):
            await write(store, log, data)
        assert [row.events for row in await stored(store)] == [row.events for row in log.rows]
