"""What is read from the file, as the port knows it.

Columns have types, but in a damaged file anything may be found in them; so all of it is checked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar

import msgspec

from perdure.errors import StoreCorrupt
from perdure.store.records import Announced, Entry, Owner, Row, RunInfo, Size, Snapshot, Wait
from perdure.store.sqlite.failures import SQLITE_ERRORS, is_undecodable
from perdure.store.sqlite.queries import QUERIES

T = TypeVar("T")

LAST = (1 << 63) - 1
"""The last moment there is."""

_Row = tuple[int, int, int, int, bytes, bytes]
_Status = Literal["PENDING", "RUNNING", "WAITING", "PAUSED", "STALLED", "COMPLETED", "FAILED", "CANCELLED"]
_RunInfo = tuple[
    str, str, str, _Status, int, bytes, int, str | None, int, int, int, str, str, str, int | None, str
]  # in the order of RunInfo's fields
_Wait = tuple[str, str, str, str, str, str, str, bytes, int, int | None, str]
_Entry = tuple[int, str, str, bytes, str, int]
_Announced = tuple[str, str, int]
_Size = tuple[str, str, str, int, int, int]
_Snapshot = tuple[int, str, int, bytes, bytes, bytes]

_TEXTS = (0, 1, 2, 3, 7, 11, 12, 13, 15)
"""Where texts are among the columns of ``runs``."""

_SCHEMA = 7
"""Where the bytes of a wait are among its columns."""

_decode_owner = msgspec.json.Decoder(Owner).decode
_decode_fingerprints = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_tags = msgspec.json.Decoder(dict[str, str]).decode
encode_owner = msgspec.json.Encoder().encode


def encode_tags(tags: Mapping[str, str]) -> str:
    """Return tags as they are written: always the same text for the same tags."""
    return msgspec.json.encode(dict(tags), order="sorted").decode()


def log_row(columns: Sequence[Any]) -> Row:
    """Return a row of ``log``."""
    return Row(*msgspec.convert(columns, _Row))


def run_info(columns: Sequence[Any]) -> RunInfo:
    """Return a row of ``runs``."""
    fields: list[Any] = [*msgspec.convert(columns, _RunInfo)]
    fields[7] = _decode_owner(fields[7]) if fields[7] is not None else None
    fields[15] = _decode_tags(fields[15]) if fields[15] != "{}" else {}
    return RunInfo(*fields)


def announced(columns: Sequence[Any]) -> Announced:
    """Return a row of ``worker``."""
    owner, fingerprints, until = msgspec.convert(columns, _Announced)
    return Announced(_decode_owner(owner), _decode_fingerprints(fingerprints), until)


class Unreadable(RunInfo, frozen=True, gc=False):
    """What stands for a run whose row can't be read: it is stalled, and its error says what is wrong."""

    raw_id: bytes = b""
    """Its id as it is in the file."""


def run_infos(connection: sqlite3.Connection, query: str, parameters: tuple[Any, ...]) -> list[RunInfo]:
    """Execute a query, by name, for rows of ``runs``; where one can't be read, the others still are.

    Raises:
        sqlite3.Error: the query can't be executed.
    """
    try:
        return [run_info(columns) for columns in connection.execute(QUERIES[query], parameters).fetchall()]
    except msgspec.DecodeError:
        pass
    except SQLITE_ERRORS as error:
        if not is_undecodable(error):
            raise
    text_factory = connection.text_factory
    connection.text_factory = bytes
    try:
        found = connection.execute(QUERIES[query], parameters).fetchall()
    finally:
        connection.text_factory = text_factory
    return [_whole_or_unreadable([*columns]) for columns in found]


def _whole_or_unreadable(columns: list[Any]) -> RunInfo:
    raw_id, problem = columns[0], ""
    for place in _TEXTS:
        if isinstance(columns[place], bytes):
            try:
                columns[place] = columns[place].decode()
            except UnicodeDecodeError as error:
                problem = str(error)
                columns[place] = columns[place].decode(errors="backslashreplace")
    if not problem:
        try:
            return run_info(columns)
        except msgspec.DecodeError as error:
            problem = str(error)
    columns[3], columns[7:9], columns[14:] = "STALLED", (None, 0), (None, {})
    columns[13] = f"the row of the run isn't what is ever written ({problem}): restore the file from a backup"
    return Unreadable(*[*columns, raw_id])


def wait(columns: Sequence[Any]) -> Wait:
    """Return a row of ``wait``."""
    found = Wait(*msgspec.convert(columns, _Wait))
    msgspec.json.decode(found.schema, type=msgspec.Raw)
    return found


def waits(connection: sqlite3.Connection, query: str, parameters: tuple[Any, ...]) -> list[Wait]:
    """Execute a query, by name, for rows of ``wait``, and leave out those that can't be read; `perdure doctor` names their runs.

    Raises:
        sqlite3.Error: the query can't be executed.
    """
    text_factory = connection.text_factory
    connection.text_factory = bytes
    try:
        found = connection.execute(QUERIES[query], parameters).fetchall()
    finally:
        connection.text_factory = text_factory
    whole = []
    for columns in found:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            texts = [
                part.decode() if type(part) is bytes and place != _SCHEMA else part
                for place, part in enumerate(columns)
            ]
            whole.append(wait(texts))
    return whole


def entry(columns: Sequence[Any]) -> Entry:
    """Return a row of ``inbox``."""
    return Entry(*msgspec.convert(columns, _Entry))


def size(columns: Sequence[Any]) -> Size:
    """Return a row of ``sizes``."""
    return Size(*msgspec.convert(columns, _Size))


def last_entry(columns: Sequence[Any]) -> tuple[str, int]:
    """Return the id of a run and the number of the last entry in its inbox."""
    return msgspec.convert(columns, tuple[str, int])


def origin(columns: Sequence[Any]) -> tuple[str, str]:
    """Return the id of a run and that of the one it comes from."""
    return msgspec.convert(columns, tuple[str, str])


def answered(columns: Sequence[Any]) -> tuple[str, bytes]:
    """Return a row of ``answered``."""
    return msgspec.convert(columns, tuple[str, bytes])


def number(columns: Sequence[Any]) -> int | None:
    """Return the only column, a number or nothing."""
    return msgspec.convert(columns, tuple[int | None])[0]


def version(columns: Sequence[Any]) -> int:
    """Return the only column, a number."""
    return msgspec.convert(columns, tuple[int])[0]


def snapshot(columns: Sequence[Any]) -> Snapshot:
    """Return a row of ``snapshot``."""
    return Snapshot(*msgspec.convert(columns, _Snapshot))


def blob(columns: Sequence[Any]) -> bytes:
    """Return the only column, of bytes."""
    return msgspec.convert(columns, tuple[bytes])[0]


def checked(decode: Callable[[Sequence[Any]], T], rows: Sequence[Sequence[Any]], location: str) -> list[T]:
    """Decode rows.

    Raises:
        StoreCorrupt: one isn't what is ever written.
    """
    try:
        return [decode(row) for row in rows]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"a row isn't what is ever written ({error})", location=location) from error
