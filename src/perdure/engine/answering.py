"""What comes to a run from outside: answers, signals, and what people want of it.

Answers, signals and requests go into the run's inbox; that commit is the acknowledgement, and whoever drives the run, in
whichever process, takes it up from there. What starts a run again that stands still (resume, retry) is written into its log
under a lease, which nobody else can hold then.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import msgspec

from perdure.codec.codec import Blobs
from perdure.engine.journal import Beside, Journal
from perdure.engine.recovery import position_of
from perdure.engine.values import CodedValues
from perdure.engine.waiting import RequestDetails, Waiting, wait_of, waiting_of
from perdure.engine.worker import Worker
from perdure.errors import AnswerRefused, GraphSetupError, RunConflict, RunNotFound, RunStalled, StoreError
from perdure.events import AnyEvent, RunAccepted, RunCancelled, RunResumed, RunRetried
from perdure.graph.forms import answered, check_schema, plain_answer
from perdure.graph.plan import WaitKind
from perdure.graph.wait import Wait as WaitNode
from perdure.kernel.apply import apply
from perdure.kernel.run import Phase, Run
from perdure.kernel.status import Status
from perdure.store.port import Lease, NewEntry, RunInfo, RunUpdate, Wait


class Answering:
    """Hands what comes from outside to runs."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._store = worker.store

    async def waiting(
        self, run_id: str | None, *, assignee: str | None, kind: str | None, limit: int
    ) -> Sequence[Waiting]:
        """Return open waits, the oldest first."""
        found = await self._store.waits(run_id=run_id, assignee=assignee, kind=kind, limit=limit)
        return [waiting_of(wait) for wait in found]

    # --- answers and signals ---

    async def respond(self, run_id: str, task_id: str, value: Any, by: str) -> None:
        """Answer a task that waits for a person."""
        info = await self._info(run_id)
        data = plain_answer(value)
        wait = await self._wait(run_id, task_id)
        if wait is not None and wait.kind == WaitKind.HUMAN.value:
            self._check(info, wait, data)
        entry = NewEntry(run_id, "answer", task_id, data, by, self._worker.clock.now())
        put, known = await self._store.put(entry)
        if put == "taken":
            who = f" by {known.by}" if known is not None and known.by else ""
            raise AnswerRefused(f"run {run_id!r}: task {task_id} has been answered already{who}, and differently")
        if put not in ("accepted", "same"):
            raise AnswerRefused(
                f"run {run_id!r}: no person is asked by task {task_id}: it isn't open (any more); `waiting` lists those that are"
            )
        await self._worker.nudge(run_id)

    def _check(self, info: RunInfo, wait: Wait, data: bytes) -> None:
        """See to it that an answer fits its form, as far as that can be told here."""
        mine = self._worker.graphs.get(info.graph)
        node = mine.graph.nodes.get(wait.node) if mine is not None else None
        if mine is not None and isinstance(node, WaitNode):
            CodedValues(mine.codec).record(wait.node, answered(node.form, data))
            return
        schema = msgspec.json.decode(wait.schema)
        if schema:
            with suppress(GraphSetupError):  # without jsonschema, whoever drives the run checks it
                check_schema(schema, msgspec.json.decode(data))

    async def _wait(self, run_id: str, task_id: str) -> Wait | None:
        last: Wait | None = None
        while page := await self._store.waits(run_id=run_id, after=last):
            for wait in page:
                if wait.task == task_id:
                    return wait
            last = page[-1]
        return None

    async def signal(self, run_id: str, name: str, payload: Any, by: str) -> None:
        """Send a signal to a run."""
        info = await self._info(run_id)
        data = plain_answer(payload)
        mine = self._worker.graphs.get(info.graph)
        nodes = list(mine.graph.nodes.values()) if mine is not None else []
        forms = [node.form for node in nodes if isinstance(node, WaitNode) and node.name == name]
        refusals = []
        for form in forms:
            try:
                answered(form, data)
            except AnswerRefused as refusal:
                refusals.append(refusal)
        if forms and len(refusals) == len(forms):
            raise refusals[0]
        put, _ = await self._store.put(NewEntry(run_id, "signal", name, data, by, self._worker.clock.now()))
        if put == "over":
            raise AnswerRefused(f"run {run_id!r} is over, and takes no signal {name!r}")
        await self._worker.nudge(run_id)

    async def request(
        self, run_id: str, verb: Literal["pause", "cancel"], by: str, reason: str, *, now: bool = False
    ) -> None:
        """Ask for a run to stand still or to end."""
        info = await self._info(run_id)
        if info.status in (Status.PAUSED, Status.STALLED, Status.FAILED) and verb == "cancel":
            await self._cancel_idle(info, by, reason)
            return
        data = msgspec.json.encode(RequestDetails(reason, now))
        put, _ = await self._store.put(NewEntry(run_id, verb, "", data, by, self._worker.clock.now()))
        if put == "over":
            raise RunConflict(f"run {run_id!r} is over: it can't {verb}", run_id=run_id)
        await self._worker.nudge(run_id)

    async def _cancel_idle(self, info: RunInfo, by: str, reason: str) -> None:
        """End a run that stands still; that needs no graph, only the end of its log."""
        if info.status == Status.FAILED:
            raise RunConflict(f"run {info.run_id!r} is over: it can't be cancelled", run_id=info.run_id)
        taken = await self._taken(info, Status(info.status))
        position = await position_of(self._store, taken)
        journal = Journal(self._store, info.run_id, taken.epoch, position, self._worker.clock, Blobs(), "sync")
        await journal.commit([RunCancelled(by, reason)], RunUpdate("CANCELLED"), Beside(release=True), flush=True)

    # --- what starts a run again ---

    async def resume(self, run_id: str, by: str, reason: str) -> None:
        """Let a paused run go on."""
        event = RunResumed(by, reason)
        await self._worker.see_through(self._start_again(run_id, Status.PAUSED, event))

    async def retry(self, run_id: str, by: str, reason: str, max_steps: int | None) -> None:
        """Let a failed run go on."""
        event = RunRetried(by, reason, max_steps)
        await self._worker.see_through(self._start_again(run_id, Status.FAILED, event))

    async def accept(self, run_id: str, by: str, reason: str) -> None:
        """Let a stalled run go on with the graph as it is now."""
        info = await self._info(run_id)
        mine = self._worker.graphs.get(info.graph)
        event = RunAccepted(mine.graph.fingerprint if mine is not None else "", by, reason)
        await self._worker.see_through(self._start_again(run_id, Status.STALLED, event, accepting=True))

    async def _start_again(self, run_id: str, wanted: Status, event: AnyEvent, *, accepting: bool = False) -> None:
        worker, info = self._worker, await self._info(run_id)
        mine = worker.graphs.get(info.graph)
        if mine is None:
            raise RunStalled(
                f"run {run_id!r} is of graph {info.graph!r}, which this engine wasn't given", run_id=run_id
            )
        taken = await self._taken(info, wanted)
        values = CodedValues(mine.codec)
        try:
            run, journal = await worker.rebuilt(mine, taken, values, accepting=accepting)
            apply(run, event)
            await journal.commit([event], RunUpdate(run.status.value), self._beside(run), flush=True)
        except BaseException:
            await self._give_back(taken)
            raise
        if not worker.drives:
            await self._give_back(taken)
            return
        deps = worker.deps_of(mine.graph, worker.known[run_id]) if run_id in worker.known else None
        worker.drive(run, mine, values, journal, deps or worker.deps_of(mine.graph), None)

    def _beside(self, run: Run) -> Beside:
        """Return the waits of a run, which a failed one was stripped of."""
        now = self._worker.clock.now()
        waiting = [task for task in run.tasks.values() if task.phase is Phase.WAITING]
        return Beside(opened=tuple(wait_of(run, task, now) for task in waiting))

    async def _taken(self, info: RunInfo, wanted: Status) -> RunInfo:
        """Take the lease of a run that nobody drives."""
        worker = self._worker
        if info.status != wanted:
            raise RunConflict(f"run {info.run_id!r} is {info.status}, and not {wanted.value}", run_id=info.run_id)
        claimed = await self._store.claim(
            worker.owner,
            graphs=(),
            now=worker.clock.now(),
            until=worker.leases.until(),
            limit=1,
            run_id=info.run_id,
            anyway=True,
        )
        if not claimed:
            raise RunConflict(f"another worker has just taken run {info.run_id!r}", run_id=info.run_id)
        if claimed[0].status != wanted:
            await self._give_back(claimed[0])
            raise RunConflict(f"run {info.run_id!r} is {claimed[0].status} by now", run_id=info.run_id)
        return claimed[0]

    async def _give_back(self, info: RunInfo) -> None:
        with suppress(StoreError):
            await self._store.release([Lease(info.run_id, info.epoch, 0)])

    async def _info(self, run_id: str) -> RunInfo:
        info = await self._store.get(run_id)
        if info is None:
            raise RunNotFound(f"{self._store.location} holds no run {run_id!r}", run_id=run_id)
        return info
