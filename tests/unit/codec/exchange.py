"""How these tests send values through a codec: as an engine does, in an event, and read by another process's codec."""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from datetime import datetime, time
from decimal import Decimal
from functools import singledispatch
from typing import Any

import msgspec

from perdure import Graph, GraphBuilder
from perdure.codec.codec import Blobs, Codec
from perdure.kernel.state.draft import load
from perdure.kernel.state.tree import CONTAINERS


def graph_of(annotation: Any, *types: Any) -> Graph[Any, Any, Any, Any]:
    """Return a graph whose inputs are of an annotated type."""
    builder = GraphBuilder(name="values", input_type=annotation, output_type=Any, types=types)
    builder.add(builder.edge_from(builder.start_node).to(builder.end_node))
    return builder.build()


def codec_for(annotation: Any, *types: Any) -> Codec:
    """Return the codec of such a graph; values of the type are written by ``__start__``."""
    return Codec(graph_of(annotation, *types))


def stored(annotation: Any, value: Any, *types: Any) -> bytes:
    """Return what a value is stored as."""
    return bytes(codec_for(annotation, *types).write("__start__", value, Blobs()))


def read(annotation: Any, data: bytes, *types: Any) -> Any:
    """Return a stored value."""
    return codec_for(annotation, *types).read("__start__", msgspec.Raw(data), Blobs())


def round_trip(annotation: Any, value: Any, *types: Any) -> Any:
    """Write a value into an event and read it from there, by another codec of the same graph."""
    graph = graph_of(annotation, *types)
    blobs = Blobs()
    event = msgspec.json.encode(["NodeCompleted", "task", Codec(graph).write("__start__", value, blobs)])
    raw = msgspec.json.decode(event, type=tuple[str, str, msgspec.Raw])[2]
    return Codec(graph).read("__start__", raw, blobs)


def same(left: Any, right: Any) -> bool:
    """Say whether two values are of the same type and equal at every leaf; what was a draft may be what it stands for."""
    return bool(_form(left) == _form(right))


def _form(value: Any) -> tuple[Any, ...]:
    kind = CONTAINERS.get(type(value), type(value))
    if kind is not type(value):
        load(value)
    return kind, _content(value)


@singledispatch
def _content(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return [_form(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if hasattr(value, "__pydantic_fields_set__"):
        parts = ("__dict__", "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__")
        return [_form(getattr(value, part)) for part in parts]
    return value


@_content.register
def _(value: float) -> Any:
    return value.hex()


@_content.register(complex)
@_content.register(Decimal)
@_content.register(datetime)
@_content.register(time)
def _(value: Any) -> Any:
    return repr(value)


@_content.register
def _(value: enum.Enum) -> Any:
    return value.name, value.value


@_content.register(list)
@_content.register(tuple)
def _(value: Any) -> Any:
    return [_form(part) for part in value]


@_content.register
def _(value: deque) -> Any:
    return value.maxlen, [_form(part) for part in value]


@_content.register(set)
@_content.register(frozenset)
def _(value: Any) -> Any:
    return {_hashable(member) for member in value}


def _hashable(member: Any) -> Any:
    return type(member), tuple(map(_hashable, member)) if isinstance(member, tuple) else member


@_content.register
def _(value: dict) -> Any:
    return getattr(value, "default_factory", None), [(_form(key), _form(part)) for key, part in value.items()]


@_content.register
def _(value: msgspec.Struct) -> Any:
    return [_form(getattr(value, name)) for name in value.__struct_fields__]
