"""The driver of one run: it takes results, decides, commits, and only then acts.

    results ──► decide ──► events ──► commit ──► start bodies, stop bodies, give out the result

It is one coroutine, and the only one that touches the run. If a commit fails, or user code raises in the midst of a
decision, the run in memory is ahead of its log: it is discarded, and rebuilt if the run is to go on.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import msgspec

from perdure.codec.codec import BlobMissing
from perdure.engine.clock import Clock
from perdure.engine.code import UserCode
from perdure.engine.evaluate import Flows
from perdure.engine.executor import Executor
from perdure.engine.journal import Journal
from perdure.engine.recovery import rebuild, refold_joins
from perdure.engine.registered import new_run
from perdure.engine.snapshots import Snapshots
from perdure.engine.streams import Stream
from perdure.engine.values import CodedValues, PlainValues
from perdure.errors import CodecError
from perdure.events import RunFailed, SegmentEnded, SegmentStarted
from perdure.graph.graph import Graph
from perdure.kernel.decide import Happening, decide, hand_back, take_over
from perdure.kernel.deciding import ArrivalFailed, Decision
from perdure.kernel.describe import describe
from perdure.kernel.results import Failed, Result
from perdure.kernel.run import Run
from perdure.kernel.status import OVER
from perdure.store.port import RunUpdate, Store


class Durable(msgspec.Struct):
    """What a run has that is kept in a store."""

    store: Store
    journal: Journal
    values: CodedValues


class Driver:
    """Drives one run from where it is to its end.

    Attributes:
        run: the run as it is.
        exception: what made it fail, if that happened in this process.
        first: what has been decided and committed already, for a run that was just created; until it is acted on.
    """

    def __init__(
        self,
        run: Run,
        graph: Graph[Any, Any, Any, Any],
        flows: Flows,
        values: CodedValues | PlainValues,
        deps: Any,
        segment: SegmentStarted,
        clock: Clock,
        durable: Durable | None,
    ) -> None:
        self.run = run
        self.exception: BaseException | None = None
        self.first: Decision | None = None
        self._graph = graph
        self._flows = flows
        self._values = values
        self._deps = deps
        self._segment = segment
        self._clock = clock
        self._exceptions: dict[str, BaseException] = {}
        self._durable = durable
        self._code = UserCode(graph, flows, values, run.run_id, deps)
        self._wake: asyncio.Future[None] | None = None
        self._stopping = False
        self._snapshots = Snapshots(durable.store, durable.journal, durable.values) if durable is not None else None
        self._executor = Executor(
            run, graph, flows, values, deps, monotonic=clock.monotonic, wake=self._wake_up, fetch=self._fetch
        )

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _fetch(self, digest: str) -> None:
        if self._durable is not None:
            data = await self._durable.store.blob(self.run.run_id, digest)
            self._durable.values.blobs.add(digest, data)

    def output(self) -> Any:
        """Return the output of a run that is complete, a copy at each call."""
        value, _ = self.run.ends[0]
        return self._values.load(value)

    def stop(self) -> None:
        """Ask the driver to hand the run back, so that it can be driven elsewhere or later."""
        self._stopping = True
        self._wake_up()

    async def drive(self) -> None:
        """Drive the run until it is over or has been handed back.

        Raises:
            StoreError: an event couldn't be recorded; nothing that depends on it was done.
        """
        try:
            if self.first is None:
                await self._refold()
                await self._carry_out(await self._decided([], taking_over=True))
            else:
                self._act(self.first)
                self.first = None  # it holds all the inputs; what is left of them is in the run
            while self.run.status not in OVER and not self._stopping:
                if not self._executor.results:
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
                    continue
                await self._carry_out(await self._decided(self._collected()))
            if self.run.status not in OVER:
                await self._carry_out(hand_back(self.run, SegmentEnded(self._segment.worker, "stopped"), self._code))
        finally:
            with anyio.CancelScope(shield=True):
                await self._executor.close()
                if self._snapshots is not None:
                    await self._snapshots.close(self.run)

    async def _refold(self) -> None:
        if self._durable is not None:
            await refold_joins(self.run, self._code, self._durable.store, self._durable.values.blobs)

    def _collected(self) -> list[Result]:
        """Take what has been reported since the last decision."""
        reported = self._executor.results
        self._executor.results = []
        results: list[Result] = []
        for report in reported:
            if isinstance(report, Stream):
                try:
                    results.append(report.handed_over())
                except CodecError as error:
                    results.append(Failed(report.task.id, report.task.attempt, describe(error), error))
            else:
                results.append(report)
        for result in results:
            if isinstance(result, Failed):
                self._exceptions[result.task] = result.exception
        return results

    async def _decided(self, results: list[Result], *, taking_over: bool = False) -> Decision:
        """Decide; where user code raises, discard what was decided and decide again, knowing that it raises."""
        broken: dict[str, Exception] = {}
        while True:
            happening = Happening(self._clock.now(), list(results), broken=broken)
            try:
                if taking_over:
                    return take_over(self.run, self._segment, happening, self._code)
                return decide(self.run, happening, self._code)
            except BlobMissing as missing:
                await self._rebuild()
                await self._fetch(missing.digest)
            except ArrivalFailed as failed:
                if self._durable is None:
                    raise failed.exception from None
                await self._rebuild()
                error = failed.exception
                known = next((result for result in results if result.task == failed.source), None)
                if known is None:
                    broken[failed.join] = error
                else:
                    results[results.index(known)] = Failed(known.task, known.attempt, describe(error), error)

    async def _rebuild(self) -> None:
        """Discard the run in memory and fold its log again."""
        assert self._durable is not None
        await self._durable.journal.flush()
        durable = self._durable
        info = await durable.store.get(self.run.run_id)
        assert info is not None
        run = new_run(self._graph, self.run.run_id, self._values)
        durable.journal.position = await rebuild(durable.store, info, run, durable.values.blobs)
        self.run = self._executor.run = run
        await self._refold()

    async def _carry_out(self, decision: Decision) -> None:
        """Commit a decision, then act on it."""
        run = self.run
        last = decision.events[-1] if decision.events else None
        if isinstance(last, RunFailed):
            self.exception = decision.exception or self._exceptions.get(last.task)
        if self._durable is not None and decision.events:
            error = f"{last.error.type}: {last.error.message}" if isinstance(last, RunFailed) else ""
            leaves = run.status in OVER or isinstance(last, SegmentEnded)
            await self._durable.journal.commit(decision.events, RunUpdate(run.status.value, error), flush=leaves)
        self._act(decision)
        if self._snapshots is not None:
            self._snapshots.consider(self.run)

    def _act(self, decision: Decision) -> None:
        if decision.stopped:
            self._executor.stop(decision.stopped)
        if decision.started:
            self._executor.start(decision.started)
        self._executor.ease()
