"""Handles: how the one who started a run, or found it, waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure.engine.calling.waiting import Waiting
from perdure.engine.driving.driven import Driven
from perdure.engine.inspection.history import Recorded
from perdure.engine.inspection.standstill import Explanation
from perdure.kernel.fold.status import OVER, Status
from perdure.kernel.state.tree import thaw
from perdure.store.records import RunInfo

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

OutputT = TypeVar("OutputT")

_STILL = OVER | {Status.PAUSED, Status.STALLED}
"""The statuses in which nothing happens any more by itself."""


class RunHandle(Generic[OutputT]):
    """A run, wherever it is driven."""

    def __init__(self, engine: Engine, run_id: str, driven: Driven | None) -> None:
        self._engine = engine
        self._run_id = run_id
        self._driven = driven
        self._was_driven = driven is not None

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._run_id

    @property
    def is_driven_here(self) -> bool:
        """Whether this process drives the run, or has driven it since this handle was made."""
        return self._was_driven or self._engine.driven(self._run_id) is not None

    async def info(self) -> RunInfo:
        """Return what the store knows of the run.

        Raises:
            RunNotFound: it is gone.
        """
        return await self._engine.get(self._run_id)

    async def status(self) -> Status:
        """Return where the run is in its life."""
        return Status((await self.info()).status)

    async def result(self) -> OutputT:
        """Wait for the end of the run and return its output; if it goes on as a new run, that of the last one.

        Cancelling the wait doesn't cancel the run.

        Raises:
            Exception: what a step raised, if that happened in this process.
            RunFailed: the run has failed elsewhere, or earlier.
            RunCancelled: it was cancelled.
            RunPaused: it stands still until it is resumed.
            RunStalled: it can't be driven on by the graphs of this process.
            RunInterrupted: this engine has stopped driving it.
        """
        driven = self._driven
        if driven is not None and not driven.is_over:  # as below, but of many who wait none keeps more than this
            await driven.settled()
        result: OutputT = (await self.outputs())[0]
        return result

    async def outputs(self) -> Sequence[Any]:
        """Wait for the end of the run and return every value that reached it, in order; the first is the result.

        There is more than one only with ``GraphBuilder(end="all")``.

        Raises:
            Exception: as for :meth:`result`.
        """
        _, info = await self._come_to(_STILL)
        if self._driven is not None and self._driven.is_complete:
            continued = self._driven.driver.run.successor
            if continued is None:
                return self._driven.outputs()
            return await self._engine.attach(continued.successor).outputs()
        successor, outputs = await self._engine.recorded_end(info or await self.info())
        return await self._engine.attach(successor).outputs() if successor else outputs

    async def until_waiting(self) -> Sequence[Waiting]:
        """Wait until all that is left to do in the run is to wait, or until it is over; return what it waits for.

        A stream is at work until it has ended, also while it waits for its arms; :meth:`waiting` says what these wait for.

        Raises:
            Exception: as for :meth:`result`, if the run has failed, was cancelled, or stands still.
        """
        status, info = await self._come_to(_STILL | {Status.WAITING})
        if status not in (Status.WAITING, Status.COMPLETED):
            await self._engine.recorded_outputs(info or await self.info())
        return await self.waiting() if status is Status.WAITING else []

    async def _come_to(self, statuses: frozenset[Status]) -> tuple[Status, RunInfo | None]:
        """Wait until the run is in one of some statuses, and nobody here drives it; return that, and what the store knows then.

        Of a run that was completed here the store wasn't asked.
        """
        while True:
            driven = self._engine.driven(self._run_id) or self._driven
            if driven is not None:
                self._driven, self._was_driven = driven, True
                await driven.settled()
                driven.raise_error()
                if driven.is_complete:
                    return Status.COMPLETED, None
                self._driven = driven = (
                    None  # from here on the log knows more, and a run that waits isn't kept in memory
                )
                if not self._engine.is_open:  # no change is to come, and that is what it says
                    await self._engine.changed(self._run_id, self._engine.change_of(self._run_id))
            change = self._engine.change_of(self._run_id)
            info = await self.info()
            status = Status(info.status)
            if status in statuses and not (status is Status.WAITING and self._engine.is_woken(info)):
                return status, info
            self._driven = self._engine.driven(self._run_id) or await self._engine.changed(self._run_id, change)

    async def events(self, from_seq: int = 0) -> AsyncIterator[Recorded]:
        """Yield the events of the run, those in its log and then those to come, until it is over.

        They come at the pace at which they are asked for; the run doesn't wait for that.

        Args:
            from_seq: the seq to begin with; one more than the last that was seen goes on from there.

        Raises:
            RunNotFound: the run is gone.
            StoreCorrupt: its log isn't what was written.
            RunInterrupted: the engine was closed, and the run isn't over.
        """
        async with aclosing(self._engine.follow(await self.info(), from_seq)) as followed:
            async for recorded in followed:
                yield recorded

    # --- from outside ---

    async def waiting(self) -> Sequence[Waiting]:
        """Return what the run waits for, the oldest first."""
        return await self._engine.waiting(self._run_id)

    async def respond(self, task_id: str, value: Any, *, by: str = "") -> None:
        """Answer a task that waits for a person; see :meth:`Engine.respond`.

        Raises:
            AnswerRefused: it doesn't fit the form, the task doesn't wait, or somebody has answered it differently.
        """
        await self._engine.respond(self._run_id, task_id, value, by=by)

    async def signal(self, name: str, payload: Any = None, *, by: str = "") -> None:
        """Send a signal to the run; see :meth:`Engine.signal`.

        Raises:
            AnswerRefused: the payload doesn't fit what the graph expects, or the run is over.
        """
        await self._engine.signal(self._run_id, name, payload, by=by)

    async def pause(self, *, by: str = "", reason: str = "", now: bool = False) -> None:
        """Let the run stand still until it is resumed; see :meth:`Engine.pause`.

        Raises:
            RunConflict: it is over.
        """
        await self._engine.pause(self._run_id, by=by, reason=reason, now=now)

    async def cancel(self, *, by: str = "", reason: str = "") -> None:
        """End the run for good; see :meth:`Engine.cancel`.

        Raises:
            RunConflict: it is over.
        """
        await self._engine.cancel(self._run_id, by=by, reason=reason)

    async def explain(self, *, limit: int = 20) -> Explanation:
        """Return every reason for which the run makes no progress; see :meth:`Engine.explain`."""
        return await self._engine.explain(self._run_id, limit=limit)

    async def state(self) -> Any:
        """Return a copy of the run's committed state."""
        return thaw(await self.committed_state())

    async def committed_state(self) -> Any:
        """Return the run's committed state, as a tree."""
        driven = self._engine.driven(self._run_id) or self._driven
        if driven is not None and not driven.driver.has_handed_back:
            return driven.driver.run.state.tree
        return await self._engine.committed_state(self._run_id)

    def __repr__(self) -> str:
        return f"<RunHandle {self._run_id!r}>"
