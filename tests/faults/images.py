"""What a disk may hold after the power has gone: images built from a trace of what was asked of it.

What an fsync has covered is there. Of what came after it, each write may be there, or not, or some of its sectors; in any
order; and where a sector was being written, anything may stand. (A sector is 512 bytes. What lies beside the bytes that were
written stays, as SQLite takes it for granted.) The same goes for names in the folder, but these come and go in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.disk import Create, Delete, Done, Sync, Truncate, Write

SECTOR = 512

WAL, MAIN, JOURNAL = ".db-wal", ".db", ".db-journal"

MANNERS = ("as it was", "nothing", "some", "reordered", "torn", "garbage")


@dataclass
class Content:
    """A file, by whatever name."""

    on_disk: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)
    syncs_folder: bool = False


class Platter:
    """What is known of a disk after a part of a trace.

    Attributes:
        seen: how often something was done that campaigns have to have met.
    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._on_disk: dict[str, Content] = {}
        self._present: dict[str, Content] = {}
        self._renamed: list[tuple[str, Content | None]] = []

    def take(self, done: Done) -> None:
        """Go on by one entry of the trace."""
        if isinstance(done, Create):
            if done.file not in self._present:
                self._name(done.file, Content(syncs_folder=done.syncs_folder))
        elif isinstance(done, Delete):
            self.seen["deletions"] += 1
            self._name(done.file, None)
            if done.syncs_folder:
                self._sync_folder()
        elif isinstance(done, Sync):
            self._sync(self._present[done.file])
        elif isinstance(done, Write | Truncate):
            self._count(done)
            self._present[done.file].pending.append(done)

    def _name(self, file: str, content: Content | None) -> None:
        self._renamed.append((file, content))
        if content is None:
            del self._present[file]
        else:
            self._present[file] = content

    def _sync(self, content: Content) -> None:
        for done in content.pending:
            _apply(content.on_disk, done)
        content.pending.clear()
        if content.syncs_folder:
            content.syncs_folder = False
            self._sync_folder()

    def _sync_folder(self) -> None:
        self._on_disk = dict(self._present)
        self._renamed.clear()

    def _count(self, done: Write | Truncate) -> None:
        if isinstance(done, Write) and done.file == MAIN and WAL in self._present:
            self.seen["pages written by a checkpoint"] += 1
        if isinstance(done, Write) and done.file == WAL and done.offset == 0:
            self.seen["write-ahead logs begun"] += 1

    @property
    def is_settled(self) -> bool:
        """Whether all of it is on the disk."""
        return not self._renamed and not any(content.pending for content in self._present.values())

    @property
    def is_being_made(self) -> bool:
        """Whether the file is written with a rollback journal, as it is only until it has a write-ahead log."""
        return JOURNAL in self._present

    def image(self, manner: str, chance: Random, met: Counter[str]) -> dict[str, bytes]:
        """Return the files that may be there.

        Args:
            manner: one of ``MANNERS``: what becomes of what isn't on the disk yet.
            chance: what decides the rest.
            met: counts what has become of it.
        """
        files = dict(self._on_disk)
        names = {"as it was": len(self._renamed), "nothing": 0}.get(manner, chance.randint(0, len(self._renamed)))
        for file, content in self._renamed[:names]:
            if content is None:
                files.pop(file, None)
            else:
                files[file] = content
        if names < len(self._renamed):
            met["names that weren't in the folder yet"] += 1
        return {file: bytes(_survived(file, content, manner, chance, met)) for file, content in files.items()}


def write_image(image: dict[str, bytes], folder: Path) -> Path:
    """Put an image into a folder of its own; return the path of the database."""
    folder.mkdir(parents=True)
    for end, data in image.items():
        (folder / f"runs{end}").write_bytes(data)
    return folder / "runs.db"


def _survived(file: str, content: Content, manner: str, chance: Random, met: Counter[str]) -> bytearray:
    data = bytearray(content.on_disk)
    if manner == "nothing" or not content.pending:
        return data
    pieces: list[Write | Truncate] = list(content.pending)
    if manner == "as it was":
        for done in pieces:
            _apply(data, done)
        return data
    if file == MAIN:
        met["checkpoints that were cut short"] += 1
    if manner in ("torn", "garbage"):
        pieces = [piece for done in pieces for piece in _sectors(done)]
    share = chance.choice((0.2, 0.5, 0.8, 0.95))
    kept = [done for done in pieces if chance.random() < share]
    if manner == "reordered":
        chance.shuffle(kept)
        met["writes that came out of order"] += len(kept) > 1
    for done in kept:
        if manner == "garbage" and isinstance(done, Write) and chance.random() < 0.3:
            met[f"sectors of garbage in the {_kind(file)}"] += 1
            garbage = chance.choice((bytes(len(done.data)), chance.randbytes(len(done.data))))
            done = done._replace(data=garbage)
        _apply(data, done)
    if manner == "torn" and 0 < len(kept) < len(pieces):
        met[f"writes torn in the {_kind(file)}"] += 1
    return data


def _kind(file: str) -> str:
    return {MAIN: "file", WAL: "write-ahead log", JOURNAL: "journal"}[file]


def _sectors(done: Write | Truncate) -> Iterable[Write | Truncate]:
    if isinstance(done, Truncate):
        return [done]
    edges = range(done.offset - done.offset % SECTOR, done.offset + len(done.data), SECTOR)
    pieces = []
    for edge in edges:
        first, last = max(edge, done.offset), min(edge + SECTOR, done.offset + len(done.data))
        pieces.append(Write(done.file, first, done.data[first - done.offset : last - done.offset]))
    return pieces


def _apply(data: bytearray, done: Write | Truncate) -> None:
    if isinstance(done, Truncate):
        if len(data) > done.size:
            del data[done.size :]
        else:
            data.extend(bytes(done.size - len(data)))
        return
    if len(data) < done.offset:
        data.extend(bytes(done.offset - len(data)))
    data[done.offset : done.offset + len(done.data)] = done.data
