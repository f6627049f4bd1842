"""Control: what people want of a run.

Requests to pause and to cancel go into the run's inbox; that commit is the acknowledgement, so whoever asked may die right
after. Whoever drives the run, in whichever process, takes them up from there. If nobody does, they are carried out at once:
that takes the lease of the run and the end of its log, and no user code.

What starts a run again that stands still (resume, retry, accept) is written into its log under a lease, which nobody else can hold
then. Either the engine that writes it drives the run on, or it leaves the run to whoever does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal, TypeAlias

import msgspec

from perdure.codec.codec import Blobs
from perdure.engine.calling.values import CodedValues
from perdure.engine.calling.waiting import RequestDetails, request_in, wait_of
from perdure.engine.driving.journal import Beside, Journal
from perdure.engine.driving.recovery import position_of
from perdure.engine.driving.registered import Registered
from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import find, stored_plan
from perdure.engine.inspection.untyped import NoValues
from perdure.engine.owner import is_provably_dead
from perdure.engine.workers.resuming import rebuilt
from perdure.engine.workers.worker import Worker
from perdure.errors import RunConflict, RunStalled, StoreError
from perdure.events import RunAccepted, RunCancelled, RunPaused, RunResumed, RunRetried
from perdure.ids import checked_by, checked_text
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.run import Phase, Run
from perdure.kernel.fold.status import Status
from perdure.kernel.verbs import Verb, refusal
from perdure.store.encryption import check_readable
from perdure.store.records import Lease, NewEntry, RunInfo, RunUpdate

Stop = Literal["pause", "cancel"]
AnyStart: TypeAlias = RunResumed | RunRetried | RunAccepted


def check_accepts(info: RunInfo, verb: Verb) -> None:
    """Refuse a verb that a run doesn't accept as it is.

    Raises:
        RunConflict: it doesn't.
    """
    reason = refusal(info.run_id, verb, Status(info.status))
    if reason is not None:
        raise RunConflict(reason, run_id=info.run_id)


class Control:
    """Stops runs, and starts them again."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._store = worker.store
        worker.when_paused = self._cancel_if_asked

    # --- what stops a run ---

    async def stop(self, run_id: str, verb: Stop, by: str, reason: str, *, now: bool = False) -> None:
        """Ask for a run to stand still or to end."""
        by, reason = checked_by(by), checked_text("reason=", reason)
        info = await find(self._store, run_id)
        check_accepts(info, verb)
        check_readable(info)
        data = msgspec.json.encode(RequestDetails(reason, now))
        put, entry = await self._store.put(NewEntry(run_id, verb, "", data, by, self._worker.clock.now()))
        if put == "over":
            await self.stop(run_id, verb, by, reason)  # it has just ended
            return
        assert entry is not None
        if run_id in self._worker.driven:
            await self._worker.arrivals.nudge(run_id, info.graph)
        else:
            event = RunPaused(by, reason, entry.number) if verb == "pause" else RunCancelled(by, reason, entry.number)
            await self._worker.see_through(self._stop_idle(run_id, event))

    async def _stop_idle(self, run_id: str, event: RunPaused | RunCancelled) -> None:
        """Carry a request out, if nobody drives the run and nobody else has done so."""
        taken = await self._worker.take_lease(await find(self._store, run_id), anyway=True)
        if taken is None:
            return
        try:
            is_there = any(entry.number == event.request for entry in await self._store.inbox(run_id))
            status = Status.PAUSED if isinstance(event, RunPaused) else Status.CANCELLED
            is_allowed = refusal(run_id, "pause" if status is Status.PAUSED else "cancel", Status(taken.status)) is None
            if not is_there or not is_allowed:
                await self._give_back(taken)
                return
            journal = await self._journal_of(taken)
            beside = Beside(consumed=(event.request,), release=True)
            await journal.commit([event], RunUpdate(status.value), beside, flush=True)
        except BaseException:
            await self._give_back(taken)
            raise
        if status is Status.PAUSED:
            await self._cancel_if_asked(run_id)

    async def _cancel_if_asked(self, run_id: str) -> None:
        """Cancel a run that was paused just when somebody asked for its end, so that nobody drives it who would see that."""
        for entry in await self._store.inbox(run_id):
            if entry.kind == "cancel":
                reason = request_in(entry, run_id, self._store.location).reason
                await self._stop_idle(run_id, RunCancelled(entry.by, reason, entry.number))
                return

    # --- what starts a run again ---

    async def accept(self, run_id: str, by: str, reason: str) -> None:
        """Let a stalled run go on with the graph as it is now, driven here or, by a client, left to others."""
        by, reason = checked_by(by), checked_text("reason=", reason)
        mine = self._worker.graphs.of(await find(self._store, run_id))
        event = RunAccepted(mine.graph.fingerprint if mine is not None else "", by, reason)
        await self._worker.see_through(self._start_again(run_id, "accept", event, drive=True))

    async def start_again(self, run_id: str, verb: Verb, event: RunResumed | RunRetried, *, drive: bool) -> None:
        """Let a paused or a failed run go on, driven here or by whoever else knows its graph."""
        said = {"by": checked_by(event.by), "reason": checked_text("reason=", event.reason)}
        event = msgspec.structs.replace(event, **said)
        await self._worker.see_through(self._start_again(run_id, verb, event, drive=drive and self._worker.drives))

    async def _start_again(self, run_id: str, verb: Verb, event: AnyStart, *, drive: bool) -> None:
        worker, info = self._worker, await find(self._store, run_id)
        mine = worker.graphs.of(info) if drive else None
        if drive and mine is None:
            raise RunStalled(
                f"run {run_id!r} is of graph {info.graph!r}, which this engine wasn't given: give it the graph, or leave "
                "the run to another worker, drive=False",
                run_id=run_id,
            )
        check_accepts(info, verb)
        taken = await self._worker.take_lease(info, anyway=True)
        if taken is None:
            raise RunConflict(f"another worker has just taken run {run_id!r}", run_id=run_id)
        try:
            check_accepts(taken, verb)
            if mine is None:
                await self._leave_to_others(taken, event)
            else:
                await self._go_on(mine, taken, event)
        except BaseException:
            await self._give_back(taken)
            raise

    async def _go_on(self, mine: Registered, taken: RunInfo, event: AnyStart) -> None:
        """Let a run go on, driven here, if this worker drives any."""
        worker, values = self._worker, CodedValues(mine.codec)
        await worker.part(taken.run_id)
        run, journal = await rebuilt(worker, mine, taken, values, accepting=isinstance(event, RunAccepted))
        apply(run, event)
        beside = await self._beside(run, release=not worker.drives)
        await journal.commit([event], RunUpdate(run.status.value), beside, flush=True)
        if not worker.drives:
            return
        deps = worker.deps_of(mine.graph, worker.kept_deps(run.run_id))
        worker.drive(run, mine, values, journal, deps, None, is_given=run.run_id in worker.known)

    async def _leave_to_others(self, taken: RunInfo, event: AnyStart) -> None:
        """Let a run go on whose graph isn't known here: the next worker that knows it drives it."""
        run = Run(await stored_plan(self._store, taken), taken.run_id, NoValues())
        async for recorded in read_history(self._store, taken):
            apply(run, recorded.event)
        apply(run, event)
        journal = await self._journal_of(taken)
        beside = await self._beside(run, release=True)
        await journal.commit([event], RunUpdate(run.status.value), beside, flush=True)

    async def _beside(self, run: Run, *, release: bool) -> Beside:
        """Return what changes with a run that goes on: its waits, which a failed one was stripped of, and its inbox.

        Requests to pause that came in before are done with.
        """
        now = self._worker.clock.now()
        waiting = [task for task in run.tasks.values() if task.phase is Phase.WAITING]
        pauses = [entry.number for entry in await self._store.inbox(run.run_id) if entry.kind == "pause"]
        opened = tuple(wait_of(run, task, now) for task in waiting)
        return Beside(opened=opened, consumed=tuple(pauses), release=release)

    # --- leases ---

    async def free(self, info: RunInfo) -> None:
        """See to it that a run can be taken at once that nobody drives any more.

        Raises:
            RunConflict: somebody does, as far as can be told.
        """
        owner = info.owner
        if owner is None or info.lease_until <= self._worker.clock.now():
            return
        if not is_provably_dead(owner):
            raise RunConflict(
                f"pid {owner.pid} on {owner.host} drives run {info.run_id!r}: it can be recovered when that process is known "
                "to be dead, or its lease has run out",
                run_id=info.run_id,
            )
        await self._store.expire(info.run_id, info.epoch)

    async def _journal_of(self, taken: RunInfo) -> Journal:
        """Return a journal that writes at the end of a run's log, which needn't be folded for that."""
        position = await position_of(self._store, taken)
        publish = self._worker.publisher.publish
        observed = await self._worker.observing.run_in(self._store, taken.run_id, None, taken.epoch, publish)
        return Journal(
            self._store,
            taken.run_id,
            taken.epoch,
            position,
            self._worker.clock,
            Blobs(),
            "sync",
            observed,
        )

    async def _give_back(self, info: RunInfo) -> None:
        if info.run_id not in self._worker.driven:
            with suppress(StoreError):
                await self._store.release([Lease(info.run_id, info.epoch, 0)])
