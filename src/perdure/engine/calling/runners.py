"""Runners: the tasks in which bodies run.

An asyncio task for every body would cost more than most bodies do. A *runner* is a task that runs one body after another;
a body that never waits is over within the call that began it. When a body does wait, its runner waits with it, and a
stand-by takes over the queue: there are as many runners as there are bodies waiting, and one more.

Runs that were started in the same context share their runners, so that a commit of many runs wakes one runner and not one
for each. What bodies leave behind must not reach the next one. A runner that finds its context variables or its cancellation
count changed is retired, and the next body gets a fresh one. A runner lets the drivers have their turn after a slice of bodies,
so that many short ones end up in one decision and one commit.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol
from weakref import WeakKeyDictionary

from perdure.engine.calling.context import AttemptContext, current_attempt
from perdure.kernel.fold.run import Task

SLICE = 128
SLICE_S = 0.002
"""How many bodies a runner runs, and for how long, before it lets the drivers have their turn."""

Cell = list[AttemptContext | None]


class Runs(Protocol):
    """What has bodies to be run."""

    def takes_up(self, task: Task) -> bool:
        """Say whether the body of a task begins now; else it isn't wanted any more, or comes again."""
        ...

    async def carry_out(self, task: Task, runner: asyncio.Task[None], cell: Cell) -> None:
        """Run the body of a task that was taken up."""
        ...


class Runners:
    """Runs bodies, for as long as somebody uses it.

    Attributes:
        context: a context like that of the bodies, for callbacks; no code of a single run is called in it.
    """

    def __init__(self, monotonic: Callable[[], float], ended: Callable[[], None] | None = None) -> None:
        self._monotonic = monotonic
        self._ended = ended
        self.context = contextvars.copy_context()
        self._after: deque[Callable[[], None]] = deque()
        self._users = 0
        self._queue: deque[tuple[Runs, Task]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._runners: set[asyncio.Task[None]] = set()
        self._standby = False

    def enter(self) -> None:
        """Count somebody who uses it."""
        self._users += 1

    def leave(self) -> None:
        """Count somebody no more; after the last one runners end when they next have their turn."""
        self._users -= 1
        self.end_if_unused()

    def end_if_unused(self) -> None:
        """Let the runners end, if nobody uses them, or ever has."""
        if self._users:
            return
        for future in self._idle:
            if not future.done():
                future.set_result(None)
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def put(self, runs: Runs, tasks: Iterable[Task]) -> None:
        """Run the bodies of tasks, in this order."""
        for task in tasks:
            self._queue.append((runs, task))
        if not self._standby:
            self._call_standby()

    def put_first(self, runs: Runs, tasks: list[Task]) -> None:
        """Run the bodies of tasks, in this order, before the others."""
        self._queue.extendleft((runs, task) for task in reversed(tasks))
        if self._queue and not self._standby:
            self._call_standby()

    def call_after(self, function: Callable[[], None]) -> None:
        """Call a function that isn't a body, once those bodies have had their turn that end now, too.

        It is called in a context like that of the bodies. What it leaves behind there doesn't reach the next one either.
        """
        self._after.append(function)
        if len(self._after) == 1:
            self._call_soon()

    def _call_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._call_all, context=self.context.copy())

    def _call_all(self) -> None:
        clean, after = contextvars.copy_context(), self._after
        try:
            for _ in range(len(after)):
                after.popleft()()
                if contextvars.copy_context() != clean:
                    return
        finally:
            if after:
                self._call_soon()

    def _call_standby(self) -> None:
        self._standby = True
        while self._idle:
            future = self._idle.pop()
            if not future.done():
                future.set_result(None)
                return
        runner = asyncio.get_running_loop().create_task(self._work(), context=self.context.copy())
        self._runners.add(runner)
        runner.add_done_callback(self._runners.discard)

    async def _work(self) -> None:
        runner = asyncio.current_task()
        assert runner is not None
        cell: Cell = [None]
        current_attempt.set(cell)
        clean = contextvars.copy_context()
        while True:
            self._standby = False
            count = 0
            until = self._monotonic() + SLICE_S
            while self._queue:
                runs, task = self._queue.popleft()
                if not runs.takes_up(task):
                    continue
                if self._queue and not self._standby:
                    self._call_standby()
                try:
                    await runs.carry_out(task, runner, cell)
                finally:
                    cell[0] = None
                if runner.cancelling() or contextvars.copy_context() != clean:
                    if self._queue and not self._standby:
                        self._call_standby()
                    return
                count += 1
                if count >= SLICE or self._monotonic() > until:
                    count = 0
                    await asyncio.sleep(0)
                    until = self._monotonic() + SLICE_S
            if not self._users:
                return
            future = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future


class RunnersByContext:
    """The runners of many runs: those that were started in the same context share theirs."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: dict[tuple[tuple[int, int], ...], Runners] = {}

    def here(self) -> Runners:
        """Return the runners for the context of the caller."""
        # By identity: a variable may hold what is equal to another's and yet is changed by itself. What is in use keeps its
        # context, and so the ids of what is in it.
        key = tuple((id(variable), id(value)) for variable, value in contextvars.copy_context().items())
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Runners(self._monotonic, lambda: self._forget(key, known))
        return known

    def _forget(self, key: tuple[tuple[int, int], ...], runners: Runners | None) -> None:
        """Keep runners no longer that nobody uses, unless there are others for that context by now."""
        if self._known.get(key) is runners:
            del self._known[key]


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, RunnersByContext] = WeakKeyDictionary()


def runners_in_memory(monotonic: Callable[[], float]) -> Runners:
    """Return the runners for runs in memory, which no engine holds together, in the event loop and context of the caller."""
    loop = asyncio.get_running_loop()
    known = _of_loops.get(loop)
    if known is None:
        known = _of_loops[loop] = RunnersByContext(monotonic)
    return known.here()
