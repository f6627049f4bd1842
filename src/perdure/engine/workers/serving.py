"""Serving: a process that drives whatever is due until somebody asks it to stop.

The first SIGTERM or SIGINT lets it take no more runs and start no more bodies; those that run may end, up to a deadline, and
each run is released as soon as its own have. The second one doesn't wait: what still runs is interrupted, as it is
when the deadline passes, and runs again elsewhere.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from perdure.engine.calling.logging import get_logger
from perdure.engine.workers.worker import Worker

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Serving:
    """The time for which a worker serves.

    Attributes:
        asked: how often it was asked to stop.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._changed = asyncio.Event()
        self.asked = 0

    def stop(self) -> None:
        """Ask it to stop; the second time, at once."""
        self.asked += 1
        self._changed.set()

    async def run(self, drain_s: float) -> None:
        """Drive runs that are due until asked to stop, then drain.

        Args:
            drain_s: how long bodies that run may take to end.
        """
        worker, log = self._worker, get_logger("perdure.engine")
        with _on_signals(self.stop):
            worker.recovers = True
            await worker.recover()
            log.info("serving", graphs=worker.drivable(), owner=worker.owner.id)
            await self._changed.wait()
            self._changed.clear()
            log.info("draining", runs=len(worker.driven), deadline_s=drain_s)
            drained = asyncio.ensure_future(worker.drain(drain_s))
            hurried = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([drained, hurried], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiting in (drained, hurried):
                    waiting.cancel()
                await asyncio.wait([drained, hurried])
            log.info("drained", left=len(worker.driven))


@contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call a function in the running loop when this process is asked to end; elsewhere than in the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
