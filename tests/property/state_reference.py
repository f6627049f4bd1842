"""A naive three-way merge of plain values, to hold the real one against.

It is written from the contract alone: it compares whole values, copies everything, and knows neither drafts nor versions.
"""

import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


class Refused(Exception):
    """A declared merge refuses."""


Merge = Callable[[Any, Any, Any], Any]


@dataclass
class Kind:
    """How the reference takes apart the states of one test.

    Attributes:
        objects: the classes whose objects are merged by attribute.
        declared: the merges declared for fields of the state, by name, as the reference sees them.
    """

    objects: tuple[type, ...]
    declared: dict[str, Merge] = field(default_factory=dict)


def attributes(value: Any) -> dict[str, Any]:
    names = getattr(value, "__struct_fields__", None)
    if names is None:
        names = vars(value) if hasattr(value, "__dict__") else value.__slots__
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def clone(value: Any, kind: Kind) -> Any:
    """Copy a value so that nothing in it stands in two places; sets and dicts of a draft become the builtins."""
    if isinstance(value, list):
        return [clone(part, kind) for part in value]
    if isinstance(value, dict):
        items = [(key, clone(part, kind)) for key, part in value.items()]
        if isinstance(value, defaultdict):
            return defaultdict(value.default_factory, items)
        return next((one for one in (Counter, OrderedDict) if isinstance(value, one)), dict)(dict(items))
    if isinstance(value, set):
        return set(value)
    if isinstance(value, tuple):
        return tuple(clone(part, kind) for part in value)
    if isinstance(value, kind.objects):
        return remade(type(value), {name: clone(part, kind) for name, part in attributes(value).items()})
    return value


def is_frozen(cls: Any) -> bool:
    return hasattr(cls, "__dataclass_params__") and bool(cls.__dataclass_params__.frozen)


def remade(cls: type, fields: dict[str, Any]) -> Any:
    if hasattr(cls, "model_construct"):
        return cls.model_construct(**fields)
    made = cls(**dict.fromkeys(cls.__struct_fields__)) if hasattr(cls, "__struct_fields__") else object.__new__(cls)
    for name, part in fields.items():
        (object.__setattr__ if is_frozen(cls) else setattr)(made, name, part)
    return made


def essence(value: Any, kind: Kind, ordered: bool = False) -> Any:
    """Return what two values that are equal by type and content have in common."""
    if isinstance(value, list | tuple):
        name = "list" if isinstance(value, list) else "tuple"
        return name, tuple(essence(part, kind, ordered) for part in value)
    if isinstance(value, dict):
        name = next((one.__name__ for one in (Counter, OrderedDict, defaultdict) if isinstance(value, one)), "dict")
        items = [(key, essence(part, kind, ordered)) for key, part in value.items()]
        return name, tuple(items) if ordered or name == "OrderedDict" else frozenset(items)
    if isinstance(value, set):
        return "set", frozenset(value)
    if isinstance(value, kind.objects):
        fields = attributes(value)
        return type(value), frozenset((name, essence(part, kind, ordered)) for name, part in fields.items())
    return type(value), repr(value)


@dataclass
class Outcome:
    value: Any = None
    conflicts: set[str] = field(default_factory=set)
    additions: set[str] = field(default_factory=set)


def merged(base: Any, mine: Any, current: Any, kind: Kind) -> Outcome:
    """Return what the state is after a task that began from ``base`` and left ``mine`` has committed over ``current``."""
    outcome = Outcome()
    outcome.value = _merged(base, mine, current, (), kind, outcome)
    return outcome


def _merged(base: Any, mine: Any, current: Any, path: tuple[Any, ...], kind: Kind, outcome: Outcome) -> Any:
    def same(left: Any, right: Any) -> bool:
        return bool(essence(left, kind) == essence(right, kind))

    if same(base, mine):
        return current
    if len(path) == 1 and path[0] in kind.declared and MISSING not in (mine, current):
        return kind.declared[path[0]](current, base, mine)
    if same(base, current) and (path or not kind.declared):
        return mine
    if all(map(is_number, (base, mine, current))) and math.isfinite(current + (mine - base)):
        outcome.additions.add(".".join(map(str, path)))
        return current + (mine - base)
    if base is MISSING and type(mine) is type(current) and isinstance(mine, list | dict | set):
        base = type(mine)()
    whole = _merged_containers(base, mine, current, path, kind, outcome)
    if whole is not MISSING:
        return whole
    if not same(current, mine):
        outcome.conflicts.add(".".join(map(str, path)))
    return mine


def _merged_containers(base: Any, mine: Any, current: Any, path: tuple[Any, ...], kind: Kind, outcome: Outcome) -> Any:
    if not type(base) is type(mine) is type(current):
        return MISSING
    if isinstance(base, list):
        length = len(base)
        if essence(mine[:length], kind) == essence(base, kind):
            return current + mine[length:]
        if length > len(mine) or length > len(current):
            return MISSING
        places = [
            _merged(base[index], mine[index], current[index], (*path, index), kind, outcome) for index in range(length)
        ]
        return places + current[length:] + mine[length:]
    if isinstance(base, set):
        return (current | (mine - base)) - (base - mine)
    if isinstance(base, dict):
        return clone(_by_key(base, mine, current, path, kind, outcome, type(base)()), kind)
    if isinstance(base, kind.objects) and not is_frozen(type(base)):
        fields = _by_key(attributes(base), attributes(mine), attributes(current), path, kind, outcome, {})
        return remade(type(base), fields)
    return MISSING


def _by_key(
    base: Any, mine: Any, current: Any, path: tuple[Any, ...], kind: Kind, outcome: Outcome, made: dict[Any, Any]
) -> dict[Any, Any]:
    for key in [*current, *(key for key in mine if key not in current)]:
        counts = isinstance(base, Counter) and is_number(mine.get(key)) and is_number(current.get(key))
        before = base.get(key, 0 if counts else MISSING)
        value = _merged(before, mine.get(key, MISSING), current.get(key, MISSING), (*path, key), kind, outcome)
        if value is not MISSING:
            made[key] = value
    return made


def is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))
