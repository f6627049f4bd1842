"""When times of day come, though the clock that tells them is set back.

What is due stands in logs as a time of day, because it has to mean something to the next process. A process that lives knows
more: by a clock that never jumps it can tell how far away such a time was before somebody set the clock back, and lets it come
then. The times themselves can't tell: two that are equal may have been meant by the clock before and after. So whoever keeps a
time notes it here, at the latest when it is seen that the clock was set. A clock that is set ahead is believed.
"""

from __future__ import annotations

from perdure.engine.clock import Clock

SET_S = 1.0
"""By how much the two clocks have to part between two looks for one to have been set."""

KEPT = 1000
"""How many times are kept before those are looked for that have come by now by any clock."""


class Moments:
    """The times that are waited for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._comes: dict[int, float] = {}
        self._kept = KEPT
        self._back_s = 0.0
        self._until = 0
        self._apart_s = self._apart()

    def _apart(self) -> float:
        return self._clock.now() / 1e6 - self._clock.monotonic()

    def expect(self, at: int, set_back_s: float = 0.0) -> float:
        """Note how far away a time is, if that isn't known; return when it comes, on the clock that never jumps.

        Args:
            at: the time of day, in microseconds since 1970.
            set_back_s: by how much the clock has been set back since somebody began to wait for it.
        """
        if at not in self._comes:
            now = self._clock.now()
            if len(self._comes) >= self._kept:
                self._comes = {other: comes for other, comes in self._comes.items() if other > now}
                self._kept = max(KEPT, 2 * len(self._comes))
            self._comes[at] = self._clock.monotonic() + (at - now) / 1e6 - set_back_s
            if set_back_s:
                self._until = max(self._until, at)
        return self._comes[at]

    def left_s(self, at: int) -> float:
        """Return for how long a time is still to come, in seconds."""
        by_day, comes = (at - self._clock.now()) / 1e6, self._comes.get(at)
        return by_day if comes is None else min(by_day, comes - self._clock.monotonic())

    def back_s(self) -> float:
        """Return by how much the clock was set back until now, all in all, in seconds."""
        before, self._apart_s = self._apart_s, self._apart()
        if before - self._apart_s > SET_S:
            self._back_s += before - self._apart_s
        return self._back_s

    @property
    def are_mixed(self) -> bool:
        """Whether of two times that are waited for, the greater one may come first."""
        return self._clock.now() < self._until
