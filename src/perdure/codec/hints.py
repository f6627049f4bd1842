"""What annotations say of values: which classes they mention, what the fields and the items are."""

from __future__ import annotations

import collections.abc
import inspect
import sys
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    ForwardRef,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import ReadOnly, is_typeddict

from perdure.codec.classes import field_names, is_enum, is_model, is_registrable
from perdure.graph.types import unwrapped

_WRAPPERS = (Annotated, ClassVar, Final, NotRequired, ReadOnly, Required)


def peeled(annotation: Any) -> Any:
    """Return an annotation without what says nothing about the type: aliases, ``Annotated``, ``NewType``, ``Required``."""
    while True:
        annotation = unwrapped(annotation)
        origin = get_origin(annotation)
        if origin in _WRAPPERS:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif _is_alias(annotation):
            annotation = annotation.__value__
        elif _is_alias(origin):
            annotation = _substituted(origin, get_args(annotation))
        else:
            return annotation


def _is_alias(annotation: Any) -> bool:
    # typing_extensions has a TypeAliasType of its own where it mends that of the interpreter
    return type(annotation).__name__ == "TypeAliasType"


def _substituted(alias: Any, arguments: tuple[Any, ...]) -> Any:
    try:
        return alias.__value__[arguments]
    except TypeError:  # its value has no use for the arguments
        return alias.__value__


def is_open(annotation: Any) -> bool:
    """Say whether an annotation says nothing of the classes a value may be of."""
    return annotation is Any or annotation is object or isinstance(annotation, TypeVar | ForwardRef | str)


def members_of(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, those of unions inside it too; of anything else, itself."""
    annotation = peeled(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return tuple(inner for member in get_args(annotation) for inner in members_of(member))
    return (annotation,)


def classes_in(annotation: Any) -> list[type]:
    """Return the classes that an annotation mentions, directly or in fields of those that are stored by field."""
    found: list[type] = []
    seen: list[Any] = []  # not a set: what is in a Literal or an Annotated may have no hash
    pending = [annotation]
    while pending:
        part = peeled(pending.pop())
        if part in seen:
            continue
        seen.append(part)
        if isinstance(part, TypeVar):
            pending += [part.__bound__, *part.__constraints__]
            continue
        arguments = get_args(part)
        pending += map(type, arguments) if get_origin(part) is Literal else arguments
        cls = get_origin(part) or part
        if is_registrable(cls) or is_typeddict(cls):
            pending += field_types(cls).values()
        if isinstance(cls, type) and cls not in found:
            found.append(cls)
    return found


def field_types(cls: Any) -> dict[str, Any]:
    """Return the annotations of a class's fields, as far as they can be resolved."""
    if is_enum(cls):
        return {}
    hints = _resolved_hints(cls)
    if is_typeddict(cls):
        return hints
    names = set(field_names(cls))
    if is_model(cls):
        hints |= {name: field.annotation for name, field in cls.model_fields.items()}
        names |= {"__pydantic_extra__", *getattr(cls, "__private_attributes__", ())}
    return {name: hint for name, hint in hints.items() if name in names}


def _resolved_hints(cls: Any) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except Exception:  # one name that isn't known here must not hide the others
        hints: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            scope = {**vars(sys.modules.get(base.__module__, sys)), **vars(base)}
            for name, hint in inspect.get_annotations(base).items():
                try:
                    hints |= get_type_hints(SimpleNamespace(__annotations__={name: hint}), scope)
                except Exception:
                    hints.pop(name, None)
        return hints


def item_type(annotation: Any) -> Any:
    """Return the type of the items of an iterable type, or Any."""
    annotation = peeled(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _only([item_type(argument) for argument in arguments if argument is not NoneType])
    if not isinstance(origin, type) or not arguments:
        return Any
    if issubclass(origin, tuple):
        return _only([argument for argument in arguments if argument is not Ellipsis])
    if issubclass(origin, collections.abc.Iterable | collections.abc.AsyncIterable):
        return arguments[0]
    return Any


def _only(kinds: list[Any]) -> Any:
    return kinds[0] if kinds and all(kind == kinds[0] for kind in kinds) else Any
