"""Colleagues: the other workers on a store, and which graphs each has.

During a deploy, workers with an old and with a new version of a graph share a store. A run is best driven by one that has the very
graph it was driven with: with another version it may have to be parked. So a worker that looks for runs announces the
fingerprints of its graphs for the time of a lease, again and again, and leaves alone the runs of those graphs that it hasn't
and a colleague who is there has. What nobody has is taken by whoever has another version of it: it goes on if that is
compatible, else it is parked with the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from perdure.engine.clock import Clock
from perdure.engine.owner import is_provably_dead
from perdure.store.port import Store
from perdure.store.records import Announced, Owner


class Colleagues:
    """Tells others which graphs one worker has, and knows which they have.

    Attributes:
        leaving: the fingerprints of graphs whose runs are left to others.
    """

    def __init__(
        self, store: Store, clock: Clock, owner: Owner, lease_s: float, has: Callable[[], Iterable[str]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._lease_s = lease_s
        self._has = has
        self._said: tuple[str, ...] | None = None
        self._said_at = 0.0
        self._until = 0
        self._has_parted = False
        self.leaving: Sequence[str] = ()

    async def meet(self) -> bool:
        """Announce what this worker has, unless that was done lately, and look what others have.

        Returns:
            Whether the worker had been taken for gone, so that runs of its graphs may have been parked meanwhile.
        """
        now, moment, has = self._clock.now(), self._clock.monotonic(), tuple(sorted(self._has()))
        was_gone = self._said is not None and self._until <= now
        is_to_be_said = has != self._said or was_gone or moment - self._said_at > self._lease_s / 3
        if is_to_be_said and not self._has_parted:
            self._until = now + int(self._lease_s * 1e6)
            await self._store.announce(Announced(self._owner, has, self._until), now)
            self._said, self._said_at = has, moment
        await self.look()
        return was_gone

    async def look(self) -> None:
        """Look what others have."""
        others = await self._store.workers(self._clock.now())
        theirs = {
            fingerprint
            for worker in others
            if worker.owner.id != self._owner.id and not is_provably_dead(worker.owner)
            for fingerprint in worker.fingerprints
        }
        self.leaving = sorted(theirs.difference(self._has()))

    async def have(self, fingerprint: str) -> bool:
        """Say whether a graph that this worker hasn't is with a colleague who is there now."""
        await self.look()
        return fingerprint in self.leaving

    async def part(self) -> None:
        """Let others know that this worker takes no more runs."""
        self._has_parted = True
        if self._said is not None:
            self._said = None
            await self._store.withdraw(self._owner)
