"""The engine: runs of graphs on one store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor as Pool
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from perdure.codec.redaction import Redact, Redaction
from perdure.engine.arguments import (
    check_bounds,
    check_observers,
    checked_durability,
    checked_graph,
    checked_graphs,
    checked_tags,
    deadline_at,
    store_of,
)
from perdure.engine.calling.observing import Observer, Observing
from perdure.engine.calling.steps import Steps
from perdure.engine.clock import Clock, SystemClock
from perdure.engine.control.answering import Answering
from perdure.engine.control.control import Control, check_accepts
from perdure.engine.control.starting import Starting, create_run, made_up_id
from perdure.engine.driving.driven import Driven
from perdure.engine.graph_run import GraphRun
from perdure.engine.handle import RunHandle
from perdure.engine.iterating import iterate_on_store
from perdure.engine.verbs import Verbs
from perdure.engine.workers.leases import LEASE_S
from perdure.engine.workers.publish import OnEvent
from perdure.engine.workers.serving import Serving
from perdure.engine.workers.worker import MAX_RUNS, Worker
from perdure.errors import (
    GraphSetupError,
    RunConflict,
    RunStalled,
)
from perdure.events import Durability
from perdure.graph.graph import Graph
from perdure.graph.types import MISSING, Missing
from perdure.ids import checked_by, checked_identifier, checked_text
from perdure.kernel.fold.status import OVER, Status
from perdure.store.completion import completed
from perdure.store.encryption import Encryption, check_readable, sealed_store
from perdure.store.port import Store
from perdure.store.records import RunInfo

StateT = TypeVar("StateT")
DepsT = TypeVar("DepsT")
InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")


class Engine(Verbs):
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
        redact: Redact | None = None,
        encryption: Encryption | None = None,
    ) -> None:
        check_observers(on_event, telemetry)
        check_bounds(lease_s, max_runs)
        store = store if encryption is None else sealed_store(store, encryption)
        self._store = store
        self._clock = clock
        self._durability: Durability = checked_durability(durability)
        self._plans: dict[str, asyncio.Task[None]] = {}
        self._serving: Serving | None = None
        redaction = Redaction(redact) if redact is not None else None
        self._observing = Observing(telemetry, redaction)
        self._worker = Worker(
            store,
            clock,
            checked_graphs(graphs),
            deps=deps,
            deps_for=deps_for,
            pools=executors,
            recovers=recover,
            drives=drive,
            lease_s=lease_s,
            max_runs=max_runs,
            on_event=(on_event,) if on_event is not None else (),
            observing=self._observing,
            redaction=redaction,
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
        redact: Redact | None = None,
        encryption: Encryption | None = None,
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
            redact: called as ``redact(where, path, value)`` with every value that is to be stored and with each of its parts;
                what it returns is stored instead, and is what all that follows sees. See :data:`perdure.Redact`.
            encryption: what values are encrypted with in the store, as an :class:`perdure.AES256GCM`.

        Raises:
            GraphBuildingError: values of a graph can't be stored.
            GraphSetupError: two graphs have one name and version, an executor is missing, or an argument is of a wrong type.
            EncryptionError: the id of the key to write with can't be one.
        """
        return cls(
            store_of(store),
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
            redact=redact,
            encryption=encryption,
        )

    # --- life ---

    async def __aenter__(self) -> Self:
        await self._store.open()
        try:
            await self._observing.opened(self._store)
            await self._worker.open()
        except BaseException:
            await completed(self._shut())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await completed(self._shut())

    async def _shut(self) -> None:
        """Hand back what is being driven, and close the store."""
        try:
            await self._worker.close()
        finally:
            try:
                await self._observing.closed()
            finally:
                await self._store.close()

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
        driven = await self.begin(graph, starting)
        return RunHandle(self, starting.run_id, driven) if driven is not None else self.attach(starting.run_id)

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
        self._worker.register(checked_graph(graph))
        return Starting(
            checked_identifier("run id", run_id) if run_id is not None else made_up_id(),
            inputs,
            state,
            self._worker.deps_of(graph, deps),
            checked_by(by),
            checked_durability(durability or self._durability),
            deadline_at(deadline, self._clock),
            checked_tags(tags or {}),
            is_given=not isinstance(deps, Missing),
            in_trace=bool(child),
        )

    async def begin(self, graph: Graph[Any, Any, Any, Any], starting: Starting) -> Driven | None:
        """Create a run, or attach to the one that has its id; return it if this engine drives it from its first commit on."""
        await self._save_plan(graph)
        mine = self._worker.register(graph)
        info, digest, created, driven = await self._worker.see_through(create_run(self._worker, mine, starting))
        if not created:
            await self._attach(graph, info, digest, starting)
        return driven

    async def _save_plan(self, graph: Graph[Any, Any, Any, Any]) -> None:
        """Keep the graph's plan in the store; of many runs that start at once, the first one sees to it."""
        saving = self._plans.get(graph.fingerprint)
        if saving is None or (saving.done() and (saving.cancelled() or saving.exception() is not None)):
            save = self._store.save_plan(graph.fingerprint, graph.name, graph.plan.encoded())
            saving = self._plans[graph.fingerprint] = asyncio.get_running_loop().create_task(save)
        if not saving.done():
            await asyncio.shield(saving)

    async def _attach(self, graph: Graph[Any, Any, Any, Any], info: RunInfo, digest: str, starting: Starting) -> None:
        check_readable(info)
        if info.graph != graph.name or info.inputs_digest != digest:
            what = f"of graph {info.graph!r}" if info.graph != graph.name else "with other inputs"
            raise RunConflict(
                f"there is a run {info.run_id!r} already, {what}: use another run_id, or the same inputs to attach to it",
                run_id=info.run_id,
            )
        while starting.steps is None and (successor := await self.successor_of(info)):
            info = await self.get(successor)  # whoever led the chain may have died between two of its runs
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
            EncryptionError: the key of the run wasn't given.
        """
        by, reason = checked_by(by), checked_text("reason=", reason)
        info = await self.get(run_id)
        check_readable(info)
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

    # --- reading ---

    @property
    def is_open(self) -> bool:
        """Whether runs can be started, driven and read."""
        return self._worker.is_open
