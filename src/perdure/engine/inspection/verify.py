"""Verification: whether a log is what was written, told without knowing what it means.

Only the chain of hashes is walked, and the blobs that hang on it are compared with their names. So a log of a newer version,
or of a graph that nobody has any more, is verified like any other.
"""

from __future__ import annotations

import msgspec

from perdure.engine.driving.recovery import PAGE
from perdure.errors import StoreCorrupt
from perdure.store.chain import chain_start, verify_row
from perdure.store.encryption import stored
from perdure.store.export import BLOB
from perdure.store.port import Store
from perdure.store.records import RunInfo


class Verdict(msgspec.Struct, frozen=True):
    """What came of verifying a run.

    Attributes:
        run_id: the run.
        graph: the name of its graph.
        events: how many events were found to be what was written.
        blobs: how many values that are kept apart.
        problem: what is damaged, and where; empty if nothing is.
    """

    run_id: str
    graph: str
    events: int
    blobs: int
    problem: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether all of it is what was written."""
        return not self.problem


async def verify_run(store: Store, info: RunInfo) -> Verdict:
    """Walk the chain of a run's log from its beginning to its end."""
    store = stored(store)
    head, seq, blobs = chain_start(info.run_id, info.graph), 0, 0
    seen: set[str] = set()
    try:
        while rows := await store.read(info.run_id, seq, PAGE):
            for row in rows:
                verify_row(row, head, info.run_id, seq, store.location)
                for digest in {found.decode() for found in BLOB.findall(row.events)} - seen:
                    await store.blob(info.run_id, digest)
                    seen.add(digest)
                    blobs += 1
                head, seq = row.hash, seq + row.count
        if seq < info.last_seq:
            raise StoreCorrupt(
                f"run {info.run_id!r}: the log ends at event {seq}, and {info.last_seq} were recorded",
                location=store.location,
            )
    except StoreCorrupt as error:
        return Verdict(info.run_id, info.graph, seq, blobs, error.message)
    return Verdict(info.run_id, info.graph, seq, blobs)
