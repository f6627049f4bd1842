"""The chain of hashes over the rows of a run, and what hangs on it.

Each row carries a hash over the one before it and over everything in itself, so a row that is changed, dropped, put
elsewhere or swapped is noticed when the log is read. The chain begins with the run's id and graph. It detects damage, by
accident or by somebody who doesn't know of it; somebody who can write the file can also write new hashes, unless the
head is anchored outside of it.

A blob is named after its content in a row, so it hangs on the chain by its name.
"""

from __future__ import annotations

from hashlib import blake2b

from perdure.errors import StoreCorrupt
from perdure.store.records import Row

HASH_BYTES = 16


def chain_start(run_id: str, graph: str) -> bytes:
    """Return what the first row of a run hangs on."""
    return _hash(b"perdure", run_id.encode(), graph.encode())


def chained(head: bytes, run_id: str, first: int, count: int, epoch: int, ts: int, events: bytes) -> bytes:
    """Return the hash of a row that follows ``head``."""
    numbers, name = b"%d,%d,%d,%d" % (first, count, epoch, ts), run_id.encode()
    # What _hash does with four parts, spelled out, for there is a row for every commit.
    data = b"%d:%b%d:%b%d:%b%d:%b" % (len(head), head, len(name), name, len(numbers), numbers, len(events), events)
    return blake2b(data, digest_size=HASH_BYTES).digest()


def snapshot_hash(run_id: str, format: int, fingerprint: str, seq: int, head: bytes, data: bytes) -> bytes:
    """Return the hash that a snapshot carries."""
    return _hash(run_id.encode(), b"%d" % format, fingerprint.encode(), b"%d" % seq, head, data)


def blob_name(data: bytes) -> str:
    """Return the digest that a blob is kept under: blake2b of its bytes, in hex."""
    return blake2b(data, digest_size=HASH_BYTES).hexdigest()


def _hash(*parts: bytes) -> bytes:
    return blake2b(b"".join([b"%d:%b" % (len(part), part) for part in parts]), digest_size=HASH_BYTES).digest()


def verify_row(row: Row, head: bytes, run_id: str, after: int, location: str) -> None:
    """Check that a row follows another one and holds what was written.

    Raises:
        StoreCorrupt: it doesn't; the message says where.
    """
    if row.first != after + 1:
        problem = f"they follow event {after}, so some are missing"
    elif chained(head, run_id, row.first, row.count, row.epoch, row.ts, row.sealed or row.events) != row.hash:
        problem = "what is stored isn't what was written (the hash differs)"
    else:
        return
    where = f"run {run_id!r}, events {row.first} to {row.first + row.count - 1}"
    raise StoreCorrupt(f"{where}: {problem}", location=location)


def verify_blob(data: bytes, digest: str, run_id: str, location: str) -> None:
    """Check that a blob is what it is named after.

    Raises:
        StoreCorrupt: it isn't.
    """
    if blob_name(data) != digest:
        raise StoreCorrupt(f"run {run_id!r}: the blob {digest} isn't what was written", location=location)
