"""Whether values of an annotated type can be stored at all, asked before anything runs."""

from __future__ import annotations

import collections.abc
import inspect
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from typing_extensions import is_typeddict

from perdure.codec.classes import is_dataclass, is_enum, is_registrable
from perdure.codec.hints import field_types, is_open, peeled
from perdure.codec.leaves import LEAVES
from perdure.codec.recipes import has_own_storage
from perdure.codec.secret import KEPT_IN_DEPS, Secret
from perdure.graph.types import type_name

_BUILTINS = {NoneType, bool, int, float, str, list, dict, tuple, set, frozenset, *LEAVES} | {
    collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque, Literal, Any, object,
}  # fmt: skip


def unsupported(annotation: Any) -> str | None:
    """Say why values of an annotated type can never be stored, or return None if some can.

    Values of an abstract class or a protocol may be of any subclass, and those of Any or object of any class, so these
    are only refused when a value turns up.
    """
    return _problem(annotation, [], is_field=False)


def _problem(annotation: Any, outer: list[Any], *, is_field: bool) -> str | None:
    annotation = peeled(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_open(annotation) or annotation is None or origin is Literal or annotation in outer:
        return None
    outer = [*outer, annotation]
    if origin in (Union, UnionType):
        problems = [_problem(argument, outer, is_field=is_field) for argument in arguments]
        if is_field and None in problems:
            return None  # a field may well be left at a default that can be stored
        return next((problem for problem in problems if problem is not None), None)
    cls = origin or annotation
    problem = _class_problem(cls, outer) if isinstance(cls, type) else None
    if problem is not None:
        return problem
    if isinstance(origin, type) and issubclass(origin, collections.abc.Generator | collections.abc.AsyncGenerator):
        arguments = arguments[:1]
    problems = [_problem(argument, outer, is_field=is_field) for argument in arguments if argument is not Ellipsis]
    return next((problem for problem in problems if problem is not None), None)


def _class_problem(cls: Any, outer: list[Any]) -> str | None:
    if cls in _BUILTINS or is_enum(cls):
        return None
    if cls is Secret:
        return f"a Secret can't be stored. {KEPT_IN_DEPS}"
    if cls is collections.abc.Callable:
        return "functions can't be stored; give them to the graph as deps"
    if is_registrable(cls) or is_typeddict(cls):
        if is_dataclass(cls) and not inspect.isabstract(cls) and not has_own_storage(cls):
            return f"{cls.__name__} inherits from a builtin type, whose content would be lost: make that a field"
        for name, hint in field_types(cls).items():
            problem = _problem(hint, outer, is_field=True)
            if problem is not None:
                return f"field {name!r} of {cls.__name__}: {problem}"
        return None
    if _may_have_storable_subclasses(cls):
        return None
    return (
        f"values of type {type_name(cls)} can't be stored: make it a dataclass, msgspec Struct, NamedTuple, Enum or "
        "pydantic model, or keep it in deps"
    )


def _may_have_storable_subclasses(cls: type) -> bool:
    if issubclass(cls, type):
        return False
    if cls.__module__ in ("abc", "collections.abc", "numbers", "typing", "typing_extensions"):
        return True
    if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
        return True
    subclasses: list[type] = type.__subclasses__(cls)
    return any(_is_storable(sub) or _may_have_storable_subclasses(sub) for sub in subclasses)


def _is_storable(cls: Any) -> bool:
    return cls in _BUILTINS or (is_registrable(cls) and (has_own_storage(cls) or not is_dataclass(cls)))
