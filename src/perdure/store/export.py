"""Exports: one run in one file, with everything that another machine needs to open it.

A file of JSON lines: a header, the run, the plan of its graph, its waits, its inbox and what was answered, the rows of its log, the
blobs they name, and a last line that says how many rows and blobs there were, with a hash of all before it. The events of a row stand in it as they were written, byte by byte,
so the chain of hashes holds in another store, too. It is checked on the way out and on the way in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from hashlib import blake2b
from typing import Any

import msgspec

from perdure.errors import PerdureError, RunConflict, RunNotFound, StoreCorrupt, StoreForeign, StoreTooNew
from perdure.ids import LATEST, MAX_TAGS, checked_identifier
from perdure.kernel.fold.status import Status
from perdure.store.chain import chain_start, verify_blob, verify_row
from perdure.store.encryption import stored
from perdure.store.port import Store
from perdure.store.records import Brought, Entry, NewEntry, NewRun, Row, RunInfo, RunUpdate, Wait

FORMAT = 2
"""Exports of format 1 have no hash of the whole, and don't say which answers were used."""
PAGE = 512

# Inside a JSON string quotes are escaped, so only a reference to a blob looks like this.
BLOB = re.compile(rb'\{"\$":"blob","v":"([0-9a-f]+)"')


class ForeignExport(StoreForeign):
    """It isn't an exported run."""

    remedy = "Give a file that `perdure export` has written"


class DamagedExport(StoreCorrupt):
    """It isn't what was written."""

    remedy = "Export the run again"


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
    origin: str = ""


class PlanLine(msgspec.Struct, frozen=True, tag="plan"):
    """The structure of its graph."""

    plan: msgspec.Raw


class WaitLine(msgspec.Struct, frozen=True, tag="wait"):
    """An open wait."""

    wait: Wait


class EntryLine(msgspec.Struct, frozen=True, tag="inbox"):
    """Something in its inbox."""

    entry: Entry


class AnsweredLine(msgspec.Struct, frozen=True, tag="answered"):
    """A task whose answer was used, and the hash by which the same answer is known."""

    task: str
    digest: str


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
    digest: str = ""
    """A hash of all lines before this one."""


Line = Header | RunLine | PlanLine | WaitLine | EntryLine | AnsweredLine | RowLine | BlobLine | EndLine
_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Line)


class Exported(msgspec.Struct):
    """A run, as it was exported."""

    run: RunLine
    plan: bytes | None
    waits: list[Wait]
    entries: list[Entry]
    answered: dict[str, bytes]
    rows: list[Row]
    blobs: dict[str, bytes]


async def export_run(store: Store, info: RunInfo) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a file that holds a run, each with its line break; what is encrypted stays so.

    Raises:
        StoreCorrupt: the log isn't what was written.
    """
    store = stored(store)
    info = await store.get(info.run_id) or info
    whole, rows, blobs = blake2b(digest_size=16), 0, 0
    async with aclosing(_lines(store, info)) as lines:
        async for line in lines:
            rows += isinstance(line, RowLine)
            blobs += isinstance(line, BlobLine)
            written = _line(line)
            whole.update(written)
            yield written
    yield _line(EndLine(rows, blobs, whole.hexdigest()))


async def _lines(store: Store, info: RunInfo) -> AsyncGenerator[Line, None]:
    """Yield all lines but the last; the run may be driven meanwhile."""
    yield Header(FORMAT)
    info, beside = await _beside(store, info)
    yield RunLine(
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
        (await store.origins()).get(info.run_id, ""),
    )
    plan = await store.plan(info.fingerprint)
    if plan is not None:
        yield PlanLine(msgspec.Raw(plan))
    for line in beside:
        yield line
    head, seq, seen = chain_start(info.run_id, info.graph), 0, set[str]()
    while seq < info.last_seq and (rows := await store.read(info.run_id, seq, PAGE)):
        for row in rows:
            if seq >= info.last_seq:
                break
            verify_row(row, head, info.run_id, seq, store.location)
            head, seq = row.hash, seq + row.count
            for digest in sorted({found.decode() for found in BLOB.findall(row.events)} - seen):
                seen.add(digest)
                data = await store.blob(info.run_id, digest)
                yield BlobLine(digest, base64.b64encode(data).decode())
            yield RowLine(row.first, row.count, row.epoch, row.ts, row.hash.hex(), msgspec.Raw(row.events))
    if seq < info.last_seq:
        raise StoreCorrupt(
            f"run {info.run_id!r}: the log ends at event {seq}, and {info.last_seq} were recorded",
            location=store.location,
        )


async def _beside(store: Store, info: RunInfo) -> tuple[RunInfo, list[Line]]:
    """Return what is known of a run and what is kept beside its log, all as of one commit."""
    while True:
        lines: list[Line] = [WaitLine(wait) for wait in await store.waits(run_id=info.run_id, limit=1 << 31)]
        lines += [EntryLine(entry) for entry in await store.inbox(info.run_id)]
        answered = await store.answered(info.run_id)
        lines += [AnsweredLine(task, digest.hex()) for task, digest in answered.items()]
        after = await store.get(info.run_id)
        if after is None:
            raise RunNotFound(f"run {info.run_id!r} has just been deleted", run_id=info.run_id)
        if after.last_seq == info.last_seq:
            return after, lines
        info = after


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
    whole, digest = blake2b(digest_size=16), ""
    try:
        for line in lines:
            digest = whole.hexdigest()
            found.append(_decoder.decode(line))
            whole.update(line.rstrip(b"\n") + b"\n")
            if len(found) == 1 and isinstance(found[0], Header) and found[0].format > FORMAT:
                raise StoreTooNew(
                    f"the export is of format {found[0].format}, and this perdure knows {FORMAT}", location=location
                )
    except (msgspec.DecodeError, RecursionError) as error:
        kind = DamagedExport if found else ForeignExport
        raise kind(f"line {len(found) + 1} isn't one of an export ({error})", location=location) from error
    if not found or not isinstance(found[0], Header):
        raise ForeignExport("it isn't an exported run", location=location)
    run = next((line for line in found if isinstance(line, RunLine)), None)
    end = found[-1]
    if run is None or not isinstance(end, EndLine):
        raise DamagedExport("the end of the export is missing", location=location)
    if found[0].format > 1 and digest != end.digest:
        raise DamagedExport("it isn't what was written: its hash is another one", location=location)
    try:
        exported = _exported(run, found)
        _check_names(exported)
    except (ValueError, PerdureError) as error:
        raise DamagedExport(f"it isn't what was written ({error})", location=location) from error
    _check_log(exported, end, location)
    return exported


def _exported(run: RunLine, lines: list[Any]) -> Exported:
    return Exported(
        run,
        next((bytes(line.plan) for line in lines if isinstance(line, PlanLine)), None),
        [line.wait for line in lines if isinstance(line, WaitLine)],
        [line.entry for line in lines if isinstance(line, EntryLine)],
        {line.task: bytes.fromhex(line.digest) for line in lines if isinstance(line, AnsweredLine)},
        [
            Row(line.first, line.count, line.epoch, line.ts, bytes(line.events), bytes.fromhex(line.hash))
            for line in lines
            if isinstance(line, RowLine)
        ],
        {line.digest: base64.b64decode(line.data) for line in lines if isinstance(line, BlobLine)},
    )


def _check_names(exported: Exported) -> None:
    """Check that whoever wrote it kept to the limits of those who start, wait and signal.

    Raises:
        ValueError: they didn't.
    """
    run = exported.run
    names = [
        ("run id", run.run_id),
        ("graph name", run.graph),
        *(("tag", text) for tag in run.tags.items() for text in tag),
    ]
    names += [("run id", run.origin)] if run.origin else []
    times = [run.created_at, run.due_at]
    for wait in exported.waits:
        names += [("task id", wait.task), ("node id", wait.node), ("kind", wait.kind)]
        names += [("name", name) for name in (wait.name, wait.assignee) if name]
        times += [wait.opened_at, wait.due_at]
    for entry in exported.entries:
        names += [("name", name) for name in (entry.key, entry.by) if name]
        times.append(entry.at)
    for kind, name in names:
        checked_identifier(kind, name)
    if len(run.tags) > MAX_TAGS or run.status not in list(Status):
        raise ValueError(f"{len(run.tags)} tags, status {run.status!r:.80}")
    if not all(0 <= time <= LATEST for time in times if time is not None):
        raise ValueError("a time is in no calendar")


def _check_log(exported: Exported, end: EndLine, location: str) -> None:
    run, rows = exported.run, exported.rows
    if (end.rows, end.blobs) != (len(rows), len(exported.blobs)) or not rows:
        raise DamagedExport(f"the export has {len(rows)} rows, and had {end.rows}", location=location)
    head, seq = chain_start(run.run_id, run.graph), 0
    for row in rows:
        verify_row(row, head, run.run_id, seq, location)
        head, seq = row.hash, seq + row.count
    for digest, data in exported.blobs.items():
        verify_blob(data, digest, run.run_id, location)


async def import_run(store: Store, exported: Exported, *, status: str | None = None, error: str = "") -> RunInfo:
    """Put an exported run into a store, all of it or nothing.

    Args:
        store: where to.
        exported: the run.
        status: another status than it had.
        error: what to say of that.

    Raises:
        RunConflict: there is a run with its id.
    """
    run, store = exported.run, stored(store)
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
        origin=run.origin,
    )
    inbox = tuple(
        NewEntry(run.run_id, entry.kind, entry.key, entry.value, entry.by, entry.at) for entry in exported.entries
    )
    info, is_new = await store.adopt(new, Brought(exported.plan, inbox, exported.answered))
    if not is_new:
        raise RunConflict(f"{store.location} holds a run {run.run_id!r} already", run_id=run.run_id)
    return info
