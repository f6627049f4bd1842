"""Exit codes: what a script needs to know of how a command ended."""

from __future__ import annotations

from enum import IntEnum

from perdure.errors import (
    PerdureError,
    RunConflict,
    RunInterrupted,
    RunNotFound,
    RunPaused,
    RunStalled,
    StoreError,
)


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    """The run failed, or verification found damage."""
    USAGE = 2
    NOT_FOUND = 3
    """There is no such run, or no such database."""
    NOT_NOW = 4
    """A conflict; or the run is paused or stalled."""
    STORE = 5
    INTERRUPTED = 130


def exit_for(error: PerdureError) -> Exit:
    """Return the exit code for an error."""
    if isinstance(error, RunNotFound):
        return Exit.NOT_FOUND
    if isinstance(error, RunConflict | RunPaused | RunStalled | RunInterrupted):
        return Exit.NOT_NOW
    return Exit.STORE if isinstance(error, StoreError) else Exit.FAILED
