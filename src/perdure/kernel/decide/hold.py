"""Holds: how far a caller who steps through a run has let it go, and what he has decided instead (``stepping.py``)."""

from __future__ import annotations

import msgspec

from perdure.events import Output, Placed
from perdure.graph.plan import NodeKind
from perdure.kernel.decide.results import Chunks
from perdure.kernel.fold.run import Task


class Placement(msgspec.Struct, frozen=True):
    """A task to be placed, and the items of the maps that it goes through on its way."""

    placed: Placed
    maps: tuple[Chunks, ...] = ()


class Override(msgspec.Struct, frozen=True):
    """What the caller decides instead.

    Attributes:
        dropped: the tasks that don't start, or whose failure is got over.
        placements: what takes their place.
        output: the value that ends the run.
        takes_back: whether the values that have reached the end don't count.
    """

    dropped: tuple[str, ...] = ()
    placements: tuple[Placement, ...] = ()
    output: Output | None = None
    takes_back: bool = False


class Hold(msgspec.Struct):
    """How far the caller has let the run go.

    Attributes:
        released: the tasks that may start.
        accepts_end: whether a value at the end ends the run.
        accepts_failure: whether a failure fails it.
        override: what the caller decides instead of what came about.
    """

    released: set[str] = msgspec.field(default_factory=set)
    accepts_end: bool = False
    accepts_failure: bool = False
    override: Override | None = None

    def holds(self, task: Task) -> bool:
        """Say whether a task that is ready has to wait for the caller; the start, and what was answered, don't."""
        return task.node.kind is not NodeKind.START and not task.is_answered and task.id not in self.released
