"""The schema in the file, and what is set on each connection before the file is trusted."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from perdure.errors import StoreForeign, StoreTooNew, StoreUnsupported
from perdure.store.sqlite.patience import patiently
from perdure.store.sqlite.queries import QUERIES, migrations, statements

APPLICATION_ID = 0x70657264  # "perd", as in the first migration

_IN_MEMORY = ":memory:"
_TABLE = "table"

Synchronous = Literal["FULL", "NORMAL"]


def set_up_writer(
    connection: sqlite3.Connection, location: str, synchronous: Synchronous, lock_timeout_s: float
) -> None:
    """Check that the file is a perdure store, or make it one, and set what a writer needs.

    Raises:
        StoreForeign: it is something else.
        StoreTooNew: it was made by a newer version.
        StoreUnsupported: it can't have a write-ahead log.
    """
    _set_common(connection)
    # Another process may be at the same: whoever is later finds everything done.
    patiently(lambda: _set_up_writer(connection, location, synchronous), lock_timeout_s)


def _set_up_writer(connection: sqlite3.Connection, location: str, synchronous: Synchronous) -> None:
    application, version, tables = _identity(connection)
    is_new = application == 0 and version == 0 and not tables
    if not is_new and application != APPLICATION_ID:
        raise StoreForeign("it is an SQLite file of another application", location=location)
    steps = migrations()
    newest, _ = steps[-1]
    _check_version(version, newest, location)
    if is_new:
        _one(connection, "set_page_size")
    if (mode := _one(connection, "use_wal")) != "wal":
        raise StoreUnsupported(f"SQLite can't keep a write-ahead log there (but {mode!r})", location=location)
    _one(connection, "survive_power_loss" if synchronous == "FULL" else "survive_process_death")
    _one(connection, "limit_wal")
    _one(connection, "fire_triggers_of_replace")
    if version < newest:
        _migrate(connection, steps, location)


def _migrate(connection: sqlite3.Connection, steps: list[tuple[int, str]], location: str) -> None:
    """Bring the schema to the present version, in one transaction; of several processes that try, one does it.

    Raises:
        StoreUnsupported: it wouldn't be that of a new file; nothing has happened.
    """
    connection.execute(QUERIES["begin"])
    try:
        version = _one(connection, "read_version")
        for number, script in steps:
            if number > version:
                for statement in statements(script):
                    connection.execute(statement)
        if version and (differing := _differing(connection, steps)):
            raise StoreUnsupported(
                f"its schema can't be brought from version {version} to {steps[-1][0]}, since {', '.join(differing)} would differ "
                "from those of a new file; nothing was changed",
                location=location,
            )
        connection.execute(QUERIES["commit"])
    except BaseException:
        if connection.in_transaction:
            connection.execute(QUERIES["roll_back"])
        raise


def _differing(connection: sqlite3.Connection, steps: list[tuple[int, str]]) -> list[str]:
    """Return the tables, views, indexes and triggers in which a file differs from a new one."""
    new = sqlite3.connect(_IN_MEMORY, isolation_level=None)
    try:
        for _, script in steps:
            for statement in statements(script):
                new.execute(statement)
        theirs, ours = (dict(each.execute(QUERIES["read_schema"]).fetchall()) for each in (connection, new))
        columns = [
            {name: each.execute(QUERIES["read_columns"], (name,)).fetchall() for name in ours if ours[name] == _TABLE}
            for each in (connection, new)
        ]
    finally:
        new.close()
    names = sorted(theirs.keys() | ours.keys())
    return [
        name for name in names if theirs.get(name) != ours.get(name) or columns[0].get(name) != columns[1].get(name)
    ]


def set_up_only_reader(connection: sqlite3.Connection, location: str, lock_timeout_s: float) -> None:
    """Check that the file is a perdure store of a version that can be read, and set what a connection needs that only reads.

    Raises:
        StoreForeign: it is something else.
        StoreTooNew: it was made by a newer version.
    """
    set_up_reader(connection)
    application, version, _ = patiently(lambda: _identity(connection), lock_timeout_s)
    if application != APPLICATION_ID:
        raise StoreForeign("it isn't a perdure store", location=location)
    _check_version(version, migrations()[-1][0], location)


def _check_version(version: int, newest: int, location: str) -> None:
    if version > newest:
        raise StoreTooNew(
            f"its schema is of version {version}, and this perdure knows version {newest}", location=location
        )


def set_up_reader(connection: sqlite3.Connection) -> None:
    """Set what a connection needs that only reads."""
    _set_common(connection)
    _one(connection, "only_read")
    _one(connection, "leave_checkpoints_to_writer")


def _set_common(connection: sqlite3.Connection) -> None:
    _one(connection, "distrust_schema")
    _one(connection, "never_wait")


def _identity(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return the application's id, the version of the schema and the number of tables, all as of one moment."""
    connection.execute(QUERIES["begin_reading"])
    try:
        return (
            _one(connection, "read_application_id"),
            _one(connection, "read_version"),
            _one(connection, "count_tables"),
        )
    finally:
        if connection.in_transaction:
            connection.execute(QUERIES["roll_back"])


def _one(connection: sqlite3.Connection, query: str) -> Any:
    """Execute a statement and return the only value it gives, if it gives one."""
    found = connection.execute(QUERIES[query]).fetchall()
    return found[0][0] if found else None
