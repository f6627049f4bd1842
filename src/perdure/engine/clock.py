"""The clock: the one place where the engine learns what time it is."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time, as the engine needs it; tests bring their own."""

    def now(self) -> int:
        """Return the time of day, in microseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return a time in seconds that never jumps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """Return the time of day, in microseconds since 1970."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return a time in seconds that never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
