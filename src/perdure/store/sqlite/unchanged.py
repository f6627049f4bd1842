"""Whether a file has stayed as it was, told by what the file system says of its -wal file, which is not opened for that.

SQLite's own answer, ``PRAGMA data_version``, is a matter of microseconds, but has to be asked for in the connection's thread: with
two switches of threads it takes a tenth of a millisecond or two. Who asks 12 to 22 times a second, and is mostly told that nothing
has happened, had better look at the time at which the -wal file was last written. That time is a coarse one: of two writes that
follow each other closely it tells but the first. So SQLite goes on being asked for a while after it has changed, and only what
it said after that while stands until the time changes again; or for a second, should there be file systems that don't tell.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_Mark = tuple[int, int, int]

COARSE_S, FINE_S = 2.5, 0.1
"""For how long SQLite goes on being asked: no file system tells times apart less well than by two seconds; and one that knows
parts of a second, no system less well than by ten milliseconds."""

STANDS_S = 1.0
"""How long an answer stands."""


class Unchanged:
    """Remembers the version of a file for as long as nobody has written to it.

    Args:
        path: of the file itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.path.realpath(path) + "-wal"
        self._mark: _Mark | None = None
        self._version: int | None = None
        self._looked = self._seen = self._noted = 0.0

    def version(self) -> int | None:
        """Return the version that the file still has; None if it has to be asked for."""
        mark, self._looked = self._look(), time.monotonic()
        if mark is None or mark != self._mark:
            self._mark, self._seen, self._version = mark, self._looked, None
        return self._version if self._looked - self._noted < STANDS_S else None

    def note(self, version: int) -> int:
        """Note the answer, and return it."""
        if self._mark is not None:
            is_fine = self._mark[2] % 1_000_000_000 != 0
            if self._looked - self._seen >= (FINE_S if is_fine else COARSE_S):
                self._version, self._noted = version, self._looked
        return version

    def _look(self) -> _Mark | None:
        """Return what changes when the file is written; None where it can't be told."""
        if os.name != "posix":  # elsewhere the time may be told only when the file is closed
            return None
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
