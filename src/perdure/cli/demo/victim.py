"""Starting, killing and ending the demo's worker, and the processes that it has started itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_S = 0.005


class Worker:
    """A worker process; used as a context manager, which ends it in any case."""

    def __init__(self, db: Path, run_id: str, folder: Path) -> None:
        self._arguments = [str(db), run_id, str(folder)]
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)

    def __enter__(self) -> Self:
        # A session of its own, so that what the worker starts can be ended with it; and no module is taken from the
        # current directory, which may be any folder of the user's.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "perdure.cli.demo.worker", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        return self

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def kill(self) -> bool:
        """Kill it with SIGKILL, and wait until it is dead; return False if it had ended before."""
        if self.is_over:
            return False
        self._process.kill()
        return self._process.wait() == -signal.SIGKILL

    async def ended(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        while not self.is_over:  # noqa: ASYNC110  (a process sets no asyncio.Event)
            await asyncio.sleep(POLL_S)
        return self._process.returncode

    def complaint(self) -> str:
        """Return what it has written to standard error."""
        self._complaints.seek(0)
        return self._complaints.read().decode(errors="replace").strip()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._complaints.close()
