"""Waiting for a lock that another connection holds.

SQLite's own waiting backs off to 100 ms and starved one of eight writing processes for four seconds. A short delay with
jitter, up to a deadline, doesn't: it costs a few tries, and the lock is rarely held for longer than an fsync.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from perdure.store.sqlite.failures import is_busy

T = TypeVar("T")

SHORTEST_S, LONGEST_S = 0.0002, 0.002


def patiently(action: Callable[[], T], timeout_s: float) -> T:
    """Do something, again and again while the file is locked.

    Raises:
        sqlite3.OperationalError: it was still locked after ``timeout_s`` seconds.
    """
    deadline: float | None = None
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            now = time.monotonic()
            if deadline is None:
                deadline = now + timeout_s
            if now >= deadline:
                raise
        time.sleep(random.uniform(SHORTEST_S, LONGEST_S))  # noqa: S311 - a delay, no secret
