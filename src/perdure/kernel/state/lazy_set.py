# ruff: noqa: D102  (the methods are those of set)
"""The sets of a draft; ``draft.py`` has the theory.

C code that is handed a subclass of set reads its storage: ``set(x)``, ``other.update(x)``, ``other |= x`` call no method
that could load it first, nor any method of what they find there, so a subclass that hasn't its content would be taken for
another set. A draft set is no subclass, then: it says it is a set when asked (``isinstance``), and all C code that needs
members iterates over it. What C code can do with nothing but a real set it refuses: encoders do. As with other sets that
aren't builtin, ``dict.keys()`` for one, ``other |= x`` makes a new set of ``other``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from perdure.kernel.state.draft import DRAFTS, NEEDS_NO_CONTENT, can_be_loaded
from perdure.kernel.state.tree import CONTAINERS
from perdure.kernel.state.versions import SetVersion


class DraftSet:
    """A set of the state: its version and the members ``touched``, of which it says whether they are in; or loaded.

    Attributes:
        members: the content, once it is needed as a whole.
        count: how many members there are, until then.
    """

    __slots__ = ("base", "count", "members", "touched")

    base: SetVersion
    count: int
    members: set[Any] | None
    touched: dict[Any, bool]

    def __new__(cls, *args: Any) -> Any:
        return set(*args)  # for type(x)(…)

    @staticmethod
    def of(base: SetVersion) -> DraftSet:
        """Return the draft of a set."""
        made: DraftSet = object.__new__(DraftSet)
        made.base = base
        made.count = len(base)
        made.members = None
        made.touched = {}
        return made

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return set

    def is_unchanged(self) -> bool:
        """Say whether nothing was done to the set."""
        return self.members is None and not self.touched

    def changes(self) -> tuple[list[Any], list[Any]]:
        """Return which members were added and which removed."""
        if self.members is not None:
            before = self.base.to_set()
            return [one for one in self.members if one not in before], [
                one for one in before if one not in self.members
            ]
        added = [member for member, is_in in self.touched.items() if is_in and member not in self.base]
        return added, [member for member, is_in in self.touched.items() if not is_in and member in self.base]

    def loaded(self) -> set[Any]:
        """Return the content."""
        if self.members is None:
            self.members = self.base.to_set()
            self.members.difference_update(member for member, is_in in self.touched.items() if not is_in)
            self.members.update(member for member, is_in in self.touched.items() if is_in)
            self.touched = {}
        return self.members

    def __contains__(self, member: object, /) -> bool:
        if self.members is not None or isinstance(member, set):  # a set is looked for as the frozenset it equals
            return _real(member) in self.loaded()
        known = self.touched.get(member)
        return member in self.base if known is None else known

    def __len__(self) -> int:
        return self.count if self.members is None else len(self.members)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loaded())

    def __repr__(self) -> str:
        return repr(self.loaded())

    def __reduce__(self) -> tuple[Any, ...]:
        return (set, (list(self.loaded()),))

    def add(self, member: Any, /) -> None:
        if self.members is not None:
            self.members.add(member)
        elif member not in self:
            self.touched[member] = True
            self.count += 1

    def discard(self, member: Any, /) -> None:
        if self.members is not None or isinstance(member, set):
            self.loaded().discard(_real(member))
        elif member in self:
            self.touched[member] = False
            self.count -= 1

    def remove(self, member: Any, /) -> None:
        if member not in self:
            raise KeyError(member)
        self.discard(member)

    def update(self, *others: Iterable[Any]) -> None:
        for other in others:
            for member in list(other) if type(other) is DraftSet else other:
                self.add(member)

    def difference_update(self, *others: Iterable[Any]) -> None:
        for other in others:
            for member in list(other) if type(other) is DraftSet else other:
                self.discard(member)

    def clear(self) -> None:
        self.members = set()
        self.touched = {}

    def __ior__(self, other: Any, /) -> Any:
        if not isinstance(other, set | frozenset):
            return NotImplemented
        self.update(other)
        return self

    def __isub__(self, other: Any, /) -> Any:
        if not isinstance(other, set | frozenset):
            return NotImplemented
        self.difference_update(other)
        return self

    def __iand__(self, other: Any, /) -> Any:
        return self if self.loaded().__iand__(_real(other)) is not NotImplemented else NotImplemented

    def __ixor__(self, other: Any, /) -> Any:
        return self if self.loaded().__ixor__(_real(other)) is not NotImplemented else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def _real(value: Any) -> Any:
    return value.loaded() if type(value) is DraftSet else value


_OWN = set(vars(DraftSet)) | {name for name in dir(object) if getattr(object, name) is getattr(set, name, None)}


def _through(name: str) -> Callable[..., Any]:
    """Return a method that is that of the content."""
    native = getattr(set, name)

    def method(self: DraftSet, *others: Any) -> Any:
        return native(self.loaded(), *map(_real, others))

    method.__name__ = name
    return method


for _name in dir(set):
    if callable(getattr(set, _name)) and _name not in NEEDS_NO_CONTENT and _name not in _OWN:
        setattr(DraftSet, _name, _through(_name))

CONTAINERS[DraftSet] = set
DRAFTS[SetVersion] = DraftSet.of
can_be_loaded(DraftSet, DraftSet.loaded)
