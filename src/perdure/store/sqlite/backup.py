"""The file as a whole: copied while others work on it, and described.

A copy is made by SQLite itself, in one reading transaction: copying the files would miss what is in the -wal file, or tear it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from pathlib import Path

import msgspec

from perdure.errors import StoreReadOnly
from perdure.store.sqlite.connection import call, close_connection, open_connection
from perdure.store.sqlite.failures import SQLITE_ERRORS, translated
from perdure.store.sqlite.file import file_system, find_file, is_network
from perdure.store.sqlite.queries import QUERIES, migrations

_numbers = itertools.count()

FIXED = (3, 51, 3)
BACKPORTS: dict[tuple[int, ...], int] = {(3, 50): 7, (3, 44): 6}
"""Where the defect of resetting a -wal file is mended: from 3.51.3 on, and in these patches of older lines.

As far as we know: this follows what SQLite's release notes are remembered to say, and could be checked against neither them nor
its source when it was written. So it leads to a warning, and never to a refusal.
"""


class FileFacts(msgspec.Struct, frozen=True):
    """What can be told of a file as a whole; sizes in bytes."""

    sqlite: str
    has_wal_defect: bool
    """Whether this SQLite may, in rare cases, damage a file when several connections write and reset its -wal file at once."""
    schema: int
    newest_schema: int
    """The version that this perdure brings a file to."""
    file: int
    wal: int
    free_pages: int
    """In the file, to be used again."""
    free_on_disk: int
    file_system: str
    on_network: bool
    mode: int
    problem: str
    """What SQLite finds wrong with the structure of the file; empty if it is sound."""
    folder_mode: int = 0o700


async def back_up(source: Path, target: Path) -> None:
    """Copy a store to a path where nothing is yet.

    Raises:
        StoreReadOnly: something is there, or it can't be written.
        StoreError: the copy can't be made.
    """
    connection = await open_connection(find_file(source), lambda raw: None, only_reads=True)
    try:
        await call(connection, lambda raw: _copy(raw, target))
    finally:
        await close_connection(connection)


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the file of a connection, for its owner alone to read, and see to it that the copy survives a power cut.

    It gets its name when it is complete. What a process leaves behind that dies meanwhile would be a sound file to SQLite,
    and an empty store to whoever opens it.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}-{next(_numbers)}.part")
    try:
        if os.path.lexists(target):
            raise FileExistsError
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            connection.execute(QUERIES["back_up"], (str(part),)).fetchall()
            _make_durable(part)
            _give_name(part, target)
        finally:
            part.unlink(missing_ok=True)
        _make_durable(target.resolve().parent)
    except FileExistsError:
        raise StoreReadOnly(
            "something is there already, and a backup overwrites nothing",
            location=str(target),
            remedy="Give a path where nothing is",
        ) from None
    except SQLITE_ERRORS as error:
        raise translated(error, str(target)) from error
    except OSError as error:
        raise StoreReadOnly(f"it can't be created ({error.strerror})", location=str(target)) from error


def _give_name(part: Path, target: Path) -> None:
    """Give a file its name, unless something else has it."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # there are no links on this file system
        part.rename(target)


def _make_durable(written: Path) -> None:
    handle = os.open(written, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_facts(connection: sqlite3.Connection, path: Path) -> FileFacts:
    """Return what can be told of a file as a whole."""

    def one(query: str) -> int:
        return int(connection.execute(QUERIES[query]).fetchall()[0][0])

    real = Path(os.path.realpath(path))
    wal = Path(f"{real}-wal")
    (check,) = connection.execute(QUERIES["quick_check"]).fetchall()[0]
    kind = file_system(real.parent)
    return FileFacts(
        sqlite=sqlite3.sqlite_version,
        has_wal_defect=has_wal_defect(sqlite3.sqlite_version_info),
        schema=one("read_version"),
        newest_schema=migrations()[-1][0],
        file=one("count_pages") * one("page_bytes"),
        wal=wal.stat().st_size if wal.exists() else 0,
        free_pages=one("count_free_pages") * one("page_bytes"),
        free_on_disk=shutil.disk_usage(real.parent).free,
        file_system=kind,
        on_network=is_network(kind),
        mode=real.stat().st_mode & 0o777,
        folder_mode=real.parent.stat().st_mode & 0o7777,
        problem="" if check == "ok" else str(check),
    )


def has_wal_defect(version: tuple[int, ...]) -> bool:
    """Say whether a version of SQLite has the defect of resetting a -wal file."""
    backport = BACKPORTS.get(version[:2])
    return version < FIXED and not (backport is not None and version[2] >= backport)
