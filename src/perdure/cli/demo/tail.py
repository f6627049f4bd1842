"""Following a log while another process writes it: how far the census has come."""

from __future__ import annotations

from perdure.events import NodeCompleted, NodeStarted, decode_events
from perdure.store.port import Store

PAGE = 512


class Tail:
    """What has been read of a run's log so far.

    Attributes:
        seq: up to which event.
        surveyed: how many files are done.
        is_surveying: whether the first one has begun.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._looking: set[str] = set()
        self.seq = 0
        self.surveyed = 0
        self.is_surveying = False

    async def read_on(self) -> None:
        """Read what has been written since."""
        while rows := await self._store.read(self._run_id, self.seq, PAGE):
            for row in rows:
                for event in decode_events(row.events):
                    if isinstance(event, NodeStarted) and event.node == "look":
                        self._looking.add(event.task)
                        self.is_surveying = True
                    elif isinstance(event, NodeCompleted) and event.task in self._looking:
                        self._looking.discard(event.task)
                        self.surveyed += 1
                self.seq += row.count
