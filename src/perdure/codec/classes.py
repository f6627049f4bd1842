"""The kinds of classes whose objects are stored field by field, under the name of their class."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import msgspec


def is_enum(cls: Any) -> bool:
    """Say whether a class is an enumeration; one that mixes in a dataclass is one too."""
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def is_namedtuple(cls: Any) -> bool:
    """Say whether a class is a named tuple."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_dataclass(cls: Any) -> bool:
    """Say whether a class is a dataclass."""
    return isinstance(cls, type) and dataclasses.is_dataclass(cls)


def is_struct(cls: Any) -> bool:
    """Say whether a class is a msgspec Struct."""
    return isinstance(cls, type) and issubclass(cls, msgspec.Struct)


def is_model(cls: Any) -> bool:
    """Say whether a class is a pydantic model; pydantic needn't be installed."""
    return isinstance(cls, type) and hasattr(cls, "model_fields") and hasattr(cls, "model_construct")


def is_registrable(cls: Any) -> bool:
    """Say whether values of a class are stored under its name."""
    return is_enum(cls) or is_namedtuple(cls) or is_dataclass(cls) or is_struct(cls) or is_model(cls)


def field_names(cls: Any) -> tuple[str, ...]:
    """Return the names of the fields whose values are stored."""
    if is_enum(cls):
        return ()
    if is_namedtuple(cls):
        return tuple(cls._fields)
    if is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if is_struct(cls):
        return tuple(cls.__struct_fields__)
    return tuple(cls.model_fields) if is_model(cls) else ()
