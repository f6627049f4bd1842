"""Declared merges of state fields: ``total: Annotated[int, add]``.

Each is a function of (current, base, mine), where *base* is the value the task began from, *mine* the one it left, and
*current* the one that others have committed meanwhile. It is asked at every commit that changed the field, unless there is
nothing to merge with: the field is set for the first time, or one side has deleted it. Where two tasks have set a field
that wasn't there, *base* is None. Any function of that signature will do; these are the common ones.
"""

from __future__ import annotations

from typing import Any, TypeVar

from perdure.errors import StateConflict

T = TypeVar("T")


def add(current: Any, base: Any, mine: Any) -> Any:
    """Add what the task has added: for numbers, and for anything with ``+`` and ``-``."""
    return current + (mine if base is None else mine - base)


def append(current: list[T], base: list[T] | None, mine: list[T]) -> list[T]:
    """Append what the task has appended to a list.

    Raises:
        StateConflict: the task did something else to the list.
    """
    base = base or []
    if mine[: len(base)] != base:
        raise StateConflict("a list that is declared Annotated[…, append] was changed other than by appending to it")
    return current + mine[len(base) :]


def union(current: Any, base: Any, mine: Any) -> Any:
    """Keep every member of a set that anyone has added."""
    return current | mine


def merge(current: dict[Any, T], base: dict[Any, T] | None, mine: dict[Any, T]) -> dict[Any, T]:
    """Merge a dict key by key; of two values for one key the later stays, and that is no conflict."""
    base = base or {}
    changed = {key: value for key, value in mine.items() if key not in base or base[key] != value}
    deleted = base.keys() - mine.keys()
    return {**{key: value for key, value in current.items() if key not in deleted}, **changed}


def max_value(current: Any, base: Any, mine: Any) -> Any:
    """Keep the greater value."""
    return max(current, mine)


def min_value(current: Any, base: Any, mine: Any) -> Any:
    """Keep the smaller value."""
    return min(current, mine)


def first(current: T, base: T, mine: T) -> T:
    """Of concurrent changes keep the one that was committed first."""
    return mine if current == base else current


def last(current: T, base: T, mine: T) -> T:
    """Of concurrent changes keep the one that was committed last, and don't call that a conflict."""
    return mine


def forbid(current: T, base: T, mine: T) -> T:
    """Refuse concurrent changes.

    Raises:
        StateConflict: another task has changed the field since this one began.
    """
    if current != base:
        raise StateConflict("a field that is declared Annotated[…, forbid] was changed by two tasks at once")
    return mine
