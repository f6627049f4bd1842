"""Exceptions as data, and what is noted on them.

Their classes are the user's, and may do what they like, also when somebody looks at one: raise in ``str()``, refuse every note
because they are frozen, or tell a whole response of a server. A failure is recorded all the same, in bounded space.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import Final

from perdure.events import ErrorInfo

_FRAMES = 20

MAX_TYPE: Final = 200
MAX_MESSAGE: Final = 16_000
"""Of a message, and of a note, in characters."""
MAX_TRACEBACK: Final = 64_000
MAX_NOTES: Final = 100


def describe(error: BaseException) -> ErrorInfo:
    """Return an exception as data: type, message, notes, and the text of its traceback without values of variables."""
    try:
        lines = traceback.format_exception(error, limit=-_FRAMES)
        notes = tuple(_text(note) for note in getattr(error, "__notes__", ()))
    except Exception:
        lines, notes = [], ()
    return ErrorInfo(type(error).__qualname__, _text(error), _encodable("".join(lines)), notes)


def bounded(info: ErrorInfo) -> ErrorInfo:
    """Return an exception as it is stored: of what is longer than it may be, the middle is left out.

    What must not be stored has to be out of it by now: of a secret at the cut, half would be left that nobody knows again.
    """
    notes = tuple(_cut(note, MAX_MESSAGE) for note in info.notes[:MAX_NOTES])
    return ErrorInfo(
        _cut(info.type, MAX_TYPE), _cut(info.message, MAX_MESSAGE), _cut(info.traceback, MAX_TRACEBACK), notes
    )


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception that doesn't carry it yet; one that takes none is left as it is."""
    with suppress(Exception):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)


def _text(told: object) -> str:
    try:
        text = str(told)
    except Exception as error:
        text = f"(its text can't be had: str() raises {type(error).__name__})"
    return _encodable(text)


def _encodable(text: str) -> str:
    """Return a text in which halves of surrogate pairs, as in names of files, are written as escapes: JSON can't hold them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str, limit: int) -> str:
    more, half = len(text) - limit, limit // 2
    return text if more <= 0 else f"{text[:half]} … {more:,} characters left out … {text[-half:]}"
