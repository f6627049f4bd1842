"""Equality by type and content, of committed trees and of the plain values in them.

``==`` doesn't say it: ``1 == True == 1.0``, NaN differs from itself, a class may compare one attribute of three, or, like
most, nothing but identity. Here two values are the same if they are of one type and hold the same. What an object of an
unknown class holds is what copying it would take along (``__reduce_ex__``); where that isn't told, its own ``==``, then
its attributes are asked; objects that show nothing are the same if their types are.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import operator
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Set
from itertools import compress, starmap
from operator import is_not
from typing import Any

from perdure.kernel.state.nodes import CONTAINERS, Opaque, Record
from perdure.kernel.state.versions import DictVersion, ListVersion, SetVersion

_MISSING = object()


def same(left: Any, right: Any) -> bool:
    """Say whether two trees, or two plain values, are equal by type and content.

    Raises:
        RecursionError: they contain themselves.
    """
    if left is right:
        return True
    kind: Any = type(left)
    if kind is not type(right):
        plain = CONTAINERS.get(kind)
        if plain is None or plain is not CONTAINERS.get(type(right)):
            return False
        kind = plain
    compare = _COMPARISONS.get(kind)
    if compare is not None:
        return compare(left, right)
    return bool(left == right) if isinstance(left, enum.Enum | type) else _same_objects(left, right)


def _same_floats(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right and math.copysign(1, left) == math.copysign(1, right)


def _same_complex(left: complex, right: complex) -> bool:
    return _same_floats(left.real, right.real) and _same_floats(left.imag, right.imag)


def _same_decimals(left: decimal.Decimal, right: decimal.Decimal) -> bool:
    return left.as_tuple() == right.as_tuple()


def _same_ranges(left: range, right: range) -> bool:
    return (left.start, left.stop, left.step) == (right.start, right.stop, right.step)


def _same_times(left: Any, right: Any) -> bool:
    return (
        left.replace(tzinfo=None) == right.replace(tzinfo=None)
        and left.fold == right.fold
        and same(left.tzinfo, right.tzinfo)
    )


def _same_sequences(left: Any, right: Any) -> bool:
    # what is the same object is left out fast
    return len(left) == len(right) and all(
        starmap(same, compress(zip(left, right, strict=True), map(is_not, left, right)))
    )


def _same_deques(left: deque[Any], right: deque[Any]) -> bool:
    return left.maxlen == right.maxlen and _same_sequences(left, right)


def _same_mappings(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    return all(same(value, right.get(key, _MISSING)) for key, value in left.items())


def _same_ordered(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> bool:
    return list(left) == list(right) and _same_mappings(left, right)


def _same_defaultdicts(left: Any, right: Any) -> bool:
    return left.default_factory is right.default_factory and _same_mappings(left, right)


def _same_members(left: Set[Any], right: Set[Any]) -> bool:
    if len(left) != len(right):
        return False
    others = {member: member for member in right}  # a set doesn't tell which of two equal members it holds
    return all(same(member, others.get(member, _MISSING)) for member in left)


def _same_lists(left: ListVersion, right: ListVersion) -> bool:
    return len(left) == len(right) and _same_sequences(left.to_list(), right.to_list())


def _same_dicts(left: DictVersion, right: DictVersion) -> bool:
    if len(left) != len(right) or left.kind is not right.kind or left.factory is not right.factory:
        return False
    compare = _same_ordered if left.kind is OrderedDict else _same_mappings
    return compare(left.to_dict(), right.to_dict())


def _same_sets(left: SetVersion, right: SetVersion) -> bool:
    return len(left) == len(right) and _same_members(left.to_set(), right.to_set())


def _same_records(left: Record, right: Record) -> bool:
    return left.shape is right.shape and _same_mappings(left.fields, right.fields)


def _same_opaques(left: Opaque, right: Opaque) -> bool:
    return same(left.value, right.value)


def _same_objects(left: Any, right: Any) -> bool:
    try:
        reduced, other = left.__reduce_ex__(4), right.__reduce_ex__(4)
    except Exception:
        return _same_attributes(left, right)
    if isinstance(reduced, str) or isinstance(other, str):
        return bool(reduced == other)
    # what makes the object, with what, its state, its elements, its items
    return len(reduced) == len(other) and all(
        same(*(list(part) if position in (3, 4) and part is not None else part for part in pair))
        for position, pair in enumerate(zip(reduced, other, strict=True))
    )


def _same_attributes(left: Any, right: Any) -> bool:
    kind: Any = type(left)
    if kind.__eq__ is not object.__eq__:
        try:
            return bool(left == right)
        except Exception:
            return False
    return same(getattr(left, "__dict__", None), getattr(right, "__dict__", None))


_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    bool: operator.eq,
    int: operator.eq,
    str: operator.eq,
    bytes: operator.eq,
    bytearray: operator.eq,
    types.FunctionType: operator.is_,
    types.BuiltinFunctionType: operator.eq,
    float: _same_floats,
    complex: _same_complex,
    decimal.Decimal: _same_decimals,
    range: _same_ranges,
    datetime.datetime: _same_times,
    datetime.time: _same_times,
    tuple: _same_sequences,
    list: _same_sequences,
    deque: _same_deques,
    dict: _same_mappings,
    Counter: _same_mappings,
    OrderedDict: _same_ordered,
    defaultdict: _same_defaultdicts,
    set: _same_members,
    frozenset: _same_members,
    ListVersion: _same_lists,
    DictVersion: _same_dicts,
    SetVersion: _same_sets,
    Record: _same_records,
    Opaque: _same_opaques,
}
