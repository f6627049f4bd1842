"""Operations in transactions: what is done in the thread of the connection that writes.

Several operations share one transaction, and so one fsync. What is known when something goes wrong:

    the file isn't there        or another one is, by its name: somebody has deleted or replaced it. SQLite would go on writing to what
                                nobody finds any more, so nothing is done
    an operation refuses        an error of perdure's own, such as Fenced: it has done nothing, the others go on
    the lock can't be had       nothing has happened; the same goes for all of them
    a statement fails           the transaction is rolled back, and each half of the operations tried by itself; so one that
                                can't be done doesn't take the others along
    COMMIT fails                it isn't known whether it happened. All of it has or none: so if any operation finds in the
                                file what it did, what was worked out before holds for all. If one finds nothing, all are
                                done again, a few times
    … and goes on failing       the error, if the file shows that nothing has happened; else OutcomeUnknown. An fsync that
                                failed may have written all the same, whatever the file shows until the next power cut
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import structlog

from perdure.errors import OutcomeUnknown, PerdureError, StoreError, StoreFaulty
from perdure.store.sqlite.failures import translated
from perdure.store.sqlite.file import identity
from perdure.store.sqlite.operations import Operation, apply_all
from perdure.store.sqlite.patience import patiently
from perdure.store.sqlite.queries import QUERIES

PAUSES_S = (0.01, 0.04, 0.16)
"""How long to wait before each new try after a COMMIT that failed."""

_GONE = "the file was deleted or replaced while it was open"
_PUT_BACK = (
    "Nothing more is written: end the processes that have it open, put the right file there, and resume the runs"
)

_MAY_HAVE_WRITTEN = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})

log = structlog.get_logger("perdure.store")


class _NotBegun(Exception):
    """The lock couldn't be had."""

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.error = error


class _CommitFailed(Exception):
    """COMMIT raised."""

    def __init__(self, error: sqlite3.Error, outcomes: list[Any]) -> None:
        super().__init__(str(error))
        self.error = error
        self.outcomes = outcomes


class Transactions:
    """Does operations together.

    Attributes:
        count: how many transactions were committed.
    """

    def __init__(self, location: str, lock_timeout_s: float) -> None:
        self._location = location
        self._lock_timeout_s = lock_timeout_s
        self._file: tuple[str, tuple[int, int] | None] | None = None
        self.count = 0

    def run(self, connection: sqlite3.Connection, operations: Sequence[Operation]) -> list[Any]:
        """Do operations, in order, and return for each its outcome, or the exception to raise instead."""
        if self._is_gone(connection):
            return [StoreFaulty(_GONE, location=self._location, remedy=_PUT_BACK) for _ in operations]
        try:
            return self._together(connection, operations)
        except _NotBegun as failed:
            return self._refused(operations, failed.error)
        except _CommitFailed as failed:
            return self._find_out(connection, operations, failed)
        except Exception as error:
            if len(operations) == 1:
                return self._refused(operations, error)
        middle = len(operations) // 2
        return self.run(connection, operations[:middle]) + self.run(connection, operations[middle:])

    def _is_gone(self, connection: sqlite3.Connection) -> bool:
        """Say whether what has the name of the file isn't the file any more that was opened."""
        if self._file is None:
            path = str(connection.execute(QUERIES["list_files"]).fetchall()[0][2])
            self._file = path, identity(path)
        path, known = self._file
        return identity(path) != known

    def _refused(self, operations: Sequence[Operation], error: Exception) -> list[StoreError]:
        # One each: an exception that is raised in several tasks would gather the tracebacks of all.
        return [translated(error, self._location) for _ in operations]

    def _together(self, connection: sqlite3.Connection, operations: Sequence[Operation]) -> list[Any]:
        try:
            _roll_back(connection)  # of a transaction that couldn't be rolled back before
            patiently(lambda: connection.execute(QUERIES["begin"]), self._lock_timeout_s)
        except sqlite3.Error as error:
            raise _NotBegun(error) from error
        try:
            outcomes = apply_all(connection, operations)
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                _roll_back(connection)
            raise
        try:
            connection.execute(QUERIES["commit"])
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                _roll_back(connection)
            raise _CommitFailed(error, outcomes) from error
        self.count += 1
        return outcomes

    def _find_out(
        self, connection: sqlite3.Connection, operations: Sequence[Operation], failed: _CommitFailed
    ) -> list[Any]:
        """Look whether a transaction has happened though COMMIT raised, and do it again if it hasn't."""
        error: Exception = failed.error
        for pause_s in (*PAUSES_S, None):
            try:
                has_landed = self._has_landed(connection, operations, failed.outcomes)
            except sqlite3.Error as unreadable:
                error, has_landed = unreadable, None
            if has_landed:
                log.warning("a commit that raised has happened", error=str(error), location=self._location)
                return failed.outcomes
            if pause_s is None:
                break
            time.sleep(pause_s)
            if has_landed is None:
                continue
            try:
                return self._together(connection, operations)
            except _CommitFailed as again:
                failed, error = again, again.error
            except _NotBegun as again:
                error = again.error
            except Exception as again:
                error = again
        if has_landed is None or getattr(failed.error, "sqlite_errorcode", 0) in _MAY_HAVE_WRITTEN:
            problem = f"a commit raised ({failed.error}) and it can't be told whether it happened"
            return [OutcomeUnknown(problem, location=self._location) for _ in operations]
        return self._refused(operations, error)

    def _has_landed(
        self, connection: sqlite3.Connection, operations: Sequence[Operation], outcomes: Sequence[Any]
    ) -> bool:
        _roll_back(connection)  # or it would be found in the transaction itself
        return any(
            operation.landed(connection, outcome)
            for operation, outcome in zip(operations, outcomes, strict=True)
            if not isinstance(outcome, PerdureError)
        )


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute(QUERIES["roll_back"])
