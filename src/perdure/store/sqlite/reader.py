"""The one reader of a file: what is asked while a question is under way is asked with the next one.

A call into the connection's thread costs two switches of threads, often more than the question itself. So who asks while nobody
else does takes his question to the thread; those who come meanwhile wait, and the first of them takes the questions of all
along. A thousand runs that are rebuilt at once need a handful of calls.

Whoever takes the questions may be cancelled. Then those of the others are asked again by the next one: reading does no harm.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import aiosqlite

from perdure.store.sqlite.connection import call
from perdure.store.sqlite.patience import patiently

T = TypeVar("T")

_Question = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]

_TAKE_THEM = object()
"""What a waiting caller gets who is to take the questions of all to the thread."""

GROUP_LIMIT = 256


class Reader:
    """Asks questions in the thread of a connection, several at a time."""

    def __init__(self, connection: aiosqlite.Connection, lock_timeout_s: float) -> None:
        self._connection = connection
        self._lock_timeout_s = lock_timeout_s
        self._waiting: list[_Question] = []
        self._is_asking = False

    async def ask(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a function returns that is called with the connection, in its thread.

        Raises:
            Exception: what the function raised.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        mine = (function, future)
        if self._is_asking:
            self._waiting.append(mine)
            try:
                answer = await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._let_go_on(future.result())
                raise
            if answer is not _TAKE_THEM:
                return answer  # type: ignore[no-any-return]
        return await self._ask_all(mine)  # type: ignore[no-any-return]

    async def _ask_all(self, mine: _Question) -> Any:
        """Take one's own question and those that wait to the thread; return what one's own is answered."""
        self._is_asking = True
        others, self._waiting = self._waiting[: GROUP_LIMIT - 1], self._waiting[GROUP_LIMIT - 1 :]
        functions = [mine[0], *(function for function, _ in others)]
        try:
            answers = await call(self._connection, lambda raw: [self._answer(raw, function) for function in functions])
        except asyncio.CancelledError:
            self._waiting[:0] = others
            raise
        except Exception as error:
            answers = [(None, error) for _ in functions]
        finally:
            self._let_go_on(_TAKE_THEM)
        for (_, future), (value, problem) in zip(others, answers[1:], strict=True):
            if future.done():  # its caller was cancelled
                continue
            if problem is not None:
                future.set_exception(problem)
            else:
                future.set_result(value)
        value, problem = answers[0]
        if problem is not None:
            raise problem
        return value

    def _answer(self, raw: sqlite3.Connection, function: Callable[[sqlite3.Connection], Any]) -> tuple[Any, Any]:
        try:
            return patiently(lambda: function(raw), self._lock_timeout_s), None
        except Exception as error:
            return None, error

    def _let_go_on(self, token: object) -> None:
        """Let the next one who waits take the questions of all, if it was one's own turn to."""
        if token is not _TAKE_THEM:
            return
        self._is_asking = False
        while self._waiting:
            _, future = self._waiting.pop(0)
            if not future.done():
                self._is_asking = True
                future.set_result(_TAKE_THEM)
                return
