"""Plans: how values of one annotated type are written and read, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any, Final, Protocol

import msgspec
from typing_extensions import is_typeddict

from perdure.codec.blobs import BlobMissing
from perdure.codec.classes import is_enum, is_registrable
from perdure.codec.closed import Check, NotClosed, closed
from perdure.codec.hints import classes_in, is_open, peeled
from perdure.codec.plain import read_plain
from perdure.codec.reading import Reader
from perdure.codec.refusal import Refusal, too_deep
from perdure.codec.registry import Registry
from perdure.codec.tags import ANY, BLOB, MAX_DEPTH, TAG, TAGGED
from perdure.codec.writing import Writer
from perdure.errors import CodecError
from perdure.graph.types import type_name

MAX_VALUE_BYTES: Final = 64 << 20

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_SCALARS = frozenset({NoneType, bool, int, str})
_LEAVES = _SCALARS | {float}


class Forms:
    """The ways to write and read tagged values that all plans of a codec share."""

    def __init__(self, registry: Registry) -> None:
        self.writer = Writer(registry)
        self.careful = Writer(registry, careful=True)
        self.reader = Reader(registry)


class Apart(Protocol):
    """Where values that are kept apart are found."""

    def get(self, digest: str) -> bytes:
        """Return the bytes of a value."""
        ...


class Plan:
    """How values of one type are written and read."""

    __slots__ = (
        "_as_they_are",
        "_check",
        "_decode",
        "_forms",
        "_has_classes",
        "_has_fields",
        "_has_objects",
        "annotation",
    )

    def __init__(self, annotation: Any, forms: Forms) -> None:
        annotation = peeled(annotation)
        self.annotation = annotation
        self._forms = forms
        self._check: Check | None = None
        self._decode: Callable[[Any], Any] = _decode
        self._as_they_are = _SCALARS
        self._has_objects = True
        classes = classes_in(annotation)
        self._has_classes = any(is_registrable(cls) and not is_enum(cls) for cls in classes)
        self._has_fields = self._has_classes or any(map(is_typeddict, classes))
        if not is_open(annotation):
            try:
                found = closed(annotation)
                self._decode = msgspec.json.Decoder(annotation).decode
            except NotClosed:
                return
            except Exception:  # whatever msgspec has against it, the other path takes any annotation
                return
            self._check, self._has_objects = found.check, found.has_objects
            self._as_they_are = found.scalars

    @property
    def is_closed(self) -> bool:
        """Whether the annotation settles the type of every part."""
        return self._check is not None

    # --- writing ---

    def write(self, value: Any) -> bytes:
        """Return a value as JSON.

        Raises:
            CodecError: a part of it can't be stored, or it is larger than 64 MB.
        """
        data = self.written(value)
        if len(data) > MAX_VALUE_BYTES:
            raise CodecError(
                f"the value takes {len(data) / 1e6:.0f} MB, more than the {MAX_VALUE_BYTES >> 20} MB a value may take",
                path="$",
                type_name=type(value).__name__,
                remedy="Keep it elsewhere and pass a reference, or map over its parts",
            )
        return data

    def written(self, value: Any) -> bytes:
        """Return a value of any size as JSON.

        Raises:
            CodecError: a part of it can't be stored.
        """
        try:
            if type(value) in self._as_they_are or (self._check is not None and self._check(value)):
                return _encode(value)
            return self._marked(_encode(self._forms.writer.write(value)))
        except Refusal as refusal:
            raise refusal.error() from refusal.__cause__
        except RecursionError:
            raise _exhausted(value) from None
        except Exception:  # what the encoder refuses, a careful writer can put otherwise, or say where it is
            return self._written_carefully(value)

    def _written_carefully(self, value: Any) -> bytes:
        try:
            return self._marked(_encode(self._forms.careful.write(value)))
        except Refusal as refusal:
            raise refusal.error() from refusal.__cause__
        except RecursionError:
            raise _exhausted(value) from None
        except Exception as error:
            raise CodecError(
                f"the value can't be taken apart ({type(error).__name__}: {error})",
                path="$",
                type_name=type(value).__name__,
                remedy="Make its attributes ones that can be read at any time",
            ) from error

    def _marked(self, data: bytes) -> bytes:
        """Give a tag to a value that has none, where without one it would be read by the annotation."""
        if self._check is None and not (self._has_classes and b"{" in data):
            return data
        return data if TAGGED in data else b'{"$":"' + ANY.encode() + b'","v":' + data + b"}"

    # --- reading ---

    def read(self, data: bytes | msgspec.Raw, apart: Apart) -> Any:
        """Return the value that was written.

        Args:
            data: what was written.
            apart: where to look if the value is kept apart.

        Raises:
            BlobMissing: it is kept apart and has to be fetched first.
            CodecError: it can't be read back as it was.
        """
        try:
            if self._check is None:
                value = _decode(data)
                return value if type(value) in _LEAVES else self._read_parsed(value, data, apart)
            if not (self._has_objects and TAGGED in bytes(data)):
                try:
                    value = self._decode(data)
                except msgspec.DecodeError:
                    pass  # it has tags, or doesn't fit the type any more
                else:
                    # msgspec drops what a class has no field for; then the value wouldn't be written as it was
                    if not self._has_fields or _encode(value) == bytes(data):
                        return value
            return self._read_parsed(_decode(data), data, apart)
        except Refusal as refusal:
            raise refusal.error() from refusal.__cause__
        except (BlobMissing, CodecError):
            raise
        except RecursionError:
            raise too_deep(type_name(self.annotation)).error() from None
        except Exception as error:
            raise CodecError(
                f"the stored value doesn't fit its type any more ({error})",
                path="$",
                type_name=type_name(self.annotation),
                remedy="Give new fields a default, or mark the type with @versioned and add an @upcast",
            ) from error

    def _read_parsed(self, value: Any, data: bytes | msgspec.Raw, apart: Apart) -> Any:
        tag = value.get(TAG) if type(value) is dict else None
        if tag == BLOB:
            return self.read(apart.get(value["v"]), _NOTHING_APART)
        if tag == ANY:
            return self._forms.reader.read(value["v"])
        text = bytes(data)
        if TAGGED in text:
            return self._forms.reader.read(value)
        if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
            _check_depth(value)
        return read_plain(value, self.annotation) if self._has_classes else value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        parts = (part for whole in level for part in (whole.values() if type(whole) is dict else whole))
        level = [part for part in parts if type(part) is list or type(part) is dict]
        if not level:
            return
    raise too_deep(type(value).__name__)


class _NothingApart:
    def get(self, digest: str) -> bytes:
        raise Refusal("a value that is kept apart refers to another one", "Verify that the log is sound", "blob")


_NOTHING_APART: Final = _NothingApart()


def _exhausted(value: Any) -> CodecError:
    return CodecError(
        "the stack is too deep to write the value",
        path="$",
        type_name=type(value).__name__,
        remedy="Call this from fewer nested functions, or raise sys.setrecursionlimit",
    )
