"""Leaps: when the time of day jumps ahead, all leases on it seem to have run out, those of living workers too.

Whoever extends his leases does so within a third of a lease. So who notices a leap takes no runs for half of one, and finds
afterwards which leases have been extended since. (A clock that is set back makes leases last too long: see ``orphans.py``.)
"""

from __future__ import annotations

from perdure.engine.clock import Clock


class Leaps:
    """Notices that the time of day has gone ahead of the time that never jumps."""

    def __init__(self, clock: Clock, lease_s: float) -> None:
        self._clock = clock
        self._least_s = lease_s / 5
        self._wait_s = lease_s / 2
        self._ahead_s = self._look()
        self._until = clock.monotonic()

    def _look(self) -> float:
        return self._clock.now() / 1e6 - self._clock.monotonic()

    def is_recent(self) -> bool:
        """Say whether there was a leap so lately that leases may not have been extended since; to be asked again and again."""
        ahead_s, moment = self._look(), self._clock.monotonic()
        if ahead_s - self._ahead_s > self._least_s:
            self._until = moment + self._wait_s
        self._ahead_s = ahead_s
        return moment < self._until
