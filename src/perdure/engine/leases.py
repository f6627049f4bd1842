"""The leases of one engine: extended in time, and given up by itself before anyone else may take them.

A lease ends at a time of day in the store. Clocks of that kind jump, so the engine decides by its own monotonic clock when
it has to stop: two thirds of a lease after the last extension that is known to have succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from perdure.engine.clock import Clock
from perdure.engine.logging import get_logger
from perdure.errors import StoreError
from perdure.store.port import Lease, Store

LEASE_S = 15.0
HEARTBEAT_S = 5.0
FENCE_S = 10.0

CLAIM_PAGE = 100
"""How many runs are taken at a time."""


class _Held(msgspec.Struct):
    epoch: int
    extended: float
    """When it was last extended, on the monotonic clock."""


class Leases:
    """The leases that an engine holds."""

    def __init__(self, store: Store, clock: Clock, lose: Callable[[str], None]) -> None:
        self._store = store
        self._clock = clock
        self._lose = lose
        self._held: dict[str, _Held] = {}
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start to extend leases."""
        self._task = asyncio.get_running_loop().create_task(self._beat(), name="perdure-heartbeat")

    async def end(self) -> None:
        """Stop to extend leases."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def until(self) -> int:
        """Return when a lease ends that begins now."""
        return self._clock.now() + int(LEASE_S * 1e6)

    def add(self, run_id: str, epoch: int) -> None:
        """Look after a lease that was just taken."""
        self._held[run_id] = _Held(epoch, self._clock.monotonic())

    def drop(self, run_id: str) -> Lease | None:
        """Stop looking after a lease, and return it."""
        held = self._held.pop(run_id, None)
        return Lease(run_id, held.epoch, 0) if held is not None else None

    async def _beat(self) -> None:
        log = get_logger("perdure.engine")
        while True:
            await self._clock.sleep(HEARTBEAT_S)
            if not self._held:
                continue
            began, until = self._clock.monotonic(), self.until()
            leases = [Lease(run_id, held.epoch, until) for run_id, held in self._held.items()]
            try:
                lost = set(await self._store.heartbeat(leases))
            except StoreError as error:
                log.warning("leases can't be extended", error=str(error))
            else:
                for lease in leases:
                    held = self._held.get(lease.run_id)
                    if held is None or held.epoch != lease.epoch:
                        continue
                    if lease.run_id in lost:
                        self._lose(lease.run_id)
                    else:
                        held.extended = began
            self._fence()

    def _fence(self) -> None:
        """Stop driving what may have been taken over."""
        limit = self._clock.monotonic() - FENCE_S
        for run_id, held in list(self._held.items()):
            if held.extended < limit:
                self._lose(run_id)
