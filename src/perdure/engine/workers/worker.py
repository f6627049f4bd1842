"""The worker: what drives the runs of one engine, each under a lease.

It takes runs (those that are started here, those that somebody left behind, those that are woken), rebuilds them, drives
them until they are over or have nothing to do but wait, and gives them up again. What happens elsewhere it learns by
looking (``watch.py``): whether runs are due, whether something came in for those it drives, whether others have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from perdure.codec.redaction import Redaction
from perdure.engine.calling.bodies import check_executors
from perdure.engine.calling.logging import get_logger, log_exception, message_of
from perdure.engine.calling.observing import Observing
from perdure.engine.calling.runners import RunnersByContext
from perdure.engine.calling.steps import Steps
from perdure.engine.calling.values import CodedValues
from perdure.engine.clock import Clock
from perdure.engine.driving.driven import Driven, hand_over
from perdure.engine.driving.driver import Driver
from perdure.engine.driving.journal import Journal
from perdure.engine.driving.moments import Moments
from perdure.engine.driving.registered import Registered, registered
from perdure.engine.driving.turns import Durable
from perdure.engine.inspection.standstill import RecoveryThrottled
from perdure.engine.owner import appear, disappear, fate, is_provably_dead, process_of, worker_of
from perdure.engine.workers.arrivals import Arrivals
from perdure.engine.workers.colleagues import Colleagues
from perdure.engine.workers.known import KnownGraphs
from perdure.engine.workers.leases import CLAIM_PAGE, LEASE_S, Leases
from perdure.engine.workers.orphans import Orphans, recover_stalled
from perdure.engine.workers.publish import OnEvent, Publisher
from perdure.engine.workers.resuming import resume
from perdure.engine.workers.watch import Watch
from perdure.errors import CodecError, Fenced, StoreCorrupt, StoreError, StoreReadOnly
from perdure.events import SegmentStarted
from perdure.graph.graph import Graph
from perdure.graph.types import MISSING, Missing
from perdure.kernel.decide.deciding import Decision
from perdure.kernel.fold.run import Phase, Run
from perdure.kernel.fold.status import OVER, Status
from perdure.store.encryption import sealing_of
from perdure.store.port import Store
from perdure.store.records import Entry, RunInfo
from perdure.version import __version__

T = TypeVar("T")

MAX_RUNS = 1000
"""How many runs one engine drives at once, before it leaves others to other workers."""


class Worker:
    """Drives runs.

    Attributes:
        store, clock: where the runs are kept, and what time it is.
        moments: when the times come that are waited for here.
        owner: who this worker is.
        epoch: under which the runs are created that it starts.
        leases: those it holds.
        orphans: the runs under leases of others.
        arrivals: what comes in for runs.
        graphs: the graphs it can drive runs of.
        colleagues: the other workers on the store.
        driven: the runs it drives now, by id.
        drives: whether it drives runs at all, and doesn't only start and watch them.
        max_runs: how many runs it drives at most, before it takes no more of those that are due.
        is_draining: whether it takes no runs any more.
        when_paused: called with a run that was driven here and has just been paused.
        known: runs that nobody else looks for here, because orphans aren't looked for, or that were given dependencies of
            their own; each with the name of its graph and its dependencies.
        log: what is told of all that.
        publisher, redaction: what tells others what is committed here, and what keeps parts of values out of the store.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        graphs: Iterable[Graph[Any, Any, Any, Any]],
        *,
        deps: Any,
        deps_for: Mapping[str, Callable[[], Any]],
        pools: Mapping[str, Pool],
        recovers: bool,
        drives: bool = True,
        lease_s: float = LEASE_S,
        max_runs: int = MAX_RUNS,
        on_event: Sequence[OnEvent] = (),
        observing: Observing,
        redaction: Redaction | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.moments = Moments(clock)
        self.owner = appear()
        self._name, self._process = worker_of(self.owner), process_of(self.owner)
        self.epoch = 0
        self.leases = Leases(store, clock, self._lose, lease_s)
        self.graphs = KnownGraphs()
        self.orphans = Orphans(self)
        self.arrivals = Arrivals(self)
        self.colleagues = Colleagues(store, clock, self.owner, lease_s, self._announced)
        self.driven: dict[str, Driven] = {}
        self.known: dict[str, tuple[str, Any]] = {}
        self.is_open = False
        self.recovers, self.drives = recovers and drives, drives
        self.max_runs = max_runs
        self.is_draining = False
        self.publisher = Publisher(on_event, redaction)
        self.when_paused: Callable[[str], Awaitable[None]] | None = None
        self.observing, self.redaction = observing, redaction
        self._deps = deps
        self._deps_for = dict(deps_for)
        self._pools = dict(pools)
        self._runners = RunnersByContext(clock.monotonic)
        self._watch = Watch(self)
        self._taking: dict[asyncio.Task[Any], asyncio.Future[Any] | None] = {}
        self.log = get_logger("perdure.engine").bind()  # unbound, it would be made anew at each use
        for graph in graphs:
            self.register(graph)

    # --- life ---

    async def open(self) -> None:
        """Begin to work."""
        try:
            self.epoch = await self.store.next_epoch()
        except StoreReadOnly:
            if self.drives:
                raise  # who only looks at runs writes nothing under an epoch
        self.is_open = True
        self.leases.begin()
        if self.recovers:
            await self.recover()
        self._watch.begin()

    async def close(self) -> None:
        """Hand back what is being driven, and stop."""
        self.is_open = False
        await self._watch.end()
        if self._taking:
            await asyncio.wait(self._taking)
        for driven in self.driven.values():
            driven.driver.stop()
        tasks = [driven.task for driven in self.driven.values() if driven.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self.leases.end()
        self._watch.give_up()
        with suppress(StoreError):
            await self.colleagues.part()
        disappear(self.owner)

    async def drain(self, deadline_s: float) -> None:
        """Take no more runs, and hand back each of those driven as soon as the bodies that run in it have ended.

        Args:
            deadline_s: how long to wait for that; what is left then is handed back by ``close``, which interrupts bodies.
        """
        self.is_draining = True
        with suppress(StoreError):  # then it is taken for gone a little later
            await self.colleagues.part()
        if self._taking:
            await asyncio.wait(self._taking)
        for driven in self.driven.values():
            driven.driver.drain()
        tasks = [driven.task for driven in self.driven.values() if driven.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s)

    def register(self, graph: Graph[Any, Any, Any, Any]) -> Registered:
        """Make a graph known.

        Raises:
            GraphSetupError: another one is known by its name and version, or it asks for an executor that isn't there.
            GraphBuildingError: its values can't be stored.
        """
        mine = self.graphs.find(graph)
        if mine is None:
            check_executors(graph, self._pools)
            mine = registered(graph).guarded(self.redaction, sealing_of(self.store))
            self.graphs.add(mine)
        return mine

    def deps_of(self, graph: Graph[Any, Any, Any, Any], given: Any = MISSING) -> Any:
        """Return the dependencies for a run of a graph."""
        if not isinstance(given, Missing):
            return given
        factory = self._deps_for.get(graph.name)
        if factory is not None:
            return factory()
        return None if isinstance(self._deps, Missing) else self._deps

    def keep(self, run_id: str, graph: Graph[Any, Any, Any, Any], deps: Any, *, is_given: bool) -> None:
        """Remember a run that would not be found, or not with its dependencies, when it is due."""
        if self.drives and (is_given or not self.recovers or self._lacks_deps(graph)):
            self.known[run_id] = (graph.name, deps)

    def kept_deps(self, run_id: str) -> Any:
        """Return the dependencies of a run that was remembered, or ``MISSING``."""
        return self.known[run_id][1] if run_id in self.known else MISSING

    def drivable(self) -> list[str]:
        """Return the names of the graphs whose runs can be driven by themselves: those whose dependencies are there."""
        return self.graphs.names(unless=self._lacks_deps)

    def _announced(self) -> list[str]:
        return self.graphs.fingerprints(self.drivable())

    def _lacks_deps(self, graph: Graph[Any, Any, Any, Any]) -> bool:
        needs = graph.deps_type not in (None, type(None), object, Any)
        return needs and isinstance(self._deps, Missing) and graph.name not in self._deps_for

    # --- driving ---

    def segment(self, graph: Graph[Any, Any, Any, Any], by: str = "", reason: str = "") -> SegmentStarted:
        """Return the event that says that this worker begins to drive a run."""
        return SegmentStarted(
            self._name, __version__, graph.fingerprint, by, reason, self._process, is_told=self.observing.tells
        )

    def drive(
        self,
        run: Run,
        mine: Registered,
        values: CodedValues,
        journal: Journal,
        deps: Any,
        first: Decision | None,
        *,
        is_given: bool = False,
        segment: SegmentStarted | None = None,
        steps: Steps | None = None,
        mail: Sequence[Entry] | None = None,
    ) -> Driven:
        """Drive a run whose lease was just taken; keep its dependencies for when it is woken, if they were given to it."""
        graph = mine.graph
        self.leases.add(run.run_id, journal.epoch)
        durable = Durable(self.store, journal, values)
        self._watch.set_back.meet(run)
        segment = segment or self.segment(graph)
        if first is None and any(task.phase is Phase.RUNNING for task in run.tasks.values()):
            segment = msgspec.structs.replace(segment, before=fate(run.segment))
        runners = self._runners.here()
        about = (run, graph, mine.flows, values, deps, segment, self.clock, durable, runners, self._pools, steps)
        driver = Driver(*about, moments=self.moments)
        driver.first, driver.mail = first, mail
        driven = self.driven[run.run_id] = Driven(driver, journal.epoch)
        self.keep(run.run_id, graph, deps, is_given=is_given)
        driven.task = asyncio.get_running_loop().create_task(self._driving(driven, mine), name=f"perdure-{run.run_id}")
        self._watch.note(run.run_id, driven)
        return driven

    async def _driving(self, driven: Driven, mine: Registered) -> None:
        run_id = driven.driver.run.run_id
        about = {"run": run_id, "graph": mine.graph.name}
        try:
            if driven.begin():
                await driven.driver.drive()
        except Fenced as error:
            self.observing.lease_lost(mine.graph.name)
            self.log.warning("another worker drives the run now", error=str(error), **about)
        except CodecError as error:  # in what is recorded: what a body does is its own failure
            self.log.error("the run is stalled", reason=str(error), **about)
            with suppress(StoreError):
                await self.store.park(run_id, driven.lease.epoch, Status.STALLED.value, str(error))
        except Exception as error:
            # Its lease is left to run out: who took it at once would only fail at once, again and again.
            log_exception(self.log, "the run can't be driven on", error, self.redaction, **about)
            driven.error = error
        finally:
            self.leases.drop(run_id, driven.lease.epoch)
            del self.driven[run_id]
            status = driven.driver.run.status
            kept = self.known.get(run_id)
            if status in OVER or driven.driver.steps is not None:
                self.known.pop(run_id, None)
            try:
                await self._let_go(driven, kept)
            finally:  # whoever waits must be told, whatever comes in between
                self.log.info("segment ended", status=status.value, seq=driven.driver.run.seq, **about)
                driven.end()
                self._watch.note(run_id, driven)

    async def _let_go(self, driven: Driven, kept: tuple[str, Any] | None) -> None:
        """Do what is left to do about a run that isn't driven here any more."""
        run, status = driven.driver.run, driven.driver.run.status
        if status is Status.COMPLETED and run.successor is not None:
            await self._follow(run.successor.successor, kept)
        with suppress(StoreError):
            if isinstance(driven.error, StoreCorrupt):
                await asyncio.shield(self.set_aside(run.run_id, driven.lease.epoch, run.plan.name, str(driven.error)))
            elif status is Status.RUNNING and driven.error is None:
                await asyncio.shield(self.store.release([driven.lease]))
        if status is Status.PAUSED and self.when_paused is not None:
            with suppress(StoreError):
                await asyncio.shield(self.when_paused(run.run_id))

    async def _follow(self, run_id: str, kept: tuple[str, Any] | None) -> None:
        """Drive the run on that another one driven here goes on as."""
        if kept is not None:
            self.known[run_id] = kept
        if self.is_open:
            with suppress(StoreError):
                info = await self.store.get(run_id)
                if info is not None:
                    await self.claim_one(info)

    def _lose(self, run_id: str) -> None:
        """Stop driving a run whose lease is lost, without another word into its log."""
        driven = self.driven.get(run_id)
        if driven is not None:
            self.observing.lease_lost(driven.driver.run.plan.name)
            driven.lose()

    # --- taking runs over ---

    def see_through(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Do something that takes a lease, whoever is cancelled: a lease that nobody drives under keeps others away."""
        waiting: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.see_to(work, waiting)
        return waiting

    def see_to(self, work: Coroutine[Any, Any, T], waiting: asyncio.Future[T] | None = None) -> None:
        """Do the same, and hand what has come of it to who waits, if anybody does."""
        task = asyncio.get_running_loop().create_task(work)
        self._taking[task] = waiting
        task.add_done_callback(self._seen_through)

    def _seen_through(self, task: asyncio.Task[T]) -> None:
        waiting = self._taking.pop(task)
        is_told = waiting is not None and hand_over(task, waiting)
        if not is_told and not task.cancelled() and (error := task.exception()) is not None:
            self.log.debug("a run couldn't be taken", error=message_of(error, self.redaction))

    async def recover(self) -> int:
        """Drive on the runs of this worker's graphs that are due and that nobody drives; return how many."""
        graphs = self.drivable()
        if not graphs or not self.drives:
            return 0
        if self.recovers:
            await self.colleagues.meet()
        await self.orphans.expire(graphs)
        count = await recover_stalled(self, graphs)
        while claimed := await self.claim_due(graphs):
            count += claimed
        return count

    def throttled(self, info: RunInfo) -> RecoveryThrottled | None:
        """Return how busy this worker is, if it takes a run that is due as soon as there is room."""
        return RecoveryThrottled(len(self.driven), self.max_runs) if self.looks_for(info) else None

    def looks_for(self, info: RunInfo) -> bool:
        """Say whether this worker takes a run like this one when it is due, if there is room."""
        looks = self.recovers and self.is_open and not self.is_draining
        return looks and info.graph in self.drivable() and info.fingerprint not in self.colleagues.leaving

    async def claim_due(self, graphs: list[str]) -> int:
        """Take a page of runs that are due, if there is room for them, and drive them; return how many there were."""
        if self.is_draining or len(self.driven) >= self.max_runs:
            return 0
        return await self.see_through(self._claim_due(graphs))

    async def _claim_due(self, graphs: list[str]) -> int:
        began, limit = self.clock.monotonic(), min(CLAIM_PAGE, self.max_runs - len(self.driven))
        claimed = await self.store.claim(
            self.owner,
            graphs=graphs,
            now=self.leases.judged_at(),
            until=self.leases.until(),
            limit=limit,
            leaving=self.colleagues.leaving,
        )
        await asyncio.gather(*[self.resume_claimed(info, began) for info in claimed])
        return len(claimed)

    async def resume_claimed(self, info: RunInfo, since: float) -> None:
        """Drive a claimed run; if that can't be done now, it is tried again when the lease has run out.

        Args:
            info: the run.
            since: when its lease was asked for, on the monotonic clock.
        """
        self.leases.add(info.run_id, info.epoch, since)
        mine = self.graphs.of(info)
        assert mine is not None
        try:
            await resume(self, mine, info, self.kept_deps(info.run_id))
        except Exception as error:  # the store's, or that of a factory of dependencies; others go on
            log_exception(self.log, "the run can't be driven", error, self.redaction, run=info.run_id, graph=info.graph)

    async def claim_one(
        self,
        info: RunInfo,
        deps: Any = MISSING,
        steps: Steps | None = None,
        *,
        by: str = "",
        reason: str = "",
        anyway: bool = False,
    ) -> bool:
        """Drive a run on if it is due, or anyway, and nobody else does; say whether that is so."""
        return await self.see_through(self._claim_one(info, deps, steps, by, reason, anyway=anyway))

    async def _claim_one(
        self, info: RunInfo, deps: Any, steps: Steps | None, by: str, reason: str, *, anyway: bool
    ) -> bool:
        mine = self.graphs.of(info)
        if mine is None or info.run_id in self.driven or self.is_draining or not self.drives:
            return False
        # One that was left alone for want of its graph goes on where that is there again.
        anyway = anyway or (info.status == Status.STALLED and info.fingerprint == mine.graph.fingerprint)
        began = self.clock.monotonic()
        taken = await self.take_lease(info, anyway=anyway)
        if taken is None:
            return False
        self.leases.add(taken.run_id, taken.epoch, began)
        given = self.kept_deps(info.run_id) if isinstance(deps, Missing) else deps
        await resume(self, mine, taken, given, steps, self.segment(mine.graph, by, reason))
        return True

    async def take_lease(self, info: RunInfo, *, anyway: bool) -> RunInfo | None:
        """Take the lease of a run that is due, or anyway, and return it; None if somebody drives it who isn't known to be dead."""
        if info.owner is not None and is_provably_dead(info.owner):
            await self.store.expire(info.run_id, info.epoch)
        claimed = await self.store.claim(
            self.owner,
            graphs=(),
            now=self.leases.judged_at(),
            until=self.leases.until(),
            limit=1,
            run_id=info.run_id,
            anyway=anyway,
        )
        return claimed[0] if claimed else None

    async def adopt(self, info: RunInfo) -> None:
        """Drive a run that was just created here, if its graph is at hand."""
        mine = self.graphs.of(info)
        if mine is not None and info.run_id not in self.driven:
            self.keep(info.run_id, mine.graph, self.deps_of(mine.graph), is_given=False)
            await self.claim_one(info)

    async def set_aside(self, run_id: str, epoch: int, graph: str, reason: str) -> None:
        """Park a run that can't be driven on, with the reason."""
        self.log.error("the run is stalled", run=run_id, graph=graph, reason=reason)
        await self.store.park(run_id, epoch, Status.STALLED.value, reason)

    async def part(self, run_id: str) -> None:
        """Wait until an earlier driver of a run has left it, whose lease somebody has been given in the meantime."""
        while (earlier := self.driven.get(run_id)) is not None:
            if earlier.driver.run.status is Status.RUNNING and not earlier.driver.has_handed_back:
                self._lose(run_id)
            await earlier.settled()

    # --- what happens elsewhere ---

    def hurry(self) -> None:
        """Look now for runs that are due."""
        self._watch.hurry()

    def change_of(self, run_id: str) -> asyncio.Future[Driven | None]:
        """Return what is done when something has changed about a run: what drives it, or has driven it, if that is here."""
        return self._watch.change_of(run_id)
