"""The codec of a graph: the values of its nodes as bytes, and back.

Every value is written by the type its node declares (``by`` names the node), or by its own type where there is none:
behind a transform, out of a join, in a change of the state.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from types import GenericAlias
from typing import Any, Final

import msgspec

from perdure.codec.blobs import (
    MAX_INLINE_BYTES,
    BlobMissing,
    Blobs,
    blob_digest,
    inlined,
    may_name_blobs,
    resolved,
)
from perdure.codec.hints import is_open, item_type
from perdure.codec.plans import Forms, Plan
from perdure.codec.redaction import Redaction
from perdure.codec.registry import Registry, tagged
from perdure.codec.storable import unsupported
from perdure.errors import CodecError, GraphSetupError
from perdure.failure import Failure
from perdure.graph.graph import Graph
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import Step
from perdure.graph.nodes.wait import Wait
from perdure.graph.types import unwrapped
from perdure.kernel.state.operations import Operation, frozen_operation

__all__ = [
    "CHUNK_ITEMS",
    "BlobMissing",
    "Blobs",
    "Codec",
    "Written",
    "blob_digest",
    "encoded_events",
    "may_name_blobs",
    "resolved",
    "storage_problems",
]

CHUNK_ITEMS: Final = 1000

tagged("perdure.Failure")(Failure)  # so that a class of the user's may be called Failure


class Written:
    """A value with what it is written as, so that the process that writes it needn't read it back."""

    __slots__ = ("raw", "value")

    def __init__(self, value: Any, raw: msgspec.Raw) -> None:
        self.value = value
        self.raw = raw


class Codec:
    """Writes and reads the values of one graph.

    Raises:
        GraphSetupError: two types of the graph would be stored under one name, or one under a name of the codec's own.
    """

    def __init__(self, graph: Graph[Any, Any, Any, Any]) -> None:
        annotations: dict[str, Any] = {"__start__": graph.input_type}
        mentioned: list[Any] = [graph.input_type, graph.output_type, graph.state_type, *graph.types]
        for id_, node in graph.nodes.items():
            if isinstance(node, Step | Router | Wait):
                annotations[id_] = node.output_type
                mentioned.append(node.output_type)
            if isinstance(node, Step | Router):
                mentioned.append(node.input_type)
        self.redaction: Redaction | None = None
        self.seal: Callable[[bytes], bytes] | None = None
        self.registry = Registry([*mentioned, Failure])
        self._forms = Forms(self.registry)
        self._open = Plan(Any, self._forms)
        self.plans: dict[str, Plan] = {id_: self.plan_for(hint) for id_, hint in annotations.items()}
        self._list_plans: dict[str, Plan] = {
            id_: self.plan_for(GenericAlias(list, (item_type(hint),))) for id_, hint in annotations.items()
        }
        self.state_plan = self.plan_for(graph.state_type)

    def guarded(self, redaction: Redaction | None, seal: Callable[[bytes], bytes] | None) -> Codec:
        """Return a codec that writes values as a redaction leaves them, and seals the large ones."""
        codec = copy.copy(self)
        codec.redaction, codec.seal = redaction, seal
        return codec

    def _redacted(self, where: str, value: Any) -> Any:
        return value if self.redaction is None else self.redaction.value(where or "value", value)

    def plan_for(self, annotation: Any) -> Plan:
        """Return the plan of a type."""
        return self._open if is_open(unwrapped(annotation)) else Plan(annotation, self._forms)

    # --- values ---

    def write(self, by: str, value: Any, blobs: Blobs) -> msgspec.Raw:
        """Return a value as it is recorded.

        Args:
            by: the node whose output it is; empty if it is none's.
            value: the value.
            blobs: where a large one is put.

        Raises:
            CodecError: it can't be stored.
        """
        if self.redaction is not None:
            value = self._redacted(_output_of(by), value)
        try:
            data = self.plans.get(by, self._open).write(value)
        except CodecError as error:
            raise error.at(_output_of(by)) from error.__cause__
        return msgspec.Raw(data) if len(data) <= MAX_INLINE_BYTES else inlined(data, blobs)

    def read(self, by: str, raw: msgspec.Raw, blobs: Blobs) -> Any:
        """Return a recorded value, a new object at each call.

        Raises:
            BlobMissing: it is kept apart and has to be fetched first.
            CodecError: it can't be read back.
        """
        try:
            return self.plans.get(by, self._open).read(raw, blobs)
        except CodecError as error:
            raise error.at(_output_of(by)) from error.__cause__

    # --- items ---

    def write_items(self, by: str, values: Sequence[Any], blobs: Blobs) -> list[tuple[int, msgspec.Raw]]:
        """Return items as they are recorded: for each chunk, their number and their bytes.

        Raises:
            CodecError: an item can't be stored.
        """
        chunks: list[tuple[int, msgspec.Raw]] = []
        plan = self._list_plans.get(by, self._open)
        if self.redaction is not None:
            values = [self.redaction.value(_items_of(by), value, f"$[{place}]") for place, value in enumerate(values)]
        try:
            for first in range(0, len(values), CHUNK_ITEMS):
                _write_chunk(plan, list(values[first : first + CHUNK_ITEMS]), first, chunks, blobs)
        except CodecError as error:
            raise error.at(_items_of(by)) from error.__cause__
        return chunks

    def read_items(self, by: str, raw: msgspec.Raw, blobs: Blobs) -> list[Any]:
        """Return the items of a chunk, new objects at each call.

        Raises:
            BlobMissing: they are kept apart and have to be fetched first.
            CodecError: they can't be read back.
        """
        try:
            items: list[Any] = self._list_plans.get(by, self._open).read(raw, blobs)
        except CodecError as error:
            raise error.at(_items_of(by)) from error.__cause__
        return items

    # --- state ---

    def write_state(self, value: Any, blobs: Blobs) -> Written:
        """Return an initial state as it is recorded.

        Raises:
            CodecError: it can't be stored.
        """
        value = self._redacted("state", value)
        try:
            return Written(value, inlined(self.state_plan.write(value), blobs))
        except CodecError as error:
            raise error.at("state") from error.__cause__

    def read_state(self, raw: msgspec.Raw, blobs: Blobs) -> Any:
        """Return a recorded initial state.

        Raises:
            BlobMissing: it is kept apart and has to be fetched first.
            CodecError: it can't be read back.
        """
        try:
            return self.state_plan.read(raw, blobs)
        except CodecError as error:
            raise error.at("state") from error.__cause__

    def write_operations(self, operations: list[Operation], blobs: Blobs) -> Written:
        """Return operations on the state as they are recorded.

        Raises:
            CodecError: a value in them can't be stored.
        """
        if self.redaction is not None:
            operations = self.redaction.operations(operations)
        rows = []
        for operation in operations:
            row: list[Any] = [operation.verb, list(operation.path)]
            if operation.value is not None:
                row.append(operation.value)
            rows.append(row)
        try:
            return Written(operations, inlined(self._open.write(rows), blobs))
        except CodecError as error:
            raise error.at("state") from error.__cause__

    def read_operations(self, raw: msgspec.Raw, blobs: Blobs) -> list[Operation]:
        """Return recorded operations.

        Raises:
            BlobMissing: they are kept apart and have to be fetched first.
            CodecError: they can't be read back.
        """
        try:
            rows = self._open.read(raw, blobs)
        except CodecError as error:
            raise error.at("state") from error.__cause__
        return [frozen_operation(row[0], tuple(row[1]), row[2] if len(row) > 2 else None) for row in rows]


def _output_of(by: str) -> str:
    return "inputs" if by == "__start__" else f"output of {by}" if by else ""


def _items_of(by: str) -> str:
    return "items of the inputs" if by == "__start__" else f"items of {by}" if by else "items"


def _write_chunk(
    plan: Plan, values: list[Any], first: int, chunks: list[tuple[int, msgspec.Raw]], blobs: Blobs
) -> None:
    """Write items as one chunk, or as several if they take more room than a chunk may; the limits hold for an item."""
    try:
        data = plan.written(values) if len(values) > 1 else plan.write(values)
    except CodecError as error:
        raise _counted_from(error, first) from error.__cause__
    if len(data) <= MAX_INLINE_BYTES or len(values) == 1:
        chunks.append((len(values), inlined(data, blobs)))
        return
    size = max(1, len(values) * MAX_INLINE_BYTES // len(data))
    for start in range(0, len(values), size):
        _write_chunk(plan, values[start : start + size], first + start, chunks, blobs)


def _counted_from(error: CodecError, first: int) -> CodecError:
    """Return an error whose path counts the items from the first of all."""
    found = re.match(r"\$\[(\d+)\]", error.path)
    if found is None:
        return error
    path = f"$[{first + int(found[1])}]{error.path[found.end() :]}"
    return CodecError(error.problem, path=path, type_name=error.type_name, remedy=error.remedy)


def encoded_events(events: list[Any]) -> bytes:
    """Return events as the JSON array that a commit holds."""
    return _encode_events(events)


def _hook(value: Any) -> Any:
    if type(value) is Written:
        return value.raw
    raise TypeError(f"an event holds a {type(value).__name__} that wasn't written; please report this")


_encode_events = msgspec.json.Encoder(enc_hook=_hook).encode


def storage_problems(graph: Graph[Any, Any, Any, Any]) -> list[str]:
    """Return why values of a graph's declared types can't be stored, a sentence each."""
    declared: Mapping[str, Any] = {
        "input_type": graph.input_type,
        "output_type": graph.output_type,
        "state_type": graph.state_type,
        **{f"step {id_!r}": node.output_type for id_, node in graph.nodes.items() if isinstance(node, Step | Wait)},
        **{f"types[{index}]": hint for index, hint in enumerate(graph.types)},
    }
    problems = [f"{where}: {why}" for where, hint in declared.items() if (why := unsupported(hint)) is not None]
    try:
        Codec(graph)
    except GraphSetupError as error:
        problems.append(error.message)
    return problems
