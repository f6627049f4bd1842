"""How fast a batch gets on, and when it will be done, as far as that can be told."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from perdure.cli.output import duration

if TYPE_CHECKING:
    from perdure.kernel.timeline.progress import BatchProgress, Picture

WINDOW = 15_000_000
"""Over how much of the past, in microseconds, the pace is taken: long enough to be calm, and forgetful of a night's pause."""


class Pace:
    """Looks at pictures of a run, one after the other."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[int, int]]] = {}

    def take(self, picture: Picture) -> None:
        """Look at the next picture."""
        there = {batch.instance for batch in picture.batches}
        self._seen = {instance: seen for instance, seen in self._seen.items() if instance in there}
        for batch in picture.batches:
            seen = self._seen.setdefault(batch.instance, deque([(batch.opened_at, 0)]))
            if seen[-1] != (picture.at, batch.done):
                seen.append((picture.at, batch.done))
            while len(seen) > 2 and picture.at - seen[1][0] > WINDOW:
                seen.popleft()

    def per_second(self, batch: BatchProgress) -> float | None:
        """Return how many arms are done in a second, if any were of late."""
        seen = self._seen.get(batch.instance)
        if not seen:
            return None
        (then, before), (now, done) = seen[0], seen[-1]
        return (done - before) * 1e6 / (now - then) if now > then and done > before else None

    def told(self, batch: BatchProgress, now: int) -> str:
        """Return in words for how long a batch has been going, how fast, and how long it will take.

        Args:
            batch: the batch.
            now: the present time, or that of the end of the run.
        """
        if batch.is_done:
            return duration(max(0, batch.moved_at - batch.opened_at))
        parts = [duration(max(0, now - batch.opened_at))]
        rate = self.per_second(batch)
        if rate is not None:
            parts.append(_rate(rate))
            if batch.size is not None:
                parts.append(f"{duration(round((batch.size - batch.done) / rate * 1e6))} left")
        return ", ".join(parts)


def _rate(per_second: float) -> str:
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.{0 if per_second * seconds >= 10 else 1}f}/{unit}"
    return f"{per_second * 86_400:.1f}/d"
