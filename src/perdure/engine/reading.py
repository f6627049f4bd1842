"""Reading: what an engine tells of runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from perdure.engine.arguments import checked_tags
from perdure.engine.calling.values import CodedValues
from perdure.engine.clock import Clock
from perdure.engine.driving.driven import Driven
from perdure.engine.driving.recovery import rebuild
from perdure.engine.driving.registered import new_run
from perdure.engine.handle import RunHandle
from perdure.engine.inspection.history import Recorded, read_history
from perdure.engine.inspection.past import state_at
from perdure.engine.inspection.places import ALL, Wanted, read_placed
from perdure.engine.inspection.results import recorded_end, recorded_failure, recorded_outputs, recorded_successor
from perdure.engine.inspection.standstill import Explanation, Here, explain_run
from perdure.engine.inspection.timeline import RunDiff, Timeline, diff_runs, timeline_of
from perdure.engine.workers.fitting import Fit, fit_of
from perdure.engine.workers.publish import follow
from perdure.engine.workers.worker import Worker
from perdure.errors import (
    GraphRuntimeError,
    RunCancelled,
    RunInterrupted,
    RunNotFound,
    RunPaused,
    RunStalled,
)
from perdure.graph.nodes.wait import since_1970
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.status import Status
from perdure.store.port import Store
from perdure.store.records import RunInfo

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


class Reading:
    """The part of an engine that tells of runs, and changes nothing."""

    _store: Store
    _clock: Clock
    _worker: Worker

    def _check_open(self) -> None:
        if not self._worker.is_open:
            raise GraphRuntimeError("this engine isn't open: use it inside `async with Engine.open(…) as engine`")

    async def check(self, run_id: str) -> Fit:
        """Say whether a run goes on with the graph as this engine has it.

        Raises:
            RunNotFound: there is no such run.
        """
        info = await self.get(run_id)
        mine = self._worker.graphs.of(info)
        if mine is None:
            return Fit(run_id, "stalled", f"this engine wasn't given a graph {info.graph!r}")
        return await fit_of(self._store, info, mine.graph.plan)

    def attach(self, run_id: str) -> RunHandle[Any]:
        """Return a handle of a run that exists, without driving it."""
        return RunHandle(cast("Engine", self), run_id, self._worker.driven.get(run_id))

    async def get(self, run_id: str) -> RunInfo:
        """Return what the store knows of a run.

        Raises:
            RunNotFound: there is no such run.
        """
        self._check_open()
        info = await self._store.get(run_id)
        if info is None:
            raise RunNotFound(f"{self._store.location} holds no run {run_id!r}", run_id=run_id)
        return info

    async def list(
        self,
        *,
        statuses: Sequence[Status | str] = (),
        graph: str | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | None = None,
        limit: int = 100,
        before: datetime | RunInfo | None = None,
    ) -> Sequence[RunInfo]:
        """Return runs, the newest first.

        Args:
            statuses: only runs in one of these.
            graph: only runs of the graph with this name.
            tags: only runs that were started with all of these.
            since: only runs created at this time or later.
            limit: how many at most.
            before: only runs created before this time; or, to turn pages, only those behind this run, the last of a page.

        Raises:
            GraphSetupError: a time has no zone.
            InvalidIdentifier: no run can have such a tag.
        """
        self._check_open()
        wanted = [Status(status).value for status in statuses]
        after = before if isinstance(before, RunInfo) else None
        return await self._store.list(
            statuses=wanted,
            graph=graph,
            limit=limit,
            before=time_of("before", None if isinstance(before, RunInfo) else before),
            since=time_of("since", since),
            after=after,
            tags=checked_tags(tags or {}),
        )

    async def history(
        self,
        run_id: str,
        *,
        from_seq: int = 1,
        to_seq: int | None = None,
        kinds: Collection[str] = (),
        task: str | None = None,
        node: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[Recorded]:
        """Return the events of a run, in order; with conditions those for which all of them hold.

        Args:
            run_id: the run.
            from_seq: only events from this one on.
            to_seq: only events up to this one.
            kinds: only events of these kinds, by name, as ``"NodeFailed"``.
            task: only events about this task, by its id or its path.
            node: only events about this node.
            since: only events from this time on.
            until: only events up to this time.

        Raises:
            RunNotFound: there is no such run.
            StoreCorrupt: its log isn't what was written.
            GraphSetupError: there is no such kind of event, or a time has no zone.
        """
        info = await self.get(run_id)
        first, last = time_of("since", since), time_of("until", until)
        wanted = Wanted(from_seq, to_seq, kinds, task, node, first, last)
        if wanted == ALL:
            return [recorded async for recorded in read_history(self._store, info)]
        return [recorded async for recorded, _ in read_placed(self._store, info, wanted)]

    async def state_at(self, run_id: str, seq: int) -> Any:
        """Return a copy of a run's state as it was once an event had been recorded.

        It is of the graph's own type if this engine was given the graph the run was driven with; else objects come as dicts of
        their fields, and all else as JSON has it.

        Raises:
            RunNotFound: there is no such run.
            GraphRuntimeError: there is no such event.
            StoreCorrupt: its log isn't what was written.
        """
        info = await self.get(run_id)
        return await state_at(self._store, info, seq, self._worker.graphs.of(info))

    async def explain(self, run_id: str, *, limit: int = 20) -> Explanation:
        """Return every reason for which a run makes no progress, the weightiest first.

        Args:
            run_id: the run.
            limit: how many reasons of one kind are told.

        Raises:
            RunNotFound: there is no such run.
        """
        info = await self.get(run_id)
        mine = self._worker.graphs.of(info)
        lacks = mine is not None and run_id not in self._worker.known and info.graph not in self._worker.drivable()
        here = Here(mine.graph.plan if mine is not None else None, lacks, self._worker.throttled(info))
        return await explain_run(self._store, run_id, self._clock.now(), here, limit)

    async def timeline(self, run_id: str) -> Timeline:
        """Return when the batches, attempts, joins and waits of a run began and ended, and its critical path.

        Raises:
            RunNotFound: there is no such run.
            StoreCorrupt: its log isn't what was written.
        """
        self._check_open()
        return await timeline_of(self._store, run_id, self._clock.now())

    async def diff(self, run_a: str, run_b: str) -> RunDiff:
        """Return two runs side by side, aligned by the ids of their tasks.

        Raises:
            RunNotFound: there is no such run.
            StoreCorrupt: a log isn't what was written.
        """
        self._check_open()
        return await diff_runs(self._store, run_a, run_b)

    def follow(self, info: RunInfo, from_seq: int) -> AsyncGenerator[Recorded]:
        """Return the events of a run from a seq on, and those to come; what ``handle.events()`` iterates over."""
        self._check_open()
        return follow(self._worker, info, from_seq)

    def driven(self, run_id: str) -> Driven | None:
        """Return what drives a run in this process, or None."""
        return self._worker.driven.get(run_id)

    def change_of(self, run_id: str) -> asyncio.Future[Driven | None]:
        """Return what is done when something may have changed about a run that isn't driven here, to be given to `changed`.

        Whoever looks at the run after this call, and then waits, misses nothing.
        """
        return self._worker.change_of(run_id)

    async def changed(self, run_id: str, change: asyncio.Future[Driven | None]) -> Driven | None:
        """Wait for a change.

        Returns:
            What drives the run, or has just driven it, if that is here.

        Raises:
            RunInterrupted: this engine is closed.
        """
        driven = await self._told_of(change) if self._worker.is_open else None
        if driven is None and not self._worker.is_open:
            raise RunInterrupted(f"run {run_id!r} is unfinished, and this engine is closed", run_id=run_id)
        return driven

    async def _told_of(self, change: asyncio.Future[Driven | None]) -> Driven | None:
        """Wait for a change that others may wait for, too; ``asyncio.shield`` makes three times as many objects for that."""
        waiting: asyncio.Future[Driven | None] = asyncio.get_running_loop().create_future()
        tell = partial(_tell, waiting)
        change.add_done_callback(tell)
        try:
            return await waiting
        except asyncio.CancelledError:
            change.remove_done_callback(tell)
            raise

    def is_woken(self, info: RunInfo) -> bool:
        """Say whether a run that waits is only waiting to be driven on: something has come in, or its time has come."""
        return info.due_at is not None and info.due_at <= self._clock.now()

    async def recorded_outputs(self, info: RunInfo) -> Sequence[Any]:
        """Return every value that reached the end of a run, from its log; the first is the result.

        Raises:
            RunError: there is none; the class says why.
        """
        return await recorded_outputs(self._store, info, await self._values_of_end(info))

    async def recorded_end(self, info: RunInfo) -> tuple[str, Sequence[Any]]:
        """Return the id of the run that a completed one goes on as, or an empty text; and if it doesn't, its outputs.

        Raises:
            RunError: there are none; the class says why.
        """
        if Status(info.status) is Status.COMPLETED and self._worker.graphs.of(info) is None:
            successor = await self.successor_of(info)  # for which no graph is needed
            if successor:
                return successor, ()
        return await recorded_end(self._store, info, await self._values_of_end(info))

    async def _values_of_end(self, info: RunInfo) -> CodedValues:
        run_id, status = info.run_id, Status(info.status)
        if status is Status.COMPLETED:
            mine = self._worker.graphs.of(info)
            if mine is None:
                raise RunStalled(
                    f"the output of run {run_id!r} is of graph {info.graph!r}, which this engine wasn't given",
                    run_id=run_id,
                )
            return CodedValues(mine.codec)
        if status is Status.FAILED:
            raise await recorded_failure(self._store, info)
        if status is Status.CANCELLED:
            raise RunCancelled(f"run {run_id!r} was cancelled", run_id=run_id)
        if status is Status.PAUSED:
            raise RunPaused(f"run {run_id!r} is paused: resume it to go on", run_id=run_id)
        raise RunStalled(f"run {run_id!r} is stalled: {info.error}", run_id=run_id)

    async def successor_of(self, info: RunInfo) -> str:
        """Return the id of the run that a completed one goes on as, or an empty text."""
        return await recorded_successor(self._store, info)

    async def committed_state(self, run_id: str) -> Any:
        """Return a run's committed state, as a tree, from its log."""
        return (await self._folded(run_id)).state.tree

    async def _folded(self, run_id: str) -> Run:
        info = await self.get(run_id)
        registered = self._worker.graphs.of(info)
        if registered is None or registered.graph.fingerprint != info.fingerprint:
            raise RunStalled(f"run {run_id!r} is of a graph that this engine wasn't given", run_id=run_id)
        values = CodedValues(registered.codec, refolds=False)
        run = new_run(registered.graph, run_id, values)
        await rebuild(self._store, info, run, values.blobs)
        return run


def time_of(name: str, time: datetime | None) -> int | None:
    """Return a time in microseconds since 1970, if there is one.

    Raises:
        GraphSetupError: it has no time zone.
    """
    return since_1970(name, time) if time is not None else None


def _tell(waiting: asyncio.Future[Driven | None], change: asyncio.Future[Driven | None]) -> None:
    if not waiting.done():  # else who waits was cancelled
        waiting.set_result(change.result())
