"""Values on their way between user code and events.

Without a store they pass through as they are. With one, the codec writes them before an event holds them, so that what
can't be stored is refused in the attempt that made it, and every task reads a copy of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from perdure.codec.codec import CHUNK_ITEMS, Blobs, Codec, Written, resolved
from perdure.events import ErrorInfo, Items, Route, Value
from perdure.kernel.decide.describe import bounded, describe
from perdure.kernel.fold.run import Chunk, Item, Ref, Source
from perdure.kernel.state.operations import Operation

_TAKEN = object()
_SHARED = frozenset({bool, int, float, str, type(None)})
_NULL = msgspec.Raw(b"null")


class Values(Protocol):
    """How values are recorded and read."""

    @property
    def nothing(self) -> Value:
        """What stands where a value needn't be recorded."""
        ...

    @property
    def refolds(self) -> bool:
        """Whether reducers may be called again with what open joins have folded."""
        ...

    def record(self, by: str, value: Any) -> Value:
        """Return a value as events hold it; ``by`` is the node whose output it is, or empty."""
        ...

    def record_items(
        self, by: str, values: Sequence[Any], routes: Sequence[Route] | None, needed: bool
    ) -> tuple[Items, ...]:
        """Return items as events hold them, in chunks."""
        ...

    def record_state(self, value: Any) -> Value:
        """Return an initial state as events hold it."""
        ...

    def written(self, operations: list[Operation]) -> Value:
        """Return operations on the state as events hold them."""
        ...

    def load(self, source: Source) -> Any:
        """Return a recorded value for a task to have."""
        ...

    def copies(self, sources: Sequence[Source]) -> list[Any]:
        """Return recorded values for somebody to look at, of which tasks have copies of their own."""
        ...

    def state(self, value: Value) -> Any:
        """Return a recorded initial state."""
        ...

    def own_state(self, value: Value) -> Any:
        """Return the recorded initial state of a subgraph."""
        ...

    def operations(self, value: Value) -> list[Operation]:
        """Return recorded operations on the state."""
        ...

    def describe(self, error: BaseException) -> ErrorInfo:
        """Return an exception as data, as it is recorded."""
        ...

    def title(self, text: str) -> str:
        """Return what a person is asked to do, or who is asked, as it is recorded."""
        ...


class PlainValues:
    """Values that stay Python objects."""

    nothing: Value = None
    refolds = True

    def record(self, by: str, value: Any) -> Value:
        """Return the value."""
        return value

    def record_items(
        self, by: str, values: Sequence[Any], routes: Sequence[Route] | None, needed: bool
    ) -> tuple[Items, ...]:
        """Return the items in chunks."""
        return tuple(
            Items(
                len(part := values[first : first + CHUNK_ITEMS]),
                part,
                tuple(routes[first : first + CHUNK_ITEMS]) if routes is not None else None,
            )
            for first in range(0, len(values), CHUNK_ITEMS)
        )

    def record_state(self, value: Any) -> Value:
        """Return the state."""
        return value

    def written(self, operations: list[Operation]) -> Value:
        """Return the operations."""
        return operations

    def load(self, source: Source) -> Any:
        """Return the value, shared by reference."""
        if type(source) is Item:
            return source.chunk.items.values[source.offset]
        return source.value  # type: ignore[union-attr]

    def copies(self, sources: Sequence[Source]) -> list[Any]:
        """Return the values, shared by reference."""
        return [self.load(source) for source in sources]

    def state(self, value: Value) -> Any:
        """Return the state."""
        return value

    def own_state(self, value: Value) -> Any:
        """Return the state."""
        return value

    def operations(self, value: Value) -> list[Operation]:
        """Return the operations."""
        operations: list[Operation] = value
        return operations

    def describe(self, error: BaseException) -> ErrorInfo:
        """Return an exception as data."""
        return describe(error)

    def title(self, text: str) -> str:
        """Return the text."""
        return text


class CodedValues:
    """Values that are written by a codec.

    Attributes:
        blobs: the large ones, which are kept apart.
        refolds: whether reducers may be called again with what open joins have folded.
    """

    nothing: Value = _NULL

    def __init__(self, codec: Codec, *, refolds: bool = True) -> None:
        self._codec = codec
        self.refolds = refolds
        self.blobs = Blobs(seal=codec.seal)

    def record(self, by: str, value: Any) -> Value:
        """Return the value as JSON.

        Raises:
            CodecError: it can't be stored.
        """
        return self._codec.write(by, value, self.blobs)

    def record_items(
        self, by: str, values: Sequence[Any], routes: Sequence[Route] | None, needed: bool
    ) -> tuple[Items, ...]:
        """Return the items as JSON, in chunks of at most 1,000 or 256 KB.

        Raises:
            CodecError: an item can't be stored.
        """
        if needed:
            chunks = self._codec.write_items(by, values, self.blobs)
        else:
            chunks = [(min(CHUNK_ITEMS, len(values) - n), _NULL) for n in range(0, len(values), CHUNK_ITEMS)]
        taken: list[Items] = []
        first = 0
        for count, raw in chunks:
            taken.append(Items(count, raw, tuple(routes[first : first + count]) if routes is not None else None))
            first += count
        return tuple(taken)

    def record_state(self, value: Any) -> Value:
        """Return the state as JSON.

        Raises:
            CodecError: it can't be stored.
        """
        return self._codec.write_state(value, self.blobs)

    def written(self, operations: list[Operation]) -> Value:
        """Return the operations as JSON.

        Raises:
            CodecError: a value in them can't be stored.
        """
        return self._codec.write_operations(operations, self.blobs)

    def load(self, source: Source) -> Any:
        """Return a copy of the value.

        Raises:
            BlobMissing: it has to be fetched first.
            CodecError: it can't be read back.
        """
        if type(source) is Item:
            return self._load_item(source.chunk, source.offset)
        assert isinstance(source, Ref)
        return self._codec.read(source.by, source.value, self.blobs)

    def copies(self, sources: Sequence[Source]) -> list[Any]:
        """Return copies of values; those of one chunk are read together, and none is taken from its task.

        Raises:
            BlobMissing: one has to be fetched first.
            CodecError: one can't be read back.
        """
        chunks: dict[int, list[Any]] = {}
        copies = []
        for source in sources:
            if type(source) is Item:
                chunk = source.chunk
                if id(chunk) not in chunks:
                    chunks[id(chunk)] = self._codec.read_items(chunk.by, chunk.items.values, self.blobs)
                copies.append(chunks[id(chunk)][source.offset])
            else:
                copies.append(self.load(source))
        return copies

    def whole(self) -> WholeValues:
        """Return the same, but with large values written where they are used."""
        return WholeValues(self._codec)

    def _load_item(self, chunk: Chunk, offset: int) -> Any:
        """Return an item: each of those decoded once is handed out once; whoever asks again gets one decoded anew."""
        if chunk.decoded is None:
            chunk.decoded = self._codec.read_items(chunk.by, chunk.items.values, self.blobs)
        item = chunk.decoded[offset]
        if item is _TAKEN:
            return self._codec.read_items(chunk.by, chunk.items.values, self.blobs)[offset]
        if type(item) not in _SHARED:
            chunk.decoded[offset] = _TAKEN
        return item

    def state(self, value: Value) -> Any:
        """Return the state; what this process wrote needn't be read back."""
        return value.value if type(value) is Written else self._codec.read_state(value, self.blobs)

    def own_state(self, value: Value) -> Any:
        """Return the state, a new object."""
        return self._codec.read("", value, self.blobs)

    def operations(self, value: Value) -> list[Operation]:
        """Return the operations; what this process wrote needn't be read back."""
        if type(value) is Written:
            operations: list[Operation] = value.value
            return operations
        return self._codec.read_operations(value, self.blobs)

    def describe(self, error: BaseException) -> ErrorInfo:
        """Return an exception as data, without what isn't to be stored."""
        info, redaction = describe(error), self._codec.redaction
        return bounded(info if redaction is None else redaction.error(info))

    def title(self, text: str) -> str:
        """Return the text, without what isn't to be stored."""
        redaction = self._codec.redaction
        return text if redaction is None else redaction.text("title", "$", text)


class WholeValues:
    """Values that are written by a codec and stand where they are used, however large: for snapshots."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def record(self, by: str, value: Any) -> Value:
        """Return the value as JSON.

        Raises:
            CodecError: it can't be stored.
        """
        blobs = Blobs()
        return msgspec.Raw(resolved(self._codec.write(by, value, blobs), blobs))

    def record_state(self, value: Any) -> Value:
        """Return a state as JSON.

        Raises:
            CodecError: it can't be stored.
        """
        blobs = Blobs()
        return msgspec.Raw(resolved(self._codec.write_state(value, blobs).raw, blobs))
