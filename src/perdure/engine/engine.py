"""The engine: runs of graphs on one store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from datetime import datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from perdure.engine.answering import Answering
from perdure.engine.clock import Clock, SystemClock
from perdure.engine.driven import Driven
from perdure.engine.fitting import Fit, fit_of
from perdure.engine.handle import RunHandle
from perdure.engine.history import Recorded, read_history
from perdure.engine.leases import LEASE_S
from perdure.engine.recovery import rebuild
from perdure.engine.registered import new_run
from perdure.engine.results import recorded_failure, recorded_outputs
from perdure.engine.serving import Serving
from perdure.engine.starting import Starting, create_run
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
from perdure.events import Durability
from perdure.graph.graph import Graph
from perdure.graph.types import MISSING
from perdure.graph.wait import microseconds, since_1970
from perdure.ids import checked_identifier
from perdure.kernel.run import Run
from perdure.kernel.status import OVER, Status
from perdure.store.port import RunInfo, Store
from perdure.store.sqlite.store import SQLiteStore

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
    ) -> None:
        self._store = store
        self._clock = clock
        self._durability: Durability = durability
        self._plans: dict[str, asyncio.Task[None]] = {}
        self._serving: Serving | None = None
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
        )
        self._answering = Answering(self._worker)

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

        Raises:
            GraphBuildingError: values of a graph can't be stored.
            GraphSetupError: two graphs have one name, or an executor is missing.
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
        )

    # --- life ---

    async def __aenter__(self) -> Self:
        await self._store.open()
        try:
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
            tags: texts by which the run can be told apart, for the record.

        Raises:
            RunConflict: the id is taken by a run of another graph or with other inputs.
            CodecError: the inputs or the state can't be stored.
            GraphSetupError: an argument is of a wrong type.
            StoreError: the store can't be used.
        """
        self._check_open()
        mine = self._worker.register(graph)
        run_id = checked_identifier("run id", run_id) if run_id is not None else new_run_id()
        await self._save_plan(graph)
        given = self._worker.deps_of(graph, deps)
        mode = durability or self._durability
        starting = Starting(
            run_id, inputs, state, given, by, mode, deadline_at(deadline, self._clock), dict(tags or {})
        )
        info, digest, created = await self._worker.see_through(create_run(self._worker, mine, starting))
        if not created:
            await self._attach(graph, info, digest, given)
        return self.attach(run_id)

    async def _save_plan(self, graph: Graph[Any, Any, Any, Any]) -> None:
        """Keep the graph's plan in the store; of many runs that start at once, the first one sees to it."""
        saving = self._plans.get(graph.fingerprint)
        if saving is None or (saving.done() and (saving.cancelled() or saving.exception() is not None)):
            save = self._store.save_plan(graph.fingerprint, graph.name, graph.plan.encoded())
            saving = self._plans[graph.fingerprint] = asyncio.get_running_loop().create_task(save)
        if not saving.done():
            await asyncio.shield(saving)

    async def _attach(self, graph: Graph[Any, Any, Any, Any], info: RunInfo, digest: str, deps: Any) -> None:
        if info.graph != graph.name or info.inputs_digest != digest:
            what = f"of graph {info.graph!r}" if info.graph != graph.name else "with other inputs"
            raise RunConflict(
                f"there is a run {info.run_id!r} already, {what}: use another run_id, or the same inputs to attach to it",
                run_id=info.run_id,
            )
        if Status(info.status) not in OVER:
            self._worker.known[info.run_id] = deps
            await self._worker.claim_one(info, deps)

    async def recover(self) -> int:
        """Drive on the runs of this engine's graphs that nobody drives; return how many.

        Runs whose owner is known to be dead are taken at once, others when their lease has run out.
        """
        self._check_open()
        return await self._worker.recover()

    async def recover_run(self, run_id: str) -> RunHandle[Any]:
        """Drive one run on, if it is unfinished and nobody drives it; return its handle, whatever came of that.

        A run whose owner isn't known to be dead is taken when its lease has run out, and left alone before that. One that
        waits is driven on by this engine when it is woken.

        Raises:
            RunNotFound: there is no such run.
            RunStalled: it is of a graph that this engine wasn't given.
        """
        info = await self.get(run_id)
        if Status(info.status) not in OVER:
            mine = self._worker.graphs.get(info.graph)
            if mine is None:
                raise RunStalled(
                    f"run {run_id!r} is of graph {info.graph!r}, which this engine wasn't given", run_id=run_id
                )
            deps = self._worker.known.setdefault(run_id, self._worker.deps_of(mine.graph))
            await self._worker.claim_one(info, deps)
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
            RunConflict: it is over.
        """
        self._check_open()
        await self._answering.request(run_id, "pause", by, reason, now=now)

    async def cancel(self, run_id: str, *, by: str = "", reason: str = "") -> None:
        """End a run for good; when this returns the request is durable.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it is over.
        """
        self._check_open()
        await self._answering.request(run_id, "cancel", by, reason)

    async def resume(self, run_id: str, *, by: str = "", reason: str = "") -> RunHandle[Any]:
        """Let a paused run go on, driven by this engine.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it isn't paused, or is driven elsewhere.
            RunStalled: this engine wasn't given its graph.
        """
        self._check_open()
        await self._answering.resume(run_id, by, reason)
        return self.attach(run_id)

    async def retry(
        self, run_id: str, *, by: str = "", reason: str = "", max_steps: int | None = None
    ) -> RunHandle[Any]:
        """Let a failed run go on: what failed, was interrupted or never ran runs now, what finished doesn't.

        Raises:
            RunNotFound: there is no such run.
            RunConflict: it hasn't failed.
            RunStalled: this engine wasn't given its graph.
        """
        self._check_open()
        await self._answering.retry(run_id, by, reason, max_steps)
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
        await self._answering.accept(run_id, by, reason)
        return self.attach(run_id)

    async def check(self, run_id: str) -> Fit:
        """Say whether a run goes on with the graph as this engine has it.

        Raises:
            RunNotFound: there is no such run.
        """
        info = await self.get(run_id)
        mine = self._worker.graphs.get(info.graph)
        if mine is None:
            return Fit(run_id, "stalled", f"this engine wasn't given a graph {info.graph!r}")
        return await fit_of(self._store, info, mine.graph.plan)

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
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[RunInfo]:
        """Return runs, the newest first.

        Args:
            statuses: only runs in one of these.
            graph: only runs of the graph with this name.
            limit: how many at most.
            before: only runs created before this time, in microseconds since 1970.
        """
        self._check_open()
        wanted = [Status(status).value for status in statuses]
        return await self._store.list(statuses=wanted, graph=graph, limit=limit, before=before)

    async def history(self, run_id: str) -> Sequence[Recorded]:
        """Return the events of a run, in order.

        Raises:
            RunNotFound: there is no such run.
            StoreCorrupt: its log isn't what was written.
        """
        info = await self.get(run_id)
        return [recorded async for recorded in read_history(self._store, info)]

    @property
    def is_open(self) -> bool:
        """Whether runs can be started, driven and read."""
        return self._worker.is_open

    def driven(self, run_id: str) -> Driven | None:
        """Return what drives a run in this process, or None."""
        return self._worker.driven.get(run_id)

    async def change_of(self, run_id: str) -> Driven | None:
        """Wait until something may have changed about a run that isn't driven here.

        Returns:
            What drives it, or has just driven it, if that is here.

        Raises:
            RunInterrupted: this engine is closed.
        """
        driven = await self._worker.change_of(run_id) if self._worker.is_open else None
        if driven is None and not self._worker.is_open:
            raise RunInterrupted(f"run {run_id!r} is unfinished, and this engine is closed", run_id=run_id)
        return driven

    async def recorded_outputs(self, info: RunInfo) -> Sequence[Any]:
        """Return every value that reached the end of a run, from its log; the first is the result.

        Raises:
            RunError: there is none; the class says why.
        """
        run_id, status = info.run_id, Status(info.status)
        if status is Status.COMPLETED:
            mine = self._worker.graphs.get(info.graph)
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

    async def committed_state(self, run_id: str) -> Any:
        """Return a run's committed state, as a tree, from its log."""
        return (await self._folded(run_id)).state.tree

    async def _folded(self, run_id: str) -> Run:
        info = await self.get(run_id)
        registered = self._worker.graphs.get(info.graph)
        if registered is None or registered.graph.fingerprint != info.fingerprint:
            raise RunStalled(f"run {run_id!r} is of a graph that this engine wasn't given", run_id=run_id)
        values = CodedValues(registered.codec)
        run = new_run(registered.graph, run_id, values)
        await rebuild(self._store, info, run, values.blobs)
        return run


def new_run_id() -> str:
    """Return an id that no other run has."""
    return secrets.token_hex(8)


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
