"""Closed types: annotations that settle the type of every part of a value.

For these msgspec reads and writes in C, without tags. It is lenient where a log must not be (an ``int`` field may hold
True, NaN becomes null, a field of a base class may hold a subclass), so this path is only taken after a check that the
value is exactly of the annotated type at every leaf. The check is compiled once for each type, into closures that stay in
C for long lists of simple values.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from operator import attrgetter, itemgetter
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from typing_extensions import is_typeddict

from perdure.codec.classes import field_names, is_dataclass, is_enum, is_struct
from perdure.codec.hints import field_types, peeled
from perdure.codec.recipes import has_own_storage, slots_of
from perdure.codec.registry import version_of
from perdure.codec.tags import MAX_DEPTH, TAG

Check = Callable[[Any], bool]
PartsOf = Callable[[Any], "tuple[Any, ...] | None"]

_KINDS: Final[dict[Any, type]] = {int: int, str: str, bool: bool, float: float, NoneType: NoneType, None: NoneType}
_ARRAY: Final = list
_OBJECT: Final = dict


class NotClosed(Exception):
    """The annotation leaves the type of some part open, or msgspec would change a part."""


class Closed(NamedTuple):
    """A closed type.

    Attributes:
        check: says whether a value is exactly of it.
        forms: what its values are in JSON, as the types that JSON is read as.
        has_objects: whether one of them, or a part of one, is an object in JSON.
        scalars: of which types any value is of it, without a check.
    """

    check: Check
    forms: frozenset[type]
    has_objects: bool = False
    scalars: frozenset[type] = frozenset()


def closed(annotation: Any) -> Closed:
    """Return a type as a closed one.

    Raises:
        NotClosed: it isn't closed.
    """
    return _compile(annotation, ())


def _compile(annotation: Any, outer: tuple[Any, ...]) -> Closed:
    annotation = peeled(annotation)
    if annotation in outer or len(outer) >= MAX_DEPTH:
        raise NotClosed  # recursive types take the other path
    origin, arguments = get_origin(annotation), get_args(annotation)
    inner = (*outer, annotation)
    if origin is list and len(arguments) == 1:
        return _list_of(arguments[0], inner)
    if origin is dict and len(arguments) == 2 and peeled(arguments[0]) is str:
        return _dict_of(arguments[1], inner)
    if origin in (Union, UnionType):
        return _union_of([_compile(argument, outer) for argument in arguments])
    if origin is Literal:
        return _literal_of(arguments)
    if annotation is None or annotation in (int, str, bool, float, NoneType):
        return _scalar(_KINDS[annotation])
    if isinstance(annotation, type):
        return Closed(_class_check(annotation, inner), frozenset({_OBJECT}), True)
    raise NotClosed


def _scalar(kind: type) -> Closed:
    if kind is float:
        return Closed(lambda value: type(value) is float and math.isfinite(value), frozenset({float}))
    return Closed(lambda value: type(value) is kind, frozenset({kind}), scalars=frozenset({kind}))


def _literal_of(choices: tuple[Any, ...]) -> Closed:
    kinds = frozenset(map(type, choices))
    if not kinds <= {str, int}:
        raise NotClosed
    known = {(type(choice), choice) for choice in choices}
    return Closed(lambda value: type(value) in kinds and (type(value), value) in known, kinds)


def _union_of(members: list[Closed]) -> Closed:
    """Members can be told apart when each is another thing in JSON; 1 could be an int or a float."""
    forms = frozenset[type]().union(*(member.forms for member in members))
    if len(forms) != sum(len(member.forms) for member in members) or {int, float} <= forms:
        raise NotClosed
    checks = [member.check for member in members]
    return Closed(
        lambda value: any(check(value) for check in checks),
        forms,
        any(member.has_objects for member in members),
        frozenset[type]().union(*(member.scalars for member in members)),
    )


def _list_of(element: Any, outer: tuple[Any, ...]) -> Closed:
    inside = _compile(element, outer)
    are_exact = _check_of_all(inside)
    return Closed(lambda value: type(value) is list and are_exact(value), frozenset({_ARRAY}), inside.has_objects)


def _dict_of(element: Any, outer: tuple[Any, ...]) -> Closed:
    are_exact = _check_of_all(_compile(element, outer))
    keys = {str}

    def is_exact(value: Any) -> bool:
        if type(value) is not dict:
            return False
        return not value or (set(map(type, value)) == keys and TAG not in value and are_exact(value.values()))

    return Closed(is_exact, frozenset({_OBJECT}), True)


def _check_of_all(element: Closed) -> Check:
    """Return a function that says of a collection whether all of it is of a closed type, for scalars without a loop."""
    check, scalars = element.check, element.scalars
    if element.forms == scalars:
        return lambda values: set(map(type, values)) <= scalars
    if element.forms == {float}:
        return lambda values: set(map(type, values)) <= {float} and all(map(math.isfinite, values))
    return lambda values: all(map(check, values))


def _class_check(cls: Any, outer: tuple[Any, ...]) -> Check:
    if version_of(cls) != 1 or hasattr(cls, "__post_init__") or is_enum(cls):
        raise NotClosed
    if is_typeddict(cls):
        return _typeddict_check(cls, outer)
    if is_dataclass(cls):
        return _fields_check(cls, _dataclass_parts(cls), outer)
    if is_struct(cls):
        return _fields_check(cls, _struct_parts(cls), outer)
    raise NotClosed


def _fields_check(cls: Any, parts_of: PartsOf, outer: tuple[Any, ...]) -> Check:
    names, hints = field_names(cls), field_types(cls)
    if any(name not in hints for name in names):
        raise NotClosed
    checks = [_compile(hints[name], outer).check for name in names]
    scalars = tuple(_KINDS.get(peeled(hints[name])) for name in names)
    floats = [place for place, kind in enumerate(scalars) if kind is float]

    def is_exact(value: Any) -> bool:
        parts = parts_of(value) if type(value) is cls else None
        return parts is not None and all(check(part) for check, part in zip(checks, parts, strict=True))

    def is_exact_of_scalars(value: Any) -> bool:
        parts = parts_of(value) if type(value) is cls else None
        if parts is None or tuple(map(type, parts)) != scalars:
            return False
        return not floats or all(map(math.isfinite, map(parts.__getitem__, floats)))

    return is_exact if None in scalars else is_exact_of_scalars


def _dataclass_parts(cls: Any) -> PartsOf:
    """Return a function that gives the fields of an object, or None if it holds anything else."""
    names = field_names(cls)
    statics = [inspect.getattr_static(cls, name, None) for name in names]
    slots = slots_of(cls)
    if not has_own_storage(cls) or slots - set(names) or not all(field.init for field in dataclasses.fields(cls)):
        raise NotClosed
    if cls.__new__ is not object.__new__ or not (
        cls.__dataclass_params__.frozen or cls.__setattr__ is object.__setattr__
    ):
        raise NotClosed  # msgspec calls these
    if names and slots == set(names) and cls.__dictoffset__ == 0:
        return _got(attrgetter(*names), len(names))
    if slots or any(hasattr(type(static), "__set__") for static in statics):
        raise NotClosed  # a property, or a mix
    get = _got(itemgetter(*names), len(names)) if names else lambda own: ()

    def parts_of(value: Any) -> tuple[Any, ...] | None:
        own = value.__dict__
        return get(own) if len(own) == len(names) else None

    return parts_of


def _struct_parts(cls: Any) -> PartsOf:
    """Return a function that gives the fields of a Struct, or None if one was never set."""
    config, names = cls.__struct_config__, field_names(cls)
    if config.tag is not None or config.array_like or config.omit_defaults or cls.__dictoffset__ != 0:
        raise NotClosed
    if TAG in cls.__struct_encode_fields__:
        raise NotClosed
    return _got(attrgetter(*names), len(names)) if names else lambda value: ()


def _got(get: Callable[[Any], Any], count: int) -> PartsOf:
    def parts_of(source: Any) -> tuple[Any, ...] | None:
        try:
            parts = get(source)
        except (AttributeError, KeyError):
            return None
        return (parts,) if count == 1 else parts  # with one name, the getters give the part itself

    return parts_of


def _typeddict_check(cls: Any, outer: tuple[Any, ...]) -> Check:
    hints = field_types(cls)
    if TAG in hints:
        raise NotClosed
    checks = {name: _compile(hint, outer).check for name, hint in hints.items()}
    required = set(cls.__required_keys__)

    def is_exact(value: Any) -> bool:
        if type(value) is not dict or not required <= value.keys() <= checks.keys():
            return False
        return all(checks[name](part) for name, part in value.items())

    return is_exact
