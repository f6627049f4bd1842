"""Leases, and the epochs they are held under, each as what is done inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from perdure.errors import StoreCorrupt
from perdure.store.port import SHORT
from perdure.store.records import Announced, Claimed, Lease, Owner, RunInfo
from perdure.store.sqlite.failures import SQLITE_ERRORS, is_undecodable
from perdure.store.sqlite.queries import QUERIES
from perdure.store.sqlite.rows import Unreadable, encode_owner, entry, log_row, run_infos

T = TypeVar("T")

BROUGHT_BYTES = 1 << 16
"""How much comes along with a lease: the transaction that takes it isn't to last."""


class ClaimOperation:
    """Take leases on runs that nobody drives."""

    def __init__(
        self,
        location: str,
        owner: Owner,
        graphs: Sequence[str],
        now: int,
        until: int,
        limit: int,
        run_id: str | None,
        anyway: bool,
        leaving: Sequence[str],
    ) -> None:
        self.location = location
        self.owner = owner
        self.graphs = graphs
        self.now = now
        self.until = until
        self.limit = limit
        self.run_id = run_id
        self.anyway = anyway
        self.leaving = leaving

    def apply(self, connection: sqlite3.Connection) -> list[Claimed]:
        """Take them, each under a new epoch; one that can't be read is stalled instead."""
        if self.run_id is not None:
            found = run_infos(connection, "claimable_run", (self.now, self.run_id, self.anyway))
        else:
            graphs, leaving = json.dumps([*self.graphs]), json.dumps([*self.leaving])
            found = run_infos(connection, "claimable", (self.now, graphs, self.limit, leaving))
        for info in found:
            if isinstance(info, Unreadable):
                connection.execute(QUERIES["park_unreadable"], (info.error, info.raw_id))
        found = [info for info in found if not isinstance(info, Unreadable)]
        if not found:
            return []
        # No epoch of a run is less than the one before, whatever has become of the counter.
        connection.execute(QUERIES["pass_epoch"], (max(info.epoch for info in found),))
        epoch = reserve_epochs(connection, len(found), self.location) - len(found)
        owner = encode_owner(self.owner).decode()
        claimed = []
        for info in found:
            epoch += 1
            connection.execute(QUERIES["take_lease"], (owner, self.until, epoch, info.last_seq, info.run_id))
            mine = {**msgspec.structs.asdict(info), "owner": self.owner, "lease_until": self.until, "epoch": epoch}
            log = _brought(connection, "first_rows", info.run_id, 4, log_row) if info.last_seq <= SHORT else None
            claimed.append(Claimed(**mine, inbox=_brought(connection, "whole_inbox", info.run_id, 3, entry), log=log))
        return claimed

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Say whether the leases are there: no other claim has had their epochs."""
        if not outcome:
            return None
        first: RunInfo = outcome[0]
        return connection.execute(QUERIES["read_epoch"], (first.run_id,)).fetchall() == [(first.epoch,)]


def _brought(
    connection: sqlite3.Connection, query: str, run_id: str, large: int, decode: Callable[[Sequence[Any]], T]
) -> tuple[T, ...] | None:
    """Return the rows of a run that come along with its lease; None if they are too large or damaged, to be read by themselves.

    Args:
        connection: the connection, inside of the transaction.
        query: the name of what is executed.
        run_id: the run.
        large: which column counts for the size.
        decode: makes a row what the port knows it as.
    """
    found, size = [], 0
    cursor = connection.execute(QUERIES[query], (run_id,))
    try:
        for columns in cursor:
            size += len(columns[large])
            if size > BROUGHT_BYTES:
                return None
            found.append(decode(columns))
    except msgspec.DecodeError:
        return None
    except SQLITE_ERRORS as error:
        if not is_undecodable(error):
            raise
        return None
    finally:
        cursor.close()
    return tuple(found)


def reserve_epochs(connection: sqlite3.Connection, count: int, location: str) -> int:
    """Count the store's epochs on, and return the highest of those reserved.

    Raises:
        StoreCorrupt: the counter is missing.
    """
    found = connection.execute(QUERIES["reserve_epochs"], (count,)).fetchall()
    if not found:
        raise StoreCorrupt("the counter of epochs is missing", location=location)
    return int(found[0][0])


class EpochOperation:
    """Reserve one epoch."""

    def __init__(self, location: str) -> None:
        self.location = location

    def apply(self, connection: sqlite3.Connection) -> int:
        """Return it."""
        return reserve_epochs(connection, 1, self.location)

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Never tell: an epoch that nobody uses is no loss."""
        return None


class AnnounceOperation:
    """Let others know of a worker."""

    def __init__(self, worker: Announced, now: int) -> None:
        self.worker = worker
        self.now = now

    def apply(self, connection: sqlite3.Connection) -> None:
        """Write it down, and forget those that were to be gone by now."""
        worker = self.worker
        owner, fingerprints = encode_owner(worker.owner).decode(), json.dumps([*worker.fingerprints])
        connection.execute(QUERIES["forget_workers"], (self.now,))
        connection.execute(QUERIES["announce_worker"], (worker.owner.id, owner, fingerprints, worker.until))

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Never tell: doing it again does no harm."""
        return None


class HeartbeatOperation:
    """Extend leases."""

    def __init__(self, leases: Sequence[Lease]) -> None:
        self.leases = leases

    def apply(self, connection: sqlite3.Connection) -> list[str]:
        """Return the ids of the runs whose lease is lost."""
        lost = []
        for lease in self.leases:
            cursor = connection.execute(QUERIES["extend_lease"], (lease.until, lease.run_id, lease.epoch))
            if cursor.rowcount != 1:
                lost.append(lease.run_id)
        return lost

    def landed(self, connection: sqlite3.Connection, outcome: Any) -> bool | None:
        """Never tell: extending again does no harm."""
        return None
