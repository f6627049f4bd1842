"""Reading: tagged values back from what JSON has.

What is read may have been written by anyone who can write to the store, so it is followed only as deep as values go, and
classes come from the registry alone: nothing is imported, nothing unpickled.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import NoneType
from typing import Any

from perdure.codec.classes import is_enum
from perdure.codec.leaves import LOADERS
from perdure.codec.recipes import recipe_of
from perdure.codec.refusal import Refusal, at_field, at_key, too_deep
from perdure.codec.registry import Registry, upcasted, version_of
from perdure.codec.tags import MAX_DEPTH, TAG

FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (list, dict, set, int, float, str)}
"""What a defaultdict may make missing values with."""

Read = Callable[[Any, int], Any]

_PLAIN = frozenset({NoneType, bool, int, float, str})


class Reader:
    """Turns what was written back into values."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._objects: dict[str, tuple[type, Read]] = {}
        self._by_tag: dict[str, Read] = {
            **{tag: _leaf_reader(load) for tag, load in LOADERS.items()},
            "tuple": lambda content, depth: tuple(self._parts(content, depth)),
            "set": lambda content, depth: set(self._parts(content, depth)),
            "frozenset": lambda content, depth: frozenset(self._parts(content, depth)),
            "dict": self._pairs,
            "Counter": lambda content, depth: Counter(self._pairs(content, depth)),
            "OrderedDict": lambda content, depth: OrderedDict(self._pairs(content, depth)),
            "defaultdict": lambda content, depth: defaultdict(
                FACTORIES[content[0]] if content[0] else None, self._pairs(content[1], depth)
            ),
            "deque": lambda content, depth: deque(self._parts(content[0], depth), content[1]),
        }

    def read(self, value: Any, depth: int = 0) -> Any:
        """Return the value that was written.

        Raises:
            Refusal: its type isn't known here, or what was stored doesn't fit it.
        """
        kind = type(value)
        if kind is list:
            return value if depth < MAX_DEPTH and set(map(type, value)) <= _PLAIN else self._parts(value, depth)
        if kind is not dict:
            return value
        if TAG in value:
            return self._tagged(value[TAG], value.get("v"), depth)
        return self._named(value, depth, at_key)

    def _parts(self, content: Any, depth: int) -> list[Any]:
        if depth >= MAX_DEPTH:
            raise too_deep("list")
        if type(content) is not list:
            raise TypeError(f"{type(content).__name__} instead of a list")
        parts: list[Any] = []
        try:
            parts.extend(part if type(part) in _PLAIN else self.read(part, depth + 1) for part in content)
        except Refusal as refusal:
            refusal.path.append(f"[{len(parts)}]")
            raise
        return parts

    def _named(self, content: dict[str, Any], depth: int, step: Callable[[str], str]) -> dict[str, Any]:
        if depth >= MAX_DEPTH:
            raise too_deep("dict")
        parts = {}
        name = ""
        try:
            for name, part in content.items():
                parts[name] = part if type(part) in _PLAIN else self.read(part, depth + 1)
        except Refusal as refusal:
            refusal.path.append(step(name))
            raise
        return parts

    def _pairs(self, content: Any, depth: int) -> dict[Any, Any]:
        if depth >= MAX_DEPTH:
            raise too_deep("dict")
        pairs = {}
        key: Any = None
        try:
            for stored, part in content:
                key = self.read(stored, depth + 1)
                pairs[key] = self.read(part, depth + 1)
        except Refusal as refusal:
            refusal.path.append(at_key(key))
            raise
        return pairs

    def _tagged(self, tag: Any, content: Any, depth: int) -> Any:
        try:
            read = self._by_tag.get(tag) or self._object_reader(tag)
            return read(content, depth)
        except (Refusal, RecursionError):
            raise
        except Exception as error:
            raise Refusal(
                f"what is stored as {tag!r} can't be read ({type(error).__name__}: {error})",
                "Undo the change of the type, or verify that the log is sound",
                str(tag),
            ) from error

    def _object_reader(self, tag: str) -> Read:
        name, _, number = tag.partition("@")
        kind: Any = self._registry.find(name)
        known = self._objects.get(tag)
        if known is None or known[0] is not kind:
            read = self._enum_reader(kind) if is_enum(kind) else self._fields_reader(kind, int(number or 1))
            known = self._objects[tag] = (kind, read)
        return known[1]

    def _enum_reader(self, kind: Any) -> Read:
        def read(content: Any, depth: int) -> Any:
            if type(content) is list:
                return kind(self._parts(content, depth)[0])
            if content in kind.__members__:
                return kind[content]
            raise Refusal(
                f"the enumeration has no member {content!r} any more",
                "Keep the old name, as an alias of the new one",
                kind.__name__,
            )

        return read

    def _fields_reader(self, kind: Any, version: int) -> Read:
        recipe = recipe_of(kind)
        is_present = version == version_of(kind)

        def read(content: Any, depth: int) -> Any:
            fields = self._named(content, depth, at_field)
            return recipe.made(fields if is_present else upcasted(kind, version, fields, recipe.known))

        return read


def _leaf_reader(load: Callable[[Any], Any]) -> Read:
    return lambda content, depth: load(content)
