"""Exceptions as data."""

from __future__ import annotations

import traceback

from perdure.events import ErrorInfo

_FRAMES = 20


def describe(error: BaseException) -> ErrorInfo:
    """Return an exception as data: type, message, notes, and the text of its traceback without values of variables."""
    lines = traceback.format_exception(error, limit=-_FRAMES)
    notes = tuple(str(note) for note in getattr(error, "__notes__", ()))
    return ErrorInfo(type(error).__qualname__, str(error), "".join(lines), notes)
