"""Failures as values: what a join with ``on_error="collect"`` gets instead of an output."""

from __future__ import annotations

import msgspec


class Failure(msgspec.Struct, frozen=True):
    """A task that failed for good.

    Attributes:
        task: the id of the task.
        path: where it was, as text: ``load_map[17]/check``.
        error_type: the name of the type of the exception.
        error_message: its message.
        attempts: how many attempts were made.
    """

    task: str
    path: str
    error_type: str
    error_message: str
    attempts: int
