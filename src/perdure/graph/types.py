"""Type variables of the builder, and types as values.

Variance is spelled out (``_co``, ``_contra``), because not every type checker can infer it: with it, an edge from a step
that returns ``int`` into one that takes ``str`` is an error before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Final, Generic, Literal, NotRequired, Required, TypeAlias, TypeVar, Union, get_args, get_origin

from typing_extensions import TypeAliasType, TypeIs, get_type_hints, is_typeddict

from perdure.errors import GraphSetupError

StateT = TypeVar("StateT")
DepsT = TypeVar("DepsT")
InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
T = TypeVar("T")
StateT_co = TypeVar("StateT_co", covariant=True)
DepsT_co = TypeVar("DepsT_co", covariant=True)
InputT_co = TypeVar("InputT_co", covariant=True)
OutputT_co = TypeVar("OutputT_co", covariant=True)
StateT_contra = TypeVar("StateT_contra", contravariant=True)
DepsT_contra = TypeVar("DepsT_contra", contravariant=True)
InputT_contra = TypeVar("InputT_contra", contravariant=True)


class TypeExpression(Generic[T]):
    """A way to hand a type that isn't a class to a parameter that takes ``type[T]``: ``TypeExpression[int | str]``."""


TypeOrTypeExpression: TypeAlias = type[TypeExpression[T]] | type[T]


def unwrapped(type_: Any) -> Any:
    """Return the type inside a :class:`TypeExpression`, or the type itself."""
    if get_origin(type_) is TypeExpression:
        return get_args(type_)[0]
    return type_


_PROMOTED: Final[dict[Any, tuple[type, ...]]] = {float: (float, int), complex: (complex, float, int)}
"""What type checkers let pass for a type besides its own instances (PEP 484, "The numeric tower")."""


def membership(type_: Any, *, widely: bool = False) -> Callable[[object], bool] | None:
    """Return a test that says whether a value is of ``type_``, or None where every value is.

    Arguments of generics aren't looked at: ``list[int]`` takes any list. A TypedDict takes a dict that has all its
    required keys.

    Args:
        type_: the type.
        widely: whether ``float`` takes ints as well, and ``complex`` both, as they do for a type checker.

    Raises:
        TypeError: nothing can be told of a value by this type.
    """
    type_ = unwrapped(type_)
    origin = get_origin(type_)
    if isinstance(type_, TypeAliasType) or isinstance(origin, TypeAliasType):
        return membership((type_ if origin is None else origin).__value__, widely=widely)
    if type_ is Any or type_ is object:
        return None
    if isinstance(type_, TypeVar):
        return membership(type_.__bound__, widely=widely) if type_.__bound__ is not None else None
    if type_ is None or type_ is NoneType:
        return lambda value: value is None
    if origin is Literal:
        choices = get_args(type_)
        return lambda value: any(type(value) is type(choice) and value == choice for choice in choices)
    if origin in (Union, UnionType):
        return _any_of([membership(member, widely=widely) for member in get_args(type_)])
    if hasattr(type_, "__metadata__"):
        return membership(get_args(type_)[0], widely=widely)
    if hasattr(type_, "__supertype__"):
        return membership(type_.__supertype__, widely=widely)
    plain = origin or type_
    if is_typeddict(plain):
        keys = _required_keys(plain)
        return lambda value: isinstance(value, dict) and keys <= value.keys()
    if not _is_class(plain):
        raise TypeError(f"{type_!r} can't be matched against: give a class, a Literal or a union of these")
    try:
        isinstance(None, plain)
    except TypeError:
        raise TypeError(f"{type_!r} can't be matched against: decorate the protocol with @runtime_checkable") from None
    members = _PROMOTED.get(plain, plain) if widely else plain
    return lambda value: isinstance(value, members)


def _required_keys(typed_dict: Any) -> frozenset[str]:
    """Return the keys a dict of this type must have, also where annotations are strings (Python looks only at types)."""
    keys: frozenset[str] = typed_dict.__required_keys__
    try:
        hints = get_type_hints(typed_dict, include_extras=True)
    except Exception:  # it names something that can't be found from here
        return keys
    marks: dict[str, object] = {name: get_origin(hint) for name, hint in hints.items()}
    return frozenset(
        name for name, mark in marks.items() if mark is Required or (name in keys and mark is not NotRequired)
    )


def _any_of(tests: list[Callable[[object], bool] | None]) -> Callable[[object], bool] | None:
    known = [test for test in tests if test is not None]
    if len(known) < len(tests):
        return None
    return lambda value: any(test(value) for test in known)


def _is_class(type_: object) -> TypeIs[type]:
    return isinstance(type_, type)


def type_name(type_: Any) -> str:
    """Return a short name of a type, for messages and renderings."""
    type_ = unwrapped(type_)
    if type_ is NoneType:
        return "None"
    if isinstance(type_, type) and not get_args(type_):
        return type_.__name__
    return str(type_).replace("typing.", "")


def callable_name(function: Any) -> str:
    """Return the name a function is known by, or that of its class where it has none."""
    name = getattr(function, "__name__", None)
    if isinstance(name, str):
        return name
    inner = getattr(function, "func", None)
    if inner is not None:
        return callable_name(inner)
    return type(function).__name__


def text(name: str, value: object) -> str:
    """Return an argument that has to be a string.

    Raises:
        GraphSetupError: it isn't.
    """
    if not isinstance(value, str):
        hint = "; give its id" if hasattr(value, "id") else ""
        raise GraphSetupError(f"{name}={value!r:.80} is no string{hint}")
    return value


def optional_text(name: str, value: object) -> str | None:
    """Return an argument that has to be a string or None.

    Raises:
        GraphSetupError: it is neither.
    """
    return None if value is None else text(name, value)


class Missing:
    """The type of the mark for an argument that wasn't given, where None would be a value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
