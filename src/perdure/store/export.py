"""Exports: one run in one file, with everything that another machine needs to open it.

A file of JSON lines: a header, the run, the plan of its graph, its waits and its inbox, the rows of its log, the blobs they name, and
a last line that says how many rows and blobs there were. The events of a row stand in it as they were written, byte by byte,
so the chain of hashes holds in another store, too. It is checked on the way out and on the way in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from perdure.errors import PerdureError, RunConflict, StoreCorrupt, StoreForeign, StoreTooNew
from perdure.ids import checked_identifier
from perdure.store.chain import chain_start, verify_blob, verify_row
from perdure.store.encryption import stored
from perdure.store.port import Entry, NewEntry, NewRun, Row, RunInfo, RunUpdate, Store, Wait

FORMAT = 1
PAGE = 512

# Inside a JSON string quotes are escaped, so only a reference to a blob looks like this.
BLOB = re.compile(rb'\{"\$":"blob","v":"([0-9a-f]+)"')


class Header(msgspec.Struct, frozen=True, tag="perdure-export"):
    """What the file is."""

    format: int


class RunLine(msgspec.Struct, frozen=True, tag="run"):
    """What the store knew of the run."""

    run_id: str
    graph: str
    fingerprint: str
    status: str
    error: str
    due_at: int | None
    created_at: int
    inputs_digest: str
    state_digest: str
    tags: dict[str, str] = {}


class PlanLine(msgspec.Struct, frozen=True, tag="plan"):
    """The structure of its graph."""

    plan: msgspec.Raw


class WaitLine(msgspec.Struct, frozen=True, tag="wait"):
    """An open wait."""

    wait: Wait


class EntryLine(msgspec.Struct, frozen=True, tag="inbox"):
    """Something in its inbox."""

    entry: Entry


class RowLine(msgspec.Struct, frozen=True, tag="row"):
    """A commit."""

    first: int
    count: int
    epoch: int
    ts: int
    hash: str
    events: msgspec.Raw


class BlobLine(msgspec.Struct, frozen=True, tag="blob"):
    """A large value, base64."""

    digest: str
    data: str


class EndLine(msgspec.Struct, frozen=True, tag="end"):
    """The end of the file."""

    rows: int
    blobs: int


Line = Header | RunLine | PlanLine | WaitLine | EntryLine | RowLine | BlobLine | EndLine
_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Line)


class Exported(msgspec.Struct):
    """A run, as it was exported."""

    run: RunLine
    plan: bytes | None
    waits: list[Wait]
    entries: list[Entry]
    rows: list[Row]
    blobs: dict[str, bytes]


async def export_run(store: Store, info: RunInfo) -> AsyncIterator[bytes]:
    """Yield the lines of a file that holds a run, each with its line break; what is encrypted stays so.

    Raises:
        StoreCorrupt: the log isn't what was written.
    """
    store = stored(store)
    info = await store.get(info.run_id) or info
    yield _line(Header(FORMAT))
    yield _line(
        RunLine(
            info.run_id,
            info.graph,
            info.fingerprint,
            info.status,
            info.error,
            info.due_at,
            info.created_at,
            info.inputs_digest,
            info.state_digest,
            info.tags,
        )
    )
    plan = await store.plan(info.fingerprint)
    if plan is not None:
        yield _line(PlanLine(msgspec.Raw(plan)))
    for wait in await store.waits(run_id=info.run_id, limit=1 << 31):
        yield _line(WaitLine(wait))
    for entry in await store.inbox(info.run_id):
        yield _line(EntryLine(entry))
    head, seq, count, seen = chain_start(info.run_id, info.graph), 0, 0, set[str]()
    while rows := await store.read(info.run_id, seq, PAGE):
        for row in rows:
            verify_row(row, head, info.run_id, seq, store.location)
            head, seq, count = row.hash, seq + row.count, count + 1
            for digest in {found.decode() for found in BLOB.findall(row.events)} - seen:
                seen.add(digest)
                data = await store.blob(info.run_id, digest)
                yield _line(BlobLine(digest, base64.b64encode(data).decode()))
            yield _line(RowLine(row.first, row.count, row.epoch, row.ts, row.hash.hex(), msgspec.Raw(row.events)))
    yield _line(EndLine(count, len(seen)))


def _line(line: Line) -> bytes:
    return _encode(line) + b"\n"


def read_export(lines: Iterable[bytes], location: str) -> Exported:
    """Read an exported run, and check that it is what was written.

    Raises:
        StoreForeign: it isn't an export.
        StoreTooNew: it was made by a newer version.
        StoreCorrupt: something in it is missing, or isn't what was written.
    """
    found: list[Any] = []
    try:
        for line in lines:
            found.append(_decoder.decode(line))
            if len(found) == 1 and isinstance(found[0], Header) and found[0].format > FORMAT:
                raise StoreTooNew(
                    f"the export is of format {found[0].format}, and this perdure knows {FORMAT}", location=location
                )
    except (msgspec.DecodeError, RecursionError) as error:
        kind = StoreCorrupt if found else StoreForeign
        raise kind(f"line {len(found) + 1} isn't one of an export ({error})", location=location) from error
    if not found or not isinstance(found[0], Header):
        raise StoreForeign("it isn't an exported run", location=location)
    run = next((line for line in found if isinstance(line, RunLine)), None)
    end = found[-1]
    if run is None or not isinstance(end, EndLine):
        raise StoreCorrupt("the end of the export is missing", location=location)
    try:
        rows = [
            Row(line.first, line.count, line.epoch, line.ts, bytes(line.events), bytes.fromhex(line.hash))
            for line in found
            if isinstance(line, RowLine)
        ]
        blobs = {line.digest: base64.b64decode(line.data) for line in found if isinstance(line, BlobLine)}
        checked_identifier("run id", run.run_id)
        checked_identifier("graph name", run.graph)
    except (ValueError, PerdureError) as error:
        raise StoreCorrupt(f"something in the export can't be read ({error})", location=location) from error
    if (end.rows, end.blobs) != (len(rows), len(blobs)) or not rows:
        raise StoreCorrupt(f"the export has {len(rows)} rows, and had {end.rows}", location=location)
    head, seq = chain_start(run.run_id, run.graph), 0
    for row in rows:
        verify_row(row, head, run.run_id, seq, location)
        head, seq = row.hash, seq + row.count
    for digest, data in blobs.items():
        verify_blob(data, digest, run.run_id, location)
    return Exported(
        run,
        next((bytes(line.plan) for line in found if isinstance(line, PlanLine)), None),
        [line.wait for line in found if isinstance(line, WaitLine)],
        [line.entry for line in found if isinstance(line, EntryLine)],
        rows,
        blobs,
    )


async def import_run(store: Store, exported: Exported, *, status: str | None = None, error: str = "") -> RunInfo:
    """Put an exported run into a store.

    Args:
        store: where to.
        exported: the run.
        status: another status than it had.
        error: what to say of that.

    Raises:
        RunConflict: there is a run with its id.
    """
    run, store = exported.run, stored(store)
    if exported.plan is not None:
        await store.save_plan(run.fingerprint, run.graph, exported.plan)
    update = RunUpdate(status or run.status, error if status else run.error, run.due_at)
    new = NewRun(
        run_id=run.run_id,
        graph=run.graph,
        fingerprint=run.fingerprint,
        created_at=run.created_at,
        inputs_digest=run.inputs_digest,
        state_digest=run.state_digest,
        rows=tuple(exported.rows),
        update=update,
        blobs=exported.blobs,
        opened=tuple(exported.waits),
        tags=run.tags,
    )
    info, is_new = await store.adopt(new)
    if not is_new:
        raise RunConflict(f"{store.location} holds a run {run.run_id!r} already", run_id=run.run_id)
    for entry in exported.entries:
        await store.put(NewEntry(run.run_id, entry.kind, entry.key, entry.value, entry.by, entry.at))
    return info
