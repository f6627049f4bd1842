"""A disk of the tests' own: it records what SQLite asks of it, and fails when it is told to.

A VFS is seen only by the library it was registered in, and apsw brings SQLite along. So the store, with all its SQL and
pragmas, is run over a connection of apsw's that looks like one of ``sqlite3``'s as far as the store looks. Memory shared
between connections (the -shm file, with the locks of the write-ahead log) isn't on a disk, and goes past this one.

One thing is harsher than in life: where SQLite goes on in spite of an error, as after a checkpoint that failed behind a
COMMIT, apsw raises it all the same.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import apsw
import pytest

from perdure.store.sqlite import connection as connections

T = TypeVar("T")

_numbers = itertools.count()


class Write(NamedTuple):
    """Bytes were written."""

    file: str
    offset: int
    data: bytes


class Truncate(NamedTuple):
    """A file was cut."""

    file: str
    size: int


class Create(NamedTuple):
    """A file was made; the next fsync of it is one of its folder, too, as in SQLite's own VFS."""

    file: str
    syncs_folder: bool


class Sync(NamedTuple):
    """Everything in a file is on the disk."""

    file: str


class Delete(NamedTuple):
    """A file was deleted; it is gone for good once the folder is on the disk."""

    file: str
    syncs_folder: bool


class Note(NamedTuple):
    """Something was acknowledged."""

    what: Any


Done = Write | Truncate | Create | Sync | Delete | Note


@dataclass
class Fault:
    """What is to fail.

    Attributes:
        kinds: which calls.
        nth: the first of them to fail, counted from 1.
        code: with what.
        lasts: whether all that follow fail as well, until it is healed.
        is_late: whether what was asked for is done before the failure is told.
    """

    kinds: frozenset[str]
    nth: int
    code: int
    lasts: bool = False
    is_late: bool = False
    seen: int = 0
    hits: int = 0
    is_healed: bool = False

    def is_due(self, kind: str) -> bool:
        if self.is_healed or kind not in self.kinds:
            return False
        self.seen += 1
        due = self.seen >= self.nth if self.lasts else self.seen == self.nth
        self.hits += due
        return due


class Disk(apsw.VFS):
    """Passes everything on to the real disk."""

    def __init__(self) -> None:
        self.name = f"perdure-{next(_numbers)}"
        super().__init__(self.name, "")
        self.trace: list[Done] = []
        self.calls: Counter[str] = Counter()
        self.fault: Fault | None = None
        self.settings: tuple[str, ...] = ()

    def do(self, kind: str, action: Callable[[], T]) -> T:
        self.calls[kind] += 1
        fault = self.fault
        if fault is None or not fault.is_due(kind):
            return action()
        if fault.is_late:
            action()
        raise _error(fault.code)

    def note(self, what: Any) -> None:
        """Record that something was acknowledged."""
        self.trace.append(Note(what))

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return self.do("open", lambda: DiskFile(self, name, path, flags))

    def xDelete(self, name: str, syncdir: bool) -> None:
        def delete() -> None:
            super(Disk, self).xDelete(name, syncdir)
            self.trace.append(Delete(_end(name), bool(syncdir)))

        self.do("delete", delete)

    def xAccess(self, name: str, flags: int) -> bool:
        return self.do("access", lambda: super(Disk, self).xAccess(name, flags))


class DiskFile(apsw.VFSFile):
    """A file on it."""

    def __init__(self, disk: Disk, name: Any, path: str | None, flags: list[int]) -> None:
        self._disk = disk
        self._file = _end(path or "temporary")
        is_main = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)
        super().__init__("", name, flags)
        self._is_kept = path is not None
        if self._is_kept and flags[0] & apsw.SQLITE_OPEN_CREATE:
            disk.trace.append(Create(self._file, not is_main))

    def xRead(self, amount: int, offset: int) -> bytes:
        return self._disk.do("read", lambda: super(DiskFile, self).xRead(amount, offset))

    def xWrite(self, data: bytes, offset: int) -> None:
        data = bytes(data)

        def write() -> None:
            super(DiskFile, self).xWrite(data, offset)
            self._record(Write(self._file, offset, data))

        self._disk.do("write", write)

    def xTruncate(self, size: int) -> None:
        def truncate() -> None:
            super(DiskFile, self).xTruncate(size)
            self._record(Truncate(self._file, size))

        self._disk.do("truncate", truncate)

    def xSync(self, flags: int) -> None:
        def sync() -> None:
            super(DiskFile, self).xSync(flags)
            self._record(Sync(self._file))

        self._disk.do("sync", sync)

    def xFileSize(self) -> int:
        return self._disk.do("size", lambda: super(DiskFile, self).xFileSize())

    def xLock(self, level: int) -> None:
        self._disk.do("lock", lambda: super(DiskFile, self).xLock(level))

    def _record(self, done: Done) -> None:
        if self._is_kept:
            self._disk.trace.append(done)


def _end(path: str) -> str:
    """Return what tells a file of a database from the others: the end of its name."""
    return path[path.rindex(".db") :] if ".db" in path else path


def _error(code: int) -> apsw.Error:
    error = apsw.exception_for(code)
    error.result, error.extendedresult = code & 0xFF, code
    return error


class Rows:
    """What a statement gave, as a cursor of ``sqlite3`` has it."""

    def __init__(self, rows: list[Any], lastrowid: int, rowcount: int) -> None:
        self._rows = iter(rows)
        self.lastrowid = lastrowid
        self.rowcount = rowcount

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def close(self) -> None:
        self._rows = iter(())


class DiskConnection:
    """A connection over a disk, in the place of one of ``sqlite3``'s."""

    def __init__(self, disk: Disk, path: Any, **_: Any) -> None:
        with _translated():
            self._raw = apsw.Connection(str(path), vfs=disk.name)
            for setting in disk.settings:
                self._raw.execute(setting)
        self._functions = connections._FUNCTIONS

    def execute(self, sql: str, parameters: Any = ()) -> Rows:
        with _translated():
            rows = list(self._raw.execute(sql, parameters))
        return Rows(rows, self._raw.last_insert_rowid(), self._raw.changes())

    def executemany(self, sql: str, parameters: Iterable[Any]) -> None:
        assert sql is self._functions
        for function in parameters:
            function(self)

    @property
    def in_transaction(self) -> bool:
        return self._raw.in_transaction

    def close(self) -> None:
        # As in sqlite3, where a connection is closed whatever becomes of the checkpoint that goes with it.
        with suppress(apsw.Error):
            self._raw.close()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise errors of apsw's as those that ``sqlite3`` would raise."""
    try:
        yield
    except apsw.Error as error:
        code = getattr(error, "extendedresult", None) or getattr(error, "result", None) or apsw.SQLITE_ERROR
        primary = code & 0xFF
        kind: type[sqlite3.Error] = sqlite3.OperationalError
        if primary == apsw.SQLITE_CONSTRAINT:
            kind = sqlite3.IntegrityError
        elif primary in (apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB):
            kind = sqlite3.DatabaseError
        instead = kind(str(error))
        instead.sqlite_errorcode = code
        names = {**apsw.mapping_result_codes, **apsw.mapping_extended_result_codes}
        instead.sqlite_errorname = str(names.get(code, names.get(primary)))
        raise instead from error


@contextmanager
def on(disk: Disk) -> Iterator[None]:
    """Let every store that is opened lie on a disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "FunctionConnection", lambda path, **how: DiskConnection(disk, path, **how))
        yield
