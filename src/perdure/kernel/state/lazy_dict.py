# ruff: noqa: D102  (the methods are those of dict and Counter)
"""The dicts of a draft; ``draft.py`` has the theory.

A lazy dict stands for its version, except for the keys in ``touched``. A new key comes last there as it does in the dict; a
key that was deleted and is set again moves to the end, which ``touched`` couldn't tell, so then the dict is loaded.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

from perdure.kernel.state.draft import DRAFTS, can_be_loaded, draft, draft_of_all, load, load_before_the_rest
from perdure.kernel.state.tree import CONTAINERS, SIMPLE
from perdure.kernel.state.unread import UNREAD, refusal
from perdure.kernel.state.versions import ABSENT, DictVersion

_LAZY: dict[type, type] = {}
_LOADED: dict[type, type] = {}


class LazyItems:
    """What the lazy dicts of all kinds have in common.

    Attributes:
        base: what is in the committed state.
        touched: what was read or set, or ABSENT for what was deleted.
        count: how many items there are.
    """

    __slots__ = ()
    base: DictVersion
    touched: dict[Any, Any]
    count: int
    kind: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.kind(*args, **kwargs)  # for type(x)(…)

    def is_unchanged(self) -> bool:
        """Say whether nothing was done to the dict; single values may have been read."""
        self.check_storage()
        return not self.touched

    def check_storage(self) -> None:
        """Raise if C code has changed the storage.

        Raises:
            GraphRuntimeError: it has.
        """
        storage: Any = self
        if dict.__len__(storage) != 1 or dict.get(storage, UNREAD) is not UNREAD:
            raise refusal()

    def _look_up(self, key: Any) -> Any:
        """Return the value under a key, or ABSENT."""
        value = self.touched.get(key, UNREAD)
        if value is UNREAD:
            value = self.base.get(key)
            if type(value) not in SIMPLE and value is not ABSENT:
                value = self.touched[key] = draft(value)
        return value

    def __getitem__(self, key: Any, /) -> Any:
        if type(self) not in _LAZY:
            return self.kind.__getitem__(self, key)
        value = self._look_up(key)
        if value is not ABSENT:
            return value
        if hasattr(self, "__missing__"):
            return self.__missing__(key)
        raise KeyError(key)

    def get(self, key: Any, default: Any = None, /) -> Any:
        if type(self) not in _LAZY:
            return dict.get(self, key, default)  # type: ignore[call-overload]
        value = self._look_up(key)
        return default if value is ABSENT else value

    def __contains__(self, key: object, /) -> bool:
        if type(self) not in _LAZY:
            return dict.__contains__(self, key)  # type: ignore[operator]
        value = self.touched.get(key, UNREAD)
        return (self.base.get(key) if value is UNREAD else value) is not ABSENT

    def __len__(self) -> int:
        return self.count if type(self) in _LAZY else dict.__len__(self)  # type: ignore[arg-type]

    def __setitem__(self, key: Any, value: Any, /) -> None:
        if type(self) in _LAZY:
            before = self.touched.get(key, UNREAD)
            if before is not ABSENT:
                if before is UNREAD and self.base.get(key) is ABSENT:
                    self.count += 1  # type: ignore[misc]
                self.touched[key] = value
                return
            load(self)
        self.kind.__setitem__(self, key, value)

    def __delitem__(self, key: Any, /) -> None:
        if type(self) not in _LAZY:
            self.kind.__delitem__(self, key)
        elif key in self:
            self._delete(key)
        else:
            raise KeyError(key)

    def _delete(self, key: Any) -> None:
        self.count -= 1  # type: ignore[misc]
        if key in self.base:
            self.touched[key] = ABSENT
        else:
            del self.touched[key]

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if type(self) not in _LAZY:
            return self.kind.setdefault(self, key, default)
        value = self._look_up(key)
        if value is ABSENT:
            self[key] = value = default
        return value

    def pop(self, key: Any, /, default: Any = UNREAD) -> Any:
        if type(self) in _LAZY:
            value = self._look_up(key)
            if value is not ABSENT:
                self._delete(key)
            elif default is UNREAD:
                raise KeyError(key)
            return default if value is ABSENT else value
        return self.kind.pop(self, key, *(() if default is UNREAD else (default,)))

    def clear(self) -> None:
        load(self)
        self.kind.clear(self)

    def update(self, *args: Any, **kwargs: Any) -> None:
        given: dict[Any, Any] = {}
        try:
            given.update(*args, **kwargs)
        finally:  # of pairs, those before a bad one are set
            for key, value in given.items():
                self[key] = value

    def __ior__(self, other: Any, /) -> Any:
        self.update(other)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        load(self)
        return _reduced(self)


class _Counting(LazyItems):
    """What the lazy Counter has of its own."""

    __slots__ = ()

    def update(self, counted: Any = None, /, **kwargs: Any) -> None:
        _count(self, counted, kwargs, 1)

    def subtract(self, counted: Any = None, /, **kwargs: Any) -> None:
        _count(self, counted, kwargs, -1)

    def __delitem__(self, key: Any, /) -> None:
        if key in self:
            super().__delitem__(key)

    def __ior__(self, other: Any, /) -> Any:
        load(self)
        return self.kind.__ior__(self, other)

    def __ror__(self, other: Any, /) -> Any:
        # Python asks a lazy Counter before a loaded one; now that this is loaded it can ask the other.
        load(self)
        return NotImplemented if isinstance(other, Counter) else self.kind.__ror__(self, other)


def _count(counter: Any, counted: Any, more: dict[str, Any], sign: int) -> None:
    """Add to or subtract from a Counter, which what is counted may read and so load."""
    if isinstance(counted, Mapping):
        replaces = sign > 0 and not len(counter)
        for key, number in counted.items():
            counter[key] = number if replaces else counter.get(key, 0) + sign * number
    elif counted is not None:
        for key in counted:
            counter[key] = counter.get(key, 0) + sign
    if more:
        _count(counter, more, {}, sign)


def _load(container: Any) -> None:
    """Turn a lazy dict into a loaded one.

    Raises:
        GraphRuntimeError: C code has changed its storage.
    """
    loaded = _LAZY[type(container)]
    container.check_storage()
    touched, kind = container.touched, container.kind
    items = container.base.to_dict()
    content = dict(zip(items, draft_of_all(list(items.values())), strict=True))
    for key, value in touched.items():
        if value is ABSENT:
            del content[key]
        else:
            content[key] = value
    del container.base, container.touched
    container.__class__ = loaded
    kind.clear(container)
    kind.update(container, content)


def _reduced(loaded: Any) -> tuple[Any, ...]:
    if loaded.kind is defaultdict:
        return (defaultdict, (loaded.default_factory, dict(loaded)))
    return (loaded.kind, (dict(loaded),))


def _of(base: DictVersion) -> Any:
    """Return the draft of a dict."""
    kind: Any = base.kind
    made: Any = kind.__new__(_LAZY_OF[kind])
    if base.factory is not None:
        made.default_factory = base.factory
    kind.__setitem__(made, UNREAD, UNREAD)
    made.base = base
    made.touched = {}
    made.count = len(base)
    return made


def _made(kind: type) -> type:
    """Make the classes for one kind of dict; named like it, because ``repr`` shows the name."""
    slots = {"__slots__": ("base", "count", "touched"), "__module__": __name__, "kind": kind}
    loaded = type(kind.__name__, (kind,), {**slots, "__new__": LazyItems.__new__, "__reduce__": _reduced})
    lazy = type(kind.__name__, (_Counting if kind is Counter else LazyItems, loaded), {**slots, "__slots__": ()})
    load_before_the_rest(lazy, kind)
    can_be_loaded(lazy, _load)
    _LAZY[lazy] = loaded
    CONTAINERS.update({lazy: kind, loaded: kind})
    return lazy


_LAZY_OF: dict[type, type] = {kind: _made(kind) for kind in (dict, Counter, OrderedDict, defaultdict)}
DRAFTS[DictVersion] = _of
