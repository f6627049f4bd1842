"""Going on as a new run: how a run without an end keeps its log short."""

from __future__ import annotations

from typing import Any


class ContinuedAsNew(BaseException):
    """A step has asked for the run to go on as a new one; not an ``Exception``, so that no step takes it for a failure.

    Attributes:
        inputs: those of the new run.
        state: what its state begins with.
    """

    def __init__(self, inputs: Any, state: Any) -> None:
        super().__init__(inputs, state)
        self.inputs = inputs
        self.state = state


def successor_id(run_id: str) -> str:
    """Return the id of the run that goes on from another one: ``id~2``, then ``id~3``."""
    base, mark, number = run_id.rpartition("~")
    if mark and base and number.isascii() and number.isdecimal():
        return f"{base}~{int(number) + 1}"
    return f"{run_id}~2"
