"""Commits to the log, each as what it does inside a transaction.

The fence is read inside the transaction, under the write lock: the epoch of the present owner, from the run's row, and the
seq the log has reached, from the log's last row. So a commit that changes nothing else about its run writes to the log
alone. (Keeping the seq in the run's row as well, and updating that with each commit, cost 15 to 25 µs more, and twice the
bytes.) The run's row is written when its status, error, due time or graph changes, and then notes how far the log had come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from perdure.errors import Fenced, PerdureError
from perdure.store.records import Append, Brought, NewRun, Row, RunInfo, Snapshot
from perdure.store.sqlite.inbox import close_waits, fill_inbox, open_waits, take_entries
from perdure.store.sqlite.queries import QUERIES
from perdure.store.sqlite.rows import encode_owner, encode_tags, run_infos


class Operation(Protocol):
    """Something to be done in a transaction."""

    def apply(self, connection: sqlite3.Connection) -> Any:
        """Do it, and return what the caller is to get; an error of perdure's own must leave nothing done."""
        ...

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Say whether it has been done, after a commit whose outcome isn't known.

        Args:
            connection: the connection, outside of a transaction.
            outcome: what ``apply`` returned.

        Returns:
            None if that can't be told from what is stored, and doing it again does no harm.
        """
        ...


class CreateOperation:
    """Create a run with its first commit."""

    def __init__(self, location: str, run: NewRun) -> None:
        self.location = location
        self.run = run

    def apply(self, connection: sqlite3.Connection) -> tuple[RunInfo, bool]:
        """Insert the run; if the id is taken, return what is there."""
        run, last = self.run, self.run.rows[-1]
        fields = (
            run.run_id,
            run.graph,
            run.fingerprint,
            run.update.status,
            last.first + last.count - 1,
            last.epoch,
            encode_owner(run.owner).decode() if run.owner is not None else None,
            run.lease_until,
            run.created_at,
            run.inputs_digest,
            run.state_digest,
            run.update.error,
            run.update.due_at,
            encode_tags(run.tags),
            run.origin,
        )
        cursor = connection.execute(QUERIES["insert_run"], fields)
        if cursor.rowcount == 1:
            number = cursor.lastrowid
            assert number is not None
            _insert(connection, number, run.rows, run.blobs)
            open_waits(connection, number, run.opened)
            self._bring(connection, number)
            return self._created(), True
        (info,) = run_infos(connection, "get_run", (run.run_id,))
        return info, False

    def _bring(self, connection: sqlite3.Connection, number: int) -> None:
        """Insert what else the new run has."""

    def _created(self) -> RunInfo:
        """Return what the view ``runs`` now says of the run."""
        run, last = self.run, self.run.rows[-1]
        return RunInfo(
            run_id=run.run_id,
            graph=run.graph,
            fingerprint=run.fingerprint,
            status=run.update.status,
            last_seq=last.first + last.count - 1,
            head=last.hash,
            epoch=last.epoch,
            owner=run.owner,
            lease_until=run.lease_until,
            created_at=run.created_at,
            updated_at=last.ts,
            inputs_digest=run.inputs_digest,
            state_digest=run.state_digest,
            error=run.update.error,
            due_at=run.update.due_at,
            tags=run.tags,
        )

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Say whether the run is there with these rows."""
        _, created = outcome
        return _has_row(connection, self.run.run_id, self.run.rows[-1]) if created else None


class AdoptOperation(CreateOperation):
    """Create a run that comes from another store."""

    def __init__(self, location: str, run: NewRun, brought: Brought) -> None:
        super().__init__(location, run)
        self.brought = brought

    def _bring(self, connection: sqlite3.Connection, number: int) -> None:
        """Insert what it brings along, and count the store's epochs on beyond its own."""
        run, brought = self.run, self.brought
        if brought.plan is not None:
            connection.execute(QUERIES["insert_plan"], (run.fingerprint, run.graph, brought.plan.decode()))
        fill_inbox(connection, number, brought.inbox)
        for task, digest in brought.answered.items():
            connection.execute(QUERIES["remember_answer"], (number, task, digest))
        connection.execute(QUERIES["pass_epoch"], (max(row.epoch for row in run.rows),))


class DeleteOperation(msgspec.Struct):
    """Delete whole runs."""

    run_ids: Sequence[str]

    def apply(self, connection: sqlite3.Connection) -> list[str]:
        """Return the ids of those that were there and over, and that no other run was forked from."""
        found = [connection.execute(QUERIES["delete_run"], (run_id,)).fetchall() for run_id in self.run_ids]
        return [run_id for rows in found for (run_id,) in rows]

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Say whether the runs are gone."""
        if not outcome:
            return None
        return not connection.execute(QUERIES["get_run"], (outcome[0],)).fetchall()


class AppendOperation(msgspec.Struct, gc=False):
    """Add a commit to a run's log, and change its waits and inbox with it."""

    location: str
    commit: Append

    def apply(self, connection: sqlite3.Connection) -> None:
        """Pass the fence and insert the rows.

        Raises:
            Fenced: the fence didn't let it pass.
        """
        (outcome,) = _append(connection, [self])
        if outcome is not None:
            raise outcome

    def change(self, connection: sqlite3.Connection, position: Sequence[Any]) -> None:
        """Change what else there is to change, once the rows are there."""
        commit, update, last = self.commit, self.commit.update, self.commit.rows[-1]
        _, number, _, status, error, due_at, fingerprint, _, has_mail = position
        if commit.blobs:
            _insert_blobs(connection, number, commit.blobs)
        if commit.closed:
            close_waits(connection, number, commit.closed)
        if commit.consumed:
            has_mail = take_entries(connection, number, commit.consumed, commit.closed)
        if commit.opened:
            open_waits(connection, number, commit.opened)
        wanted = (
            update.status,
            update.error,
            commit.due_at(has_mail=bool(has_mail)),
            update.fingerprint or fingerprint,
        )
        if wanted != (status, error, due_at, fingerprint):
            connection.execute(QUERIES["change_run"], (*wanted, last.first + last.count - 1, number))
        if commit.release:
            connection.execute(QUERIES["release_run"], (last.first + last.count - 1, number))

    def fenced(self, found: str) -> Fenced:
        """Return the error of a commit that is refused."""
        commit = self.commit
        return Fenced(
            f"run {commit.run_id!r} {found}; a commit after event {commit.after} in epoch {commit.epoch} is refused",
            location=self.location,
        )

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Say whether the rows are there, whatever has come after them."""
        return _has_row(connection, self.commit.run_id, self.commit.rows[-1])


def apply_all(connection: sqlite3.Connection, operations: Sequence[Operation]) -> list[Any]:
    """Do operations in order; return for each its outcome, or the error of perdure's own that it has raised.

    Commits of different runs that follow each other are done together: a statement for all costs a fraction of one for each.
    """
    outcomes: list[Any] = []
    appends: dict[str, AppendOperation] = {}
    for operation in operations:
        if type(operation) is AppendOperation:
            if operation.commit.run_id in appends:
                outcomes += _append(connection, [*appends.values()])
                appends.clear()
            appends[operation.commit.run_id] = operation
            continue
        if appends:
            outcomes += _append(connection, [*appends.values()])
            appends.clear()
        try:
            outcomes.append(operation.apply(connection))
        except PerdureError as error:
            outcomes.append(error)
    return outcomes + _append(connection, [*appends.values()]) if appends else outcomes


def _append(connection: sqlite3.Connection, operations: Sequence[AppendOperation]) -> list[Fenced | None]:
    """Add commits to the logs of different runs."""
    run_ids = _encode_ids([operation.commit.run_id for operation in operations]).decode()
    found = connection.execute(QUERIES["positions"], (run_ids,)).fetchall()
    positions = {position[0]: position for position in found}
    outcomes: list[Fenced | None] = []
    rows: list[tuple[Any, ...]] = []
    for index, operation in enumerate(operations):
        commit, position = operation.commit, positions.get(index)
        if position is None:
            outcomes.append(operation.fenced("doesn't exist"))
            continue
        _, number, epoch, _, _, _, _, seq, _ = position
        if epoch != commit.epoch or seq != commit.after:
            outcomes.append(operation.fenced(f"is at event {seq} in epoch {epoch}"))
            continue
        outcomes.append(None)
        rows += [
            (number, row.first, row.count, row.epoch, row.ts, row.events.decode(), row.hash) for row in commit.rows
        ]
    connection.executemany(QUERIES["insert_row"], rows)
    for index, operation in enumerate(operations):
        if outcomes[index] is None:
            operation.change(connection, positions[index])
    return outcomes


_encode_ids = msgspec.json.Encoder().encode


def _insert(connection: sqlite3.Connection, number: int, rows: Sequence[Row], blobs: Mapping[str, bytes]) -> None:
    for row in rows:
        connection.execute(
            QUERIES["insert_row"], (number, row.first, row.count, row.epoch, row.ts, row.events.decode(), row.hash)
        )
    _insert_blobs(connection, number, blobs)


def _insert_blobs(connection: sqlite3.Connection, number: int, blobs: Mapping[str, bytes]) -> None:
    for digest, data in blobs.items():
        connection.execute(QUERIES["insert_blob"], (number, digest, data))


def _has_row(connection: sqlite3.Connection, run_id: str, row: Row) -> bool:
    return connection.execute(QUERIES["row_hash"], (run_id, row.first)).fetchall() == [(row.hash,)]


class StatementOperation:
    """One statement, or the same one several times, that may be done again."""

    def __init__(self, query: str, *parameters: tuple[Any, ...]) -> None:
        self.query = query
        self.parameters = parameters

    def apply(self, connection: sqlite3.Connection) -> None:
        """Execute it."""
        for parameters in self.parameters:
            connection.execute(QUERIES[self.query], parameters)

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Never tell: doing it again does no harm."""
        return None


def snapshot_parameters(run_id: str, snapshot: Snapshot) -> tuple[Any, ...]:
    """Return what ``replace_snapshot`` takes."""
    return (run_id, snapshot.format, snapshot.fingerprint, snapshot.seq, snapshot.head, snapshot.data, snapshot.hash)
