"""Publishing: telling those who watch what was committed.

Only what is durable is told, after the commit and in the order of the log. Callbacks are called with each event; one that
raises is detached and logged, and the run goes on. Followers are only woken, and read the log at their own pace, so that
a slow one neither holds the run nor fills the memory.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure.codec.redaction import Redaction
from perdure.engine.calling.logging import get_logger, log_exception
from perdure.engine.driving.journal import Position
from perdure.engine.driving.recovery import PAGE, read_row
from perdure.engine.inspection.history import Recorded
from perdure.errors import RunInterrupted, StoreError
from perdure.events import RunCancelled, RunCompleted, RunFailed, decode_events
from perdure.store.chain import chain_start
from perdure.store.records import Row, RunInfo

if TYPE_CHECKING:
    from perdure.engine.workers.worker import Worker

OnEvent: TypeAlias = Callable[[str, Recorded], object]
"""A function that is called with the id of a run and an event that was committed."""


class Publisher:
    """Tells what one engine commits."""

    def __init__(self, callbacks: Sequence[OnEvent], redaction: Redaction | None = None) -> None:
        self._callbacks = list(callbacks)
        self._redaction = redaction
        self._followers: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def publish(self, run_id: str, rows: Sequence[Row]) -> None:
        """Tell that rows were committed."""
        for future in self._followers.pop(run_id, ()):
            if not future.done():
                future.set_result(None)
        if not self._callbacks:
            return
        for row in rows:
            for offset, event in enumerate(decode_events(row.events)):
                recorded = Recorded(row.first + offset, row.ts, row.epoch, event)
                for callback in list(self._callbacks):
                    self._call(callback, run_id, recorded)

    def _call(self, callback: OnEvent, run_id: str, recorded: Recorded) -> None:
        try:
            callback(run_id, recorded)
        except Exception as error:
            self._callbacks.remove(callback)
            log, said = get_logger("perdure.engine"), "on_event has raised, and isn't called any more"
            log_exception(log, said, error, self._redaction, run=run_id, seq=recorded.seq)

    def commit_of(self, run_id: str) -> asyncio.Future[None]:
        """Return a future that is done with the next commit of a run."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._followers[run_id].add(future)
        return future

    def forget(self, run_id: str, future: asyncio.Future[None]) -> None:
        """Let a future go that nobody waits for any more."""
        followers = self._followers.get(run_id)
        if followers is not None:
            followers.discard(future)
            if not followers:
                del self._followers[run_id]


async def follow(worker: Worker, info: RunInfo, from_seq: int) -> AsyncGenerator[Recorded]:
    """Yield the events of a run from a seq on, those in its log and then those to come, until it is over.

    Raises:
        StoreCorrupt: a row isn't what was written.
        RunInterrupted: the engine is closed, and the run isn't over.
    """
    run_id = info.run_id
    position = Position(0, chain_start(run_id, info.graph), 0)
    is_over = False
    while True:
        commit, change = (
            worker.publisher.commit_of(run_id),
            worker.change_of(run_id),
        )  # first, so that nothing is missed
        try:
            while rows := await _read(worker, run_id, position.seq):
                for row in rows:
                    events = read_row(row, position, run_id, worker.store.location)
                    is_over = isinstance(events[-1], RunCompleted | RunFailed | RunCancelled)
                    for offset, event in enumerate(events):
                        if row.first + offset >= from_seq:
                            yield Recorded(row.first + offset, row.ts, row.epoch, event)
            if is_over:
                return
            either: set[asyncio.Future[Any]] = {commit, change}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            worker.publisher.forget(run_id, commit)


async def _read(worker: Worker, run_id: str, after: int) -> Sequence[Row]:
    closed = f"run {run_id!r} is unfinished, as far as it was followed, and this engine is closed"
    if not worker.is_open:
        raise RunInterrupted(closed, run_id=run_id)
    try:
        return await worker.store.read(run_id, after, PAGE)
    except StoreError as error:
        if not worker.is_open:
            raise RunInterrupted(closed, run_id=run_id) from error
        raise
