"""Reading values that have no tags, by their annotation, where msgspec can't or may not do it.

Such a value was written when its annotation was closed. Since then a class may have got a version, a field of an open
type, a ``__post_init__``, a constraint that old values don't meet. So its objects are made as those of tagged values are:
without asking for more than that no field is missing, and by the upcasts from version 1, for a class with a version is
never closed.

An object in the text is a class, a TypedDict or a dict, whichever the annotation says. Where it leaves that open, or
names several that would fit, the value is refused: to guess could change it without anyone noticing.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Callable
from typing import Any, get_args, get_origin

from typing_extensions import is_typeddict

from perdure.codec.classes import field_names, is_enum, is_registrable, is_struct
from perdure.codec.hints import field_types, is_open, members_of
from perdure.codec.recipes import recipe_of
from perdure.codec.refusal import Refusal, at_field, at_key, too_deep
from perdure.codec.registry import upcasted, version_of
from perdure.codec.tags import MAX_DEPTH
from perdure.graph.types import type_name

_UNRESOLVED = "an annotation that can't be resolved"

Fields = dict[str, Any]


def read_plain(value: Any, annotation: Any, depth: int = 0) -> Any:
    """Return the value that was written, given what JSON has of it.

    Raises:
        Refusal: the annotation doesn't say what it is.
    """
    if type(value) is list:
        return _list(value, members_of(annotation), depth)
    if type(value) is dict:
        return _object(value, members_of(annotation), depth)
    return value


def _list(value: list[Any], members: tuple[Any, ...], depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise too_deep("list")
    elements = [
        arguments[0] for member in members if (arguments := get_args(member)) and _is_iterable(get_origin(member))
    ]
    if not elements and _UNRESOLVED not in members:
        return value
    element = elements[0] if len(elements) == 1 else _UNRESOLVED
    read: list[Any] = []
    try:
        read.extend(read_plain(part, element, depth + 1) for part in value)
    except Refusal as refusal:
        refusal.path.append(f"[{len(read)}]")
        raise
    return read


def _is_iterable(origin: Any) -> bool:
    is_class = isinstance(origin, type)
    return is_class and issubclass(origin, collections.abc.Iterable) and not issubclass(origin, collections.abc.Mapping)


def _object(value: Fields, members: tuple[Any, ...], depth: int) -> Any:
    if depth >= MAX_DEPTH:
        raise too_deep("dict")
    if _UNRESOLVED in members:
        raise Refusal(
            "the stored value has no tag, and the annotation that says what it is can't be resolved",
            "Define or import the annotated type where the class is defined, not in a function",
            "dict",
        )
    choices = [member for member in members if _takes_objects(member)]
    if len(choices) > 1:
        choices = [member for member in choices if _fits(value, member)]
        if len(choices) != 1:
            raise Refusal(
                "the stored value has no tag, and its annotation names several types it could be of",
                "Annotate it with the one type it was stored as, until the runs that hold such values are over",
                " | ".join(type_name(member) for member in members),
            )
    if not choices or is_open(choices[0]):
        return value
    chosen = choices[0]
    if is_registrable(chosen_class := get_origin(chosen) or chosen):
        return _instance(value, chosen_class, depth)
    if is_typeddict(chosen_class):
        return _read_fields(value, field_types(chosen_class), depth, at_field)
    element = get_args(chosen)[-1] if get_args(chosen) else Any
    return _read_fields(value, dict.fromkeys(value, element), depth, at_key)


def _takes_objects(member: Any) -> bool:
    cls = get_origin(member) or member
    if is_enum(cls) or not isinstance(cls, type):
        return is_open(member)
    return is_registrable(cls) or is_typeddict(cls) or issubclass(cls, collections.abc.Mapping) or is_open(member)


def _fits(value: Fields, member: Any) -> bool:
    """Say whether stored names are such as a class writes at its present version."""
    cls: Any = get_origin(member) or member
    if is_registrable(cls):
        names = _field_of(cls)
        stored = {names.get(name, name) for name in value}
        return version_of(cls) > 1 or recipe_of(cls).required <= stored <= set(field_names(cls))
    if is_typeddict(cls):
        return bool(cls.__required_keys__ <= value.keys() <= field_types(cls).keys())
    return True


def _field_of(cls: Any) -> dict[str, str]:
    """Return which field each stored name belongs to; they only differ for a Struct with ``rename``."""
    return dict(zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True)) if is_struct(cls) else {}


def _instance(value: Fields, cls: Any, depth: int) -> Any:
    hints = field_types(cls)
    names = _field_of(cls)
    recipe = recipe_of(cls)
    stored = {names.get(name, name): part for name, part in value.items()}
    known = dict.fromkeys(field_names(cls), _UNRESOLVED) | hints
    fields = _read_fields(stored, known, depth, at_field)
    if version_of(cls) > 1:
        # what an upcast moved to another field is read by the annotation of that one
        fields = _read_fields(upcasted(cls, 1, fields, recipe.known), known, depth, at_field)
    return recipe.made(fields)


def _read_fields(value: Fields, hints: Fields, depth: int, step: Callable[[str], str]) -> Fields:
    fields = {}
    name = ""
    try:
        for name, part in value.items():
            fields[name] = read_plain(part, hints.get(name, Any), depth + 1)
    except Refusal as refusal:
        refusal.path.append(step(name))
        raise
    return fields
