"""The committed state: a tree of versions that are never changed in place.

    a value of an immutable type     itself; also an object of a frozen class that holds only such values
    list, dict, set                  ListVersion, DictVersion, SetVersion
    object of a mutable class        Record: its class and its fields
    anything else                    Opaque: a deep copy that is only ever replaced as a whole

``freeze`` makes a tree of plain values, ``thaw`` makes plain values of a tree; nothing is shared between the two but
immutable values, members of sets and keys of dicts, which Python already asks to be so.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from collections import defaultdict, deque
from typing import Any

from perdure.errors import GraphRuntimeError
from perdure.kernel.state.equality import same
from perdure.kernel.state.nodes import CONTAINERS, SIMPLE, Opaque, Record
from perdure.kernel.state.shapes import frozen_parts, sealed_shape_of, shape_of
from perdure.kernel.state.unread import Unread, refusal
from perdure.kernel.state.versions import DictVersion, ListVersion, SetVersion

__all__ = ["CONTAINERS", "SIMPLE", "Opaque", "Record", "as_dict", "freeze", "inside_of", "is_immutable", "same", "thaw"]

MAX_DEPTH = 256

_IMMUTABLE = SIMPLE | {
    decimal.Decimal,
    fractions.Fraction,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    uuid.UUID,
    range,
    type,
    pathlib.PurePosixPath,
    pathlib.PosixPath,
    type(len),
    type(lambda: None),
}


def is_immutable(value: Any) -> bool:
    """Say whether a value can be shared because nothing in it can change."""
    kind = type(value)
    if kind in _IMMUTABLE or isinstance(value, enum.Enum):
        return True
    parts = value if kind is tuple or kind is frozenset else frozen_parts(value)
    return parts is not None and all(type(part) in SIMPLE or is_immutable(part) for part in parts)


def not_a_tree() -> GraphRuntimeError:
    """Return the error for a state that contains itself."""
    return GraphRuntimeError(
        "the state isn't a tree: it contains itself or nests deeper than "
        f"{MAX_DEPTH} levels; keep references between its parts as keys or ids"
    )


def freeze(value: Any, depth: int = 0) -> Any:
    """Return the committed form of a value.

    Raises:
        GraphRuntimeError: the value isn't a tree: it contains itself, or nests deeper than 256 levels; or a part of
            it can't be copied.
    """
    kind: Any = type(value)
    if kind in SIMPLE:
        return value
    if depth > MAX_DEPTH:
        raise not_a_tree()
    depth += 1
    plain = CONTAINERS.get(kind)
    if plain is list:
        return ListVersion([part if type(part) in SIMPLE else freeze(part, depth) for part in value])
    if plain is set:
        return SetVersion.of(value)
    if plain is not None:
        items = {key: part if type(part) in SIMPLE else freeze(part, depth) for key, part in value.items()}
        return DictVersion(items, plain, getattr(value, "default_factory", None))
    if is_immutable(value):
        return value
    if kind is Unread:
        raise refusal()
    shape = shape_of(kind)
    if shape is not None:
        return Record(shape, {name: freeze(part, depth) for name, part in shape.read(value).items()})
    copied = _copied(value)
    return value if copied is value else Opaque(copied)


def _copied(value: Any) -> Any:
    if type(value) is deque and SIMPLE.issuperset(map(type, value)):
        return value.copy()  # what deepcopy comes to, at a twentieth of the cost
    try:
        return copy.deepcopy(value)
    except GraphRuntimeError:
        raise
    except Exception as error:
        raise GraphRuntimeError(
            f"a value of type {type(value).__name__} in the state can't be copied ({error}); every task works on its "
            "own copy of what it touches, so keep such things in deps"
        ) from error


def thaw(tree: Any) -> Any:
    """Return plain values for a tree; the caller owns them."""
    kind = type(tree)
    if kind in SIMPLE:
        return tree
    if kind is ListVersion:
        return [part if type(part) in SIMPLE else thaw(part) for part in tree.to_list()]
    if kind is DictVersion:
        return as_dict(tree, {key: thaw(part) for key, part in tree.to_dict().items()})
    if kind is SetVersion:
        return tree.to_set()
    if kind is Record:
        return tree.shape.make({name: thaw(part) for name, part in tree.fields.items()})
    return _copied(tree.value) if kind is Opaque else tree


def inside_of(opaque: Opaque) -> Record | None:
    """Return the parts of an immutable object with mutable ones inside; of what else is opaque, None."""
    if opaque.inside is None:
        shape = sealed_shape_of(type(opaque.value))
        if shape is not None:
            opaque.inside = Record(shape, {name: freeze(part) for name, part in shape.read(opaque.value).items()})
    return opaque.inside


def as_dict(version: DictVersion, items: dict[Any, Any]) -> dict[Any, Any]:
    """Return a dict of the kind that a version stands for."""
    if version.kind is dict:
        return items
    if version.kind is defaultdict:
        return defaultdict(version.factory, items)
    made: dict[Any, Any] = version.kind(items)
    return made
