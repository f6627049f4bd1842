"""What can be told of a condition before anything runs, from the types that steps and state are annotated with.

Only what is certain counts as wrong: a field that a class doesn't have, a number asked to contain something, a text asked
to be less than a number. Where an annotation leaves open what a value is, nothing is said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from typing_extensions import TypeAliasType, get_type_hints, is_typeddict

from perdure.graph.nodes.condition_grammar import Comparison, Flag, Inverted, LiteralValue, PathTo, Several, Test
from perdure.graph.types import type_name, unwrapped

_KINDS: Final[dict[Any, str]] = {bool: "bool", int: "number", float: "number", str: "text", NoneType: "null"}
_TOLD: Final = {"bool": "true or false", "number": "a number", "text": "a text", "null": "null"}


class _Wrong(NamedTuple):
    """What can't be."""

    problem: str


def condition_problems(test: Test, output_type: Any, state_type: Any) -> list[str]:
    """Return what can't work in a condition, a sentence each.

    Args:
        test: what the condition says.
        output_type: what the step before it is annotated to return; Any if that can't be told.
        state_type: the type of the state; None if there is none.
    """
    problems = []
    for part in _tests_in(test):
        root = output_type if part.path.root == "output" else state_type
        if part.path.root == "state" and unwrapped(root) in (None, NoneType):
            problems.append(f"{part.path}: the graph has no state: give from_json(…, state_type=…)")
            continue
        problem = _problem(part, root)
        if problem is not None:
            problems.append(problem)
    return problems


def _tests_in(test: Test) -> Iterator[Comparison | Flag]:
    if isinstance(test, Several):
        for part in test.tests:
            yield from _tests_in(part)
    elif isinstance(test, Inverted):
        yield from _tests_in(test.test)
    else:
        yield test


def _problem(test: Comparison | Flag, root: Any) -> str | None:
    found = root
    for place, key in enumerate(test.path.keys):
        found = _type_inside(found, key, PathTo(test.path.root, test.path.keys[:place]))
        if isinstance(found, _Wrong):
            return found.problem
    kinds = {_KINDS.get(member, "") for member in _members(found)}
    if not kinds or "" in kinds:
        return None
    shown = f"{test.path} is of type {type_name(found)}"
    if isinstance(test, Flag):
        return None if "bool" in kinds else f"{shown}, neither true nor false: compare it with something"
    return _mismatch(test, kinds, shown)


def _mismatch(test: Comparison, kinds: set[str], shown: str) -> str | None:
    sign, literal = test.operator, test.literal
    if sign == "contains":
        return None if "text" in kinds else f"{shown}, which contains nothing"
    if sign == "in":
        assert isinstance(literal, list)
        fits = not literal or any(_kind(choice) in kinds for choice in literal)
        return None if fits else f"{shown}, and can't be any of the list"
    kind = _kind(literal)
    if kind in kinds or (kind == "null" and sign in ("==", "!=")):
        return None
    what = _TOLD.get(kind, "a list")
    return f"{shown}, and can't be {'equal to' if sign in ('==', '!=') else 'less or greater than'} {what}"


def _kind(literal: LiteralValue) -> str:
    return _KINDS.get(type(literal), "list")


def _members(annotation: Any) -> list[Any]:
    """Return the types that a value may have; Any among them where that is open."""
    annotation = unwrapped(annotation)
    origin = get_origin(annotation)
    if isinstance(annotation, TypeAliasType):
        return _members(annotation.__value__)
    if origin is Annotated or hasattr(annotation, "__supertype__"):
        return _members(get_args(annotation)[0] if origin is Annotated else annotation.__supertype__)
    if origin in (Union, UnionType):
        return [inner for member in get_args(annotation) for inner in _members(member)]
    if origin is Literal:
        return [type(choice) for choice in get_args(annotation)]
    return [NoneType if annotation is None else annotation]


def _type_inside(annotation: Any, key: str | int, path: PathTo) -> Any:
    """Return the type of what is found by a key, or why nothing can be."""
    members = [member for member in _members(annotation) if member is not NoneType]
    found = [_inside_of(member, key, path) for member in members]
    if found and all(isinstance(each, _Wrong) for each in found):
        return found[0]
    possible = [each for each in found if not isinstance(each, _Wrong)]
    return possible[0] if len(possible) == 1 else Any


def _inside_of(cls: Any, key: str | int, path: PathTo) -> Any:
    origin, arguments = get_origin(cls) or cls, get_args(cls)
    if origin in _KINDS or origin is bytes:
        return _Wrong(f"{path} is of type {type_name(cls)}, and has no {key!r}")
    if not isinstance(origin, type):
        return Any
    fields = _fields(origin)
    if fields is not None:
        if key in fields:
            return fields[str(key)] if not arguments else Any
        if isinstance(key, int) and issubclass(origin, tuple):
            return Any
        return _Wrong(f"{path} is of type {type_name(cls)}, which has no field {key!r}; it has {list(fields)}")
    if issubclass(origin, Mapping):
        return arguments[1] if len(arguments) == 2 else Any
    if isinstance(key, str) and issubclass(origin, list | tuple | set | frozenset):
        return _Wrong(
            f"{path} is of type {type_name(cls)}, which has no field {key!r}: write {path}[0] for an item of it"
        )
    if issubclass(origin, Sequence) and not issubclass(origin, tuple):
        return arguments[0] if len(arguments) == 1 else Any
    return Any


def _fields(cls: type) -> dict[str, Any] | None:
    """Return the fields of a class and their types, or None if it isn't one that says what they are."""
    extra: Any = getattr(cls, "model_config", {})
    if isinstance(extra, Mapping) and extra.get("extra") == "allow":
        return None
    names: Any = None
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    elif is_typeddict(cls):
        names = list(cls.__annotations__)
    else:
        for attribute in ("__struct_fields__", "model_fields", "_fields"):
            names = names if names is not None else getattr(cls, attribute, None)
    if not isinstance(names, Collection):
        return None
    try:
        hints = get_type_hints(cls)
    except Exception:  # an annotation names something that can't be found from here
        hints = {}
    return {name: hints.get(name, Any) for name in names}
