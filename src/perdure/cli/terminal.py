r"""The terminal, which does what some characters tell it to: these never reach it from what runs hold.

Escape sequences can move the cursor, rename the window or write to the clipboard, and overrides of the direction of writing make
a text read as another one. Names are refused that hold such characters, but values, messages of errors and files from elsewhere
may have them. So all that a command prints passes one place, in which they are written as in JSON: ``\u001b``. Only what
styles its own text (``output.py``, rich) goes around it, with each piece made safe.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def safe(text: str) -> str:
    """Return a text in which nothing tells a terminal what to do, but line breaks and tabs."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _Safe:
    """A stream that makes safe what is written to it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> Any:
        return self.stream.write(safe(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def styled_output() -> Any:
    """Return standard output as it is, for text that is styled and made of safe pieces."""
    return sys.stdout.stream if isinstance(sys.stdout, _Safe) else sys.stdout


@contextmanager
def safe_streams() -> Iterator[None]:
    """Make safe what is printed meanwhile."""
    before: tuple[Any, Any] = sys.stdout, sys.stderr
    out, err = _Safe(before[0]), _Safe(before[1])
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        if sys.stdout is out:
            sys.stdout = before[0]
        if sys.stderr is err:
            sys.stderr = before[1]
