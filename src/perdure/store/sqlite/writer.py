"""The one writer of a file: what waits to be written, and who waits for it.

Callers hand in operations and wait for futures; nobody who may be cancelled is ever inside a transaction. (With a lock
around begin, statements and commit, 1,000 of 5,000 random cancellations left the connection inside a transaction; this way
none did.) What is waiting goes into one transaction, up to 512 operations: under load, many runs share an fsync.

A task carries what waits to the connection's thread, one tick of the loop after the first was handed in, so that all that
come in the same tick go together. Where operations have come one by one for a while, that is a detour: the caller then carries
its operation itself (40 of 550 µs less). The task lives while there is something to carry, so an event loop that ends
finds none that is idle. If it is cancelled all the same, as ``asyncio.run`` does with every task at its end, it first sees
to what it has begun; for what is handed in after that there is a new one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiosqlite

from perdure.errors import StoreClosed, StoreError
from perdure.store.sqlite.connection import call
from perdure.store.sqlite.operations import Operation
from perdure.store.sqlite.transactions import Transactions

GROUP_LIMIT = 512
LONE_COMMITS = 3
"""After how many commits of one operation each the next caller isn't expected to have company."""


class Writer:
    """Commits operations in groups, in the order in which they were handed in."""

    def __init__(self, connection: aiosqlite.Connection, location: str, *, lock_timeout_s: float) -> None:
        self._connection = connection
        self._location = location
        self._transactions = Transactions(location, lock_timeout_s)
        self._waiting: deque[tuple[Operation, asyncio.Future[Any]]] = deque()
        self._carrier: asyncio.Task[None] | None = None
        self._is_led = False
        self._lone_commits = 0
        self._is_closed = False

    @property
    def commits(self) -> int:
        """How many transactions were committed."""
        return self._transactions.count

    def submit(self, operation: Operation) -> Awaitable[Any]:
        """Hand in an operation; return what comes to its result, once it is durable.

        That is a future if the operation is carried with others, and else a coroutine, in which its caller carries it.
        A caller that is cancelled takes nothing back: the operation is done, or not, as a whole.

        Raises:
            StoreError: it isn't done; where it is awaited, it wasn't.
        """
        if self._carrier is None and not self._is_led and self._lone_commits >= LONE_COMMITS:
            return self._lead(operation)
        return self._queue(operation)

    def _queue(self, operation: Operation) -> asyncio.Future[Any]:
        """Put an operation to those that are carried together."""
        if self._is_closed:
            raise StoreClosed("the store is closed", location=self._location)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        if self._carrier is None and not self._is_led:
            self._carry_on()
        return future

    async def close(self) -> None:
        """Finish what was handed in, and take nothing more."""
        self._is_closed = True
        self._carry_on()
        while self._carrier is not None:
            await asyncio.wait([self._carrier])

    async def _lead(self, operation: Operation) -> Any:
        """Do an operation in the task of its caller, unless somebody else has begun to do one in the meantime."""
        if self._is_closed or self._is_led or self._carrier is not None:
            return await self._queue(operation)
        self._is_led = True
        try:
            (outcome,) = await call(self._connection, lambda raw: self._transactions.run(raw, [operation]))
        except Exception as error:
            raise self._unusable(error) from error
        finally:  # also if the caller was cancelled: the thread works in order, so what comes now is done after this
            self._is_led = False
            self._lone_commits = 0 if self._waiting else self._lone_commits + 1
            self._carry_on()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _carry_on(self, _: asyncio.Task[None] | None = None) -> None:
        """See to it that a task carries what waits."""
        if self._carrier is not None and self._carrier.done():
            self._carrier = None  # if something waits all the same, it was cancelled before it had begun
        if self._waiting and self._carrier is None:
            self._carrier = asyncio.get_running_loop().create_task(self._carry(), name="perdure-writer")
            self._carrier.add_done_callback(self._carry_on)

    async def _carry(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_LIMIT))]
            try:
                outcomes = await self._done([operation for operation, _ in group])
            except Exception as error:
                outcomes = [self._unusable(error) for _ in group]
            for (_, future), outcome in zip(group, outcomes, strict=True):
                _settle(future, outcome)
            self._lone_commits = self._lone_commits + 1 if len(group) == 1 and not self._waiting else 0

    async def _done(self, operations: Sequence[Operation]) -> list[Any]:
        """Do operations in the connection's thread and return their outcomes, whoever is cancelled meanwhile."""
        outcomes: list[Any] = []
        work: Callable[[Any], None] = lambda raw: outcomes.extend(self._transactions.run(raw, operations))  # noqa: E731
        while True:
            try:
                await call(self._connection, work)
            except asyncio.CancelledError:
                work = _nothing  # the thread works in order: when it has done this, it has done what came before
            else:
                return outcomes

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(f"the connection can't be used any more ({error})", location=self._location)


def _nothing(_: Any) -> None:
    pass


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
