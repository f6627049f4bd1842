"""Refusals: why a part of a value can't be written or read.

A refusal starts at the part and collects the way to it while it passes outwards; the plan at the top makes it the
``CodecError`` that users see.
"""

from __future__ import annotations

from perdure.codec.tags import MAX_DEPTH
from perdure.errors import CodecError


class Refusal(Exception):
    """A part of a value can't be written or read.

    Attributes:
        path: the steps from the part outwards, each as ``.name`` or ``[key]``.
    """

    def __init__(self, problem: str, remedy: str, type_name: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.type_name = type_name
        self.path: list[str] = []

    def error(self) -> CodecError:
        """Return the error to raise."""
        path = "$" + "".join(reversed(self.path))
        return CodecError(self.problem, path=path, type_name=self.type_name, remedy=self.remedy)


def too_deep(type_name: str) -> Refusal:
    """Return the refusal of a value that nests too deep."""
    return Refusal(
        f"the value nests deeper than {MAX_DEPTH} levels, or contains itself",
        "Flatten it, and refer to parts by key or id",
        type_name,
    )


def at_field(name: str) -> str:
    """Return the step of a path to a field."""
    return f".{name}"


def at_key(key: object) -> str:
    """Return the step of a path to what stands under a key."""
    try:
        text = repr(key)
    except Exception:  # that of a user's class; that of an integer of more than 4300 digits
        text = f"<{type(key).__name__}>"
    return f"[{text}]" if len(text) <= 60 else f"[{text[:57]}...]"
