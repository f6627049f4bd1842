"""Random programs on a state: what tasks may do to it, as data, so that the same can be done to a draft and to a copy."""

import copy
import heapq
import json
import operator
import pickle
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pydantic
from typing_extensions import TypedDict


@dataclass
class Part:
    name: Any = "part"
    size: Any = 0
    tags: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Fixed:
    name: Any
    parts: Any


class Piece(msgspec.Struct):
    name: Any = "piece"
    size: Any = 0
    tags: list[Any] = []


# --- states of every kind, with the same fields ---

FIELDS = ("total", "title", "items", "table", "tags", "counts", "part")


@dataclass
class Ordinary:
    total: Any
    title: Any
    items: Any
    table: Any
    tags: Any
    counts: Any
    part: Any


@dataclass(slots=True)
class Slotted:
    total: Any
    title: Any
    items: Any
    table: Any
    tags: Any
    counts: Any
    part: Any


class Struct(msgspec.Struct):
    total: Any
    title: Any
    items: Any
    table: Any
    tags: Any
    counts: Any
    part: Any


class Model(pydantic.BaseModel):
    total: Any
    title: Any
    items: Any
    table: Any
    tags: Any
    counts: Any
    part: Any


class Keys(TypedDict):
    total: Any
    title: Any
    items: Any
    table: Any
    tags: Any
    counts: Any
    part: Any


class Plain:
    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)


STATES: tuple[Any, ...] = (Ordinary, Slotted, Struct, Model, Keys, Plain)
OBJECTS = (Ordinary, Slotted, Struct, Model, Plain, Part, Piece, Fixed)


def get(state: Any, name: str) -> Any:
    return state[name] if isinstance(state, dict) else getattr(state, name)


def put(state: Any, name: str, value: Any) -> None:
    if isinstance(state, dict):
        state[name] = value
    else:
        setattr(state, name, value)


# --- values and deeds are read off a tape of random bytes: quick to draw, and shorter or smaller is simpler ---


class Tape:
    """Random bytes as choices; behind their end every choice is the first."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def number(self, below: int) -> int:
        return next(self._bytes, 0) % below

    def pick(self, options: Any) -> Any:
        return options[self.number(len(options))]

    def several(self, make: Callable[[], Any], below: int) -> list[Any]:
        return [make() for _ in range(self.number(below))]

    def scalar(self) -> Any:
        return self.pick((0, 1, 2, -3, True, False, None, "a", "b", 0.5, -0.0, 1.0, float("nan"), float("inf")))

    def object(self) -> Any:
        return self.pick((Part, Piece))(self.pick("xy"), self.number(3), self.several(self.scalar, 3))

    def items(self, depth: int) -> dict[str, Any]:
        return {self.pick("abc"): self.value(depth) for _ in range(self.number(4))}

    def value(self, depth: int = 2) -> Any:
        """Return a value that nests no deeper than that."""
        if not depth:
            return self.scalar()
        depth -= 1
        return self.pick(
            (
                self.scalar,
                self.scalar,
                self.object,
                lambda: self.several(lambda: self.value(depth), 4),
                lambda: self.several(lambda: self.value(depth), 4),
                lambda: self.items(depth),
                lambda: self.items(depth),
                lambda: OrderedDict(self.items(depth)),
                lambda: defaultdict(list, self.items(depth)),
                lambda: set(self.several(lambda: self.number(5), 4)),
                lambda: (self.value(depth),),
                lambda: Fixed(self.scalar(), self.value(depth)),
            )
        )()

    def fields(self) -> dict[str, Any]:
        """Return what a state holds."""
        return {
            "total": self.pick((0, 1, 0.5, -2)),
            "title": self.scalar(),
            "items": self.several(self.value, 5),
            "table": self.items(2),
            "tags": set(self.several(lambda: self.number(5), 4)),
            "counts": Counter({self.pick("abc"): self.number(4) for _ in range(self.number(4))}),
            "part": self.object(),
        }

    def deed(self) -> "Deed":
        """Return something to be done to a state."""
        kind, names, where = self.pick(_KINDS)
        steps = self.several(lambda: self.number(3), 3) if self.number(2) else []
        return (
            f"{kind} {self.pick(names)}",
            self.pick(where),
            steps,
            self.number(4),
            self.pick("abc"),
            self.value(),
            self.number(5),
        )


# --- deeds: (what, field, steps into it, number, key, value, member) ---

Deed = tuple[str, str, list[int], int, str, Any, int]


def _to_the_end(box: Any, key: str) -> None:
    box[key] = box.pop(key)


def _pushed(box: Any, value: Any) -> None:
    list(box)  # C code may look into a list once it was read
    heapq.heappush(box, value)


def _assigned(box: Any, number: int, value: Any) -> None:
    box[number : number + 2] = [value]


def _iterated(box: Any) -> None:
    for index, part in enumerate(box):
        if isinstance(part, list):
            part.append(index)
        elif isinstance(part, Part | Piece):
            part.size += 1


LIST_DEEDS: dict[str, Callable[[Any, int, str, Any, int], Any]] = {
    "append": lambda box, number, key, value, member: box.append(value),
    "append twice": lambda box, number, key, value, member: (box.append(value), box.append(value)),
    "append last": lambda box, number, key, value, member: box.append(box[-1]),
    "insert": lambda box, number, key, value, member: box.insert(number, value),
    "insert first": lambda box, number, key, value, member: box.insert(0, value),
    "pop": lambda box, number, key, value, member: box.pop(),
    "pop first": lambda box, number, key, value, member: box.pop(0),
    "pop at": lambda box, number, key, value, member: box.pop(number),
    "set": lambda box, number, key, value, member: operator.setitem(box, number, value),
    "set last": lambda box, number, key, value, member: operator.setitem(box, -1, value),
    "increase": lambda box, number, key, value, member: operator.setitem(box, number, box[number] + 1),
    "delete": lambda box, number, key, value, member: operator.delitem(box, number),
    "extend": lambda box, number, key, value, member: box.extend([value, member]),
    "+=": lambda box, number, key, value, member: operator.iadd(box, [value]),
    "reverse": lambda box, number, key, value, member: box.reverse(),
    "sort": lambda box, number, key, value, member: box.sort(key=repr),
    "slice": lambda box, number, key, value, member: _assigned(box, number, value),
    "clear": lambda box, number, key, value, member: box.clear(),
    "push": lambda box, number, key, value, member: _pushed(box, value),
    "iterate": lambda box, number, key, value, member: _iterated(box),
}
DICT_DEEDS: dict[str, Callable[[Any, int, str, Any, int], Any]] = {
    "set": lambda box, number, key, value, member: operator.setitem(box, key, value),
    "delete": lambda box, number, key, value, member: operator.delitem(box, key),
    "pop": lambda box, number, key, value, member: box.pop(key, None),
    "popitem": lambda box, number, key, value, member: box.popitem(),
    "setdefault": lambda box, number, key, value, member: box.setdefault(key, []).append(value),
    "update": lambda box, number, key, value, member: box.update({key: value, "c": member}),
    "|=": lambda box, number, key, value, member: operator.ior(box, {key: value}),
    "clear": lambda box, number, key, value, member: box.clear(),
    "increase": lambda box, number, key, value, member: operator.setitem(box, key, box[key] + 1),
    "start": lambda box, number, key, value, member: operator.setitem(box, key, box.get(key, 0) + number),
    "to the end": lambda box, number, key, value, member: _to_the_end(box, key),
    "missing": lambda box, number, key, value, member: box[key],
    "iterate": lambda box, number, key, value, member: _iterated(box.values()),
}
SET_DEEDS: dict[str, Callable[[Any, int, str, Any, int], Any]] = {
    "add": lambda box, number, key, value, member: box.add(member),
    "remove": lambda box, number, key, value, member: box.remove(member),
    "discard": lambda box, number, key, value, member: box.discard(member),
    "update": lambda box, number, key, value, member: box.update([member, number]),
    "-=": lambda box, number, key, value, member: operator.isub(box, {member, number}),
    "&=": lambda box, number, key, value, member: operator.iand(box, {member, number}),
    "^=": lambda box, number, key, value, member: operator.ixor(box, {member, number}),
    "clear": lambda box, number, key, value, member: box.clear(),
}
OBJECT_DEEDS: dict[str, Callable[[Any, int, str, Any, int], Any]] = {
    "size": lambda box, number, key, value, member: setattr(box, "size", box.size + number),
    "name": lambda box, number, key, value, member: setattr(box, "name", value),
    "tag": lambda box, number, key, value, member: box.tags.append(value),
    "tags": lambda box, number, key, value, member: setattr(box, "tags", [member]),
}
READS: dict[str, Callable[[Any, int, str, Any, int], Any]] = {
    "len": lambda box, number, key, value, member: len(box),
    "iterate": lambda box, number, key, value, member: [part for part in box],  # noqa: C416
    "sorted": lambda box, number, key, value, member: sorted(box, key=repr),
    "json": lambda box, number, key, value, member: json.dumps(box),
    "star": lambda box, number, key, value, member: [*box],
    "stars": lambda box, number, key, value, member: {**box},
    "copy": lambda box, number, key, value, member: copy.copy(box),
    "deepcopy": lambda box, number, key, value, member: copy.deepcopy(box),
    "pickle": lambda box, number, key, value, member: pickle.loads(pickle.dumps(box)),
    "equal": lambda box, number, key, value, member: box == value,
    "other way round": lambda box, number, key, value, member: value == box,
    "concatenate": lambda box, number, key, value, member: [0] + box,  # noqa: RUF005
    "contains": lambda box, number, key, value, member: value in box,
    "item": lambda box, number, key, value, member: box[number],
    "get": lambda box, number, key, value, member: box.get(key),
}
WHOLES = ("write", "write", "alias", "keep", "swap", "delete", "replace")


DEEDS = {"list": LIST_DEEDS, "dict": DICT_DEEDS, "set": SET_DEEDS, "object": OBJECT_DEEDS, "read": READS}
_KINDS = (
    ("whole", ("increase",), ("total",)),
    ("list", tuple(LIST_DEEDS), ("items", "items", "items", "items", "table", "part")),
    ("list", tuple(LIST_DEEDS), ("items", "items", "items", "items", "table", "part")),
    ("dict", tuple(DICT_DEEDS), ("table", "table", "table", "items")),
    ("dict", tuple(DICT_DEEDS), ("table", "table", "counts", "counts")),
    ("set", tuple(SET_DEEDS), ("tags", "tags", "tags", "tags", "table")),
    ("object", tuple(OBJECT_DEEDS), ("part", "part", "part", "items", "table")),
    ("read", tuple(READS), ("items", "table", "tags", "counts")),
    ("whole", WHOLES, FIELDS),
)


def do(deed: Deed, state: Any) -> str:
    """Do a deed; return what went wrong, as far as it depends on the state alone."""
    what, name, steps, number, key, value, member = copy.deepcopy(deed)
    kind, _, rest = what.partition(" ")
    try:
        if kind == "whole":
            _do_whole(rest, name, state, FIELDS[number % len(FIELDS)], value, number)
            return ""
        box = get(state, name)
        for step in steps:
            box = _inside(box, step)
        DEEDS[kind][rest](box, number, key, value, member)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, RecursionError) as error:
        return type(error).__name__
    return ""


def _inside(box: Any, step: int) -> Any:
    if isinstance(box, dict):
        return box.get("abc"[step], box)
    if isinstance(box, list | tuple):
        return box[step] if step < len(box) else box
    if isinstance(box, Fixed):
        return box.parts
    return box.tags if isinstance(box, Part | Piece) else box


def _do_whole(what: str, name: str, state: Any, other: str, value: Any, number: int) -> None:
    if what == "write":
        put(state, name, value)
    elif what == "increase":
        put(state, "total", get(state, "total") + number)
    elif what == "alias":
        put(state, name, get(state, other))
    elif what == "keep" and other not in ("items", "table", name):
        get(state, "items").append(get(state, other))
    elif what == "swap":
        left, right = get(state, name), get(state, other)
        put(state, name, right)
        put(state, other, left)
    elif what == "delete" and not isinstance(state, Struct):
        with suppress(AttributeError, KeyError):
            _delete(state, name)
    elif what == "replace":
        put(state, "part", Part("new", number, get(state, "part").tags))


def _delete(state: Any, name: str) -> None:
    if isinstance(state, dict):
        del state[name]
    elif not isinstance(state, Model):
        delattr(state, name)
