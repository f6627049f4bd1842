"""Differences: what a task has changed, found by comparing its draft with the version it began from.

The result has the shape of the state and holds only what changed. Where a container was never loaded, only the entries
that were touched are compared.

The order of a dict is no content: two dicts that differ in nothing else are equal. But a task that sorts one wants the next
one to find it sorted, so the keys that were moved are noted, as those that are to be moved to the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import compress, count
from operator import is_not
from typing import Any, TypeAlias

import msgspec

from perdure.kernel.state.equality import same
from perdure.kernel.state.lazy_dict import LazyItems
from perdure.kernel.state.lazy_list import LazyList
from perdure.kernel.state.lazy_set import DraftSet
from perdure.kernel.state.tree import CONTAINERS, SIMPLE, Opaque, Record, freeze
from perdure.kernel.state.versions import ABSENT, DictVersion, ListVersion, SetVersion


class Replaced(msgspec.Struct, frozen=True, gc=False):
    """A value was set to another one; ABSENT: deleted."""

    value: Any


class Fields(msgspec.Struct, frozen=True, gc=False):
    """Fields of an object, or items of a dict, were changed, and keys of the dict moved to its end."""

    changes: dict[Any, Difference]
    moved: list[Any] = []


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """A stretch of a list was replaced by other elements, so that all behind it may have moved."""

    start: int
    count: int
    elements: list[Any]


class Elements(msgspec.Struct, frozen=True, gc=False):
    """Elements of a list were changed in place, and others appended.

    Attributes:
        stretch: another way to put it, where that is shorter: something was inserted.
    """

    changes: dict[int, Difference]
    appended: list[Any]
    stretch: Stretch | None = None


class Members(msgspec.Struct, frozen=True, gc=False):
    """Members of a set were added and removed."""

    added: list[Any]
    removed: list[Any]


Difference: TypeAlias = Replaced | Fields | Elements | Stretch | Members


def difference(base: Any, mine: Any, depth: int = 0) -> Difference | None:
    """Return what turns a tree into the value ``mine``, or None if nothing does.

    Args:
        base: the version the draft was made of, in committed form, or ABSENT.
        mine: the draft as the task left it, in plain form.
        depth: how many levels of the state lie above.

    Raises:
        GraphRuntimeError: ``mine`` isn't a tree, or can't be copied.
    """
    if mine is base:
        return None
    kind = type(mine)
    if kind is int and type(base) is int:
        return None if mine == base else Replaced(mine)
    if kind in SIMPLE:
        return None if same(base, mine) else Replaced(mine)
    compare = _COMPARISONS.get(type(base))
    if compare is not None:
        return compare(base, mine, depth + 1)
    frozen = freeze(mine, depth)
    return None if same(base, frozen) else Replaced(frozen)


def _of_record(base: Record, mine: Any, depth: int) -> Difference | None:
    shape = base.shape
    if type(mine) is not shape.cls:
        return Replaced(freeze(mine, depth))
    changes: dict[Any, Difference] = {}
    fields = base.fields
    found = shape.read(mine)
    for name, value in found.items():
        before = fields.get(name, ABSENT)
        if value is not before:
            change = difference(before, value, depth)
            if change is not None:
                changes[name] = change
    if len(found) < len(fields) or found.keys() != fields.keys():
        changes.update({name: Replaced(ABSENT) for name in fields if name not in found})
    return Fields(changes) if changes else None


def _of_dict(base: DictVersion, mine: Any, depth: int) -> Difference | None:
    if CONTAINERS.get(type(mine)) is not base.kind:
        return Replaced(freeze(mine, depth))
    if base.kind is defaultdict and mine.default_factory is not base.factory:
        return Replaced(freeze(mine, depth))
    if isinstance(mine, LazyItems) and mine.base is base:
        return None if mine.is_unchanged() else _of_items(base.get, mine.touched.items(), depth)
    before = base.to_dict()
    change = _of_items(lambda key: before.get(key, ABSENT), mine.items(), depth)
    deleted = {key: Replaced(ABSENT) for key in before if key not in mine}
    if deleted:
        change = Fields({**(change.changes if change else {}), **deleted})
    moved = _moved(before, mine)
    return Fields(change.changes if change else {}, moved) if moved else change


def _of_items(before: Callable[[Any], Any], items: Iterable[tuple[Any, Any]], depth: int) -> Fields | None:
    changes: dict[Any, Difference] = {}
    for key, value in items:
        was = before(key)
        if value is was:
            continue
        change = Replaced(ABSENT) if value is ABSENT else difference(was, value, depth)
        if change is not None:
            changes[key] = change
    return Fields(changes) if changes else None


def _moved(before: dict[Any, Any], mine: dict[Any, Any]) -> list[Any]:
    """Return which keys have to be moved to the end, one after the other, to bring a dict in the order of another one."""
    keys = list(mine)
    places = count()
    expected = [key for key in before if key in mine]
    if keys[: len(expected)] == expected:
        return []
    place = dict(zip(before, places, strict=False))
    last = -1
    for index, key in enumerate(keys):
        here = place.get(key, len(before))
        if here < last:
            return keys[index:]
        last = here
    return []


def _of_list(base: ListVersion, mine: Any, depth: int) -> Difference | None:
    if isinstance(mine, LazyList) and mine.base is base:
        if mine.is_unchanged():
            return None
        if mine.kept == len(base):
            changes = _of_elements(((index, base.get(index), value) for index, value in mine.touched.items()), depth)
            appended = [freeze(value, depth) for value in mine.tail]
            return Elements(changes, appended) if changes or appended else None
        if not mine.touched:
            return _of_lists([base.get(index) for index in range(mine.kept, len(base))], mine.tail, mine.kept, depth)
    if CONTAINERS.get(type(mine)) is not list:
        return Replaced(freeze(mine, depth))
    return _of_lists(base.to_list(), mine, 0, depth)


def _of_elements(elements: Iterable[tuple[int, Any, Any]], depth: int) -> dict[int, Difference]:
    changes: dict[int, Difference] = {}
    for index, before, value in elements:
        change = difference(before, value, depth)
        if change is not None:
            changes[index] = change
    return changes


def _of_lists(before: list[Any], mine: list[Any], start: int, depth: int) -> Difference | None:
    """Compare what two lists hold from an index on."""
    if len(mine) < len(before):
        return _stretch(before, mine, start, depth)
    # what is the same object is left out fast
    suspects = list(compress(range(len(before)), map(is_not, before, mine)))
    changes = _of_elements(((start + index, before[index], mine[index]) for index in suspects), depth)
    appended = [freeze(value, depth) for value in mine[len(before) :]]
    if not changes:
        return Elements({}, appended) if appended else None
    stretch = None
    if len(changes) > 1 and (appended or all(type(change) is Replaced for change in changes.values())):
        stretch = _stretch(before, mine, start, depth)
        if len(stretch.elements) > len(changes) + len(appended):
            stretch = None
    return Elements(changes, appended, stretch)


def _stretch(before: list[Any], mine: list[Any], start: int, depth: int) -> Stretch:
    """Return the stretch in which two lists differ."""
    first, limit = 0, min(len(before), len(mine))
    while first < limit and difference(before[first], mine[first], depth) is None:
        first += 1
    last = 0
    while last < limit - first and difference(before[-1 - last], mine[-1 - last], depth) is None:
        last += 1
    elements = [freeze(value, depth) for value in mine[first : len(mine) - last]]
    return Stretch(start + first, len(before) - first - last, elements)


def _of_set(base: SetVersion, mine: Any, depth: int) -> Difference | None:
    if type(mine) is DraftSet and mine.base is base:
        if mine.is_unchanged():
            return None
        added, removed = mine.changes()
    elif CONTAINERS.get(type(mine)) is set:
        before = base.to_set()
        added = [member for member in mine if member not in before]
        removed = [member for member in before if member not in mine]
    else:
        return Replaced(freeze(mine, depth))
    return Members(added, removed) if added or removed else None


def _of_opaque(base: Opaque, mine: Any, depth: int) -> Difference | None:
    if base.inside is not None and type(mine) is base.inside.shape.cls and _of_record(base.inside, mine, depth) is None:
        return None
    return None if same(base.value, mine) else Replaced(freeze(mine, depth))


_COMPARISONS: dict[type, Callable[[Any, Any, int], Difference | None]] = {
    Record: _of_record,
    DictVersion: _of_dict,
    ListVersion: _of_list,
    SetVersion: _of_set,
    Opaque: _of_opaque,
}
