"""Conditions: tests of a value and of the state, written as text, so that a definition in JSON can hold them.

What a condition says is looked up, never called: keys of dicts, places in lists, and the declared fields of dataclasses,
Structs, models and named tuples. A value of another type than the literal isn't equal to it; but to be less or greater it
has to be of the same kind, a number or a text, and what isn't there can't be compared at all: both fail the attempt of
the step the edge leads on from, with an error that names the condition. ``true`` isn't 1.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from numbers import Number
from typing import Any, Final, Protocol

from perdure.errors import GraphRuntimeError
from perdure.graph.nodes.condition_grammar import Comparison, Flag, Inverted, PathTo, Several, Test, read_condition
from perdure.graph.nodes.step import StepContext

_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class HasState(Protocol):
    """What a condition is given beside the value: something with the state of the run."""

    @property
    def state(self) -> Any:
        """The state."""
        ...


_NO_STATE: Final[HasState] = StepContext(state=None, deps=None, inputs=None)


class Condition:
    """A test for a branch of a decision: ``g.match(object, matches=Condition("score >= 0.8 and state.rounds < 3"))``.

    Attributes:
        text: the condition, as it was written.
        test: what it says, as a tree.

    Raises:
        GraphSetupError: it can't be read; the message says where, and what was expected there.
    """

    __slots__ = ("_is_member", "test", "text")

    def __init__(self, text: str) -> None:
        self.test: Test = read_condition(text)
        self.text: str = text
        self._is_member: Callable[[Any], bool] | None = None

    def only_for(self, is_member: Callable[[Any], bool]) -> Condition:
        """Return the same condition for those values alone that pass another test first."""
        other = copy.copy(self)
        other._is_member = is_member
        return other

    def __call__(self, value: Any) -> bool:
        """Say whether the condition holds for a value, where there is no state.

        Raises:
            GraphRuntimeError: something in it isn't there, or can't be compared.
        """
        return self.holds(_NO_STATE, value)

    def holds(self, ctx: HasState, value: Any) -> bool:
        """Say whether the condition holds for a value, with the state of the run.

        Raises:
            GraphRuntimeError: something in it isn't there, or can't be compared.
        """
        if self._is_member is not None and not self._is_member(value):
            return False
        try:
            return _holds(self.test, ctx, value)
        except _Unfit as unfit:
            raise GraphRuntimeError(f"condition {self.text!r}: {unfit}") from None

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"


class _Unfit(Exception):
    """Why a condition can't be decided."""


def _holds(test: Test, ctx: HasState, value: Any) -> bool:
    if isinstance(test, Several):
        return (all if test.word == "and" else any)(_holds(part, ctx, value) for part in test.tests)
    if isinstance(test, Inverted):
        return not _holds(test.test, ctx, value)
    found = _found(test.path, ctx, value)
    if isinstance(test, Flag):
        if not isinstance(found, bool):
            raise _Unfit(f"{test.path} is neither true nor false, but {_told(found)}: compare it with something")
        return found
    return _compared(test, found)


def _found(path: PathTo, ctx: HasState, value: Any) -> Any:
    found = ctx.state if path.root == "state" else value
    for place, key in enumerate(path.keys):
        try:
            found = _inside(found, key)
        except LookupError:
            around = PathTo(path.root, path.keys[:place])
            raise _Unfit(f"{around}, which is {_told(found)}, has no {key!r}") from None
    return found.value if isinstance(found, Enum) else found


def _inside(value: Any, key: str | int) -> Any:
    if isinstance(value, Mapping):
        if key not in value:
            raise LookupError
        return value[key]
    if isinstance(key, int):
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise LookupError
        return value[key]
    if key not in _field_names(value):
        raise LookupError
    return getattr(value, key)


def _field_names(value: Any) -> Collection[str]:
    """Return the names of what an object is made of; what it computes and can do isn't among them."""
    for attribute in ("__dataclass_fields__", "__struct_fields__", "model_fields", "_fields"):
        names: Any = getattr(type(value), attribute, None)
        if isinstance(names, Collection):
            return names
    return getattr(value, "__dict__", ())


def _compared(test: Comparison, found: Any) -> bool:
    sign, literal = test.operator, test.literal
    if sign == "==":
        return _equal(found, literal)
    if sign == "!=":
        return not _equal(found, literal)
    if sign == "in":
        assert isinstance(literal, list)
        return any(_equal(found, choice) for choice in literal)
    if sign == "contains":
        return _contains(test, found)
    if _is_number(found) if not isinstance(literal, str) else isinstance(found, str):
        return _ORDERS[sign](found, literal)
    kind = "text" if isinstance(literal, str) else "number"
    raise _Unfit(f"{test.path} is {_told(found)}, and can't be less or greater than a {kind}")


def _contains(test: Comparison, found: Any) -> bool:
    literal = test.literal
    if isinstance(found, str):
        if isinstance(literal, str):
            return literal in found
        raise _Unfit(f"{test.path} is a text, and only texts are contained in it, not {_told(literal)}")
    if isinstance(found, Mapping):
        return literal in found
    if isinstance(found, Collection) and not isinstance(found, bytes):
        return any(_equal(item, literal) for item in found)
    raise _Unfit(f"{test.path} is {_told(found)}, and contains nothing")


def _equal(found: Any, literal: Any) -> bool:
    """Say whether a value is what a literal says: ``true`` isn't 1, but 1.0 is."""
    if isinstance(found, Enum):
        found = found.value
    if isinstance(literal, list):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(literal)
            and all(map(_equal, found, literal))
        )  # fmt: skip
    if literal is None or isinstance(literal, bool):
        return found is literal
    if isinstance(literal, str):
        return isinstance(found, str) and found == literal
    return _is_number(found) and bool(found == literal)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool | complex)


def _told(value: Any) -> str:
    return "nothing (null)" if value is None else f"{value!r:.60} of type {type(value).__name__}"
