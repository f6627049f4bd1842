"""Reach: how far a log can be read and folded.

Who inspects a run wants to be told what there is, also where a row is damaged, the end is missing, or an event is of a newer
version. So what goes wrong in a log ends the reading and is kept, to be told beside what was read before it.
"""

from __future__ import annotations

from types import TracebackType

from perdure.errors import GraphRuntimeError, StoreCorrupt
from perdure.store.records import RunInfo


class Reach:
    """Surrounds the reading of a log, and notes what it ends with.

    Args:
        info: the run.
        location: where it is stored.

    Attributes:
        seq: the last event that could be folded; whoever reads counts it on.
        error: what is wrong with what follows, or None.
    """

    def __init__(self, info: RunInfo, location: str) -> None:
        self.seq = 0
        self.error: StoreCorrupt | GraphRuntimeError | None = None
        self._info = info
        self._location = location

    def __enter__(self) -> Reach:
        """Begin to read."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Keep what is wrong with the log; anything else is raised."""
        if isinstance(error, StoreCorrupt | GraphRuntimeError):
            self.error = error
        elif error is None and self.seq < self._info.last_seq:
            self.error = StoreCorrupt(
                f"run {self._info.run_id!r}: the log ends at event {self.seq}, and {self._info.last_seq} were recorded",
                location=self._location,
            )
        return self.error is not None and error is not None

    @property
    def problem(self) -> str:
        """What is wrong, in words, or an empty text."""
        return self.error.message if self.error is not None else ""

    @property
    def text(self) -> str:
        """How far the log can be folded and why no further, or an empty text."""
        return f"the log can't be folded beyond event {self.seq}: {self.problem}" if self.error is not None else ""
