"""The file: how it is made, and which ones are refused."""

import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_stores import opened, python, query, run

from perdure.errors import StoreError, StoreFaulty, StoreForeign, StoreReadOnly, StoreTooNew, StoreUnsupported
from perdure.store.sqlite import connection as connections
from perdure.store.sqlite import file
from perdure.store.sqlite.schema import APPLICATION_ID
from perdure.testing.store_laws.writing import create, known


async def open_and_close(path: Path, **options) -> None:
    async with opened(path, **options):
        pass


def test_a_file_that_cannot_be_opened_leaves_no_thread_to_itself(tmp_path, monkeypatch):
    """One would still speak to the event loop when that is closed."""

    def refuse(*where, **how):
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(connections, "FunctionConnection", refuse)
    for _ in range(20):
        before = set(threading.enumerate())
        with pytest.raises(StoreError, match="unable to open"):
            run(open_and_close(tmp_path / "runs.db"))
        for thread in set(threading.enumerate()) - before:
            if not thread.daemon:
                thread.join(10)
                assert not thread.is_alive()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_the_file_and_those_beside_it(tmp_path):
    path = tmp_path / "runs.db"
    umask = os.umask(0)

    async def main():
        async with opened(path) as store:
            await create(store)
            return {name.name: mode(name) for name in tmp_path.iterdir()}

    try:
        modes = run(main())
    finally:
        os.umask(umask)
    assert modes == {"runs.db": 0o600, "runs.db-wal": 0o600, "runs.db-shm": 0o600}


def test_nothing_stays_beside_a_file_that_was_closed(tmp_path):
    run(open_and_close(tmp_path / "runs.db"))
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]


def test_a_file_that_exists_keeps_its_mode(tmp_path):
    path = tmp_path / "runs.db"
    path.touch()
    path.chmod(0o640)
    run(open_and_close(path))
    assert mode(path) == 0o640


def test_the_file_says_what_it_is(tmp_path):
    path = tmp_path / "runs.db"
    run(open_and_close(path))
    assert query(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert query(path, "PRAGMA user_version") == [(2,)]
    assert query(path, "PRAGMA page_size") == [(8192,)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert APPLICATION_ID.to_bytes(4, "big") == b"perd"


def test_a_file_of_another_application_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    query(path, "CREATE TABLE run (number INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    with pytest.raises(StoreForeign, match="another application"):
        run(open_and_close(path))
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


def test_a_file_that_another_application_has_signed_is_left_alone_though_it_is_empty(tmp_path):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 77")
    with pytest.raises(StoreForeign):
        run(open_and_close(path))


@pytest.mark.parametrize("content", [b"x" * 100, b"From: me\n" * 1000, b"\x00" * 8192])
def test_a_file_that_is_no_database_is_left_alone(tmp_path, content):
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(StoreForeign):
        run(open_and_close(path))
    assert path.read_bytes() == content


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreForeign, match="folder"):
        run(open_and_close(tmp_path))


def test_a_device_is_no_store():
    with pytest.raises(StoreForeign, match="regular file"):
        run(open_and_close(Path("/dev/null")))


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(StoreReadOnly, match="the folder doesn't exist"):
        run(open_and_close(tmp_path / "nowhere" / "runs.db"))
    assert list(tmp_path.iterdir()) == []


def test_memory_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreUnsupported, match="MemoryStore"):
        run(open_and_close(Path(":memory:")))


def test_a_schema_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "runs.db"
    run(open_and_close(path))
    query(path, "PRAGMA user_version = 3")
    with pytest.raises(StoreTooNew, match="version 3, and this perdure knows version 2"):
        run(open_and_close(path))


def test_the_file_is_found_again_though_the_working_directory_changes(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()

    async def main():
        monkeypatch.chdir(tmp_path)
        async with opened(Path("runs.db")) as store:
            monkeypatch.chdir(tmp_path / "elsewhere")
            await create(store)
            await known(store)

    run(main())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_leads_to_the_file(tmp_path):
    target, link = tmp_path / "runs.db", tmp_path / "link.db"
    link.symlink_to(target)
    run(open_and_close(link))
    assert mode(target) == 0o600
    assert link.is_symlink()


def test_opening_a_second_store_leaves_the_locks_of_the_first_in_place(tmp_path):
    """A process loses its locks on a file when it closes any descriptor of it; SQLite knows that, so we mustn't open it."""
    path = tmp_path / "runs.db"
    take_over = """
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("PRAGMA journal_mode = DELETE").fetchall())
"""

    async def main():
        async with opened(path) as store:
            await create(store)
            await open_and_close(path)
            other = python(take_over, path)
            await known(store)
            return other

    assert "database is locked" in run(main()).stderr


READ_ONLY = """
import asyncio, os, stat, sys, tempfile
from pathlib import Path
from perdure.errors import StoreReadOnly
from perdure.store.sqlite.queries import migrations
from perdure.store.sqlite.store import SQLiteStore

async def open_and_close(path):
    store = SQLiteStore(path)
    await store.open()
    await store.close()

migrations()
folder = Path(tempfile.mkdtemp())
path = folder / "runs.db"
asyncio.run(open_and_close(path))
path.chmod(int(sys.argv[2], 8))
folder.chmod(int(sys.argv[1], 8))
target = folder / sys.argv[3]
pid = os.fork()
if not pid:
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)  # to whom permissions matter
    try:
        asyncio.run(open_and_close(target))
        print("opened", flush=True)
    except StoreReadOnly as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
folder.chmod(0o700)
for left in folder.iterdir():
    left.unlink()
folder.rmdir()
"""


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "name"),
    [("777", "444", "runs.db"), ("555", "666", "runs.db"), ("555", "666", "new.db"), ("777", "000", "runs.db")],
    ids=["file", "folder", "new file", "secret file"],
)
def test_what_may_not_be_written_is_refused(folder_mode, file_mode, name):
    done = python(READ_ONLY, folder_mode, file_mode, name)
    assert done.stdout.startswith("StoreReadOnly"), done.stdout + done.stderr
    assert "write permission" in done.stdout


MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /mnt/data nfs4 rw,vers=4.2 0 0
/dev/vdb /mnt/data/local xfs rw 0 0
//server/share /mnt/my\\040share cifs rw 0 0
/dev/vdc /over ext4 rw 0 0
remote:/ /over fuse.sshfs rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me", "ext4"),
        ("/mnt/data", "nfs4"),
        ("/mnt/data/runs", "nfs4"),
        ("/mnt/database", "ext4"),
        ("/mnt/data/local/runs", "xfs"),
        ("/mnt/my share/runs", "cifs"),
        ("/over/there", "fuse.sshfs"),
    ],
)
def test_the_kind_of_file_system_is_that_of_the_nearest_mount(folder, kind):
    assert file.mounted_at(folder, MOUNTS) == kind
    assert file.mounted_at(folder, "") == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p"])
def test_network_file_systems_are_refused_unless_forced(tmp_path, monkeypatch, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {os.path.realpath(tmp_path)} {kind} rw 0 0\n")
    monkeypatch.setattr(file, "_MOUNTS", mounts)
    with pytest.raises(StoreUnsupported, match=rf"network file system \({kind}\)"):
        run(open_and_close(tmp_path / "runs.db"))
    assert not (tmp_path / "runs.db").exists()
    run(open_and_close(tmp_path / "runs.db", force=True))


def test_where_mounts_cannot_be_read_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "_MOUNTS", tmp_path / "nowhere")
    run(open_and_close(tmp_path / "runs.db"))


def test_an_sqlite_that_is_too_old_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "MINIMUM_SQLITE", (99, 0, 0))
    with pytest.raises(StoreUnsupported, match=r"needs 99\.0\.0 or later"):
        run(open_and_close(tmp_path / "runs.db"))


@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"])
def test_nothing_is_acknowledged_in_a_file_that_nobody_finds_any_more(tmp_path, how):
    """SQLite goes on writing to a file that has lost its name, and all of that is lost with the last process."""
    path, other = tmp_path / "runs.db", tmp_path / "other.db"

    async def main():
        async with opened(other) as store:
            await create(store, "other")
        async with opened(path) as store:
            await create(store, "before")
            if how == "deleted":
                path.unlink()
            elif how == "renamed":
                path.rename(tmp_path / "renamed.db")
            else:
                other.replace(path)
            with pytest.raises(StoreFaulty, match=r"was deleted or replaced.*put the right file there"):
                await create(store, "after")

    run(main())
