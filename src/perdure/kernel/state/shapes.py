"""Shapes: how to take an object of a user's class apart and put one together, whatever kind of class it is.

Objects are put together without calling their ``__init__`` or ``__post_init__``: a copy of something that exists is
not a new one. Everything an object holds is taken along, also attributes that are no declared fields; except for what
``functools.cached_property`` keeps, which is computed from the rest and would grow stale in it.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from perdure.kernel.state.declared import Declared, declared_merges

__all__ = ["Shape", "declared_merges", "frozen_parts", "sealed_shape_of", "shape_of", "slots_of"]

_set = object.__setattr__

FIELDS_SET = "__pydantic_fields_set__"


class Shape:
    """How objects of one class are read and made: those that keep all they hold in ``__dict__``.

    Attributes:
        merges: the declared merge of every field that has one: ``Annotated[int, add]``.
    """

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.merges: Mapping[str, Declared] = declared_merges(cls)
        self.caches: frozenset[str] = _names_of(cls, cached_property)

    def read(self, value: Any) -> dict[str, Any]:
        """Return the fields of an object, to be looked at only; one that was never set is left out."""
        found: dict[str, Any] = value.__dict__
        if self.caches and not self.caches.isdisjoint(found):
            return {name: part for name, part in found.items() if name not in self.caches}
        return found

    def make(self, fields: dict[str, Any]) -> Any:
        """Return a new object with these fields; the dict is taken over."""
        made: Any = object.__new__(self.cls)
        _set(made, "__dict__", fields)
        return made

    def write(self, value: Any, name: str, field: Any) -> None:
        """Set a field of an object that exists."""
        _set(value, name, field)

    def delete(self, value: Any, name: str) -> None:
        """Delete a field of an object that exists."""
        object.__delattr__(value, name)


class SlotShape(Shape):
    """Objects that keep fields in slots, and perhaps others in ``__dict__``."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls)
        self._slots = slots_of(cls)
        self._has_dict = cls.__dictoffset__ != 0

    def read(self, value: Any) -> dict[str, Any]:
        """Return the fields of an object."""
        found: dict[str, Any] = {}
        for name, slot in self._slots.items():
            try:
                found[name] = slot.__get__(value)
            except AttributeError:
                continue
        if self._has_dict:
            found.update(super().read(value))
        return found

    def make(self, fields: dict[str, Any]) -> Any:
        """Return a new object with these fields."""
        made: Any = object.__new__(self.cls)
        for name, part in fields.items():
            _set(made, name, part)
        return made


class StructShape(Shape):
    """msgspec Structs, which can only be made without their hooks by copying another one."""

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        super().__init__(cls)
        self._names = cls.__struct_fields__
        self._has_dict = cls.__dictoffset__ != 0
        self._blank: msgspec.Struct | None = None

    def read(self, value: Any) -> dict[str, Any]:
        """Return the fields of an object."""
        if self._blank is None:
            self._blank = self._emptied(value)
        found = dict(zip(self._names, msgspec.structs.astuple(value), strict=True))
        if self._has_dict:
            found.update(super().read(value))
        return found

    def _emptied(self, value: msgspec.Struct) -> msgspec.Struct:
        blank = copy.copy(value)
        if self._has_dict:
            blank.__dict__.clear()
        for name in self._names:
            msgspec.structs.force_setattr(blank, name, None)
        return blank

    def make(self, fields: dict[str, Any]) -> Any:
        """Return a new object with these fields."""
        made = copy.copy(self._blank)
        for name, part in fields.items():
            msgspec.structs.force_setattr(made, name, part)  # type: ignore[arg-type]
        return made

    def write(self, value: Any, name: str, field: Any) -> None:
        """Set a field of an object that exists."""
        msgspec.structs.force_setattr(value, name, field)

    def delete(self, value: Any, name: str) -> None:
        """Delete an attribute that is no field; fields of Structs can't be deleted."""
        del value.__dict__[name]


class ModelShape(Shape):
    """Pydantic models; nothing is validated.

    Besides its fields a model keeps extra ones, private attributes, and the names of the fields that were set, each
    elsewhere. Their names can't clash, so here they are fields like the others.
    """

    def __init__(self, cls: Any) -> None:
        super().__init__(cls)
        self._private = frozenset(cls.__private_attributes__)
        self._takes_extra = cls.model_config.get("extra") == "allow"

    def read(self, value: Any) -> dict[str, Any]:
        """Return the fields of a model."""
        found = {**super().read(value), FIELDS_SET: value.__pydantic_fields_set__}
        if value.__pydantic_extra__:
            found.update(value.__pydantic_extra__)
        if value.__pydantic_private__:
            found.update(value.__pydantic_private__)
        return found

    def make(self, fields: dict[str, Any]) -> Any:
        """Return a new model with these fields."""
        made: Any = object.__new__(self.cls)
        _set(made, FIELDS_SET, set(fields.pop(FIELDS_SET, ())))
        private = {name: fields.pop(name) for name in fields.keys() & self._private} if self._private else None
        _set(made, "__pydantic_private__", private)
        extra = {name: fields.pop(name) for name in list(fields) if self._is_extra(name)} if self._takes_extra else None
        _set(made, "__pydantic_extra__", extra)
        _set(made, "__dict__", fields)
        return made

    def _is_extra(self, name: str) -> bool:
        return self._takes_extra and name not in self.cls.model_fields  # type: ignore[attr-defined]

    def _home(self, value: Any, name: str) -> dict[str, Any]:
        if name in self._private:
            home: dict[str, Any] = value.__pydantic_private__
        else:
            home = value.__pydantic_extra__ if self._is_extra(name) else value.__dict__
        return home

    def write(self, value: Any, name: str, field: Any) -> None:
        """Set a field of a model that exists."""
        if name == FIELDS_SET:
            _set(value, FIELDS_SET, set(field))
        else:
            self._home(value, name)[name] = field

    def delete(self, value: Any, name: str) -> None:
        """Delete a field of a model that exists."""
        del self._home(value, name)[name]


def _names_of(cls: type, kind: type) -> frozenset[str]:
    return frozenset(name for base in cls.__mro__ for name, part in vars(base).items() if isinstance(part, kind))


def slots_of(cls: type) -> dict[str, Any]:
    """Return the descriptors of a class's slots by name."""
    return {
        name: part
        for base in reversed(cls.__mro__)
        for name, part in vars(base).items()
        if isinstance(part, types.MemberDescriptorType)
    }


_SHAPES: dict[type, Shape | None] = {}


def shape_of(cls: Any) -> Shape | None:
    """Return the shape of a class whose objects are changed field by field, or None where they aren't."""
    try:
        return _SHAPES[cls]
    except KeyError:
        shape = _SHAPES[cls] = _shape_of(cls)
        return shape


def _shape_of(cls: Any) -> Shape | None:
    if issubclass(cls, msgspec.Struct):
        return None if cls.__struct_config__.frozen else StructShape(cls)
    if not _is_made_of_attributes(cls):
        return None
    if hasattr(cls, "__dataclass_fields__"):
        if cls.__dataclass_params__.frozen:
            return None
    elif _is_model(cls):
        return None if cls.model_config.get("frozen") else ModelShape(cls)
    elif _copies_itself(cls):
        return None
    return SlotShape(cls) if slots_of(cls) else Shape(cls)


def _is_model(cls: Any) -> bool:
    return isinstance(getattr(cls, "model_fields", None), dict) and hasattr(cls, "model_validate")


def _is_made_of_attributes(cls: type) -> bool:
    """Say whether all that objects of a class hold are Python attributes."""
    if cls.__module__ == "builtins" or issubclass(cls, type):
        return False
    try:
        made = object.__new__(cls)  # refused where objects hold more than that: for a subclass of int, list …
    except TypeError:
        return False
    return bool(slots_of(cls)) or hasattr(made, "__dict__")


_COPYING = frozenset({"__deepcopy__", "__copy__", "__getstate__", "__reduce__", "__reduce_ex__", "__setstate__"})


def _copies_itself(cls: type, special: frozenset[str] = _COPYING) -> bool:
    """Say whether a class has its own idea of how its objects are copied."""
    return any(not special.isdisjoint(vars(base)) for base in cls.__mro__[:-1])


class TupleShape(Shape):
    """Tuples and NamedTuples, whose fields are their places."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def read(self, value: Any) -> dict[Any, Any]:
        """Return the elements of a tuple by place."""
        return dict(enumerate(value))

    def make(self, fields: dict[Any, Any]) -> Any:
        """Return a new tuple of these elements."""
        made: Any = tuple.__new__
        return made(self.cls, fields.values())


_SEALED: dict[type, Shape | None] = {}


def sealed_shape_of(cls: Any) -> Shape | None:
    """Return the shape of a class of tuples or of frozen dataclasses; objects of the other classes are deep copied."""
    try:
        return _SEALED[cls]
    except KeyError:
        shape = _SEALED[cls] = _sealed_shape_of(cls)
        return shape


def _sealed_shape_of(cls: Any) -> Shape | None:
    if cls is tuple:
        return TupleShape(cls)
    # a frozen dataclass with slots is given the last two
    if not _is_frozen(cls) or _copies_itself(cls, _COPYING - {"__getstate__", "__setstate__"}):
        return None
    if issubclass(cls, tuple):
        return TupleShape(cls)
    if not hasattr(cls, "__dataclass_fields__"):
        return None
    return SlotShape(cls) if slots_of(cls) else Shape(cls)


_FROZEN: dict[type, bool] = {}


def frozen_parts(value: Any) -> list[Any] | None:
    """Return what an object of a frozen class holds: a frozen dataclass, Struct, model, or NamedTuple; else None."""
    cls = type(value)
    is_frozen = _FROZEN.get(cls)
    if is_frozen is None:
        is_frozen = _FROZEN[cls] = _is_frozen(cls)
    if not is_frozen:
        return None
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, msgspec.Struct):
        return list(msgspec.structs.astuple(value))
    parts = [*getattr(value, "__dict__", {}).values()]
    if _is_model(cls):
        return [*parts, *(value.__pydantic_extra__ or {}).values(), *(value.__pydantic_private__ or {}).values()]
    return parts + [getattr(value, name) for name in slots_of(cls) if hasattr(value, name)]


def _is_frozen(cls: Any) -> bool:
    if issubclass(cls, msgspec.Struct):
        return bool(cls.__struct_config__.frozen) and cls.__dictoffset__ == 0
    if issubclass(cls, tuple):
        return hasattr(cls, "_fields") and cls.__dictoffset__ == 0
    if not _is_made_of_attributes(cls):
        return False
    if hasattr(cls, "__dataclass_fields__"):
        return bool(cls.__dataclass_params__.frozen)
    return _is_model(cls) and bool(cls.model_config.get("frozen"))
