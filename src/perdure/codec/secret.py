"""Secrets: values that may be used and never be stored or shown."""

from __future__ import annotations

from typing import Any, Generic, NoReturn, TypeVar

T_co = TypeVar("T_co", covariant=True)

MASK = "Secret(…)"

KEPT_IN_DEPS = "Keep it in deps, pass on what names it, and reveal() it in the step that needs it"


class Secret(Generic[T_co]):
    """A value that a log must never hold: ``Secret(token).reveal()``.

    It shows itself as ``Secret(…)`` wherever it is printed, formatted or logged, and whatever would store it (a value, a state, an
    answer, pickle) is refused. It belongs into ``deps``.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T_co) -> None:
        self._value = value

    def reveal(self) -> T_co:
        """Return the value."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret[T_co]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret[T_co]:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret can't be pickled: hand reveal() on to where it is needed, or read it there")
