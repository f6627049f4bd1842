"""Declared merges of state fields: ``total: Annotated[int, add]``.

Each is a function of (current, base, mine), where *base* is the value the task began from, *mine* the one it left, and
*current* the one that others have committed meanwhile. It is asked at every commit that changed the field, unless there is
nothing to merge with: the field is set for the first time, or one side has deleted it. Where two tasks have set a field
that wasn't there, *base* is None. Any function of that signature will do; these are the common ones.

They compare as all merging does, by type and content (``equality.py``): to put True in the place of 1 is a change. Where
*current* is None, as in a field declared ``Annotated[float | None, max_value]`` that nobody has set yet, they take *mine*.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, TypeVar

from perdure.errors import StateConflict
from perdure.kernel.state.equality import same

T = TypeVar("T")


def add(current: Any, base: Any, mine: Any) -> Any:
    """Add what the task has added: for numbers, for Counters key by key, and for anything with ``+`` and ``-``."""
    if current is None or same(current, base):  # current + (mine - base) would round, and inf - inf is no number
        return mine
    if isinstance(current, Counter) and isinstance(mine, Counter):
        return _added_counts(current, base or Counter(), mine)
    return current + (mine if base is None else mine - base)


def _added_counts(current: Counter[Any], base: Counter[Any], mine: Counter[Any]) -> Counter[Any]:
    """Add up Counters; their own ``-`` drops what is below zero."""
    total = current.copy()
    for key in [*mine, *(key for key in base if key not in mine)]:
        if key not in base or mine[key] != base[key]:
            total[key] += mine[key] - base[key]
        if key not in mine and total[key] == 0:
            del total[key]
    return total


def append(current: list[T] | None, base: list[T] | None, mine: list[T]) -> list[T]:
    """Append what the task has appended to a list.

    Raises:
        StateConflict: the task did something else to the list.
    """
    if current is None:
        return mine
    base = base or []
    if not same(mine[: len(base)], base):
        raise StateConflict("a list that is declared Annotated[…, append] was changed other than by appending to it")
    return current + mine[len(base) :]


def union(current: Any, base: Any, mine: Any) -> Any:
    """Keep every member of a set that anyone has added."""
    return mine if current is None else current | mine


def merge(current: dict[Any, T] | None, base: dict[Any, T] | None, mine: dict[Any, T]) -> dict[Any, T]:
    """Merge a dict key by key; of two values for one key the later stays, and that is no conflict."""
    if current is None:
        return mine
    base = base or {}
    merged = copy.copy(current)
    for key in base.keys() - mine.keys():
        merged.pop(key, None)
    for key, value in mine.items():
        if key not in base or not same(base[key], value):
            merged[key] = value
    return merged


def max_value(current: Any, base: Any, mine: Any) -> Any:
    """Keep the greater value."""
    if current is None or mine is None:
        return mine if current is None else current
    return max(current, mine)


def min_value(current: Any, base: Any, mine: Any) -> Any:
    """Keep the smaller value."""
    if current is None or mine is None:
        return mine if current is None else current
    return min(current, mine)


def first(current: T, base: T, mine: T) -> T:
    """Of concurrent changes keep the one that was committed first."""
    return mine if same(current, base) else current


def last(current: T, base: T, mine: T) -> T:
    """Of concurrent changes keep the one that was committed last, and don't call that a conflict."""
    return mine


def forbid(current: T, base: T, mine: T) -> T:
    """Refuse concurrent changes.

    Raises:
        StateConflict: another task has changed the field since this one began.
    """
    if not same(current, base):
        raise StateConflict("a field that is declared Annotated[…, forbid] was changed by two tasks at once")
    return mine
