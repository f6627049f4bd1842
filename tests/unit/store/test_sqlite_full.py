"""A full disk: nothing that was acknowledged is lost, and the store goes on once there is space."""

import asyncio
import subprocess
import sys

import pytest
from sqlite_stores import in_writer, opened, python, run

from perdure.errors import StoreFull
from perdure.store.chain import blob_name
from perdure.testing.store_laws.writing import create, events, known, stored, write


def test_a_full_file_refuses_commits_and_loses_none(tmp_path):
    async def main():
        async with opened(tmp_path / "runs.db") as store:
            log, other = await create(store), await create(store, "other")
            ((pages,),) = await in_writer(store, "PRAGMA page_count")
            await in_writer(store, f"PRAGMA max_page_count = {pages + 4}")
            with pytest.raises(StoreFull, match="free some space"):
                while True:
                    await write(store, log, events("x" * 3000))
            before = await known(store)
            blob = b"x" * 100_000
            with pytest.raises(StoreFull):
                await store.append(log.commit(blobs={blob_name(blob): blob}))
            large = [store.append(log.commit(events("x" * 20_000))), store.append(other.commit(events("small")))]
            outcomes = await asyncio.gather(*large, return_exceptions=True)
            assert isinstance(outcomes[0], StoreFull)
            assert outcomes[1] is None, "what has room is written, though something else had none"
            assert await known(store) == before
            assert await stored(store) == log.rows

            await in_writer(store, "PRAGMA max_page_count = 1073741823")
            for _ in range(10):
                await write(store, log, events("x" * 3000))
            assert await stored(store) == log.rows

    run(main())


WRITE_UNTIL_REFUSED = """
import asyncio, resource, signal, sys
from perdure.errors import StoreError, StoreFull
from perdure.store.sqlite.store import SQLiteStore
from perdure.testing.store_laws.writing import create, events, stored, write

async def main(path, make_room):
    store = SQLiteStore(path)
    await store.open()
    log = await create(store)
    if make_room == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    refused = 0
    while refused < 3:
        try:
            await write(store, log, events("x" * 9000))
        except StoreError as error:
            print(type(error).__name__, flush=True)
            refused += 1
        assert log.seq < 1000
    assert await stored(store) == log.rows
    if make_room == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        from pathlib import Path
        Path(make_room).unlink()
    for _ in range(50):
        await write(store, log, events("x" * 9000))
    assert await stored(store) == log.rows
    await store.close()
    again = SQLiteStore(path)
    await again.open()
    assert await stored(again) == log.rows
    await again.close()
    print("whole", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_write_that_the_system_refuses_loses_nothing(tmp_path):
    """Here the -wal file may not grow any more, so it is COMMIT that fails."""
    done = python(WRITE_UNTIL_REFUSED, tmp_path / "runs.db", "limit")
    assert done.stdout.split() == ["StoreFaulty"] * 3 + ["whole"], done.stdout + done.stderr


def test_a_full_disk_loses_nothing(tmp_path):
    """A real one, of 9 MB, in a space of its own."""
    disk, program = tmp_path / "disk", tmp_path / "program.py"
    disk.mkdir()
    program.write_text(WRITE_UNTIL_REFUSED)
    mount = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    prepare = f"mount -t tmpfs -o size=9m tmpfs {disk}; head -c 5000000 /dev/zero > {disk}/filler"
    try:
        can_mount = subprocess.run([*mount, prepare], capture_output=True).returncode == 0
    except FileNotFoundError:
        can_mount = False
    if not can_mount:
        pytest.skip("this user can't mount a small disk")
    script = f"{prepare}; exec {sys.executable} {program} {disk}/runs.db {disk}/filler"
    done = subprocess.run([*mount, script], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["StoreFull"] * 3 + ["whole"], done.stdout + done.stderr
