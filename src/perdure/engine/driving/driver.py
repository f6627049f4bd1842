"""The driver of one run: it takes results, decides, commits, and only then acts.

    results ──► decide ──► events ──► commit ──► start bodies, stop bodies, give out the result

It is one coroutine, and what it is made of are the turns of ``turns.py``; where nothing has to be awaited, they are taken without
waking it. If a commit fails, or user code raises in the midst of a decision, the run in memory is ahead of its log: it is
discarded, and rebuilt if the run is to go on.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anyio

from perdure.codec.codec import BlobMissing
from perdure.engine.calling.waiting import request_in
from perdure.engine.driving.recovery import rebuild, refold_joins
from perdure.engine.driving.registered import new_run
from perdure.engine.driving.succession import create_successor
from perdure.engine.driving.turns import Turns
from perdure.errors import GraphRuntimeError
from perdure.events import WAITS, RunContinued, SegmentEnded
from perdure.kernel.decide.conclude import Successor
from perdure.kernel.decide.decide import Happening, decide, hand_back, rest_of
from perdure.kernel.decide.deciding import ArrivalFailed, Decision
from perdure.kernel.decide.results import Delivery, Failed, Request, Result
from perdure.kernel.fold.apply import apply
from perdure.kernel.fold.run import Phase
from perdure.kernel.fold.status import FINAL, Status

REST_S = 1.0
"""A run that waits for longer is let go of, and rebuilt when it is woken."""


class Driver(Turns):
    """Drives one run from where it is to its end, or until there is nothing to do but wait."""

    __slots__ = ()

    def outputs(self) -> list[Any]:
        """Return every value that reached the end of a run that is complete, copies at each call."""
        ends = self.run.ends if self.run.plan.end == "all" else self.run.ends[:1]
        return [self._values.load(value) for value, _ in ends]

    def stop(self) -> None:
        """Ask the driver to hand the run back, so that it can be driven elsewhere or later."""
        self._stopping = True
        self._wake_up()

    def drain(self) -> None:
        """Ask the driver to hand the run back as soon as the bodies that run have ended, and to start no others."""
        self._draining = True
        self._wake_up()

    def nudge(self, last: int | None = None) -> None:
        """Ask the driver to look into the run's inbox, unless it has seen the last entry there."""
        if last is None or last > self._seen_entry:
            self._has_mail = True
            self._wake_up()

    async def drive(self) -> None:
        """Drive the run until it is over, stands still, waits, or has been handed back.

        Raises:
            StoreError: an event couldn't be recorded; nothing that depends on it was done.
            GraphRuntimeError: it waits for somebody who can't reach it.
        """
        try:
            if self.first is None:
                await self._refold()
                await self._look_into_inbox(self._durable is not None)
                await self._carry_out(await self._decided([], taking_over=True))
            else:
                self._note_failure(self.first)
                self._note_waits(self.first.events)
                self._act(self.first)
                self.first = None  # it holds all the inputs; what is left of them is in the run
                await self._offer()
            while self._goes_on():
                if self._undecided is not None:
                    results, self._undecided = self._undecided, None
                    raised, self._raised = self._raised, None
                    await self._carry_out(await self._decided(results, raised=raised))
                elif self.run.successor is not None:
                    await self._continue(self.run.successor)
                elif self.steps is not None and await self.steps.take_word(
                    self.run, self._flows, self._values, self._deps
                ):
                    await self._carry_out(await self._decided([]))
                elif self._executor.results or self._has_mail or self._times_come():
                    await self._look_into_inbox(self._has_mail)
                    await self._carry_out(await self._decided(self._collected()))
                elif self._is_drained() or self._may_rest():
                    await self._rest()
                elif self.steps is None or not self.steps.has_word:
                    self._wake = asyncio.get_running_loop().create_future()
                    if (alarm := self._timed()) is not None:
                        alarm.set(self.run)
                    await self._wake
            if self.run.status is Status.RUNNING:
                await self._hand_back("stopped")
        finally:
            await self._tidy_up()
            self._let_go()

    async def _tidy_up(self) -> None:
        if self._alarm is not None:
            self._alarm.end()
        if self._landing is None and self._snapshots is None and self._executor.close_now():
            return
        with anyio.CancelScope(shield=True):
            if self._landing is not None:
                self._landing.cancel()
                await asyncio.wait([self._landing])
            await self._executor.close()
            if self._snapshots is not None:
                await self._snapshots.close(self.run)

    def _let_go(self) -> None:
        if self.steps is not None:
            self.steps.over()
        elif self.run.status in FINAL:
            self.run.let_go()

    def _goes_on(self) -> bool:
        if self._executor.broken is not None:
            raise self._executor.broken
        if self._raised is not None and self._undecided is None:
            raised, self._raised = self._raised, None
            raise raised
        return self.run.status is Status.RUNNING and not self._stopping

    async def _continue(self, continued: RunContinued) -> None:
        """See to it that the run is there that this one goes on as, and end this one."""
        successor: Successor = "there"
        if self._durable is not None:
            await self._durable.journal.flush()
            durable = self._durable
            blobs, publish = durable.values.blobs, durable.journal.observed.begun
            successor = await create_successor(durable.store, self.run, continued, blobs, self._clock, publish)
        happening = Happening(self._clock.now(), successor=successor)
        await self._carry_out(decide(self.run, happening, self._code))

    def _is_drained(self) -> bool:
        return self._draining and not any(task.phase is Phase.RUNNING for task in self.run.tasks.values())

    async def _rest(self) -> None:
        if self._is_drained():
            self._stopping = True
        else:
            await self._hand_back(WAITS)

    def _may_rest(self) -> bool:
        """Say whether there is nothing to do for so long that the run needn't be kept in memory."""
        if rest_of(self.run) != "waiting":
            return False
        if self.steps is not None and (self._durable is not None or self.run.failures):
            return False  # the caller has to be heard, and whoever drove it on would know nothing of him
        alarm = self._timed()
        due_at = alarm.next(self.run) if alarm is not None else None
        if self._durable is None:
            if due_at is None:
                raise GraphRuntimeError(
                    f"run {self.run.run_id!r} waits for somebody, and a run in memory can't be reached: give it a store"
                )
            return False
        return due_at is None or self._moments is None or self._moments.left_s(due_at) > REST_S

    async def _hand_back(self, reason: str) -> None:
        await self._carry_out(hand_back(self.run, SegmentEnded(self._segment.worker, reason), self._code))
        self.has_handed_back = True

    async def _refold(self) -> None:
        if self._durable is not None:
            await refold_joins(self.run, self._code, self._durable.store, self._durable.values.blobs)
            self._open_waits = {task.id: None for task in self.run.tasks.values() if task.phase is Phase.WAITING}
        else:
            for joined in self.run.joins.values():
                self._code.refold(joined)

    async def _look_into_inbox(self, has_mail: bool) -> None:
        """Read what has come in; it is taken out by the commit that records what came of it."""
        if not has_mail or self._durable is None:
            return
        entries = self.mail if not self._has_mail else None
        self._has_mail, self.mail = False, None
        deliveries: list[Delivery] = []
        requests: list[Request] = []
        if entries is None:
            entries = await self._durable.store.inbox(self.run.run_id)
        # What has been taken up is still there while the commit that takes it out is on its way.
        self._taken_up = self._taken_up.intersection([entry.number for entry in entries])
        self._seen_entry = max(self._seen_entry, entries[-1].number if entries else 0)
        for entry in entries:
            if entry.number in self._taken_up:
                continue
            if entry.kind in ("pause", "cancel"):
                requests.append(request_in(entry, self.run.run_id, self._durable.store.location))
            else:
                task = entry.key if entry.kind == "answer" else ""
                deliveries.append(Delivery(entry.number, task, entry.key, entry.value, entry.by))
        self._deliveries, self._requests = deliveries, requests

    async def _decided(
        self, results: list[Result], *, taking_over: bool = False, raised: BaseException | None = None
    ) -> Decision:
        """Decide; where user code raises, or has, discard what was decided and decide again, knowing that it raises."""
        broken: dict[str, Exception] = {}
        while True:
            if raised is not None:
                await self._allow_for(raised, results, broken)
            try:
                return self._decide(results, broken, taking_over=taking_over)
            except (BlobMissing, ArrivalFailed) as error:
                raised = error

    async def _allow_for(self, raised: BaseException, results: list[Result], broken: dict[str, Exception]) -> None:
        """Rebuild the run after a decision in which something was raised, and see to it that the next one allows for that."""
        if isinstance(raised, BlobMissing):
            await self._rebuild()
            await self.fetch(raised.digest)
            return
        assert isinstance(raised, ArrivalFailed)
        error = raised.exception
        if self._durable is None and self.past is None:
            raise error from None
        await self._rebuild()
        known = next((result for result in results if result.task == raised.source), None)
        if known is None:
            broken[raised.join] = error
        else:
            # What refuses the value may take the failure for one; if it refuses that as well, nothing does.
            again = Failed(
                known.task,
                known.attempt,
                self._values.describe(error),
                error,
                is_final=isinstance(known, Failed),
            )
            results[results.index(known)] = again
            self._exceptions[known.task] = error

    async def _rebuild(self) -> None:
        """Discard the run in memory and fold its log again."""
        run, durable = new_run(self._graph, self.run.run_id, self._values), self._durable
        if durable is not None:
            await durable.journal.flush()
            info = await durable.store.get(self.run.run_id)
            assert info is not None
            durable.journal.position = await rebuild(durable.store, info, run, durable.values.blobs)
        for event in self.past or ():
            apply(run, event)
        self.run = self._executor.run = run
        await self._refold()

    async def _carry_out(self, decision: Decision) -> None:
        """Commit a decision, then act on it."""
        landing = self._hand_in(decision)
        if landing is not None:
            await landing
        self._follow(decision)
        await self._offer()

    async def _offer(self) -> None:
        """Show what a commit has led to to a caller who steps through the run."""
        if self.steps is not None:
            self.steps.done()
            if self.run.status is Status.RUNNING:
                await self.steps.look(self.run, self._values, self._exceptions, self.fetch)
