"""What the tests of the SQLite store share."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from perdure.store.sqlite.connection import call
from perdure.store.sqlite.store import SQLiteStore


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(path, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def run(main: Coroutine[Any, Any, Any], limit_s: float = 60) -> Any:
    """Run a coroutine, and fail if it hangs."""

    async def limited() -> Any:
        async with asyncio.timeout(limit_s):
            return await main

    return asyncio.run(limited())


async def in_writer(store: SQLiteStore, sql: str) -> list[Any]:
    """Execute a statement on the connection that writes."""
    assert store._writing is not None
    return await call(store._writing, lambda raw: raw.execute(sql).fetchall())


def query(path: Path, sql: str, *parameters: Any) -> list[Any]:
    """Execute a statement on a connection of its own, as a user with the sqlite3 shell would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql, parameters).fetchall()


def python(program: str, *arguments: object, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a program in another interpreter that turns warnings into errors."""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment)


class LockHolder:
    """Another process that holds the write lock until it is told to let go."""

    PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", self.PROGRAM, str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "locked\n"

    def let_go(self) -> None:
        if self._process.returncode is None:
            self._process.communicate("\n")

    def __enter__(self) -> "LockHolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
