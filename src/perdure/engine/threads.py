"""Threads for steps that aren't async.

They are daemons: a body that hangs can be left to itself, and doesn't keep the interpreter from exiting. (The threads of
``concurrent.futures`` and of anyio are waited for.) A thread that is idle is used again; there are never more than a
limit, and bodies beyond it wait their turn.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MAX_THREADS = min(32, (os.cpu_count() or 1) + 4)


class Threads:
    """A pool of daemon threads."""

    def __init__(self, limit: int = MAX_THREADS) -> None:
        self._limit = limit
        self._lock = threading.Condition()
        self._work: deque[tuple[asyncio.Future[Any], Callable[[], Any], Callable[[], None] | None]] = deque()
        self._count = 0
        self._idle = 0

    def submit(self, function: Callable[[], Any], returned: Callable[[], None] | None = None) -> asyncio.Future[Any]:
        """Run a function in a thread, with the caller's context variables; cancelling the future lets the thread be.

        Args:
            function: the function.
            returned: what is called in the event loop when it has returned, whether anybody still waits for it or not.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        context = contextvars.copy_context()
        with self._lock:
            self._work.append((future, lambda: context.run(function), returned))
            if self._idle:
                self._lock.notify()
            elif self._count < self._limit:
                self._count += 1
                threading.Thread(target=self._run, name="perdure-step", daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._work:
                    self._idle += 1
                    self._lock.wait()
                    self._idle -= 1
                future, function, returned = self._work.popleft()
            try:
                result, error = function(), None
            except BaseException as raised:
                result, error = None, raised
            with suppress(RuntimeError):  # the loop may be closed meanwhile; then nobody waits any more
                future.get_loop().call_soon_threadsafe(_settle, future, result, error, returned)


def _settle(
    future: asyncio.Future[Any], result: Any, error: BaseException | None, returned: Callable[[], None] | None
) -> None:
    if returned is not None:
        returned()
    if future.done():
        return
    if isinstance(error, StopIteration):
        error = RuntimeError("a step raised StopIteration")
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


threads = Threads()
"""The pool that all runs of this process share."""
