"""Versioned containers: the lists, dicts and sets inside a committed state.

A task works on the state as it was when the task first touched it, while others commit; so a version must stay readable
after it has been replaced. Copying a container at every commit would cost O(size) a commit, and a map whose steps
append to a list would be quadratic. Here the newest version owns the data and is changed in place in O(change), and the
version it replaces keeps the undo: what it takes to read the old content from the newer one. An old version that nobody
holds any more is garbage, undo and all: newer versions don't know it. One that is still read after many commits copies
itself once, as soon as looking things up has cost more steps than that.

A dict has an order, and undoing a delete has to put the key back in its place, which a Python dict can't tell. So from the
first delete on, the owner ranks its keys: a key's rank is greater than that of every key before it, and an undo keeps the
rank of what was deleted. Keys that never see a delete pay nothing for this.

Source: Baker, "Shallow binding makes functional arrays fast" (1991); Conchon and Filliâtre, "A persistent union-find
data structure" (2007).

Steps that aren't async run in threads and read versions while the event loop commits, hence the lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from threading import RLock
from typing import Any, Final, TypeVar

_lock = RLock()

_SMALL = 32
"""Looking things up in an old version may cost this many steps, however small it is, before it copies itself."""


class Absent:
    """The type of the mark for a key or a field that isn't there."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()

_UNCHANGED: Final = object()
_NOTHING: Final[Mapping[Any, Any]] = {}

V = TypeVar("V", "ListVersion", "DictVersion")


def _chain(version: V) -> tuple[V, list[V]]:
    """Return the version that owns the data an old one is read from, and those on the way to it, the old one first."""
    older: list[V] = []
    while version._data is None:
        older.append(version)
        assert version._newer is not None
        version = version._newer
    return version, older


def _looked_up(version: V, key: Any) -> tuple[V, Any]:
    """Return where the way to a key of an old version ends: in an undo, with the value there, or at the owner."""
    asked, steps, value = version, 0, _UNCHANGED
    while version._data is None:
        value = version._undo.get(key, _UNCHANGED)
        if value is not _UNCHANGED:
            break
        assert version._newer is not None
        version = version._newer
        steps += 1
    asked._debt += steps
    if asked._debt > asked._length + _SMALL:
        asked._own()
    return version, value


class ListVersion:
    """One version of a list."""

    __slots__ = ("_data", "_debt", "_length", "_newer", "_undo")

    def __init__(self, data: list[Any]) -> None:
        """Take over ``data``; nobody else may hold it."""
        self._data: list[Any] | None = data
        self._length = len(data)
        self._newer: ListVersion | None = None
        self._undo = _NOTHING
        self._debt = 0

    def __len__(self) -> int:
        return self._length

    def get(self, index: int) -> Any:
        """Return the element at an index from 0."""
        with _lock:
            if self._data is not None:
                return self._data[index]
            owner, value = _looked_up(self, index)
            if value is not _UNCHANGED:
                return value
            assert owner._data is not None
            return owner._data[index]

    def to_list(self) -> list[Any]:
        """Return the elements in a new list."""
        with _lock:
            return self._own().copy()

    def _own(self) -> list[Any]:
        """Make this version the owner of a list, copied from a newer one if need be."""
        if self._data is None:
            owner, older = _chain(self)
            assert owner._data is not None
            data = owner._data.copy()
            for version in reversed(older):
                del data[version._length :]
                for index, value in version._undo.items():
                    if index < len(data):
                        data[index] = value
                    else:
                        data.append(value)
            self._data, self._newer, self._undo = data, None, _NOTHING
        return self._data

    def changed(
        self, replaced: Mapping[int, Any], appended: Sequence[Any] = (), keep: int | None = None
    ) -> ListVersion:
        """Return the next version: with elements replaced, cut to the first ``keep`` ones, and others appended."""
        with _lock:
            data = self._own()
            undo: Mapping[int, Any] = {index: data[index] for index in replaced} if replaced else _NOTHING
            for index, value in replaced.items():
                data[index] = value
            if keep is not None and keep < self._length:
                # in ascending order behind the others, so that undoing appends them one by one
                undo = {
                    **{index: value for index, value in undo.items() if index < keep},
                    **{index: undo.get(index, data[index]) for index in range(keep, self._length)},
                }
                del data[keep:]
            data.extend(appended)
            newer = ListVersion(data)
            self._data, self._newer, self._undo, self._debt = None, newer, undo, 0
            return newer


_later_ranks = count(1 << 60)


class DictVersion:
    """One version of a dict.

    Attributes:
        kind: the class of dict it is: ``dict``, ``Counter`` …; ``set`` if its keys are the members of a set, whose order
            nobody can see.
        factory: what a ``defaultdict`` makes missing values with.
    """

    __slots__ = ("_data", "_debt", "_length", "_newer", "_places", "_ranks", "_undo", "factory", "kind")

    def __init__(self, data: dict[Any, Any], kind: type = dict, factory: Any = None) -> None:
        """Take over ``data``; nobody else may hold it."""
        self._data: dict[Any, Any] | None = data
        self._length = len(data)
        self._newer: DictVersion | None = None
        self._undo = _NOTHING
        self._debt = 0
        self._ranks: dict[Any, int] | None = None
        self._places: Mapping[Any, int] = _NOTHING
        self.kind: type = kind
        self.factory: Any = factory

    def __len__(self) -> int:
        return self._length

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not ABSENT

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_dict())

    def get(self, key: Any) -> Any:
        """Return the value under a key, or ABSENT."""
        with _lock:
            if self._data is not None:
                return self._data.get(key, ABSENT)
            owner, value = _looked_up(self, key)
            if value is not _UNCHANGED:
                return value
            assert owner._data is not None
            return owner._data.get(key, ABSENT)

    def to_dict(self) -> dict[Any, Any]:
        """Return the items in a new dict."""
        with _lock:
            return self._own().copy()

    def _own(self) -> dict[Any, Any]:
        """Make this version the owner of a dict, copied from a newer one if need be."""
        if self._data is None:
            owner, older = _chain(self)
            assert owner._data is not None
            data = owner._data.copy()
            ranks = None if owner._ranks is None else owner._ranks.copy()
            is_misplaced = False
            for version in reversed(older):
                for key, value in version._undo.items():
                    if value is not ABSENT:
                        data[key] = value
                        continue
                    data.pop(key, None)
                    if ranks is not None:
                        ranks.pop(key, None)
                if version._places and ranks is not None:
                    ranks.update(version._places)
                    is_misplaced = True
            if is_misplaced and ranks is not None:
                data = {key: data[key] for key in sorted(data, key=ranks.__getitem__)}
            self._data, self._newer, self._undo = data, None, _NOTHING
            self._ranks, self._places = ranks, _NOTHING
        return self._data

    def changed(self, replaced: Mapping[Any, Any], deleted: Iterable[Any] = ()) -> DictVersion:
        """Return the next version, with items deleted, then others set; so what is in both moves to the end."""
        with _lock:
            data = self._own()
            ranks = self._ranks
            undo: dict[Any, Any] = {}
            places: dict[Any, int] = {}
            for key in deleted:
                if key in data:
                    if ranks is None and self.kind is not set:
                        ranks = {ranked: rank for rank, ranked in enumerate(data)}
                    undo[key] = data.pop(key)
                    if ranks is not None:
                        places[key] = ranks.pop(key)
            for key, value in replaced.items():
                before = data.get(key, ABSENT)
                undo.setdefault(key, before)
                if before is ABSENT and ranks is not None:
                    ranks[key] = next(_later_ranks)
                data[key] = value
            newer = DictVersion(data, self.kind, self.factory)
            newer._ranks = ranks
            self._data, self._newer, self._undo, self._debt = None, newer, undo, 0
            self._ranks, self._places = None, places or _NOTHING
            return newer


class SetVersion:
    """One version of a set."""

    __slots__ = ("members",)

    def __init__(self, members: DictVersion) -> None:
        self.members: DictVersion = members

    @classmethod
    def of(cls, members: Iterable[Any]) -> SetVersion:
        """Return the first version of a set."""
        return cls(DictVersion(dict.fromkeys(members, True), set))

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, member: object) -> bool:
        return member in self.members

    def to_set(self) -> set[Any]:
        """Return the members in a new set."""
        return set(self.members.to_dict())

    def changed(self, added: Iterable[Any], removed: Iterable[Any]) -> SetVersion:
        """Return the next version, with members added and others removed."""
        return SetVersion(self.members.changed({member: True for member in added if member not in self}, removed))
