"""Drafts: what ``ctx.state`` gives to a task.

A draft looks and behaves like the user's own types and can be changed freely; nothing it shares with the committed
state can be changed through it. Making one costs O(fields of the classes), never O(content): objects are copied field
by field, and the lists, dicts and sets in them begin as lazy ones that copy their content when it is first looked at as a
whole. Appending to a lazy list, and reading, setting and deleting single elements, keys or members of a lazy container,
doesn't even do that, so a step that adds one entry to a large container costs O(1).

Lazy lists and dicts are subclasses of the builtins, because users and libraries ask ``isinstance(x, list)``. At the first
operation that needs the whole content they turn into loaded ones: their ``__class__`` is switched to one that overrides
nothing that touches the content, so that from there on C code works on them as on any list. Methods of a lazy class may
still be called after that: in ``items.append(items[-1])`` Python looks ``append`` up first and loads the list then; so
each asks whether the object is still lazy.

Until it is loaded, the underlying storage holds marks (``unread.py``) that make C code that reads the storage directly
fail loudly. Sets can't be done that way: ``set(x)`` copies the storage of any subclass of set without calling anything; so
the set of a draft is no subclass (``lazy_set.py``).

What C code does to a loaded container is seen, because changes are found by comparing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.kernel.state.tree import SIMPLE, Opaque, Record, thaw

DRAFTS: dict[type, Callable[[Any], Any]] = {}
"""How the draft of each kind of node is made; the lazy containers add theirs."""

NEEDS_NO_CONTENT: frozenset[str] = frozenset({
    "__class__", "__class_getitem__", "__delattr__", "__dir__", "__doc__", "__getattribute__", "__getstate__", "__hash__",
    "__init__", "__init_subclass__", "__missing__", "__new__", "__reduce_ex__", "__setattr__", "__sizeof__",
    "__subclasshook__", "fromkeys",
})  # fmt: skip
"""The methods of a container that neither read nor change what it contains."""


def draft(tree: Any) -> Any:
    """Return a draft of a tree; changing it doesn't change the tree."""
    make = DRAFTS.get(type(tree))
    return tree if make is None else make(tree)


def draft_of_all(parts: list[Any]) -> list[Any]:
    """Return the drafts of several trees."""
    return [part if type(part) in SIMPLE else draft(part) for part in parts]


def _of_record(record: Record) -> Any:
    drafts = DRAFTS.get
    return record.shape.make(
        {
            name: part if (make := drafts(type(part))) is None else make(part)
            for name, part in record.fields.items()
        }
    )  # fmt: skip


def _of_opaque(opaque: Opaque) -> Any:
    return thaw(opaque)


DRAFTS[Record] = _of_record
DRAFTS[Opaque] = _of_opaque


_LOADERS: dict[type, Callable[[Any], object]] = {}


def load(container: Any) -> None:
    """Have the content of a lazy container copied, so that C code may look into it.

    Raises:
        GraphRuntimeError: C code has changed the storage of the container.
    """
    loader = _LOADERS.get(type(container))
    if loader is not None:
        loader(container)


def can_be_loaded(lazy: type, loader: Callable[[Any], object]) -> None:
    """Name the function that loads the containers of a class."""
    _LOADERS[lazy] = loader


def load_before_the_rest(lazy: Any, kind: type) -> None:
    """Make every method of a builtin load first, unless the lazy class has its own or it needs no content."""
    own = {name for base in lazy.__mro__ if base not in kind.__mro__ for name in vars(base)}
    for name in dir(kind):
        if name not in own and name not in NEEDS_NO_CONTENT and callable(getattr(kind, name)):
            setattr(lazy, name, _loading(kind, name))


def _loading(kind: type, name: str) -> Callable[..., Any]:
    native = getattr(kind, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        load(self)
        for arg in args:  # C code looks into the storage of what is compared or added, too
            load(arg)
        return native(self, *args, **kwargs)

    method.__name__ = name
    return method
