"""An event loop that is a simulation: its own time, one callback at a time, and it can stop dead at any of them.

A process that crashes runs nothing more. To simulate that, the loop is left as it is after a number of callbacks, and the
store it wrote to is shared with a next loop, as a file would be.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import itertools
import logging
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

MOST_STEPS = 100_000
"""A simulation that takes more has got stuck, with nothing but its heartbeats going on."""


class Crash(Exception):
    """The simulated process has died."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in order, and jumps ahead in time when there are none.

    Attributes:
        steps: how many callbacks have run.
        most_steps: how many may.
        interruption: after how many something is to be done, and what, or None.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._ready: deque[asyncio.Handle] = deque()
        self._later: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._time = start
        self._running = False
        self.steps = 0
        self.most_steps = MOST_STEPS
        self.interruption: tuple[int, Callable[[], Any]] | None = None

    # --- what asyncio asks of a loop ---

    def time(self) -> float:
        return self._time

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context or contextvars.copy_context())
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.call_at(self._time + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self, context or contextvars.copy_context())
        heapq.heappush(self._later, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        pass

    # --- running ---

    def run(
        self, coroutine: Coroutine[Any, Any, Any], *, crash_at: int | None = None, until: float | None = None
    ) -> Any:
        """Run until a coroutine is done, or until the process dies.

        Raises:
            Crash: ``crash_at`` callbacks have run, or it is the time ``until`` which it was to live.
        """
        task = self.create_task(coroutine)
        events._set_running_loop(self)
        self._running = True
        try:
            while not task.done():
                if crash_at is not None and self.steps >= crash_at:
                    raise Crash
                if until is not None and not self._ready and self._later and self._later[0][0] > until:
                    self._time = until
                    raise Crash
                self._run_one()
            return task.result()
        finally:
            self._running = False
            events._set_running_loop(None)

    def bury(self) -> None:
        """Let go of what a dead process has left; what its code does on the way out reaches nobody."""
        logging.disable()
        for task in asyncio.all_tasks(self):
            with contextlib.suppress(BaseException):
                task.get_coro().close()  # type: ignore[union-attr]
        logging.disable(logging.NOTSET)
        self._ready.clear()
        self._later.clear()

    def _run_one(self) -> None:
        if not self._ready:
            self._jump()
        handle = self._ready.popleft()
        if self.interruption is not None and self.steps >= self.interruption[0]:
            interrupt, self.interruption = self.interruption[1], None
            interrupt()
        self.steps += 1
        assert self.steps < self.most_steps, "the run doesn't come to an end"
        if not handle._cancelled:
            handle._run()

    def _jump(self) -> None:
        """Go on to the next moment at which something is due."""
        while self._later:
            when, _, handle = heapq.heappop(self._later)
            if not handle._cancelled:
                self._time = max(self._time, when)
                self._ready.append(handle)
                return
        raise AssertionError("nothing is left to run, and the run isn't over")


class SimulatedClock:
    """The clock of a simulated loop."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now(self) -> int:
        return int(self._loop.time() * 1e6)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
