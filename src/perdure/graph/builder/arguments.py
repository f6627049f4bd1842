"""Arguments: what the builder's methods are given, checked as soon as it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.errors import GraphSetupError
from perdure.graph.builder.annotations import written_function


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    """Return an argument that has to be one of some words.

    Raises:
        GraphSetupError: it isn't.
    """
    if value not in choices:
        raise GraphSetupError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")
    return value


def function_behind(where: str, value: Any) -> Callable[..., Any]:
    """Return the function somebody wrote, behind what is given for one.

    Raises:
        GraphSetupError: what is given can't be called.
    """
    if not callable(value):
        raise GraphSetupError(f"{where}: {value!r:.80} is no function")
    return written_function(value)


def is_immutable(value: object) -> bool:
    """Say whether instances of a join can share a value to start from."""
    return value is None or type(value) in (bool, int, float, complex, str, bytes)


def is_local(function: Callable[..., Any]) -> bool:
    """Say whether a function is written inside of another one, where no other process can find it."""
    return "<locals>" in getattr(function, "__qualname__", "")


def why_not_local(step: str, function: Callable[..., Any]) -> str:
    """Return why a step of such a function can't run in another process."""
    return (
        f"step {step!r} runs in another process, which can't find a function inside a function: move "
        f"{function.__qualname__!r} to the top of its module"
    )
