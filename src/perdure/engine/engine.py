"""The engine: runs of graphs on one store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import msgspec

from perdure.engine.answering import Answering
from perdure.engine.clock import Clock, SystemClock
from perdure.engine.control import Control, check_accepts
from perdure.engine.driven import Driven
from perdure.engine.fitting import Fit, fit_of
from perdure.engine.forking import Forking, fork
from perdure.engine.graph_run import GraphRun
from perdure.engine.handle import RunHandle
from perdure.engine.history import Recorded, read_history
from perdure.engine.iterating import iterate_on_store
from perdure.engine.leases import LEASE_S
from perdure.engine.observing import Observer, Observing
from perdure.engine.past import state_at
from perdure.engine.places import ALL, Wanted, read_placed
from perdure.engine.planning import Planned, PlannedVerb, planned
from perdure.engine.publish import OnEvent, follow
from perdure.engine.recovery import rebuild
from perdure.engine.registered import new_run
from perdure.engine.results import recorded_failure, recorded_outputs, recorded_successor
from perdure.engine.serving import Serving
from perdure.engine.standstill import Explanation, Here, explain_run
from perdure.engine.starting import Starting, create_run
from perdure.engine.steps import Steps
from perdure.engine.timeline import RunDiff, Timeline, diff_runs, timeline_of
from perdure.engine.values import CodedValues
from perdure.engine.waiting import Waiting
from perdure.engine.worker import MAX_RUNS, Worker
from perdure.errors import (
    GraphRuntimeError,
    GraphSetupError,
    RunCancelled,
    RunConflict,
    RunInterrupted,
    RunNotFound,
    RunPaused,
    RunStalled,
)
from perdure.events import Durability, RunResumed, RunRetried
from perdure.graph.graph import Graph
from perdure.graph.types import MISSING, Missing
from perdure.graph.wait import microseconds, since_1970
from perdure.ids import checked_identifier
from perdure.kernel.run import Run
from perdure.kernel.status import OVER, Status
from perdure.store.port import RunInfo, Store
from perdure.store.sqlite.store import SQLiteStore

StateT = TypeVar("StateT")
DepsT = TypeVar("DepsT")
InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")


class Engine:
    """Starts, drives and recovers runs; use it as ``async with Engine.open("runs.db", graphs=[graph]) as engine``.

    Make one with :meth:`open`.
    """

    def __init__(
        self,
        store: Store,
        graphs: Iterable[Graph[Any, Any, Any, Any]],
        *,
        deps: Any,
        deps_for: Mapping[str, Callable[[], Any]],
        executors: Mapping[str, Pool],
        recover: bool,
        drive: bool,
        durability: Durability,
        clock: Clock,
        lease_s: float,
        max_runs: int,
        on_event: OnEvent | None = None,
        telemetry: Observer | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._durability: Durability = durability
        self._plans: dict[str, asyncio.Task[None]] = {}
        self._serving: Serving | None = None
        if on_event is not None and (not callable(on_event) or iscoroutinefunction(on_event)):
            raise GraphSetupError(f"on_event={on_event!r:.80} is no plain function of a run id and an event")
        self._observing = Observing(telemetry) if telemetry is not None else None
        self._worker = Worker(
            store,
            clock,
            graphs,
            deps=deps,
            deps_for=deps_for,
            pools=executors,
            recovers=recover,
            drives=drive,
            lease_s=lease_s,
            max_runs=max_runs,
            on_event=(on_event,) if on_event is not None else (),
            observing=self._observing,
        )
        self._answering = Answering(self._worker)
        self._control = Control(self._worker)

    @classmethod
    def open(
        cls,
        store: str | PathLike[str] | Store,
        graphs: Iterable[Graph[Any, Any, Any, Any]] = (),
        *,
        deps: Any = MISSING,
        deps_for: Mapping[str, Callable[[], Any]] | None = None,
        executors: Mapping[str, Pool] | None = None,
        recover: bool = True,
        drive: bool = True,
        durability: Durability = "sync",
        clock: Clock | None = None,
        lease_s: float = LEASE_S,
        max_runs: int = MAX_RUNS,
        on_event: OnEvent | None = None,
        telemetry: Observer | None = None,
    ) -> Engine:
        """Return an engine, to be entered with ``async with``.

        Args:
            store: the path of an SQLite file, made if it isn't there, or a store.
            graphs: the graphs whose runs are recovered, and woken when they are due; others can be started too.
            deps: dependencies for the steps of all graphs.
            deps_for: for single graphs, by name, a function that makes the dependencies of a run.
            executors: where plain functions can run that name one: ``@g.step(executor="gpu")``.
            recover: whether runs that a crash has left behind are driven on, on entry and later.
            durability: ``"sync"`` makes every decision durable before anything is done about it; ``"async"`` and
                ``"exit"`` are faster and may lose the last events of a run in a crash.
            drive: whether runs are driven here at all. With False this engine is a client: it starts, signals, answers and
                watches runs, and leaves it to workers to drive them.
            clock: another clock, for tests.
            lease_s: for how long this engine takes runs, in seconds, before it has to extend that. If this process dies
                without a trace on another host, its runs stand still for as long.
            max_runs: how many runs are driven at most before no more are taken of those that are due.
            on_event: called with the id of a run and a ``Recorded`` event, once for each that this engine commits, when it is
                durable. It is called between the steps of runs, so it has to return at once; if it raises, that is logged
                and it isn't called any more.
            telemetry: who is told of what is committed, as a :class:`perdure.telemetry.Telemetry`.

        Raises:
            GraphBuildingError: values of a graph can't be stored.
            GraphSetupError: two graphs have one name and version, or an executor is missing.
        """
        return cls(
            store if not isinstance(store, str | PathLike) else SQLiteStore(store),
            graphs,
            deps=deps,
            deps_for=deps_for or {},
            executors=executors or {},
            recover=recover,
            drive=drive,
            durability=durability,
            clock=clock or SystemClock(),
            lease_s=lease_s,
            max_runs=max_runs,
            on_event=on_event,
            telemetry=telemetry,
        )

    # --- life ---

    async def __aenter__(self) -> Self:
        await self._store.open()
        try:
            if self._observing is not None:
                await self._observing.opened(self._store)
            await self._worker.open()
        except BaseException:
            await self._shut()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._shut()

    async def _shut(self) -> None:
        """Hand back what is being driven, and close the store."""
        with anyio.CancelScope(shield=True):
            await self._worker.close()
            if self._observing is not None:
                await self._observing.closed()
            await self._store.close()

    def _check_open(self) -> None:
        if not self._worker.is_open:
            raise GraphRuntimeError("this engine isn't open: use it inside `async with Engine.open(…) as engine`")

    async def serve(self, *, drain_s: float = 30.0) -> None:
        """Drive runs as they come due, until SIGTERM, SIGINT or :meth:`stop_serving`; then let bodies that run end.

        Nothing is taken or started from then on, and every run is released as soon as its bodies have ended. What still
        runs when ``drain_s`` seconds are over, or at a second signal, is interrupted when the engine is closed.

        Args:
            drain_s: how long bodies that run may take to end.

        Raises:
            GraphSetupError: this engine was opened with ``drive=False``, or serves already.
        """
        self._check_open()
        if not self._worker.drives or self._serving is not None:
            problem = "serves already" if self._serving is not None else "was opened with drive=False"
            raise GraphSetupError(f"this engine {problem}: serve() goes once, with an engine that drives runs")
        self._serving = Serving(self._worker)
        await self._serving.run(drain_s)

    def stop_serving(self) -> None:
        """Let :meth:`serve` drain and return; called again, without waiting for what runs."""
        if self._serving is not None:
            self._serving.stop()

    # --- starting ---

    async def start(
        self,
        graph: Graph[Any, Any, InputT, OutputT],
        *,
        inputs: InputT = None,  # type: ignore[assignment]
        state: Any = None,
        deps: Any = MISSING,
        run_id: str | None = None,
        by: str = "",
        durability: Durability | None = None,
        deadline: timedelta | datetime | None = None,
        tags: Mapping[str, str] | None = None,
        child: bool = False,
    ) -> RunHandle[OutputT]:
        """Start a run and drive it, unless this engine is a client; the run exists, durably, when this returns.

        If there is a run with this id already, of the same graph and with the same inputs, this attaches to it: one that
        nobody drives is driven on, and one that has ended gives out its recorded result.

        Args:
            graph: the graph.
            inputs: the inputs of the run.
            state: what the run's state starts from; it is copied.
            deps: dependencies for this run; those of the engine if they aren't given.
            run_id: the id, 1 to 200 printable characters; made up if it isn't given.
            by: who starts the run, for the record.
            durability: another mode than the engine's.
            deadline: how long the run may take, or until when; it fails with ``DeadlineExceeded`` if it isn't over then.
            tags: texts by which the run can be found; see :meth:`list`. Names and texts have 1 to 200 printable characters.
            child: with telemetry, whether the run is told in the trace that is under way here; else it gets one of its own,
                with a link to this one.

        Raises:
            RunConflict: the id is taken by a run of another graph or with other inputs.
            CodecError: the inputs or the state can't be stored.
            GraphSetupError: an argument is of a wrong type.
            InvalidIdentifier: the id or a tag can't be one.
            StoreError: the store can't be used.
        """
        starting = self._starting(graph, inputs, state, deps, run_id, by, durability, deadline, tags, child=child)
        await self.begin(graph, starting)
        return self.attach(starting.run_id)

    def iter(
        self,
        graph: Graph[StateT, DepsT, InputT, OutputT],
        *,
        inputs: InputT = None,  # type: ignore[assignment]
        state: StateT = None,  # type: ignore[assignment]
        deps: Any = MISSING,
        run_id: str | None = None,
        by: str = "",
        durability: Durability | None = None,
    ) -> AbstractAsyncContextManager[GraphRun[StateT, DepsT, OutputT]]:
        """Step through a run: ``async with engine.iter(graph, …) as run``; see :meth:`Graph.iter`.

        A run with this id that is there already is gone on with where it stands. When the context is left before the end,
        the run stays there, and whoever drives runs of its graph may drive it on.

        Args:
            graph: the graph.
            inputs: the inputs of the run.
            state: what the run's state starts from; holds the committed state afterwards.
            deps: dependencies for this run; those of the engine if they aren't given.
            run_id: the id, 1 to 200 printable characters; made up if it isn't given.
            by: who starts the run, for the record.
            durability: another mode than the engine's.

        Raises:
            RunConflict: the id is taken by a run of another graph or with other inputs, or by one that is driven already.
            RunError: the run is over and has no output.
            GraphSetupError: this engine was opened with ``drive=False``.
        """
        starting = self._starting(graph, inputs, state, deps, run_id, by, durability, None, None)
        if not self._worker.drives:
            raise GraphSetupError(
                "this engine was opened with drive=False: a run is stepped through by an engine that drives it"
            )
        return iterate_on_store(self, graph, msgspec.structs.replace(starting, steps=Steps()))

    def _starting(
        self,
        graph: Graph[Any, Any, Any, Any],
        inputs: Any,
        state: Any,
        deps: Any,
        run_id: str | None,
        by: str,
        durability: Durability | None,
        deadline: timedelta | datetime | None,
        tags: Mapping[str, str] | None,
        *,
        child: bool = False,
    ) -> Starting:
        self._check_open()
        self._worker.register(graph)
        return Starting(
            checked_identifier("run id", run_id) if run_id is not None else made_up_id(),
            inputs,
            state,
            self._worker.deps_of(graph, deps),
            by,
            durability or self._durability,
            deadline_at(deadline, self._clock),
            checked_tags(tags or {}),
            is_given=not isinstance(deps, Missing),
            trace=self._observing.caller() if self._observing is not None else "",
            in_trace=child,
        )

    async def begin(self, graph: Graph[Any, Any, Any, Any], starting: Starting) -> None:
        """Create a run, or attach to the one that has its id."""
        await self._save_plan(graph)
        mine = self._worker.register(graph)
        info, digest, created = await self._worker.see_through(create_run(self._worker, mine, starting))
        if not created:
            await self._attach(graph, info, digest, starting)

    async def _save_plan(self, graph: Graph[Any, Any, Any, Any]) -> None:
        """Keep the graph's plan in the store; of many runs that start at once, the first one sees to it."""
        saving = self._plans.get(graph.fingerprint)
        if saving is None or (saving.done() and (saving.cancelled() or saving.exception() is not None)):
            save = self._store.save_plan(graph.fingerprint, graph.name, graph.plan.encoded())
            saving = self._plans[graph.fingerprint] = asyncio.get_running_loop().create_task(save)
        if not saving.done():
            await asyncio.shield(saving)

    async def _attach(self, graph: Graph[Any, Any, Any, Any], info: RunInfo, digest: str, starting: Starting) -> None:
        if info.graph != graph.name or info.inputs_digest != digest:
            what = f"of graph {info.graph!r}" if info.graph != graph.name else "with other inputs"
            raise RunConflict(
                f"there is a run {info.run_id!r} already, {what}: use another run_id, or the same inputs to attach to it",
                run_id=info.run_id,
            )
        if Status(info.status) not in OVER and starting.steps is None:
            self._worker.keep(info.run_id, graph, starting.deps, is_given=starting.is_given)
            await self._worker.claim_one(info, starting.deps)

    async def claim_to_step(self, info: RunInfo, starting: Starting) -> bool:
        """Drive a run on as its caller steps through it, if nobody else drives it; say whether that is so."""
        return await self._worker.claim_one(info, starting.deps, starting.steps)

    async def recover(self) -> int:
        """Drive on the runs of this engine's graphs that nobody drives; return how many.

        Runs whose owner is known to be dead are taken at once, others when their lease has run out.
        """
        self._check_open()
        return await self._worker.recover()

    async def recover_run(self, run_id: str, *, by: str = "", reason: str = "", drive: bool = True) -> RunHandle[Any]:
        """Drive one run on that a crash has left behind; return its handle, also if it has ended by now.

        A run whose owner isn't known to be dead is taken when its lease has run out, and left alone before that. One that
        waits is driven on by this engine when it is woken.

        Args:
            run_id: the run.
            by: who wants that, for the record.
            reason: why, for the record.
            drive: whether this engine drives it; else it is only made sure that another one can, at once.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it is paused, or stalled and this engine hasn't the very graph it began with; or it isn't to be driven
                here, and is over or driven by somebody else.
            RunStalled: it is of a graph that this engine wasn't given.
        """
        info = await self.get(run_id)
        if drive and Status(info.status) in OVER:
            return self.attach(run_id)
        drive = drive and self._worker.drives
        mine = self._worker.graphs.of(info)
        fits_again = mine is not None and mine.graph.fingerprint == info.fingerprint
        if not (drive and fits_again and info.status == Status.STALLED):
            check_accepts(info, "recover")
        if not drive:
            await self._control.free(info)
            return self.attach(run_id)
        if mine is None:
            raise RunStalled(
                f"run {run_id!r} is of graph {info.graph!r}, which this engine wasn't given", run_id=run_id
            )
        deps = self._worker.deps_of(mine.graph, self._worker.kept_deps(run_id))
        self._worker.keep(run_id, mine.graph, deps, is_given=run_id in self._worker.known)
        await self._worker.claim_one(info, deps, by=by, reason=reason)
        return self.attach(run_id)

    # --- from outside ---

    async def waiting(
        self, run_id: str | None = None, *, assignee: str | None = None, kind: str | None = None, limit: int = 100
    ) -> Sequence[Waiting]:
        """Return what runs wait for, the oldest first.

        Args:
            run_id: only this run.
            assignee: only what this person is asked.
            kind: only ``"human"``, ``"signal"`` or ``"sleep"``.
            limit: how many at most.
        """
        self._check_open()
        return await self._answering.waiting(run_id, assignee=assignee, kind=kind, limit=limit)

    async def respond(self, run_id: str, task_id: str, value: Any, *, by: str = "") -> None:
        """Answer a task that waits for a person; when this returns the answer is durable.

        Args:
            run_id: the run.
            task_id: the task, as :meth:`waiting` names it.
            value: the answer, of the form's type or as plain data of its shape.
            by: who answers, for the record.

        Raises:
            AnswerRefused: it doesn't fit the form, the task doesn't wait, or somebody has answered it differently.
            RunNotFound: there is no such run.
        """
        self._check_open()
        await self._answering.respond(run_id, task_id, value, by)

    async def signal(self, run_id: str, name: str, payload: Any = None, *, by: str = "") -> None:
        """Send a signal to a run; when this returns it is durable, and kept until somebody waits for it.

        Args:
            run_id: the run.
            name: the name of the signal.
            payload: what comes with it.
            by: who sends it, for the record.

        Raises:
            AnswerRefused: the payload doesn't fit what the graph expects, or the run is over.
            RunNotFound: there is no such run.
        """
        self._check_open()
        await self._answering.signal(run_id, name, payload, by)

    async def pause(self, run_id: str, *, by: str = "", reason: str = "", now: bool = False) -> None:
        """Let a run stand still until it is resumed; when this returns the request is durable.

        Args:
            run_id: the run.
            by: who wants that, for the record.
            reason: why, for the record.
            now: whether bodies that run are interrupted; else they finish first.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it is over, or stands still already.
        """
        self._check_open()
        await self._control.stop(run_id, "pause", by, reason, now=now)

    async def cancel(self, run_id: str, *, by: str = "", reason: str = "") -> None:
        """End a run for good; when this returns the request is durable.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it is over.
        """
        self._check_open()
        await self._control.stop(run_id, "cancel", by, reason)

    async def resume(self, run_id: str, *, by: str = "", reason: str = "", drive: bool = True) -> RunHandle[Any]:
        """Let a paused run go on.

        Args:
            run_id: the run.
            by: who wants that, for the record.
            reason: why, for the record.
            drive: whether this engine drives it; else it is left to another one, and its graph isn't needed here.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it isn't paused, or somebody else has just resumed it.
            RunStalled: this engine is to drive it and wasn't given its graph.
        """
        self._check_open()
        await self._control.start_again(run_id, "resume", RunResumed(by, reason), drive=drive)
        return self.attach(run_id)

    async def retry(
        self, run_id: str, *, by: str = "", reason: str = "", max_steps: int | None = None, drive: bool = True
    ) -> RunHandle[Any]:
        """Let a failed run go on: what failed, was interrupted or never ran runs now, what finished doesn't.

        Args:
            run_id: the run.
            by: who wants that, for the record.
            reason: why, for the record.
            max_steps: another limit to the length of a lineage.
            drive: whether this engine drives it; else it is left to another one, and its graph isn't needed here.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it hasn't failed, or somebody else has just retried it.
            RunStalled: this engine is to drive it and wasn't given its graph.
        """
        self._check_open()
        await self._control.start_again(run_id, "retry", RunRetried(by, reason, max_steps), drive=drive)
        return self.attach(run_id)

    async def accept(self, run_id: str, *, by: str = "", reason: str = "") -> RunHandle[Any]:
        """Let a stalled run go on with the graph as this engine has it, though it has changed.

        What is recorded stays. The log has to fold with the present graph: where it doesn't, the run stays as it is.

        Args:
            run_id: the run.
            by: who takes that upon themselves, for the record.
            reason: why, for the record.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it isn't stalled.
            RunStalled: this engine wasn't given its graph.
            GraphRuntimeError: its log doesn't fold with the graph.
            StoreCorrupt: its log isn't what was written.
        """
        self._check_open()
        await self._control.accept(run_id, by, reason)
        return self.attach(run_id)

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

    async def fork_run(
        self,
        run_id: str,
        *,
        at: int | str | None = None,
        inputs: Any = MISSING,
        outputs: Mapping[str, Any] | None = None,
        new_run_id: str | None = None,
        by: str = "",
        drive: bool = True,
    ) -> RunHandle[Any]:
        """Let a new run, with a log of its own, go on from a point of another one, whatever became of that.

        What finished in the source and depends on nothing that is dropped doesn't run again. What does is downstream of
        what is dropped: by edges, by joins, and by the state it was based on.

        Args:
            run_id: the source.
            at: the seq of an event: what the commits up to it recorded is kept; or a task, by id: it runs again, and what
                depends on it. All is kept if this isn't given.
            inputs: other inputs; everything runs again.
            outputs: what tasks, by id, give out instead of what they did; what depends on them runs again.
            new_run_id: the id of the new run; made up if it isn't given.
            by: who forks the run, for the record.
            drive: whether this engine drives the new run, if it was given its graph; else it is left to another one.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: the new id is taken, or the run has no such event or task.
            RunStalled: other inputs or outputs are given, and this engine wasn't given the graph.
            GraphSetupError: the arguments don't go together.
            CodecError: a value can't be stored.
        """
        self._check_open()
        new_id = checked_identifier("run id", new_run_id) if new_run_id is not None else made_up_id()
        forking = Forking(run_id, at, inputs, outputs or {}, new_id, by, drive)
        info = await self._worker.see_through(fork(self._worker, forking))
        if drive:
            await self._worker.adopt(info)
        return self.attach(new_id)

    async def plan(
        self,
        run_id: str,
        verb: PlannedVerb,
        *,
        at: int | str | None = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> Planned:
        """Return what would run again if a run were resumed, recovered, retried or forked; nothing is written.

        Args:
            run_id: the run.
            verb: ``"resume"``, ``"recover"``, ``"retry"`` or ``"fork"``.
            at: where it would be forked, as for :meth:`fork_run`.
            outputs: what tasks would give out instead in the fork.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it doesn't accept the verb, or has no such event or task.
            GraphSetupError: there is no such verb, or it takes none of the arguments.
        """
        self._check_open()
        return await planned(self._worker, verb, Forking(run_id, at, MISSING, outputs or {}, run_id, ""))

    # --- reading ---

    def attach(self, run_id: str) -> RunHandle[Any]:
        """Return a handle of a run that exists, without driving it."""
        return RunHandle(self, run_id, self._worker.driven.get(run_id))

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
        before: datetime | int | None = None,
    ) -> Sequence[RunInfo]:
        """Return runs, the newest first.

        Args:
            statuses: only runs in one of these.
            graph: only runs of the graph with this name.
            tags: only runs that were started with all of these.
            since: only runs created at this time or later.
            limit: how many at most.
            before: only runs created before this time; also as ``created_at`` has it, to turn pages.

        Raises:
            GraphSetupError: a time has no zone.
        """
        self._check_open()
        wanted = [Status(status).value for status in statuses]
        last = before if isinstance(before, int) else time_of("before", before)
        first = time_of("since", since)
        return await self._store.list(
            statuses=wanted, graph=graph, limit=limit, before=last, since=first, tags=tags or {}
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
        here = Here(mine.graph.plan if mine is not None else None, lacks)
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

    @property
    def is_open(self) -> bool:
        """Whether runs can be started, driven and read."""
        return self._worker.is_open

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
        driven = await asyncio.shield(change) if self._worker.is_open else None
        if driven is None and not self._worker.is_open:
            raise RunInterrupted(f"run {run_id!r} is unfinished, and this engine is closed", run_id=run_id)
        return driven

    def is_woken(self, info: RunInfo) -> bool:
        """Say whether a run that waits is only waiting to be driven on: something has come in, or its time has come."""
        return info.due_at is not None and info.due_at <= self._clock.now()

    async def recorded_outputs(self, info: RunInfo) -> Sequence[Any]:
        """Return every value that reached the end of a run, from its log; the first is the result.

        Raises:
            RunError: there is none; the class says why.
        """
        run_id, status = info.run_id, Status(info.status)
        if status is Status.COMPLETED:
            mine = self._worker.graphs.of(info)
            if mine is None:
                raise RunStalled(
                    f"the output of run {run_id!r} is of graph {info.graph!r}, which this engine wasn't given",
                    run_id=run_id,
                )
            return await recorded_outputs(self._store, info, CodedValues(mine.codec))
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
        values = CodedValues(registered.codec)
        run = new_run(registered.graph, run_id, values)
        await rebuild(self._store, info, run, values.blobs)
        return run


def made_up_id() -> str:
    """Return an id that no other run has."""
    return secrets.token_hex(8)


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags that can be stored and found again.

    Raises:
        InvalidIdentifier: a name or a text is empty, too long, or holds a character that can't be printed.
    """
    return {checked_identifier("name of a tag", name): checked_identifier("tag", text) for name, text in tags.items()}


def deadline_at(deadline: timedelta | datetime | None, clock: Clock) -> int | None:
    """Return when a run has to be over, in microseconds since 1970.

    Raises:
        GraphSetupError: it is of a wrong type, or has no time zone.
    """
    if deadline is None:
        return None
    if isinstance(deadline, timedelta):
        return clock.now() + microseconds("deadline", deadline)
    return since_1970("deadline", deadline)


def time_of(name: str, time: datetime | None) -> int | None:
    """Return a time in microseconds since 1970, if there is one.

    Raises:
        GraphSetupError: it has no time zone.
    """
    return since_1970(name, time) if time is not None else None
