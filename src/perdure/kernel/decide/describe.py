"""Exceptions as data."""

from __future__ import annotations

import traceback

from perdure.events import ErrorInfo

_FRAMES = 20


def describe(error: BaseException) -> ErrorInfo:
    """Return an exception as data: type, message, notes, and the text of its traceback without values of variables."""
    try:
        lines = traceback.format_exception(error, limit=-_FRAMES)
        notes = tuple(_text(note) for note in getattr(error, "__notes__", ()))
    except Exception:  # it is the user's class, and can do what it likes, also when it is looked at
        lines, notes = [], ()
    return ErrorInfo(type(error).__qualname__, _text(error), "".join(lines), notes)


def _text(told: object) -> str:
    try:
        return str(told)
    except Exception as error:
        return f"(its text can't be had: str() raises {type(error).__name__})"
