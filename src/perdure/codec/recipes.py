"""Recipes: how objects of a class are taken apart for storing, and put together again.

Nothing of the user's runs when an object comes back: no ``__init__``, no ``__post_init__``, no validator. A value that
was good when it was stored is what it was, also when the rules for new ones have changed since. msgspec Structs can't be
made without their ``__post_init__``; the writer sees to it that running it again changes nothing.

What would be lost is refused: an attribute that is no field when an object is stored, a field that the class has dropped
when it is read. A field that was renamed would otherwise come back empty and nobody would know.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from functools import lru_cache
from types import MemberDescriptorType
from typing import Any, Protocol

import msgspec

from perdure.codec.classes import field_names, is_dataclass, is_namedtuple, is_struct
from perdure.codec.refusal import Refusal

Fields = dict[str, Any]


class Recipe(Protocol):
    """How objects of one class are taken apart and put together."""

    known: frozenset[str]
    """The names of the parts that objects may have."""
    required: frozenset[str]
    """Those that have no default."""

    def parts(self, value: Any) -> Fields:
        """Return what an object is made of.

        Raises:
            Refusal: it holds more, or less, than its fields.
        """
        ...

    def made(self, fields: Fields) -> Any:
        """Return an object.

        Raises:
            Refusal: a field is missing that has no default, or one is there that the class doesn't have.
        """
        ...


@lru_cache(maxsize=4096)
def recipe_of(kind: Any) -> Recipe:
    """Return the recipe of a class that isn't an enumeration.

    Raises:
        Refusal: its objects can't be put together from their fields.
    """
    if is_namedtuple(kind):
        return _NamedTupleRecipe(kind)
    if is_dataclass(kind):
        return _DataclassRecipe(kind)
    if is_struct(kind):
        return _StructRecipe(kind)
    return _ModelRecipe(kind)


def has_own_storage(kind: Any) -> bool:
    """Say whether objects of a class hold nothing but Python attributes: it isn't also a dict, an int, an exception."""
    try:
        object.__new__(kind)
    except TypeError:
        return False
    return True


def slots_of(kind: type) -> frozenset[str]:
    """Return the names of the slots of a class."""
    return frozenset(
        name for base in kind.__mro__ for name, part in vars(base).items() if isinstance(part, MemberDescriptorType)
    )


class _DataclassRecipe:
    def __init__(self, kind: Any) -> None:
        if not has_own_storage(kind):
            raise Refusal(
                "this dataclass is abstract, or inherits from a builtin type, whose content would be lost",
                "Make what it inherits a field",
                kind.__name__,
            )
        self._kind = kind
        self._names = field_names(kind)
        self.known = frozenset(self._names)
        self._other_slots = slots_of(kind) - self.known
        self._assigns = any(hasattr(inspect.getattr_static(kind, name, None), "__set__") for name in self._names)
        self._fields = {field.name: field for field in dataclasses.fields(kind)}
        self.required = frozenset(
            name
            for name, field in self._fields.items()
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )

    def parts(self, value: Any) -> Fields:
        own: Fields = getattr(value, "__dict__", None) or {}
        if len(own) == len(self._names) and not self._other_slots:
            try:
                return {name: own[name] for name in self._names}
            except KeyError:
                pass
        if own.keys() - self._fields.keys():
            _check_nothing_else(self._kind, own.keys() - self._fields.keys())
        _check_nothing_else(self._kind, {name for name in self._other_slots if hasattr(value, name)})
        try:
            return {name: own[name] if name in own else getattr(value, name) for name in self._names}
        except AttributeError as error:
            raise _unset(self._kind, str(error.name)) from None

    def made(self, fields: Fields) -> Any:
        made = object.__new__(self._kind)
        if fields.keys() == self.known and not self._assigns:
            made.__dict__.update(fields)
            return made
        _check_known(self._kind, fields.keys() - self.known)
        content = {name: fields[name] if name in fields else self._default(name) for name in self._names}
        if self._assigns:  # slots, descriptors
            for name, part in content.items():
                object.__setattr__(made, name, part)
        else:
            made.__dict__.update(content)
        return made

    def _default(self, name: str) -> Any:
        field = self._fields[name]
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        _check_complete(self._kind, self.required & {name})
        return field.default


class _StructRecipe:
    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._names = field_names(kind)
        self.known = frozenset(self._names)
        self.required = frozenset(field.name for field in msgspec.structs.fields(kind) if field.required)

    def parts(self, value: Any) -> Fields:
        _check_nothing_else(self._kind, getattr(value, "__dict__", {}).keys())
        try:
            return {name: getattr(value, name) for name in self._names}
        except AttributeError as error:
            raise _unset(self._kind, str(error.name)) from None

    def made(self, fields: Fields) -> Any:
        if fields.keys() != self.known:
            _check_known(self._kind, fields.keys() - self.known)
            _check_complete(self._kind, self.required - fields.keys())
        return self._kind(**fields)


class _NamedTupleRecipe:
    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._names = field_names(kind)
        self._defaults: Fields = kind._field_defaults
        self.known = frozenset(self._names)
        self.required = self.known - self._defaults.keys()

    def parts(self, value: Any) -> Fields:
        _check_nothing_else(self._kind, getattr(value, "__dict__", {}).keys())
        if len(value) != len(self._names):
            raise _unset(self._kind, self._names[min(len(value), len(self._names) - 1)])
        return dict(zip(self._names, value, strict=True))

    def made(self, fields: Fields) -> Any:
        _check_known(self._kind, fields.keys() - self.known)
        _check_complete(self._kind, self.required - fields.keys())
        return tuple.__new__(
            self._kind, [fields[name] if name in fields else self._defaults[name] for name in self._names]
        )


_FIELDS_SET = "__pydantic_fields_set__"
_EXTRA = "__pydantic_extra__"
_PRIVATE = "__pydantic_private__"


class _ModelRecipe:
    """Pydantic models: their fields; extra and private attributes, and which fields were set, where that says more."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._fields = dict(kind.model_fields)
        self.known = frozenset({*self._fields, _FIELDS_SET, _EXTRA, _PRIVATE})
        self.required = frozenset(name for name, field in self._fields.items() if field.is_required())

    def parts(self, value: Any) -> Fields:
        own, extra = value.__dict__, value.__pydantic_extra__
        _check_nothing_else(self._kind, own.keys() - self._fields.keys())
        for name in self._fields:
            if name not in own:
                raise _unset(self._kind, name)
        parts: Fields = {name: own[name] for name in self._fields}
        if value.__pydantic_fields_set__ != self._fields.keys() | (extra or {}).keys():
            parts[_FIELDS_SET] = value.__pydantic_fields_set__
        if extra:
            parts[_EXTRA] = extra
        if value.__pydantic_private__:
            parts[_PRIVATE] = value.__pydantic_private__
        return parts

    def made(self, fields: Fields) -> Any:
        kind = self._kind
        _check_known(kind, fields.keys() - self.known)
        _check_complete(kind, self.required - fields.keys())
        made = object.__new__(kind)
        content: Fields = {}
        for name in self._fields:
            content[name] = fields[name] if name in fields else self._default(name, content)
        extra = fields.get(_EXTRA, {} if kind.model_config.get("extra") == "allow" else None)
        known = fields.get(_FIELDS_SET, (fields.keys() & self._fields.keys()) | (extra or {}).keys())
        object.__setattr__(made, "__dict__", content)
        object.__setattr__(made, _FIELDS_SET, set(known))
        if not kind.__pydantic_root_model__:  # they have no room for these
            object.__setattr__(made, _EXTRA, extra)
            object.__setattr__(made, _PRIVATE, self._private(fields.get(_PRIVATE, {})))
        return made

    def _private(self, stored: Fields) -> Fields | None:
        """Return private attributes: what was stored, and the defaults of those that were added since."""
        declared = self._kind.__private_attributes__
        _check_known(self._kind, stored.keys() - declared.keys())
        defaults = {name: attribute.get_default() for name, attribute in declared.items() if name not in stored}
        known = {name: part for name, part in defaults.items() if type(part).__name__ != "PydanticUndefinedType"}
        return {**known, **stored} if declared else None

    def _default(self, name: str, before: Fields) -> Any:
        field = self._fields[name]
        try:
            return field.get_default(call_default_factory=True)
        except ValueError:  # the factory takes the fields before it
            return field.default_factory(before)


def _check_nothing_else(kind: type, names: Iterable[str]) -> None:
    """Refuse an object with attributes that would be lost; what it has cached may be."""
    for name in names:
        if name != "__orig_class__" and not isinstance(getattr(kind, name, None), functools.cached_property):
            raise Refusal(
                f"the object has an attribute {name!r} that is no field",
                "Declare it as a field, so that it is stored",
                kind.__name__,
            )


def _unset(kind: type, name: str) -> Refusal:
    return Refusal(
        f"the field {name!r} of the object was never set", "Set it, or give the field a default", kind.__name__
    )


def _check_known(kind: type, more: AbstractSet[str]) -> None:
    for name in more:
        raise Refusal(
            f"the stored value has a field {name!r}, and the type has none of that name",
            "Keep the field, or mark the type with @versioned and add an @upcast",
            kind.__name__,
        )


def _check_complete(kind: type, missing: AbstractSet[str]) -> None:
    for name in missing:
        raise Refusal(
            f"the stored value has no field {name!r}, and the type gives it no default",
            "Give new fields a default, or mark the type with @versioned and add an @upcast",
            kind.__name__,
        )
