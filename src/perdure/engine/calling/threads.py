"""Threads for steps that aren't async.

They are daemons: a body that hangs can be left to itself, and doesn't keep the interpreter from exiting. (The threads of
``concurrent.futures`` and of anyio are waited for.) A thread that is idle is used again. There are never more than a limit
at work that somebody waits for; bodies beyond it wait their turn. A thread that was left to itself doesn't count, so that a
few bodies that hang don't keep all others from running; it ends when it returns.
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

MAX_THREADS = max(32, (os.cpu_count() or 1) + 4)


class _Call:
    """A function to be called in a thread, and what its caller wants to hear of it, in the event loop."""

    def __init__(
        self,
        function: Callable[[], Any],
        begun: Callable[[], None] | None,
        returned: Callable[[], None] | None,
    ) -> None:
        context = contextvars.copy_context()
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.function: Callable[[], Any] = lambda: context.run(function)
        self.begun = begun
        self.returned = returned
        self.is_running = False
        self.is_left = False

    def tell(self, callback: Callable[..., None], *args: Any) -> None:
        """Call something in the loop of the caller; once that is closed, nobody waits any more."""
        with suppress(RuntimeError):
            self.future.get_loop().call_soon_threadsafe(callback, *args)


class Threads:
    """A pool of daemon threads."""

    def __init__(self, limit: int = MAX_THREADS) -> None:
        self._limit = limit
        self._lock = threading.Condition()
        self._work: deque[_Call] = deque()
        self._count = 0
        self._idle = 0

    def submit(
        self,
        function: Callable[[], Any],
        *,
        begun: Callable[[], None] | None = None,
        returned: Callable[[], None] | None = None,
    ) -> asyncio.Future[Any]:
        """Run a function in a thread, with the caller's context variables.

        Cancelling the future lets the thread be; a function that hasn't begun by then never does.

        Args:
            function: the function.
            begun: what is called in the event loop when it has begun.
            returned: what is called in the event loop when it has returned, whether anybody still waits for it or not.
        """
        call = _Call(function, begun, returned)
        call.future.add_done_callback(lambda done: self._leave(call) if done.cancelled() else None)
        with self._lock:
            self._work.append(call)
            self._see_to_it()
        return call.future

    def _see_to_it(self) -> None:
        """Find a thread for what there is to do; the lock is held."""
        if self._idle >= len(self._work):
            self._lock.notify()
        elif self._count < self._limit:
            self._count += 1
            threading.Thread(target=self._run, name="perdure-step", daemon=True).start()

    def _leave(self, call: _Call) -> None:
        """Leave a call to itself that nobody waits for any more."""
        with self._lock:
            if call.is_running:
                call.is_left = True
                self._count -= 1
                if self._work:
                    self._see_to_it()
            elif call in self._work:
                self._work.remove(call)
                if call.returned is not None:
                    call.tell(call.returned)

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._work:
                    self._idle += 1
                    self._lock.wait()
                    self._idle -= 1
                call = self._work.popleft()
                if call.future.cancelled():  # and what is to be done about that hasn't had its turn in the loop yet
                    if call.returned is not None:
                        call.tell(call.returned)
                    continue
                call.is_running = True
            if call.begun is not None:
                call.tell(call.begun)
            try:
                result, error = call.function(), None
            except BaseException as raised:
                result, error = None, raised
            with self._lock:
                call.is_running = False
                is_left = call.is_left
            call.tell(_settle, call, result, error)
            if is_left:
                return
            del call, result, error


def _settle(call: _Call, result: Any, error: BaseException | None) -> None:
    if call.returned is not None:
        call.returned()
    if call.future.done():
        return
    if isinstance(error, StopIteration):
        error = RuntimeError("a step raised StopIteration")
    if error is not None:
        call.future.set_exception(error)
    else:
        call.future.set_result(result)


threads = Threads()
"""The pool that all runs of this process share."""
