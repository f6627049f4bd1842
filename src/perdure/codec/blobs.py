"""Blobs: values of more than 256 KB, which are kept apart from the events under a hash of their bytes."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from perdure.codec.tags import BLOB, TAG

MAX_INLINE_BYTES: Final = 256 << 10

_PREFIX = b'{"$":"blob",'
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class BlobMissing(Exception):
    """A value is kept apart, and its bytes aren't at hand."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


class Blobs:
    """The values that are kept apart, as far as this process has them at hand.

    Attributes:
        unsaved: those that the next commit has to bring along.
    """

    def __init__(self, capacity_bytes: int = 64 << 20) -> None:
        self._data: dict[str, bytes] = {}
        self._capacity = capacity_bytes
        self._size = 0
        self.unsaved: dict[str, bytes] = {}

    def add(self, digest: str, data: bytes) -> None:
        """Keep bytes at hand."""
        if digest not in self._data:
            self._data[digest] = data
            self._size += len(data)

    def get(self, digest: str) -> bytes:
        """Return bytes.

        Raises:
            BlobMissing: they have to be fetched.
        """
        data = self.unsaved.get(digest) or self._data.get(digest)
        if data is None:
            raise BlobMissing(digest)
        return data

    def save(self) -> None:
        """Note that a commit has brought along what was unsaved; let the oldest go that are more than the capacity."""
        for digest, data in self.unsaved.items():
            self.add(digest, data)
        self.unsaved.clear()
        while self._size > self._capacity and len(self._data) > 1:
            self._size -= len(self._data.pop(next(iter(self._data))))


def may_name_blobs(data: bytes) -> bool:
    """Say whether a reference to a blob may stand in what was written."""
    return _PREFIX in data


def inlined(data: bytes, blobs: Blobs) -> msgspec.Raw:
    """Return what stands in an event for a value: its bytes, or a reference to them if they are many."""
    return msgspec.Raw(data) if len(data) <= MAX_INLINE_BYTES else kept_apart(data, blobs)


def kept_apart(data: bytes, blobs: Blobs) -> msgspec.Raw:
    """Put bytes among the blobs and return a reference to them."""
    digest = blake2b(data, digest_size=16).hexdigest()
    blobs.unsaved[digest] = data
    return msgspec.Raw(_encode({TAG: BLOB, "v": digest, "bytes": len(data)}))


def blob_digest(raw: msgspec.Raw | bytes) -> str | None:
    """Return which blob a recorded value refers to, or None if it stands there itself."""
    if bytes(memoryview(raw)[: len(_PREFIX)]) != _PREFIX:
        return None
    digest: str = _decode(raw)["v"]
    return digest


def resolved(raw: msgspec.Raw, blobs: Blobs) -> msgspec.Raw | bytes:
    """Return the bytes of a recorded value, wherever they are kept."""
    digest = blob_digest(raw)
    return raw if digest is None else blobs.get(digest)
