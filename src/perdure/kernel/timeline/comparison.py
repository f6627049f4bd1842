"""Comparing two runs, task by task.

A task has the same id in every run of the same graph, so what the two have in common is found by id; how long things took
differs always, and is told apart from what came out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from perdure.kernel.timeline.timeline import Thing

Aspect = Literal["only in a", "only in b", "outcome", "output", "decision", "attempts"]


class Side(msgspec.Struct, frozen=True):
    """A task, or what a join gave out, in one of two runs.

    Attributes:
        outcome: what it came to; empty if it isn't over.
        output: the beginning of what it gave out, as JSON.
        chosen: the branches that were taken behind it, each as its place.
        attempts: how many there were.
        took: how long all of them took together, in microseconds.
    """

    outcome: str
    output: str
    chosen: tuple[int, ...]
    attempts: int
    took: int


class Compared(msgspec.Struct, frozen=True):
    """A task, or what a join gave out, in two runs.

    Attributes:
        task: its id.
        path: where it is, as text.
        node: the node.
        differs: in what; nothing if it is the same in both but for the time it took.
        a, b: what it was in each; None where it wasn't.
    """

    task: str
    path: str
    node: str
    differs: tuple[Aspect, ...]
    a: Side | None
    b: Side | None

    @property
    def slower_by(self) -> int:
        """How much longer its attempts took in b, in microseconds."""
        return self.b.took - self.a.took if self.a is not None and self.b is not None else 0


def compare(a: Mapping[str, Thing], b: Mapping[str, Thing]) -> tuple[Compared, ...]:
    """Return all tasks and outputs of joins of two runs, in the order of a, and those that only b has behind them."""
    return tuple(_compared(a.get(id_), b.get(id_)) for id_ in {**a, **b})


def _compared(a: Thing | None, b: Thing | None) -> Compared:
    known = a or b
    assert known is not None
    return Compared(known.id, known.path, known.node, _aspects(a, b), _side(a), _side(b))


def _aspects(a: Thing | None, b: Thing | None) -> tuple[Aspect, ...]:
    if b is None:
        return ("only in a",)
    if a is None:
        return ("only in b",)
    found: list[Aspect] = []
    if a.outcome != b.outcome:
        found.append("outcome")
    if a.digest != b.digest:
        found.append("output")
    if a.chosen != b.chosen:
        found.append("decision")
    if _attempts(a) != _attempts(b):
        found.append("attempts")
    return tuple(found)


def _attempts(thing: Thing) -> int:
    return sum(span.kind == "attempt" for span in thing.spans)


def _side(thing: Thing | None) -> Side | None:
    if thing is None:
        return None
    took = sum(span.ended_at - span.started_at for span in thing.spans if span.ended_at is not None)
    return Side(thing.outcome, thing.output, thing.chosen, _attempts(thing), took)
