"""Writing: any value of a known type as what JSON has, tagged by its type at run time.

Nothing is approximated: what wouldn't come back equal, type and value, is refused. Two refusals are left to the encoder,
which sees every string and number anyway: integers of thousands of digits and halves of surrogate pairs. When it raises,
the value is written again by a *careful* writer, which tags the former and says where the latter are.
"""

from __future__ import annotations

import enum
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from types import CoroutineType, NoneType
from typing import Any

import msgspec

from perdure.codec.classes import is_registrable, is_struct
from perdure.codec.leaves import HUGE_INT, LEAVES, NONFINITE, is_huge, text_of
from perdure.codec.reading import FACTORIES, Reader
from perdure.codec.recipes import Recipe, recipe_of
from perdure.codec.refusal import Refusal, at_field, at_key, too_deep
from perdure.codec.registry import Registry
from perdure.codec.secret import KEPT_IN_DEPS, Secret
from perdure.codec.tags import MAX_DEPTH, TAG
from perdure.kernel.state.draft import load
from perdure.kernel.state.tree import CONTAINERS, Opaque, Record, thaw
from perdure.kernel.state.versions import DictVersion, ListVersion, SetVersion

Write = Callable[[Any, int], Any]

_encode = msgspec.json.Encoder().encode
_ONLY_STR = {str}
_NUMBERS = frozenset({int, float, bool})


class Writer:
    """Turns values into what JSON has."""

    def __init__(self, registry: Registry, *, careful: bool = False) -> None:
        self._registry = registry
        self._reader = Reader(registry)
        self._is_comparing = False
        self._as_they_are = frozenset({NoneType, bool} if careful else {NoneType, bool, int, str})
        self._by_kind: dict[type, Write] = {
            str: lambda value, depth: text_of(value),
            int: lambda value, depth: {TAG: HUGE_INT.tag, "v": HUGE_INT.dump(value)} if is_huge(value) else value,
            float: _write_float,
            list: self._write_list,
            dict: self._write_dict,
            tuple: self._as_list("tuple"),
            set: self._as_sorted_list("set"),
            frozenset: self._as_sorted_list("frozenset"),
            Counter: self._as_pairs("Counter"),
            OrderedDict: self._as_pairs("OrderedDict"),
            defaultdict: self._write_defaultdict,
            deque: self._write_deque,
            **{kind: _leaf_writer(leaf.tag, leaf.dump) for kind, leaf in LEAVES.items()},
        }

    def write(self, value: Any, depth: int = 0) -> Any:
        """Return a value made of what JSON has; it may share parts with the value.

        Raises:
            Refusal: a part of the value can't be written.
        """
        kind = type(value)
        if kind in self._as_they_are:
            return value
        write = self._by_kind.get(kind)
        if write is None:
            write = self._by_kind[kind] = self._writer_for(kind)
        return write(value, depth)

    # --- containers ---

    def _write_parts(self, values: Iterable[Any], depth: int) -> list[Any]:
        if depth >= MAX_DEPTH:
            raise too_deep(type(values).__name__)
        written: list[Any] = []
        write = self.write
        try:
            written.extend(write(part, depth + 1) for part in values)
        except Refusal as refusal:
            refusal.path.append(f"[{len(written)}]")
            raise
        return written

    def _write_list(self, value: list[Any], depth: int) -> list[Any]:
        kinds = set(map(type, value))
        if depth < MAX_DEPTH and (kinds <= self._as_they_are or _are_finite(value, kinds, self._as_they_are)):
            return value
        return self._write_parts(value, depth)

    def _write_dict(self, value: dict[Any, Any], depth: int) -> Any:
        if (value and set(map(type, value)) != _ONLY_STR) or TAG in value:
            return {TAG: "dict", "v": self._write_pairs(value, depth)}
        if depth >= MAX_DEPTH:
            raise too_deep("dict")
        if str in self._as_they_are and set(map(type, value.values())) <= self._as_they_are:
            return value
        written = {}
        key: Any = None
        try:
            for key, part in value.items():
                written[self.write(key)] = self.write(part, depth + 1)
        except Refusal as refusal:
            refusal.path.append(at_key(key))
            raise
        return written

    def _write_pairs(self, value: dict[Any, Any], depth: int) -> list[Any]:
        if depth >= MAX_DEPTH:
            raise too_deep(type(value).__name__)
        written = []
        key: Any = None
        try:
            for key, part in value.items():
                written.append([self.write(key, depth + 1), self.write(part, depth + 1)])
        except Refusal as refusal:
            refusal.path.append(at_key(key))
            raise
        return written

    def _as_list(self, tag: str) -> Write:
        return lambda value, depth: {TAG: tag, "v": self._write_parts(value, depth)}

    def _as_sorted_list(self, tag: str) -> Write:
        # in an order that doesn't hang on the hashes of this process, so that equal sets have equal digests
        return lambda value, depth: {TAG: tag, "v": sorted(self._write_parts(value, depth), key=_encode)}

    def _as_pairs(self, tag: str) -> Write:
        return lambda value, depth: {TAG: tag, "v": self._write_pairs(value, depth)}

    def _write_defaultdict(self, value: defaultdict[Any, Any], depth: int) -> Any:
        factory: Any = value.default_factory
        if factory is not None and FACTORIES.get(getattr(factory, "__name__", "")) is not factory:
            raise Refusal("the default_factory can't be stored", "Use a plain dict, or list, set or int", "defaultdict")
        return {TAG: "defaultdict", "v": [factory and factory.__name__, self._write_pairs(value, depth)]}

    def _write_deque(self, value: deque[Any], depth: int) -> Any:
        return {TAG: "deque", "v": [self._write_parts(value, depth), value.maxlen]}

    # --- everything else ---

    def _writer_for(self, kind: Any) -> Write:
        plain = CONTAINERS.get(kind)
        if plain is not None:
            return self._draft_writer(plain)
        if kind in (ListVersion, DictVersion, SetVersion, Record, Opaque):
            return lambda value, depth: self.write(thaw(value), depth)
        if not is_registrable(kind):
            raise Refusal("this type can't be stored", _remedy_for(kind), kind.__name__)
        tag = self._registry.name_for(kind)
        if issubclass(kind, enum.Enum):
            return self._enum_writer(kind, tag)
        recipe = recipe_of(kind)
        if is_struct(kind) and hasattr(kind, "__post_init__"):
            return self._verifying_writer(recipe, tag)
        return self._object_writer(recipe, tag)

    def _draft_writer(self, plain: type) -> Write:
        def write(value: Any, depth: int) -> Any:
            load(value)
            if plain is defaultdict:
                return self.write(defaultdict(value.default_factory, value), depth)
            return self.write(plain(value), depth)

        return write

    def _enum_writer(self, kind: Any, tag: str) -> Write:
        members = kind.__members__

        def write(value: Any, depth: int) -> Any:
            if value.name in members:
                return {TAG: tag, "v": text_of(value.name)}
            return {TAG: tag, "v": self._write_parts([value.value], depth)}  # several flags, or made by _missing_

        return write

    def _object_writer(self, recipe: Recipe, tag: str) -> Write:
        write_part, as_they_are = self.write, self._as_they_are

        def write(value: Any, depth: int) -> Any:
            if depth >= MAX_DEPTH:
                raise too_deep(type(value).__name__)
            written = recipe.parts(value)
            name = ""
            try:
                for name, part in written.items():
                    if type(part) not in as_they_are:
                        written[name] = write_part(part, depth + 1)
            except Refusal as refusal:
                refusal.path.append(at_field(name))
                raise
            return {TAG: tag, "v": written}

        return write

    def _verifying_writer(self, recipe: Recipe, tag: str) -> Write:
        """Return a writer for Structs with a ``__post_init__``, which runs again when they are read."""
        write_object = self._object_writer(recipe, tag)

        def write(value: Any, depth: int) -> Any:
            written = write_object(value, depth)
            if self._is_comparing:
                return written
            self._is_comparing = True
            try:
                again = write_object(self._reader.read(msgspec.json.decode(_encode(written)), depth), depth)
            finally:
                self._is_comparing = False
            if _encode(again) != _encode(written):
                raise Refusal(
                    "the __post_init__ of this Struct changes what it is given, so the value wouldn't come back equal",
                    "Make __post_init__ leave finished values as they are",
                    type(value).__name__,
                )
            return written

        return write


def _leaf_writer(tag: str, dump: Callable[[Any], Any]) -> Write:
    return lambda value, depth: {TAG: tag, "v": dump(value)}


def _write_float(value: float, depth: int) -> Any:
    return value if math.isfinite(value) else {TAG: NONFINITE.tag, "v": NONFINITE.dump(value)}


def _are_finite(values: list[Any], kinds: set[type], as_they_are: frozenset[type]) -> bool:
    """Say whether values are finite numbers that need no tag."""
    return kinds <= _NUMBERS and kinds - {float} <= as_they_are and all(map(math.isfinite, values))


def _remedy_for(kind: type) -> str:
    if issubclass(kind, Secret):
        return KEPT_IN_DEPS
    if kind is CoroutineType:
        return "It is what an async function returns when it is called without `await`: await it"
    for base in (str, bool, int, float, list, dict, set, tuple, bytes):
        if issubclass(kind, base):
            name = base.__name__
            return f"Subclasses of {name} lose what they add: convert it with {name}(…), or use a dataclass"
    return (
        "Make it a dataclass, msgspec Struct, NamedTuple, Enum or pydantic model; keep connections, locks and functions "
        "in deps; or run without a store"
    )
