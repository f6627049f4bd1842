"""Values without their types: what a log holds, for a process that can't import the classes it tells of.

A stored object names its class by a tag, and here nobody knows that class; so it is read as a dict of its fields, a member
of an enumeration as its name. Everything else comes back as what it is, so that the operations on a state, which speak of
list indices, dict keys and members of sets, can be applied to it. ``shown`` then makes JSON of the outcome.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Hashable
from typing import Any

import msgspec

from perdure.codec.codec import Blobs, resolved
from perdure.codec.reading import Read, Reader
from perdure.codec.registry import Registry
from perdure.codec.tags import ANY
from perdure.events import Value
from perdure.kernel.fold.run import Ref, Source
from perdure.kernel.state.operations import EXCLUDE, INCLUDE, ORDER, Operation, frozen_operation

_decode = msgspec.json.Decoder().decode


class UntypedReader(Reader):
    """Reads tagged values whose classes nobody knows."""

    def __init__(self) -> None:
        super().__init__(Registry())
        self._by_tag.update(
            {
                "set": lambda content, depth: {_hashable(part) for part in self._parts(content, depth)},
                "frozenset": lambda content, depth: frozenset(_hashable(part) for part in self._parts(content, depth)),
                ANY: self.read,
            }
        )

    def _object_reader(self, tag: str) -> Read:
        def read(content: Any, depth: int) -> Any:
            if type(content) is dict:
                return self._named(content, depth, lambda name: f".{name}")
            return self._parts(content, depth)[0] if type(content) is list else content

        return read


class UntypedValues:
    """Recorded values and states, read without their types.

    Attributes:
        blobs: the large ones, which are kept apart.
    """

    refolds = False

    def __init__(self) -> None:
        self.blobs = Blobs()
        self._reader = UntypedReader()

    def value(self, value: Value) -> Any:
        """Return a recorded value.

        Raises:
            BlobMissing: it is kept apart and has to be fetched first.
        """
        return self._reader.read(_decode(resolved(value, self.blobs)))

    def state(self, value: Value) -> Any:
        """Return a recorded initial state."""
        return self.value(value)

    def own_state(self, value: Value) -> Any:
        """Return the recorded initial state of a subgraph."""
        return self.value(value)

    def load(self, source: Source) -> Any:
        """Return a recorded value that stands where it is."""
        assert isinstance(source, Ref)
        return self.value(source.value)

    def operations(self, value: Value) -> list[Operation]:
        """Return recorded operations on the state."""
        return [_operation(*row) for row in self.value(value)]


class NoValues:
    """Values that are left alone, where a state can't be told without the classes it is made of."""

    refolds = False

    def state(self, value: Value) -> Any:
        """Return nothing."""
        return None

    def own_state(self, value: Value) -> Any:
        """Return nothing."""
        return None

    def load(self, source: Source) -> Any:
        """Return nothing."""
        return None

    def operations(self, value: Value) -> list[Operation]:
        """Return no operations."""
        return []


def _operation(verb: str, path: list[Any], value: Any = None) -> Operation:
    """Return an operation; what are members or keys in it can be."""
    if verb in (INCLUDE, EXCLUDE, ORDER):
        value = [_hashable(part) for part in value]
    return frozen_operation(verb, tuple(map(_hashable, path)), value)


def _hashable(part: Any) -> Hashable:
    """Return something that can be a member of a set, or a key, for what would be an object if its class were known."""
    if type(part) is dict:
        return tuple((name, _hashable(inner)) for name, inner in part.items())
    if type(part) is list:
        return tuple(_hashable(inner) for inner in part)
    hashable: Hashable = part
    return hashable


def shown(value: Any) -> Any:
    """Return a value as JSON has it; what JSON has no word for becomes text or a list."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key if type(key) is str else str(key): shown(part) for key, part in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((shown(part) for part in value), key=msgspec.json.encode)
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, str):
        return str(value)
    return [shown(part) for part in value] if hasattr(value, "__iter__") else str(value)
