"""Small graphs, each showing one thing; run in memory, on a store, and with their process killed at every commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perdure import Graph


@dataclass(frozen=True)
class Example:
    """A graph with what it should give."""

    name: str
    build: Callable[[], Graph[Any, Any, Any, Any]]
    expected: Any
    inputs: Any = None
    state: Callable[[], Any] = lambda: None
    expected_state: Any = None
    view: Callable[[Any], Any] = lambda result: result
    """What of the result doesn't depend on timing."""


EXAMPLES: list[Example] = []


def example(
    expected: Any,
    *,
    inputs: Any = None,
    state: Callable[[], Any] = lambda: None,
    expected_state: Any = None,
    view: Callable[[Any], Any] = lambda result: result,
) -> Callable[[Callable[[], Graph[Any, Any, Any, Any]]], Callable[[], Graph[Any, Any, Any, Any]]]:
    """Register a function that builds a graph as an example."""

    def register(build: Callable[[], Graph[Any, Any, Any, Any]]) -> Callable[[], Graph[Any, Any, Any, Any]]:
        EXAMPLES.append(Example(build.__name__, build, expected, inputs, state, expected_state, view))
        return build

    return register


from examples import definitions, groups, joins, meetings, parallel, parents, routers  # noqa: E402, F401
