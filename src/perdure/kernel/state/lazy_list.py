# ruff: noqa: D102  (the methods are those of list)
"""The lists of a draft; ``draft.py`` has the theory.

A lazy list stands for the first ``kept`` elements of its version, some of them ``touched``, and a ``tail``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex

from perdure.kernel.state.draft import DRAFTS, can_be_loaded, draft, draft_of_all, load, load_before_the_rest
from perdure.kernel.state.tree import CONTAINERS, SIMPLE
from perdure.kernel.state.unread import MARKS, refusal
from perdure.kernel.state.versions import ABSENT, ListVersion


class LoadedList(list[Any]):
    """A list of the state whose content has been copied."""

    # The class of an object can only be switched to one with the same slots; they are those of a lazy list.
    __slots__ = ("base", "kept", "tail", "touched")

    def __new__(cls, *args: Any) -> Any:
        return list(*args)  # for type(x)(…)

    def __reduce__(self) -> tuple[Any, ...]:
        return (list, (list(self),))


class LazyList(LoadedList):
    """A list of the state that hasn't been read as a whole."""

    __slots__ = ()
    base: ListVersion
    kept: int
    tail: list[Any]
    touched: dict[int, Any]

    def __new__(cls, *args: Any) -> Any:
        return list(*args)  # for type(x)(…)

    @staticmethod
    def of(base: ListVersion) -> LazyList:
        """Return the draft of a list."""
        made: LazyList = _new(LazyList)
        _extend(made, MARKS)
        made.base = base
        made.kept = len(base)
        made.tail = []
        made.touched = {}
        return made

    def is_unchanged(self) -> bool:
        """Say whether nothing was done to the list; single elements may have been read."""
        self.check_storage()
        return not self.tail and not self.touched and self.kept == len(self.base)

    def check_storage(self) -> None:
        """Raise if C code has changed the storage.

        Raises:
            GraphRuntimeError: it has.
        """
        if not _equals(self, _MARKED):  # anything beside a mark refuses to be compared with it
            raise refusal()

    def append(self, value: Any, /) -> None:
        if type(self) is LazyList:
            self.tail.append(value)
        else:
            list.append(self, value)

    def extend(self, values: Iterable[Any], /) -> None:
        if type(values) is list or type(values) is tuple:
            if type(self) is LazyList:
                self.tail.extend(values)
            else:
                list.extend(self, values)
        elif values is self:
            load(self)
            list.extend(self, self)
        else:  # the iterable may read the list, and so load it
            for value in values:
                self.append(value)

    def __iadd__(self, values: Iterable[Any], /) -> Any:  # type: ignore[misc]
        self.extend(values)
        return self

    def __len__(self) -> int:
        return self.kept + len(self.tail) if type(self) is LazyList else list.__len__(self)

    def __getitem__(self, index: Any, /) -> Any:
        if type(self) is not LazyList or type(index) is not int:
            load(self)
            return list.__getitem__(self, index)
        place = index if index >= 0 else index + len(self)
        if not 0 <= place < len(self):
            raise IndexError("list index out of range")
        return self._element(place) if place < self.kept else self.tail[place - self.kept]

    def _element(self, index: int) -> Any:
        value = self.touched.get(index, ABSENT)
        if value is ABSENT:
            value = self.base.get(index)
            if type(value) not in SIMPLE:
                value = self.touched[index] = draft(value)
        return value

    def __setitem__(self, index: Any, value: Any, /) -> None:
        if type(self) is not LazyList or type(index) is not int:
            load(self)
            list.__setitem__(self, index, value)
            return
        place = index if index >= 0 else index + len(self)
        if not 0 <= place < len(self):
            raise IndexError("list assignment index out of range")
        if place < self.kept:
            self.touched[place] = value
        else:
            self.tail[place - self.kept] = value

    def pop(self, index: SupportsIndex = -1, /) -> Any:
        if type(self) is not LazyList or type(index) is not int or index != -1:
            load(self)
            return list.pop(self, index)
        if self.tail:
            return self.tail.pop()
        if not self.kept:
            raise IndexError("pop from empty list")
        value = self._element(self.kept - 1)
        self.kept -= 1
        self.touched.pop(self.kept, None)
        return value

    def clear(self) -> None:
        if type(self) is LazyList:
            self.kept, self.tail, self.touched = 0, [], {}
        else:
            list.clear(self)

    def __radd__(self, other: list[Any], /) -> Any:
        # Now that it is loaded, ``other + self`` and ``other += self`` go on as between lists.
        load(self)
        return NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        load(self)
        return (list, (list(self),))


def _load(container: LazyList) -> None:
    """Turn a lazy list into a loaded one.

    Raises:
        GraphRuntimeError: C code has changed its storage.
    """
    container.check_storage()
    elements = container.base.to_list()
    del elements[container.kept :]
    content = draft_of_all(elements)
    for index, value in container.touched.items():
        content[index] = value
    content += container.tail
    del container.base, container.tail, container.touched
    container.__class__ = LoadedList  # type: ignore[assignment]
    list.__setitem__(container, slice(None), content)


_new: Any = list.__new__
_extend = list.extend
_equals = list.__eq__
_MARKED = [*MARKS]

load_before_the_rest(LazyList, list)
can_be_loaded(LazyList, _load)
CONTAINERS.update({LazyList: list, LoadedList: list})
DRAFTS[ListVersion] = LazyList.of
