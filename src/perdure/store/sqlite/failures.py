"""What SQLite reports, as perdure's own errors: no error of a driver leaves the store."""

from __future__ import annotations

import sqlite3

from perdure.errors import (
    StoreCorrupt,
    StoreError,
    StoreFaulty,
    StoreForeign,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)

_BY_CODE: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_IOERR: StoreFaulty,
    sqlite3.SQLITE_BUSY: StoreLocked,
    sqlite3.SQLITE_LOCKED: StoreLocked,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_PERM: StoreReadOnly,
    sqlite3.SQLITE_CANTOPEN: StoreReadOnly,
    sqlite3.SQLITE_NOTADB: StoreForeign,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
}


SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What comes up where a file is read; the second one where SQLite reports damage and quotes what it found there."""


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's result code without its extension, or 0 if the error carries none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Say whether another connection holds the file locked."""
    return primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_undecodable(error: Exception) -> bool:
    """Say whether a text was found that isn't one: Python's sqlite3 says so without a code."""
    return isinstance(error, UnicodeDecodeError) or str(error).startswith("Could not decode to UTF-8")


def unreadable(error: Exception, location: str) -> StoreError:
    """Return the error to raise instead of one of ``SQLITE_ERRORS`` that came up while the file was read."""
    if not isinstance(error, UnicodeDecodeError):
        return translated(error, location)
    instead = StoreCorrupt(f"what SQLite says of it isn't text ({error})", location=location)
    instead.__cause__ = error
    return instead


def translated(error: Exception, location: str) -> StoreError:
    """Return the error to raise instead of one that came up while the file was used."""
    if not isinstance(error, sqlite3.Error):
        kind, name = StoreError, type(error).__name__
    else:
        kind = _BY_CODE.get(primary_code(error), StoreError)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if is_undecodable(error):
            kind = StoreCorrupt
    instead = kind(f"{error} ({name})", location=location)
    instead.__cause__ = error
    return instead
