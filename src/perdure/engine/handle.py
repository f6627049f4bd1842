"""Handles: how the one who started a run, or found it, waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure.engine.driven import Driven
from perdure.kernel.state.tree import thaw
from perdure.kernel.status import Status
from perdure.store.port import RunInfo

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

OutputT = TypeVar("OutputT")


class RunHandle(Generic[OutputT]):
    """A run, wherever it is driven."""

    def __init__(self, engine: Engine, run_id: str, driven: Driven | None) -> None:
        self._engine = engine
        self._run_id = run_id
        self._driven = driven

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._run_id

    @property
    def is_driven_here(self) -> bool:
        """Whether this process drives the run, or has driven it since this handle was made."""
        return self._driven is not None

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
        """Wait for the end of the run and return its output.

        Cancelling the wait doesn't cancel the run.

        Raises:
            Exception: what a step raised, if that happened in this process.
            RunFailed: the run has failed elsewhere, or earlier.
            RunCancelled: it was cancelled.
            RunStalled: it can't be driven on by the graphs of this process.
            RunInterrupted: this engine has stopped driving it.
        """
        result: OutputT
        if self._driven is not None:
            await asyncio.shield(self._driven.over)
            self._driven.raise_error()
            if self._driven.is_complete:
                result = self._driven.output()
                return result
        info = await self._engine.ended(self._run_id)
        result = await self._engine.recorded_result(info)
        return result

    async def state(self) -> Any:
        """Return a copy of the run's committed state."""
        return thaw(await self.committed_state())

    async def committed_state(self) -> Any:
        """Return the run's committed state, as a tree."""
        if self._driven is not None:
            return self._driven.driver.run.state.tree
        return await self._engine.committed_state(self._run_id)

    def __repr__(self) -> str:
        return f"<RunHandle {self._run_id!r}>"
