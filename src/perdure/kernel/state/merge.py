"""Merging: from what a task has changed to operations on the state as it is now.

Three versions meet at every changed place: *base*, which the task began from, *mine*, which it left, and *current*,
which others have committed meanwhile. Where nobody else was there (current is base), mine is simply put in place. Else:

    a declared field             its function decides (``Declared``, and ``_declared`` below)
    int, finite float            current + (mine - base): parallel ``+=`` loses nothing
    list                         elements changed in place merge one by one while no side is shorter than base;
                                 what was appended is appended; anything else is a rewrite
    dict, set, object            merge by key, member, attribute; containers that base doesn't have, as from empty ones
    everything else              the last commit wins

A rewrite or a delete against a concurrent change, and two last-wins writes, are conflicts. A write that leaves what others
have made of the place as it is overwrites nothing, so it is none. Numbers are added even then: two tasks that each add 1 to
0 both leave a 1.

"Anything else" is said of what the task that commits did to a list. If it only appended, its elements go to the end of the
list also where another task has made that shorter.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from perdure.errors import StateConflict
from perdure.kernel.state import reducers
from perdure.kernel.state.declared import Declared, FieldMerge
from perdure.kernel.state.difference import Difference, Elements, Fields, Members, Replaced, Stretch
from perdure.kernel.state.equality import same
from perdure.kernel.state.operations import (
    ADD,
    APPEND,
    DELETE,
    EXCLUDE,
    INCLUDE,
    MERGE,
    ORDER,
    SET,
    SPLICE,
    Operation,
)
from perdure.kernel.state.tree import Record, freeze, thaw
from perdure.kernel.state.versions import ABSENT, DictVersion, ListVersion, SetVersion

Path = tuple[Any, ...]


class Merged(msgspec.Struct, gc=False):
    """The outcome of a merge.

    Attributes:
        operations: what to do to the current state.
        conflicts: the paths where a concurrent change is overwritten.
        summed: the paths where numbers were added up though their fields don't say so.
    """

    operations: list[Operation] = []
    conflicts: list[str] = []
    summed: list[Path] = []

    @property
    def additions(self) -> list[str]:
        """The paths in ``summed`` as text; they are many, and rarely looked at."""
        return [shown(path) for path in self.summed]

    def merge(self, base: Any, change: Difference, current: Any, path: Path, declared: Declared | None = None) -> None:
        """Add the operations that bring one change into the current state.

        Raises:
            StateConflict: a declared merge refuses, or fails.
        """
        if declared is not None and declared.merge is not None and not _only_moves(base, change):
            self._declared(base, change, current, path, declared.merge)
        else:
            self._by_kind(base, change, current, path, declared)

    def _by_kind(self, base: Any, change: Difference, current: Any, path: Path, declared: Declared | None) -> None:
        if isinstance(change, Replaced):
            self._replaced(base, change.value, current, path, declared)
        elif isinstance(change, Fields):
            self._fields(base, change, current, path, declared)
        elif isinstance(change, Elements):
            self._elements(base, change, current, path, declared)
        elif isinstance(change, Members):
            self._members(base, change, current, path)
        elif current is base or same(base, current):
            self._splice(path, change)
        else:
            self._overwrite(base, change, current, path)

    def _put(self, verb: str, path: Path, value: Any = None) -> None:
        self.operations.append(Operation(verb, path, value))

    def _splice(self, path: Path, change: Stretch) -> None:
        self._put(SPLICE, path, (change.start, change.count, change.elements))

    def _set(self, path: Path, value: Any) -> None:
        if value is ABSENT:
            self._put(DELETE, path)
        else:
            self._put(SET, path, value)

    def _set_if_new(self, path: Path, value: Any, current: Any) -> None:
        if not same(current, value):
            self._set(path, value)

    def _overwrite(self, base: Any, change: Difference, current: Any, path: Path) -> None:
        """Put in place what the task left, over what others did."""
        mine = applied(base, change)
        if not same(current, mine):
            self.conflicts.append(shown(path))
            self._set(path, mine)

    def _replaced(self, base: Any, mine: Any, current: Any, path: Path, declared: Declared | None) -> None:
        if type(mine) is int and type(base) is int and type(current) is int:  # the rest would say the same, later
            if current == base:
                self._put(SET, path, mine)
            else:
                self.summed.append(path)
                self._put(MERGE, path, mine - base)
        elif current is base or same(base, current):
            self._set(path, mine)
        elif (delta := _added(base, mine, current)) is not None:
            self.summed.append(path)
            self._put(MERGE, path, delta)
        elif base is ABSENT and (from_empty := _from_empty(mine, current)) is not None:
            empty, change = from_empty
            self._by_kind(empty, change, current, path, declared)
        else:
            self._overwrite(base, Replaced(mine), current, path)

    def _fields(self, base: Any, change: Fields, current: Any, path: Path, declared: Declared | None) -> None:
        if isinstance(base, Record) and isinstance(current, Record) and current.shape is base.shape:
            merges = base.shape.merges
            for name, inner in change.changes.items():
                before, now = base.fields.get(name, ABSENT), current.fields.get(name, ABSENT)
                self.merge(before, inner, now, (*path, name), merges.get(name))
        elif isinstance(base, DictVersion) and isinstance(current, DictVersion) and current.kind is base.kind:
            self.items(base, change, current, path, declared.key if declared is not None else _undeclared)
        elif not _only_moves(base, change):
            self._overwrite(base, change, current, path)

    def items(
        self,
        base: DictVersion,
        change: Fields,
        current: DictVersion,
        path: Path,
        declared: Callable[[Any], Declared | None],
    ) -> None:
        """Merge a dict key by key; ``declared`` tells what is declared of a key."""
        for key, inner in change.changes.items():
            before, now = base.get(key), current.get(key)
            if base.kind is Counter and before is ABSENT and _is_number(now) and _puts_number(inner):
                before = 0
            self.merge(before, inner, now, (*path, key), declared(key))
        if change.moved:
            self._put(ORDER, path, change.moved)

    def _elements(
        self, base: ListVersion, change: Elements, current: Any, path: Path, declared: Declared | None
    ) -> None:
        if change.stretch is not None and (current is base or same(base, current)):
            self._splice(path, change.stretch)
        elif not isinstance(current, ListVersion) or (change.changes and len(current) < len(base)):
            self._overwrite(base, change, current, path)
        else:
            parts = declared and declared.parts
            for index, inner in change.changes.items():
                self.merge(base.get(index), inner, current.get(index), (*path, index), parts)
            if change.appended:
                self._put(APPEND, path, change.appended)

    def _members(self, base: SetVersion, change: Members, current: Any, path: Path) -> None:
        if not isinstance(current, SetVersion):
            self._overwrite(base, change, current, path)
            return
        added = [member for member in change.added if member not in current]
        removed = [member for member in change.removed if member in current]
        if added:
            self._put(INCLUDE, path, added)
        if removed:
            self._put(EXCLUDE, path, removed)

    # --- declared fields ---

    def _declared(self, base: Any, change: Difference, current: Any, path: Path, merge: FieldMerge) -> None:
        is_alone = merge in _OF_WHOLES and (current is base or same(base, current))
        if merge is reducers.forbid and not is_alone:
            raise StateConflict(
                f"state field {shown(path)!r}, which is declared Annotated[…, forbid], was changed by two tasks at once"
            )
        if is_alone:
            self._by_kind(base, change, current, path, None)
        elif merge is reducers.last:
            self._set_if_new(path, applied(base, change), current)
        elif merge is not reducers.first and not self._declared_in_parts(base, change, current, path, merge):
            self._declared_as_a_whole(base, change, current, path, merge)

    def _declared_in_parts(self, base: Any, change: Difference, current: Any, path: Path, merge: FieldMerge) -> bool:
        """Do what the function comes to without calling it, in O(change), if it is one of ours."""
        if merge is reducers.add and isinstance(change, Replaced):
            delta = _added(base, change.value, current, must_be_finite=False)
            if delta is None or (type(delta) is float and same(base, current)):
                return False
            self._put(ADD, path, delta)
        elif merge is reducers.add and isinstance(change, Fields) and isinstance(current, DictVersion):
            return self._counts(base, change, current, path)
        elif merge is reducers.append and isinstance(change, Elements) and isinstance(current, ListVersion):
            if change.changes:
                return False
            self._put(APPEND, path, change.appended)
        elif merge is reducers.union and isinstance(change, Members) and isinstance(current, SetVersion):
            self._members(base, Members(change.added, []), current, path)
        elif merge is reducers.merge and isinstance(change, Fields) and isinstance(current, DictVersion):
            for key, inner in change.changes.items():
                self._set_if_new((*path, key), applied(base.get(key), inner), current.get(key))
            if change.moved:
                self._put(ORDER, path, change.moved)
        else:
            return False
        return True

    def _counts(self, base: DictVersion, change: Fields, current: DictVersion, path: Path) -> bool:
        """Add up two Counters in O(change), if they hold nothing but ints."""
        if base.kind is not Counter or current.kind is not Counter:
            return False
        operations: list[Operation] = []
        for key, inner in change.changes.items():
            before, mine, now = base.get(key), applied(base.get(key), inner), current.get(key)
            counts = [0 if count is ABSENT else count for count in (before, mine, now)]
            if any(type(count) is not int for count in counts):
                return False
            delta = counts[1] - counts[0]
            if mine is ABSENT and counts[2] + delta == 0:
                operations += [] if now is ABSENT else [Operation(DELETE, (*path, key))]
            elif now is ABSENT:
                operations.append(Operation(SET, (*path, key), delta))
            elif delta:
                operations.append(Operation(ADD, (*path, key), delta))
        self.operations += operations
        if change.moved:
            self._put(ORDER, path, change.moved)
        return True

    def _declared_as_a_whole(self, base: Any, change: Difference, current: Any, path: Path, merge: FieldMerge) -> None:
        mine = applied(base, change)
        if mine is ABSENT or current is ABSENT:  # a delete, or the first value: there is nothing to merge with
            self._replaced(base, mine, current, path, None)
            return
        try:
            value = freeze(merge(thaw(current), None if base is ABSENT else thaw(base), thaw(mine)))
        except StateConflict as error:
            raise StateConflict(f"state field {shown(path)!r}: {error.message}") from None
        except Exception as error:
            raise StateConflict(
                f"state field {shown(path)!r}: the merge declared for it has raised {type(error).__name__}: {error}"
            ) from error
        self._set_if_new(path, value, current)


_OF_WHOLES = (reducers.forbid, reducers.first, reducers.last)
"""The functions that leave what a task did as it is where nobody else was there."""


def shown(path: Path) -> str:
    """Return a path as text: ``accounts['ada'].balance`` is shown as ``accounts.ada.balance``."""
    return ".".join(str(key) for key in path)


def _added(base: Any, mine: Any, current: Any, must_be_finite: bool = True) -> Any:
    """Return what a task has added to a number that others may have changed too, or None if that isn't what happened."""
    if type(base) is int and type(mine) is int and type(current) is int:
        return mine - base
    if not (_is_number(base) and _is_number(mine) and _is_number(current)):
        return None
    try:
        delta = mine - base
        total = current + delta
    except OverflowError:  # an int that is too large to be added to a float
        return None
    return None if must_be_finite and not _is_number(total) else delta


def _puts_number(change: Difference) -> bool:
    return isinstance(change, Replaced) and _is_number(change.value)


def _only_moves(base: Any, change: Difference) -> bool:
    """Say whether nothing but the order of a dict was changed, which is no content of it and overwrites nothing."""
    return isinstance(change, Fields) and not change.changes and base.kind is not OrderedDict


def _undeclared(key: Any) -> None:
    return None


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _from_empty(mine: Any, current: Any) -> tuple[Any, Difference] | None:
    """Return an empty container and what turns it into ``mine``, if both sides are containers of one kind."""
    if isinstance(mine, ListVersion) and isinstance(current, ListVersion):
        return ListVersion([]), Elements({}, mine.to_list())
    if isinstance(mine, SetVersion) and isinstance(current, SetVersion):
        return SetVersion.of(()), Members(list(mine.members), [])
    if isinstance(mine, DictVersion) and isinstance(current, DictVersion) and mine.kind is current.kind:
        changes: dict[Any, Difference] = {key: Replaced(value) for key, value in mine.to_dict().items()}
        return DictVersion({}, mine.kind, mine.factory), Fields(changes)
    return None


def applied(base: Any, change: Difference) -> Any:
    """Return what a task left behind: its base with its change."""
    if isinstance(change, Replaced):
        return change.value
    if isinstance(change, Members):
        return SetVersion.of([*(base.to_set() - set(change.removed)), *change.added])
    if isinstance(change, Stretch):
        data = base.to_list()
        data[change.start : change.start + change.count] = change.elements
        return ListVersion(data)
    if isinstance(change, Elements):
        data = base.to_list()
        for index, inner in change.changes.items():
            data[index] = applied(data[index], inner)
        return ListVersion(data + change.appended)
    is_record = isinstance(base, Record)
    items = dict(base.fields) if is_record else base.to_dict()
    for key, inner in change.changes.items():
        value = applied(items.get(key, ABSENT), inner)
        if value is ABSENT:
            items.pop(key, None)
        else:
            items[key] = value
    for key in change.moved:
        items[key] = items.pop(key)
    return Record(base.shape, items) if is_record else DictVersion(items, base.kind, base.factory)
