"""The leases of one engine: extended in time, and given up by itself before anyone else may take them.

A lease ends at a time of day in the store. Clocks of that kind jump, so the engine decides by its own monotonic clock when
it has to stop: two thirds of a lease after it asked for the last extension that is known to have succeeded. It looks at
that apart from the extensions, since what makes them late (a store that is locked, a process that was stopped) would make
it late, too.

If the time of day jumps ahead, every lease seems to have run out, also those of the living. So for as long as these have to
extend theirs, or to give them up, leases are judged by the time that it would have been without the jump.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from perdure.engine.calling.logging import get_logger
from perdure.engine.clock import Clock
from perdure.errors import StoreError
from perdure.store.port import Store
from perdure.store.records import Lease

LEASE_S = 15.0
"""How long a lease lasts; it is extended after a third of that, and given up after two thirds."""

LOOKS_PER_FENCE = 5

JUMP_S = 1.0
"""By how much the two clocks have to part between two looks for that to be a jump."""

CLAIM_PAGE = 100
"""How many runs are taken at a time."""


class _Held(msgspec.Struct):
    epoch: int
    extended: float
    """When its last extension was asked for, on the monotonic clock."""


class Leases:
    """The leases that an engine holds."""

    def __init__(self, store: Store, clock: Clock, lose: Callable[[str], None], lease_s: float = LEASE_S) -> None:
        self._store = store
        self._clock = clock
        self._lose = lose
        self._lease_s = lease_s
        self._heartbeat_s = lease_s / 3
        self._fence_s = lease_s * 2 / 3
        self._held: dict[str, _Held] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._parted_s = self._apart_s()
        self._jump_s = 0.0
        self._jumped_at = 0.0

    def begin(self) -> None:
        """Start to extend leases."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._beat(), name="perdure-heartbeat"),
            loop.create_task(self._guard(), name="perdure-fence"),
        ]

    async def end(self) -> None:
        """Stop to extend leases."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def until(self) -> int:
        """Return when a lease ends that begins now."""
        return self._clock.now() + int(self._lease_s * 1e6)

    def judged_at(self) -> int:
        """Return the time by which it is to be said whether the leases of others have run out."""
        now, apart_s = self._clock.monotonic(), self._apart_s()
        if now - self._jumped_at >= self._fence_s:
            self._jump_s = 0.0
        if apart_s - self._parted_s > JUMP_S:
            self._jump_s += apart_s - self._parted_s
            self._jumped_at = now
        elif self._parted_s - apart_s > JUMP_S:
            self._jump_s = max(0.0, self._jump_s - (self._parted_s - apart_s))
        self._parted_s = apart_s
        return self._clock.now() - int(self._jump_s * 1e6)

    def _apart_s(self) -> float:
        """Return how far the time of day is from the time that never jumps, in seconds."""
        return self._clock.now() / 1e6 - self._clock.monotonic()

    def add(self, run_id: str, epoch: int, since: float | None = None) -> None:
        """Look after a lease that was just taken, unless that is done already.

        Args:
            run_id: the run.
            epoch: that of the lease.
            since: when it was asked for, on the monotonic clock; now if it isn't given.
        """
        if not self.holds(run_id, epoch):
            self._held[run_id] = _Held(epoch, self._clock.monotonic() if since is None else since)

    def holds(self, run_id: str, epoch: int) -> bool:
        """Say whether a lease is looked after."""
        held = self._held.get(run_id)
        return held is not None and held.epoch == epoch

    def drop(self, run_id: str, epoch: int) -> None:
        """Stop looking after a lease; a later one of the same run stays."""
        if self.holds(run_id, epoch):
            del self._held[run_id]

    async def _beat(self) -> None:
        log = get_logger("perdure.engine")
        while True:
            await self._clock.sleep(self._heartbeat_s)
            self._fence()
            if not self._held:
                continue
            began, until = self._clock.monotonic(), self.until()
            leases = [Lease(run_id, held.epoch, until) for run_id, held in self._held.items()]
            try:
                lost = set(await self._store.heartbeat(leases))
            except StoreError as error:
                log.warning("leases can't be extended", error=str(error))
                continue
            for lease in leases:
                held = self._held.get(lease.run_id)
                if held is None or held.epoch != lease.epoch:
                    continue
                if lease.run_id in lost:
                    self._lose_one(lease.run_id)
                else:
                    held.extended = began

    async def _guard(self) -> None:
        while True:
            await self._clock.sleep(self._fence_s / LOOKS_PER_FENCE)
            self._fence()

    def _fence(self) -> None:
        """Stop driving what may have been taken over."""
        limit = self._clock.monotonic() - self._fence_s
        for run_id, held in list(self._held.items()):
            if held.extended < limit:
                self._lose_one(run_id)

    def _lose_one(self, run_id: str) -> None:
        """Let go of a lease, once: who drives the run is interrupted by that, and mustn't be when it tidies up."""
        del self._held[run_id]
        self._lose(run_id)
