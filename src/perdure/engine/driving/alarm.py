"""The alarm of one run: it rings when the run next has something to do because of the time.

Times in a log are times of day, and clocks of that kind jump; so a long time is slept in parts, and looked at again. Which of
two clocks is believed is said in ``moments.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.engine.clock import Clock
from perdure.engine.driving.moments import Moments
from perdure.kernel.fold.run import Run

LONGEST_S = 30.0


def _nobody_hears() -> None:
    """Ring for a run that is over."""


class Alarm:
    """Wakes a driver at the time its run is due."""

    def __init__(self, clock: Clock, moments: Moments, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._moments = moments
        self._ring = ring
        self._at: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._back_s: float | None = None

    def come(self, run: Run) -> list[int]:
        """Return the times that have come at which the run has something to do; the first, if all are of one clock."""
        at = self.next(run)
        if at is None or self._moments.left_s(at) > 0:
            return []
        return [at for at in run.times() if self._moments.left_s(at) <= 0] if self._moments.are_mixed else [at]

    def next(self, run: Run) -> int | None:
        """Return the time that comes first at which the run has something to do."""
        if not run.alarms and run.deadline is None:
            self._back_s = None  # from now on nothing is waited for
            return None
        before, self._back_s = self._back_s, self._moments.back_s()
        if before is not None and self._back_s > before:
            for at in run.times():
                self._moments.expect(at, self._back_s - before)
        if not self._moments.are_mixed:
            return run.next_alarm()
        return min(run.times(), key=self._moments.left_s, default=None)

    def set(self, run: Run) -> None:
        """Let it ring when the run is next due."""
        at = self.next(run)
        if at == self._at and self._task is not None and not self._task.done():
            return
        self.cancel()
        self._at = at
        if at is not None:
            self._moments.expect(at)
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
        while (left_s := self._moments.left_s(at)) > 0:
            await self._clock.sleep(min(left_s, LONGEST_S))
        self._ring()
