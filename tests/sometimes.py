"""Counters of what has to happen sometimes: a campaign that never reaches the rare cases proves less than it says.

A campaign notes what it sees, and at its end asks that all it was made for has been seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class Sometimes:
    """How often each of several rare things has been seen."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, what: str, happened: int | bool = 1) -> None:
        """Count something, if it has happened; what never has is shown with a zero."""
        self.counts[what] += happened

    def unseen(self, expected: Iterable[str], least: int = 1) -> list[str]:
        """Return what wasn't seen as often as it should have been."""
        return [f"{what}: {self.counts[what]}" for what in expected if self.counts[what] < least]

    def require(self, expected: Iterable[str], least: int = 1) -> None:
        """Fail if something was seen too rarely.

        Raises:
            AssertionError: it was.
        """
        unseen = self.unseen(expected, least)
        assert not unseen, f"not seen at least {least} times: {'; '.join(unseen)}\nseen: {self}"

    def __str__(self) -> str:
        return ", ".join(f"{what} {count:,}" for what, count in sorted(self.counts.items(), key=lambda item: -item[1]))
