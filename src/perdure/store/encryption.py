"""Encryption: values made unreadable on their way into a store, and readable on their way out of it.

A store that is given an :class:`Encryption` is wrapped in one that seals what comes from users and leaves the rest in the
clear, by which runs are found and driven:

    sealed     rows of the log as a whole, blobs, snapshots, what is in the inbox, titles and forms of waits, what the run
               failed of, the digests of its inputs and state
    clear      run ids, graph names and plans, statuses, tags, times, seqs, counts, owners, who waits (task, node, assignee), who
               answered or signalled what (``by=``, names of signals)

Each sealed piece names its key, and is bound to where it stands (a row to its run, seq, count, epoch and time), so that one
that is moved elsewhere can't be opened there. A sealed row is still a JSON array, of one element, so SQL views go on to work;
large values are named in it in the clear, by the hash of their sealed bytes, so that a run can be verified and exported
without the key. The chain of hashes is over the sealed bytes.

A run is sealed from its first commit or not at all: a row in the clear that turns up under an encryption is refused, since whoever
can write the file could have put it there.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

import msgspec

from perdure.errors import EncryptionError
from perdure.events import SEALED
from perdure.store.chain import snapshot_hash
from perdure.store.port import Store
from perdure.store.records import (
    Append,
    Claimed,
    Entry,
    NewEntry,
    NewRun,
    Owner,
    Put,
    Row,
    RunInfo,
    RunUpdate,
    Snapshot,
    Wait,
)

_TEXT = "encrypted:"
_BYTES = b"perdure-encrypted:"
_REFERENCE = re.compile(rb'\{"\$":"blob","v":"[0-9a-f]+","bytes":\d+\}')
_BLOB = b'{"$":"blob"'

InfoT = TypeVar("InfoT", bound=RunInfo)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Encryption(Protocol):
    """What encrypts: :class:`AES256GCM`, or something of your own.

    It is called for each commit, so it must be quick, and from the event loop. The same plaintext and context must give the
    same bytes under the same key (as in RFC 5297): by that an answer that is given twice is known.
    """

    @property
    def key_id(self) -> str:
        """The key that is written with: 1 to 100 characters out of letters, digits, ``.``, ``_`` and ``-``."""
        ...

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        """Return what ``decrypt`` makes the plaintext of again, if it is given the same context and nothing was changed."""
        ...

    def decrypt(self, key_id: str, ciphertext: bytes, context: bytes) -> bytes:
        """Return a plaintext.

        Raises:
            EncryptionError: there is no such key, or it, the context or the ciphertext isn't what it was.
        """
        ...


class Sealing:
    """Seals and opens pieces of runs, each in the form its place needs."""

    def __init__(self, encryption: Encryption) -> None:
        key = encryption.key_id
        if re.fullmatch(r"[A-Za-z0-9._-]{1,100}", key) is None:
            raise EncryptionError(
                f"{key!r:.120} can't be the id of a key: give 1 to 100 letters, digits, dots, hyphens or underscores"
            )
        self._encryption = encryption

    def text(self, data: bytes, *context: str) -> str:
        """Return sealed text."""
        sealed = self._encryption.encrypt(data, _context(*context))
        return f"{_TEXT}{self._encryption.key_id}:{base64.b64encode(sealed).decode()}"

    def open_text(self, text: str, *context: str) -> bytes:
        """Return what text was sealed.

        Raises:
            EncryptionError: it wasn't, or can't be opened.
        """
        _, key, data = _parts(text, context)
        try:
            sealed = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise EncryptionError(f"{_shown(context)} isn't what was encrypted ({error})") from error
        return self._encryption.decrypt(key, sealed, _context(*context))

    def data(self, data: bytes, *context: str) -> bytes:
        """Return sealed bytes, for where no text is needed."""
        return b"%b%b:%b" % (
            _BYTES,
            self._encryption.key_id.encode(),
            self._encryption.encrypt(data, _context(*context)),
        )

    def open_data(self, data: bytes, *context: str) -> bytes:
        """Return what bytes were sealed.

        Raises:
            EncryptionError: they weren't, or can't be opened.
        """
        key, colon, sealed = data.removeprefix(_BYTES).partition(b":")
        if not data.startswith(_BYTES) or not colon:
            raise EncryptionError(f"{_shown(context)} isn't encrypted, and this store is opened with an encryption")
        return self._encryption.decrypt(key.decode(errors="replace"), sealed, _context(*context))

    def blob(self, data: bytes) -> bytes:
        """Return a large value, sealed; a row that is sealed names it by its hash, so it is bound to that."""
        return self.data(data, "blob")

    def row(self, run_id: str, first: int, count: int, epoch: int, ts: int, events: bytes) -> bytes:
        """Return the events of a row, sealed: a JSON array in which the key and the large values they name can be seen."""
        sealed = self.text(events, *_place(run_id, first, count, epoch, ts))
        named = b"".join(b"," + found for found in _REFERENCE.findall(events)) if _BLOB in events else b""
        return b'%b"%b"%b]]' % (SEALED, sealed.encode(), named)

    def open_row(self, run_id: str, row: Row) -> Row:
        """Return a row with its events in the clear, and beside them what is stored.

        Raises:
            EncryptionError: it isn't sealed, or can't be opened.
        """
        place = _place(run_id, row.first, row.count, row.epoch, row.ts)
        if not row.events.startswith(SEALED):
            raise EncryptionError(
                f"{_shown(place)} isn't encrypted, and this store is opened with an encryption: drive runs from before that "
                "without it, and start new ones with it"
            )
        try:
            text = _decode(row.events)[0][1]
        except (msgspec.DecodeError, LookupError) as error:
            raise EncryptionError(f"{_shown(place)} isn't what was encrypted ({error})") from error
        return msgspec.structs.replace(row, events=self.open_text(str(text), *place), sealed=row.events)


def _place(run_id: str, first: int, count: int, epoch: int, ts: int) -> tuple[str, ...]:
    return ("events", run_id, str(first), str(count), str(epoch), str(ts))


def _context(*parts: str) -> bytes:
    encoded = [part.encode() for part in parts]
    return b"perdure-1" + b"".join([b"%d:%b" % (len(part), part) for part in encoded])


def _shown(context: Sequence[str]) -> str:
    """Return what a piece is, for people: its kind, and its run if it has one."""
    kind = f"{context[0]} from {context[2]} on" if context[0] == "events" else context[0]
    return f"run {context[1]!r}: {kind}" if len(context) > 1 else f"a {kind}"


def _parts(text: str, context: Sequence[str]) -> list[str]:
    parts = text.split(":", 2)
    if not text.startswith(_TEXT) or len(parts) != 3:
        raise EncryptionError(f"{_shown(context)} isn't encrypted, and this store is opened with an encryption")
    return parts


def key_of(info: RunInfo) -> str:
    """Return the id of the key that a run's row is sealed with, if it is; else an empty text."""
    digest = info.inputs_digest
    return digest.split(":", 2)[1] if digest.startswith(_TEXT) else ""


def check_readable(info: RunInfo) -> None:
    """Refuse to go on with a run whose key isn't at hand.

    Raises:
        EncryptionError: it isn't.
    """
    if key := key_of(info):
        raise EncryptionError.missing(key, f"run {info.run_id!r}")


def stored(store: Store) -> Store:
    """Return a store that gives out what is stored as it is: of one that is sealed, the store beneath."""
    return store.sealed if isinstance(store, _SealedStore) else store


def sealing_of(store: Store) -> Sealing | None:
    """Return what a store's pieces are sealed with, or None."""
    return store.sealing if isinstance(store, _SealedStore) else None


def sealed_store(store: Store, encryption: Encryption) -> Store:
    """Return a store in which another one's runs are sealed."""
    return cast(Store, _SealedStore(stored(store), Sealing(encryption)))


class _SealedStore:
    """A store in front of another one; what holds nothing of users' is handed on as it is."""

    def __init__(self, sealed: Store, sealing: Sealing) -> None:
        self.sealed = sealed
        self.sealing = sealing

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sealed, name)

    # --- runs ---

    async def create(self, run: NewRun) -> tuple[RunInfo, bool]:
        info, created = await self.sealed.create(self._new(run))
        return self._info(info), created

    def append(self, append: Append) -> Awaitable[None]:
        _check_blobs(append.run_id, append.blobs)
        run = append.run_id
        return self.sealed.append(
            msgspec.structs.replace(
                append,
                rows=_stored_rows(run, append.rows),
                update=self._update(run, append.update),
                opened=self._sealed_waits(append.opened),
            )
        )

    async def park(self, run_id: str, epoch: int, status: str, error: str) -> None:
        await self.sealed.park(run_id, epoch, status, self._error(run_id, error))

    async def get(self, run_id: str) -> RunInfo | None:
        info = await self.sealed.get(run_id)
        return self._info(info) if info is not None else None

    async def list(self, **conditions: Any) -> Sequence[RunInfo]:
        return [*map(self._info, await self.sealed.list(**conditions))]

    async def claim(self, owner: Owner, **conditions: Any) -> Sequence[Claimed]:
        return [*map(self._claimed, await self.sealed.claim(owner, **conditions))]

    async def orphans(self, now: int, besides: Owner | None = None) -> Sequence[RunInfo]:
        return [*map(self._info, await self.sealed.orphans(now, besides))]

    # --- logs ---

    async def read(self, run_id: str, after: int = 0, limit: int = 512) -> Sequence[Row]:
        return [self.sealing.open_row(run_id, row) for row in await self.sealed.read(run_id, after, limit)]

    async def blob(self, run_id: str, digest: str) -> bytes:
        return self.sealing.open_data(await self.sealed.blob(run_id, digest), "blob")

    async def save_snapshot(self, run_id: str, snapshot: Snapshot) -> None:
        data = self.sealing.data(snapshot.data, "snapshot", run_id, str(snapshot.seq))
        await self.sealed.save_snapshot(run_id, _with_data(run_id, snapshot, data))

    async def snapshot(self, run_id: str) -> Snapshot | None:
        found = await self.sealed.snapshot(run_id)
        if found is None or _with_data(run_id, found, found.data).hash != found.hash:
            return found  # whose hash doesn't fit; that it is damaged is told where snapshots are used
        data = self.sealing.open_data(found.data, "snapshot", run_id, str(found.seq))
        return _with_data(run_id, found, data)

    # --- waits and inboxes ---

    async def put(self, entry: NewEntry) -> tuple[Put, Entry | None]:
        put, known = await self.sealed.put(await self._sealed_entry(entry))
        return put, self._entry(entry.run_id, known) if known is not None else None

    async def put_and_claim(
        self, entry: NewEntry, owner: Owner, **conditions: Any
    ) -> tuple[Put, Entry | None, Claimed | None]:
        sealed = await self._sealed_entry(entry)
        put, known, claimed = await self.sealed.put_and_claim(sealed, owner, **conditions)
        mine = self._entry(entry.run_id, known) if known is not None else None
        return put, mine, self._claimed(claimed) if claimed is not None else None

    async def _sealed_entry(self, entry: NewEntry) -> NewEntry:
        info = await self.sealed.get(entry.run_id)
        if info is not None and not key_of(info):
            raise EncryptionError(
                f"run {entry.run_id!r} isn't encrypted, and this store is opened with an encryption: open it without one to go "
                "on with that run"
            )
        sealed = _encode(self.sealing.text(entry.value, "inbox", entry.run_id, entry.kind, entry.key))
        return msgspec.structs.replace(entry, value=sealed)

    async def inbox(self, run_id: str, after: int = 0) -> Sequence[Entry]:
        return [self._entry(run_id, entry) for entry in await self.sealed.inbox(run_id, after)]

    async def waits(self, **conditions: Any) -> Sequence[Wait]:
        return [self._wait(wait) for wait in await self.sealed.waits(**conditions)]

    # --- pieces ---

    def _new(self, run: NewRun) -> NewRun:
        _check_blobs(run.run_id, run.blobs)
        return msgspec.structs.replace(
            run,
            rows=_stored_rows(run.run_id, run.rows),
            update=self._update(run.run_id, run.update),
            inputs_digest=self.sealing.text(run.inputs_digest.encode(), "inputs", run.run_id),
            state_digest=self.sealing.text(run.state_digest.encode(), "state", run.run_id),
            opened=self._sealed_waits(run.opened),
        )

    def _update(self, run_id: str, update: RunUpdate) -> RunUpdate:
        return msgspec.structs.replace(update, error=self._error(run_id, update.error)) if update.error else update

    def _error(self, run_id: str, error: str) -> str:
        return self.sealing.text(error.encode(), "error", run_id) if error else ""

    def _claimed(self, claimed: Claimed) -> Claimed:
        """Open what comes along with a lease; what can't be opened is left to be read by itself, and is told of then."""
        inbox, log, run_id = claimed.inbox, claimed.log, claimed.run_id
        try:
            inbox = tuple(self._entry(run_id, entry) for entry in inbox) if inbox is not None else None
            log = tuple(self.sealing.open_row(run_id, row) for row in log) if log is not None else None
        except EncryptionError:
            inbox = log = None
        return msgspec.structs.replace(self._info(claimed), inbox=inbox, log=log)

    def _info(self, info: InfoT) -> InfoT:
        """Open what is sealed of a run's row; what can't be opened stays as it is, so that others can be listed."""
        if not key_of(info) and not info.error.startswith(_TEXT):
            return info
        return msgspec.structs.replace(
            info,
            inputs_digest=self._opened(info.inputs_digest, "inputs", info.run_id),
            state_digest=self._opened(info.state_digest, "state", info.run_id),
            error=self._opened(info.error, "error", info.run_id),
        )

    def _opened(self, text: str, *context: str) -> str:
        try:
            return self.sealing.open_text(text, *context).decode() if text.startswith(_TEXT) else text
        except EncryptionError:
            return text

    def _entry(self, run_id: str, entry: Entry) -> Entry:
        opened = self.sealing.open_text(str(_decode(entry.value)), "inbox", run_id, entry.kind, entry.key)
        return msgspec.structs.replace(entry, value=opened)

    def _sealed_waits(self, waits: tuple[Wait, ...]) -> tuple[Wait, ...]:
        return tuple(
            msgspec.structs.replace(
                wait,
                title=self.sealing.text(wait.title.encode(), "title", wait.run_id, wait.task),
                schema=_encode(self.sealing.text(wait.schema, "form", wait.run_id, wait.task)),
            )
            for wait in waits
        )

    def _wait(self, wait: Wait) -> Wait:
        if not wait.title.startswith(_TEXT):
            return wait
        try:
            title = self.sealing.open_text(wait.title, "title", wait.run_id, wait.task).decode()
            schema = self.sealing.open_text(str(_decode(wait.schema)), "form", wait.run_id, wait.task)
        except EncryptionError:
            return wait
        return msgspec.structs.replace(wait, title=title, schema=schema)


def _with_data(run_id: str, snapshot: Snapshot, data: bytes) -> Snapshot:
    hash_ = snapshot_hash(run_id, snapshot.format, snapshot.fingerprint, snapshot.seq, snapshot.head, data)
    return msgspec.structs.replace(snapshot, data=data, hash=hash_)


def _stored_rows(run_id: str, rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows as the store beneath is to have them; what reaches this must have been sealed where it was chained."""
    if not all(row.sealed for row in rows):
        raise EncryptionError(f"run {run_id!r}: a row isn't encrypted; please report this")
    return tuple(msgspec.structs.replace(row, events=row.sealed, sealed=b"") for row in rows)


def _check_blobs(run_id: str, blobs: Mapping[str, bytes]) -> None:
    if not all(data.startswith(_BYTES) for data in blobs.values()):
        raise EncryptionError(f"run {run_id!r}: a large value isn't encrypted; please report this")
