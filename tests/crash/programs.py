"""What is run to be killed: examples by name, and random graphs by seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from examples import EXAMPLES


@dataclass(frozen=True)
class Program:
    """A graph with its inputs, and what its result has to be."""

    build: Any
    inputs: Any
    state: Any
    view: Any
    is_right: Any


def find(name: str) -> Program:
    """Return a program by name."""
    example = next(example for example in EXAMPLES if example.name == name)

    def is_right(result: Any, state: Any) -> bool:
        return example.view(result) == example.expected and (
            example.expected_state is None or example.expected_state(state)
        )

    return Program(example.build, example.inputs, example.state, example.view, is_right)
