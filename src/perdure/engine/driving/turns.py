"""The turns of a run: what has come in is decided on, handed in to be recorded, and when it is recorded, acted on.

All of it by plain calls. The coroutine of ``driver.py`` takes such turns, with whatever has to be awaited in between, and while it
is awake nobody else touches the run. It sleeps while bodies run. What these have come to is mostly all there is to decide on, and
nothing but starting others follows; for that the coroutine isn't woken, which would cost more than many a body: ``_advance``
decides and hands in, ``_landed`` acts, both as callbacks of the event loop. Whatever else there is to do (mail, times, an error,
the end …) is left to the coroutine, and it is woken by ``_wake_up``: at once, or when the commit has landed that is on its way.

    coroutine      sleeps ───────────────────────────────────► wakes
                      │                                          ▲ anything else
    callbacks         └► _advance ──► commit on its way ──► _landed ──► sleeps on
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from typing import Any

import msgspec

from perdure.codec.codec import BlobMissing
from perdure.engine.calling.code import UserCode
from perdure.engine.calling.evaluate import Flows
from perdure.engine.calling.executor import Executor
from perdure.engine.calling.logging import get_logger, log_failures
from perdure.engine.calling.observing import UNOBSERVED, Observed
from perdure.engine.calling.runners import Runners
from perdure.engine.calling.steps import Steps
from perdure.engine.calling.streams import Stream
from perdure.engine.calling.values import CodedValues, PlainValues
from perdure.engine.calling.waiting import wait_of, waits_touched
from perdure.engine.clock import Clock
from perdure.engine.driving.alarm import Alarm
from perdure.engine.driving.journal import NOTHING, Beside, Journal
from perdure.engine.driving.moments import Moments
from perdure.engine.driving.snapshots import Snapshots, have_sense
from perdure.errors import CodecError
from perdure.events import AnyEvent, RunFailed, SegmentEnded, SegmentStarted
from perdure.graph.graph import Graph
from perdure.kernel.decide.decide import Happening, decide, rest_of, take_over
from perdure.kernel.decide.deciding import ArrivalFailed, Decision
from perdure.kernel.decide.describe import add_note
from perdure.kernel.decide.results import Delivery, Failed, Request, Result
from perdure.kernel.fold.run import Phase, Run
from perdure.kernel.fold.status import FINAL, Status
from perdure.store.port import Store
from perdure.store.records import Entry, RunUpdate, Wait

GOES_ON = RunUpdate(Status.RUNNING.value)
NO_JOINS: Mapping[str, Exception] = {}
NO_WAITS: tuple[tuple[Wait, ...], tuple[str, ...]] = ((), ())
NOTHING_TAKEN_UP: frozenset[int] = frozenset()


class Durable(msgspec.Struct, gc=False):
    """What a run has that is kept in a store."""

    store: Store
    journal: Journal
    values: CodedValues


def noted(exception: BaseException | None, notes: Sequence[str]) -> BaseException | None:
    """Add notes to an exception that it doesn't carry yet."""
    if exception is not None:
        for note in notes:
            add_note(exception, note)
    return exception


def first_waits(run: Run, events: Sequence[AnyEvent], now: int) -> tuple[Wait, ...]:
    """Return the waits that are open after the first commit of a run."""
    tasks = [run.tasks.get(task) for task in waits_touched(events, ())]
    return tuple(wait_of(run, task, now) for task in tasks if task is not None and task.phase is Phase.WAITING)


class Turns:
    """Decides on one run and acts on that.

    Attributes:
        run: the run as it is.
        exception: what made it fail, if that happened in this process.
        first: what has been decided and committed already, for a run that was just created.
        mail: what was in the run's inbox when its lease was taken, if that has come along.
        has_handed_back: whether the run has been given up, to be driven elsewhere or later.
        steps: where it meets a caller who steps through the run, if there is one.
        past: of a run in memory that a failure needn't end, what has been decided: there is no other log to rebuild it from.
    """

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_clock",
        "_code",
        "_decision",
        "_deliveries",
        "_deps",
        "_draining",
        "_durable",
        "_exceptions",
        "_executor",
        "_flows",
        "_graph",
        "_has_mail",
        "_is_quick",
        "_landing",
        "_moments",
        "_observed",
        "_open_waits",
        "_raised",
        "_requests",
        "_runners",
        "_seen_entry",
        "_segment",
        "_snapshots",
        "_stopping",
        "_taken_up",
        "_undecided",
        "_values",
        "_wake",
        "exception",
        "first",
        "has_handed_back",
        "mail",
        "past",
        "run",
        "steps",
    )

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
        runners: Runners,
        pools: Mapping[str, Pool],
        steps: Steps | None = None,
        observed: Observed = UNOBSERVED,
        moments: Moments | None = None,
    ) -> None:
        self.run = run
        self.exception: BaseException | None = None
        self.first: Decision | None = None
        self.mail: Sequence[Entry] | None = None
        self.past: list[AnyEvent] | None = None
        self._graph = graph
        self._flows = flows
        self._values = values
        self._deps = deps
        self._segment = segment
        self._clock = clock
        self._durable = durable
        self._observed = observed = durable.journal.observed if durable is not None else observed
        self._code = UserCode(graph, flows, values, run.run_id, deps)
        self._wake: asyncio.Future[None] | None = None
        self._landing: asyncio.Future[None] | None = None
        self._decision: Decision | None = None
        self._is_quick = True
        self._raised: BaseException | None = None
        self.has_handed_back = False
        self._stopping = False
        self._draining = False
        self._has_mail = False
        self._seen_entry = 0
        # Of many runs at once most never have any of these, and what is made for each is what garbage collections take.
        self._moments = moments
        self._alarm: Alarm | None = None
        self._snapshots: Snapshots | None = None
        self._undecided: list[Result] | None = None
        self._deliveries: Sequence[Delivery] = ()
        self._requests: Sequence[Request] = ()
        self._taken_up = NOTHING_TAKEN_UP
        self._open_waits: dict[str, None] = {}
        self._exceptions: dict[str, BaseException] = {}
        self.steps = steps
        if steps is not None:
            steps.begin(self._wake_up)
        self._runners = runners
        self._executor = Executor(
            run,
            graph,
            flows,
            values,
            deps,
            clock=clock,
            pools=pools,
            driver=self,
            observed=observed if observed.surrounds else None,
            runners=runners,
        )

    @property
    def _is_asleep(self) -> bool:
        return self._wake is not None and not self._wake.done()

    def _wake_up(self) -> None:
        """Wake the coroutine, if it sleeps; where a commit is on its way, that sees to it when it has landed."""
        if self._landing is None and self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def fetch(self, digest: str) -> None:
        """Fetch a blob from the store."""
        if self._durable is not None:
            data = await self._durable.store.blob(self.run.run_id, digest)
            self._durable.values.blobs.add(digest, data)

    def _timed(self) -> Alarm | None:
        """Return the alarm, if the run has ever had a time to wait for."""
        if self._alarm is None and (self.run.alarms or self.run.deadline is not None):
            if self._moments is None:
                self._moments = Moments(self._clock)
            self._alarm = Alarm(self._clock, self._moments, self._wake_up)
        return self._alarm

    def _times_come(self) -> Sequence[int]:
        alarm = self._timed()
        return alarm.come(self.run) if alarm is not None else ()

    # --- one turn ---

    def _collected(self) -> list[Result]:
        """Take what has been reported since the last decision."""
        reported = self._executor.results
        taken = len(reported) if self.steps is None else 1  # a caller is shown what follows from each
        reported, self._executor.results = reported[:taken], reported[taken:]
        results: list[Result] = []
        for report in reported:
            if isinstance(report, Stream):
                try:
                    results.append(report.handed_over())
                except CodecError as error:
                    results.append(Failed(report.task.id, report.task.attempt, self._values.describe(error), error))
            else:
                results.append(report)
        for result in results:
            if isinstance(result, Failed):
                self._exceptions[result.task] = result.exception
        return results

    def _decide(
        self, results: list[Result], broken: Mapping[str, Exception] = NO_JOINS, *, taking_over: bool = False
    ) -> Decision:
        happening = Happening(
            self._clock.now(),
            results,
            self._deliveries,
            self._requests,
            broken,
            self.steps.hold if self.steps is not None else None,
            is_draining=self._draining,
            come=self._times_come(),
        )
        if taking_over:
            decision = take_over(self.run, self._segment, happening, self._code)
        else:
            decision = decide(self.run, happening, self._code)
        self._deliveries = ()
        if decision.consumed:
            self._taken_up = self._taken_up.union(decision.consumed)
            self._requests = [request for request in self._requests if request.entry not in self._taken_up]
        return decision

    def _note_failure(self, decision: Decision) -> None:
        """Keep what was raised, for whoever waits for the run in this process."""
        self._exceptions.update(decision.exceptions)
        last = decision.events[-1] if decision.events else None
        if isinstance(last, RunFailed):
            notes = [*last.error.notes, *([f"perdure: in task {last.path!r}"] if last.path else [])]
            self.exception = noted(decision.exception or self._exceptions.get(last.task), notes)

    def _hand_in(self, decision: Decision) -> Awaitable[None] | None:
        """Hand a decision in to be recorded; return what is to be waited for before it is acted on."""
        run = self.run
        last = decision.events[-1] if decision.events else None
        if decision.exceptions or type(last) is RunFailed:
            self._note_failure(decision)
        if self._durable is None or last is None:
            self._observed.decided(decision.events, run.seq, max(self._clock.now(), decision.come))
            if self.past is not None:
                self.past += decision.events
            return None
        error = f"{last.error.type}: {last.error.message}" if isinstance(last, RunFailed) else ""
        leaves = run.status is not Status.RUNNING or isinstance(last, SegmentEnded)
        due_at = run.next_alarm() if run.status is Status.WAITING else None
        opened, closed = self._waits_changed(decision.events) if self._flows.has_waits else NO_WAITS
        beside = NOTHING
        if opened or closed or decision.consumed or leaves:
            # Nobody asks for the lease of a run that is over for good; one that has failed can be retried at once.
            beside = Beside(opened, closed, tuple(decision.consumed), leaves and run.status not in FINAL)
        update = RunUpdate(run.status.value, error, due_at) if leaves else GOES_ON
        landing = self._durable.journal.hand_in(decision.events, update, beside, flush=leaves, since=decision.come)
        self._is_quick = landing is None or isinstance(landing, asyncio.Future)
        return landing

    def _follow(self, decision: Decision) -> None:
        """Do what a decision that is recorded calls for."""
        durable = self._durable
        if durable is not None:
            durable.journal.landed()
        if self._exceptions:
            log_failures(get_logger("perdure.engine"), self.run, decision.events, self._observed)
        self._act(decision)
        if durable is not None and have_sense(durable.journal.position):
            self._snapshots = self._snapshots or Snapshots(durable.store, durable.journal, durable.values)
            self._snapshots.consider(self.run)

    def _act(self, decision: Decision) -> None:
        if decision.stopped:
            self._executor.stop(decision.stopped)
        if decision.started:
            self._executor.start(decision.started)
        self._executor.ease()

    # --- while the coroutine sleeps ---

    def reported(self) -> None:
        """See to what bodies have come to, once those have had their turn that end now, too."""
        if not self._is_quick:
            self._wake_up()
        elif self._is_asleep and self._landing is None:
            self._runners.call_after(self._advance)

    def _advance(self) -> None:
        """Decide on what bodies have come to, and hand that in, if that is all there is to do."""
        if not self._is_asleep or self._landing is not None:
            return
        if not self._executor.results or not self._has_only_bodies():
            self._wake_up()
            return
        results = self._collected()
        try:
            decision = self._decide(results)
            landing = self._hand_in(decision)
            if landing is None:
                self._follow(decision)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._raised = error
            self._undecided = results if isinstance(error, BlobMissing | ArrivalFailed) else None
            self._wake_up()
        else:
            if landing is None:
                self._sleep_on()
            else:
                self._decision = decision
                self._landing = asyncio.ensure_future(landing)
                self._landing.add_done_callback(self._landed, context=self._runners.context)

    def _landed(self, landing: asyncio.Future[None]) -> None:
        """Act on a commit that was handed in by ``_advance``, and go on."""
        decision, self._decision, self._landing = self._decision, None, None
        if not self._is_asleep or decision is None:
            return  # the coroutine was cancelled: nothing is done any more
        try:
            landing.result()
            self._follow(decision)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._raised = error
            self._wake_up()
        else:
            self._sleep_on()

    def _sleep_on(self) -> None:
        """Take up what has been reported in the meantime; wake the coroutine unless all there is to do is to wait for bodies."""
        if self._executor.results:
            self._runners.call_after(self._advance)
        elif not self._has_only_bodies() or rest_of(self.run) == "waiting":
            self._wake_up()

    def _has_only_bodies(self) -> bool:
        """Say whether nothing but bodies can give rise to anything."""
        run = self.run
        return (
            run.status is Status.RUNNING
            and not (self._has_mail or self._stopping or self._draining)
            and not (run.alarms or run.deadline is not None or run.successor is not None)
            and self.steps is None
            and self._executor.broken is None
            and self._raised is None
        )

    # --- waits ---

    def _waits_changed(self, events: Sequence[AnyEvent]) -> tuple[tuple[Wait, ...], tuple[str, ...]]:
        """Return the waits that a decision has opened, or handed on, and those it has ended."""
        opened, closed = self._note_waits(events)
        if not opened and not closed:
            return (), ()
        now = self._clock.now()
        return tuple(wait_of(self.run, self.run.tasks[task], now) for task in opened), tuple(closed)

    def _note_waits(self, events: Sequence[AnyEvent]) -> tuple[list[str], list[str]]:
        """Note which tasks wait now; return those whose waits have begun or changed, and those whose waits have ended."""
        opened, closed = [], []
        for task_id in waits_touched(events, self._open_waits):
            task = self.run.tasks.get(task_id)
            if task is not None and task.phase is Phase.WAITING:
                self._open_waits[task_id] = None
                opened.append(task_id)
            elif task_id in self._open_waits:
                del self._open_waits[task_id]
                closed.append(task_id)
        return opened, closed
