"""Exit codes: what a script needs to know of how a command ended."""

from __future__ import annotations

from enum import IntEnum

import click

from perdure.errors import (
    AnswerRefused,
    EncryptionError,
    GraphSetupError,
    InvalidIdentifier,
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
    """The run failed or was cancelled, or a check has found something."""
    USAGE = 2
    """The command line is wrong, whatever is in the database."""
    WAITS = 3
    """The run waits, or is paused or stalled: it goes on when somebody, or the clock, lets it."""
    NOT_FOUND = 4
    """There is no such run, or no such database."""
    CONFLICT = 5
    """What was asked for doesn't go with how the run is: a verb it doesn't accept, an id that is taken."""
    STORE = 6
    """The store can't be used."""
    INTERRUPTED = 130


def exit_for(error: PerdureError) -> Exit:
    """Return the exit code for an error."""
    if isinstance(error, RunNotFound):
        return Exit.NOT_FOUND
    if isinstance(error, RunPaused | RunStalled | RunInterrupted):
        return Exit.WAITS
    if isinstance(error, RunConflict | AnswerRefused):
        return Exit.CONFLICT
    if isinstance(error, GraphSetupError | InvalidIdentifier):
        return Exit.USAGE
    return Exit.STORE if isinstance(error, StoreError | EncryptionError) else Exit.FAILED


def tell_damage(problem: str) -> None:
    """Say how far a log could be read, if that isn't to its end, and end so that a script notices."""
    if problem:
        click.echo(f"perdure: {problem}. What is told is what comes before", err=True)
        click.get_current_context().exit(Exit.STORE)
