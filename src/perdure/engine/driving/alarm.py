"""The alarm of one run: it rings when the run next has something to do because of the time.

Times in a log are times of day, and clocks of that kind jump; so a long time is slept in parts, and looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.engine.clock import Clock
from perdure.kernel.fold.run import Run

LONGEST_S = 30.0


def _nobody_hears() -> None:
    """Ring for a run that is over."""


class Alarm:
    """Wakes a driver at the time its run is due."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._at: int | None = None
        self._task: asyncio.Task[None] | None = None

    def is_due(self, run: Run) -> bool:
        """Say whether the run has something to do now."""
        at = run.next_alarm()
        return at is not None and at <= self._clock.now()

    def set(self, run: Run) -> None:
        """Let it ring when the run is next due."""
        at = run.next_alarm()
        if at == self._at and self._task is not None and not self._task.done():
            return
        self.cancel()
        self._at = at
        if at is not None:
            self._task = asyncio.get_running_loop().create_task(self._sleep(at), name="perdure-alarm")

    def end(self) -> None:
        """Let it never ring again."""
        self.cancel()
        self._ring = _nobody_hears  # whom it leads back to shouldn't wait for the garbage collector

    def cancel(self) -> None:
        """Let it not ring any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _sleep(self, at: int) -> None:
        while (left := at - self._clock.now()) > 0:
            await self._clock.sleep(min(left / 1e6, LONGEST_S))
        self._ring()
