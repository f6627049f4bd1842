"""Seeing things through that must not end half-way: opening and closing.

A task can be cancelled at any await, more than once, and not only by who waits for it: ``asyncio.run`` cancels every task of
its loop when it ends, and waits for each. A scope of anyio that is shielded keeps out the cancellations of other scopes, but not
those. So what is to be seen through is a task of its own, which refuses to be cancelled, and who asked for it waits until it
has ended and is cancelled then. (With a task that could be cancelled, closing was broken off in the midst where a loop ended
meanwhile, and the threads of SQLite answered a loop that was closed.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


class _Undisturbed(asyncio.Task[T]):
    def cancel(self, msg: Any | None = None) -> bool:
        """Refuse, unless it comes from a time limit inside: that is a callback of the loop, and no other task."""
        loop = self.get_loop()
        if loop.is_running() and asyncio.current_task(loop) in (None, self):
            return super().cancel(msg)
        return False


async def completed(work: Coroutine[Any, Any, T]) -> T:
    """Do something to its end, whoever is cancelled; who was cancelled meanwhile is so when it has ended.

    Raises:
        CancelledError: the caller was cancelled; its cause is what was raised instead of a result, if anything.
    """
    task = _Undisturbed(work, loop=asyncio.get_running_loop())
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # else a scope that is cancelled would say so again at every turn of the loop
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    return task.result()
