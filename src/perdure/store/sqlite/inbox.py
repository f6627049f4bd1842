"""Waits and inboxes, each as what is done inside a transaction.

Who wins a race is settled by the write lock. An answer is put in while its wait is open, or it isn't: the commit that closes
the wait comes before or after. One that was put in just before its wait ended in another way, by its deadline, stays in
the inbox; whoever drives the run finds it there and says in the log that it came too late. In the same way a run is woken: a
commit sees what is in the inbox and leaves the run due at once, or what is put in later finds the run as the commit left
it, and makes it due.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from perdure.errors import StoreCorrupt
from perdure.store.records import LET_IN, MAX_SIGNALS, OVER, Claimed, Entry, NewEntry, Put, Wait
from perdure.store.sqlite.leases import ClaimOperation
from perdure.store.sqlite.queries import QUERIES
from perdure.store.sqlite.rows import checked, entry

ANSWER, SIGNAL = "answer", "signal"


class PutOperation:
    """Put something in a run's inbox, and take the run's lease if it is to be claimed."""

    def __init__(self, location: str, new: NewEntry, claim: ClaimOperation | None = None) -> None:
        self.location = location
        self.new = new
        self.claim = claim

    def apply(self, connection: sqlite3.Connection) -> tuple[Put, Entry | None, Claimed | None]:
        """Put it in and make the run due, or say why not."""
        put, mine = self._put(connection)
        claimed: list[Claimed] = []
        if self.claim is not None and put in LET_IN:
            with suppress(StoreCorrupt):  # it has claimed nothing then, and whoever claims next is told
                claimed = self.claim.apply(connection)
        return put, mine, claimed[0] if claimed else None

    def _put(self, connection: sqlite3.Connection) -> tuple[Put, Entry | None]:
        new = self.new
        found = connection.execute(QUERIES["addressee"], (new.run_id,)).fetchall()
        if not found:
            return "missing", None
        ((run, status),) = found
        digest = None
        if new.kind == ANSWER:
            digest = new.digest
            if (refused := self._refused(connection, run, digest)) is not None:
                return refused
        elif status in OVER:
            return "over", None
        elif (
            new.kind == SIGNAL and connection.execute(QUERIES["count_signals"], (run,)).fetchall()[0][0] >= MAX_SIGNALS
        ):
            return "full", None
        fields = (run, new.kind, new.key, new.value.decode(), new.by, new.at, digest)
        number = connection.execute(QUERIES["insert_entry"], fields).lastrowid
        assert number is not None
        connection.execute(QUERIES["wake_run"], (new.at, run))
        return "accepted", Entry(number, new.kind, new.key, new.value, new.by, new.at)

    def _refused(self, connection: sqlite3.Connection, run: int, digest: bytes) -> tuple[Put, Entry | None] | None:
        """Say why an answer isn't accepted, or return None."""
        task = self.new.key
        for *columns, other in connection.execute(QUERIES["unused_answer"], (run, task)).fetchall():
            (there,) = checked(entry, [columns], self.location)
            return ("same" if other == digest else "taken"), there
        if connection.execute(QUERIES["awaits_answer"], (run, task)).fetchall():
            return None
        for (other,) in connection.execute(QUERIES["used_answer"], (run, task)).fetchall():
            return ("same" if other == digest else "taken"), None
        return "closed", None

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Say whether the entry is there.

        One that another process has taken out in the meantime is put in again: what comes in is delivered at least once.
        """
        put, mine, claimed = outcome
        if self.claim is not None and claimed is not None:
            return self.claim.landed(connection, [claimed])
        if put != "accepted":
            return None
        found = connection.execute(QUERIES["read_entry"], (self.new.run_id, mine.number)).fetchall()
        return checked(entry, found, self.location) == [mine]


def fill_inbox(connection: sqlite3.Connection, run: int, entries: Sequence[NewEntry]) -> None:
    """Put entries in as they are."""
    for new in entries:
        digest = new.digest if new.kind == ANSWER else None
        connection.execute(
            QUERIES["insert_entry"], (run, new.kind, new.key, new.value.decode(), new.by, new.at, digest)
        )


def close_waits(connection: sqlite3.Connection, run: int, tasks: Sequence[str]) -> None:
    """End the waits of tasks."""
    for task in tasks:
        connection.execute(QUERIES["close_wait"], (run, task))


def open_waits(connection: sqlite3.Connection, run: int, waits: Sequence[Wait]) -> None:
    """Begin waits, or change those that are open."""
    for wait in waits:
        fields = (
            run,
            wait.task,
            wait.node,
            wait.kind,
            wait.name,
            wait.title,
            wait.assignee,
            wait.schema.decode(),
            wait.opened_at,
            wait.due_at,
            wait.path,
        )
        connection.execute(QUERIES["open_wait"], fields)
        connection.execute(QUERIES["forget_answer"], (run, wait.task))


def take_entries(connection: sqlite3.Connection, run: int, numbers: Sequence[int], closed: Collection[str]) -> bool:
    """Take entries out of a run's inbox, remembering the answers that closed a wait; say whether any are left."""
    for number in numbers:
        for kind, key, digest in connection.execute(QUERIES["take_entry"], (number, run)).fetchall():
            if kind == ANSWER and key in closed:
                connection.execute(QUERIES["remember_answer"], (run, key, digest))
    ((is_left,),) = connection.execute(QUERIES["is_mail_left"], (run,)).fetchall()
    return bool(is_left)
