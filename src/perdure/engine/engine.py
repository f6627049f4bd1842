"""The engine: runs of graphs on one store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import msgspec

from perdure.codec.codec import BlobMissing, blob_digest, resolved
from perdure.engine.clock import Clock, SystemClock
from perdure.engine.code import UserCode
from perdure.engine.driven import Driven
from perdure.engine.driver import Driver, Durable
from perdure.engine.handle import RunHandle
from perdure.engine.history import Recorded, read_history
from perdure.engine.journal import Journal, Position
from perdure.engine.leases import Leases
from perdure.engine.logging import get_logger
from perdure.engine.owner import appear, disappear, is_provably_dead
from perdure.engine.recovery import rebuild
from perdure.engine.registered import Registered, new_run, registered
from perdure.engine.results import recorded_failure, recorded_output
from perdure.engine.values import CodedValues
from perdure.errors import (
    Fenced,
    GraphRuntimeError,
    GraphSetupError,
    RunCancelled,
    RunConflict,
    RunInterrupted,
    RunNotFound,
    RunPaused,
    RunStalled,
    StoreCorrupt,
    StoreError,
)
from perdure.events import Durability, RunStarted, SegmentStarted
from perdure.graph.flow import Spread
from perdure.graph.graph import Graph
from perdure.graph.types import MISSING, Missing
from perdure.ids import START_TASK, checked_identifier
from perdure.kernel.decide import Happening, start, take_over
from perdure.kernel.deciding import ArrivalFailed, Decision
from perdure.kernel.run import Run
from perdure.kernel.status import OVER, Status
from perdure.store.chain import chain_start
from perdure.store.port import NewRun, RunInfo, RunUpdate, Store
from perdure.store.sqlite.store import SQLiteStore
from perdure.version import __version__

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")

CLAIM_PAGE = 100
POLL_S = 0.05
"""How often a run that is driven by another process is looked at."""


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
        recover: bool,
        durability: Durability,
        clock: Clock,
    ) -> None:
        self._store = store
        self._clock = clock
        self._deps = deps
        self._deps_for = dict(deps_for)
        self._recover = recover
        self._durability: Durability = durability
        self._graphs: dict[str, Registered] = {}
        self._driven: dict[str, Driven] = {}
        self._owner = appear()
        self._epoch = 0
        self._plans: dict[str, asyncio.Task[None]] = {}
        self._leases = Leases(store, clock, self._lose)
        self._is_open = False
        self._log = get_logger("perdure.engine")
        for graph in graphs:
            self._register(graph)

    @classmethod
    def open(
        cls,
        store: str | PathLike[str] | Store,
        graphs: Iterable[Graph[Any, Any, Any, Any]] = (),
        *,
        deps: Any = MISSING,
        deps_for: Mapping[str, Callable[[], Any]] | None = None,
        recover: bool = True,
        durability: Durability = "sync",
        clock: Clock | None = None,
    ) -> Engine:
        """Return an engine, to be entered with ``async with``.

        Args:
            store: the path of an SQLite file, made if it isn't there, or a store.
            graphs: the graphs whose runs are recovered; others can be started too.
            deps: dependencies for the steps of all graphs.
            deps_for: for single graphs, by name, a function that makes the dependencies of a run.
            recover: whether runs that a crash has left behind are driven on, on entry.
            durability: ``"sync"`` makes every decision durable before anything is done about it; ``"async"`` and
                ``"exit"`` are faster and may lose the last events of a run in a crash.
            clock: another clock, for tests.

        Raises:
            GraphBuildingError: values of a graph can't be stored.
        """
        return cls(
            store if not isinstance(store, str | PathLike) else SQLiteStore(store),
            graphs,
            deps=deps,
            deps_for=deps_for or {},
            recover=recover,
            durability=durability,
            clock=clock or SystemClock(),
        )

    # --- life ---

    async def __aenter__(self) -> Self:
        await self._store.open()
        try:
            self._epoch = await self._store.next_epoch()
            self._is_open = True
            self._leases.begin()
            if self._recover:
                await self.recover()
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
            self._is_open = False
            for driven in self._driven.values():
                driven.driver.stop()
            tasks = [driven.task for driven in self._driven.values() if driven.task is not None]
            if tasks:
                await asyncio.wait(tasks)
            await self._leases.end()
            await self._store.close()
            disappear(self._owner)

    def _register(self, graph: Graph[Any, Any, Any, Any]) -> Registered:
        known = self._graphs.get(graph.name)
        if known is not None and known.graph is graph:
            return known
        if known is not None and known.graph.fingerprint != graph.fingerprint:
            raise GraphSetupError(
                f"this engine knows another graph by the name {graph.name!r}: give each graph a name of its own, "
                "GraphBuilder(name=…)"
            )
        mine = self._graphs[graph.name] = registered(graph)
        return mine

    def _deps_of(self, graph: Graph[Any, Any, Any, Any], given: Any = MISSING) -> Any:
        if not isinstance(given, Missing):
            return given
        factory = self._deps_for.get(graph.name)
        if factory is not None:
            return factory()
        return None if isinstance(self._deps, Missing) else self._deps

    def _lacks_deps(self, graph: Graph[Any, Any, Any, Any]) -> bool:
        needs = graph.deps_type not in (None, type(None), object, Any)
        return needs and isinstance(self._deps, Missing) and graph.name not in self._deps_for

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
    ) -> RunHandle[OutputT]:
        """Start a run and drive it; the run exists, durably, when this returns.

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

        Raises:
            RunConflict: the id is taken by a run of another graph or with other inputs.
            CodecError: the inputs or the state can't be stored.
            StoreError: the store can't be used.
        """
        self._check_open()
        mine = self._register(graph)
        run_id = checked_identifier("run id", run_id) if run_id is not None else new_run_id()
        await self._save_plan(graph)
        await self._create(mine, run_id, inputs, state, self._deps_of(graph, deps), by, durability)
        return self.attach(run_id)

    async def _save_plan(self, graph: Graph[Any, Any, Any, Any]) -> None:
        """Keep the graph's plan in the store; of many runs that start at once, the first one sees to it."""
        saving = self._plans.get(graph.fingerprint)
        if saving is None or (saving.done() and (saving.cancelled() or saving.exception() is not None)):
            save = self._store.save_plan(graph.fingerprint, graph.name, graph.plan.encoded())
            saving = self._plans[graph.fingerprint] = asyncio.get_running_loop().create_task(save)
        if not saving.done():
            await asyncio.shield(saving)

    async def _create(
        self,
        registered: Registered,
        run_id: str,
        inputs: Any,
        state: Any,
        deps: Any,
        by: str,
        durability: Durability | None,
    ) -> None:
        graph, values = registered.graph, CodedValues(registered.codec)
        mode = durability or self._durability
        recorded = values.record("__start__", inputs)
        digest = _digest(resolved(recorded, values.blobs))
        written = values.record_state(state)
        started = RunStarted(
            graph=graph.name,
            fingerprint=graph.fingerprint,
            inputs=recorded,
            inputs_digest=digest,
            state=written,
            state_digest=_digest(bytes(written.raw)),
            by=by,
            durability=mode,
        )
        run, decision, drives = self._first_decision(registered, run_id, values, deps, started, inputs)
        position = Position(0, chain_start(run_id, graph.name), 0)
        journal = Journal(self._store, run_id, self._epoch, position, self._clock, values.blobs, mode)
        rows = journal.rows(decision.events)
        created_at = rows[0].ts
        new = NewRun(
            run_id=run_id,
            graph=graph.name,
            fingerprint=graph.fingerprint,
            created_at=created_at,
            inputs_digest=digest,
            state_digest=started.state_digest,
            rows=rows,
            update=RunUpdate(run.status.value),
            blobs=dict(values.blobs.unsaved),
            owner=self._owner,
            lease_until=self._leases.until(),
        )
        info, created = await self._store.create(new)
        if not created:
            await self._attach(registered, info, digest, deps)
            return
        values.blobs.save()
        self._leases.add(run_id, self._epoch)
        driver = Driver(
            run,
            graph,
            registered.flows,
            values,
            deps,
            self._segment(graph),
            self._clock,
            Durable(self._store, journal, values),
        )
        self._drive(driver, registered, decision if drives else None)

    def _first_decision(
        self, registered: Registered, run_id: str, values: CodedValues, deps: Any, started: RunStarted, inputs: Any
    ) -> tuple[Run, Decision, bool]:
        """Decide on a new run, as far as possible in one commit; say whether that includes the first tasks."""
        graph = registered.graph
        for ahead in (True, False):
            run = new_run(graph, run_id, values)
            code = UserCode(graph, registered.flows, values, run_id, deps)
            now = self._clock.now()
            decision = start(run, *self._with_items(registered, code, started, inputs, values), now, code)
            if not ahead:
                break
            try:
                first = take_over(run, self._segment(graph), Happening(now), code)
            except (ArrivalFailed, BlobMissing):
                continue
            decision.events += first.events
            decision.started, decision.stopped, decision.exception = first.started, first.stopped, first.exception
            return run, decision, True
        return run, decision, False

    def _with_items(
        self, registered: Registered, code: UserCode, started: RunStarted, inputs: Any, values: CodedValues
    ) -> tuple[RunStarted, Any]:
        """Where the inputs are mapped right away, record them as items and not twice."""
        flow = registered.graph.plan.nodes["__start__"].flow
        if not isinstance(flow, Spread) or registered.flows.calls_user_code(flow):
            return started, None
        begun = code.pass_value(START_TASK, "__start__", inputs)
        if begun is None:
            return started, None
        values.blobs.unsaved.pop(blob_digest(started.inputs) or "", None)
        return msgspec.structs.replace(started, inputs=values.nothing), begun

    async def _attach(self, registered: Registered, info: RunInfo, digest: str, deps: Any) -> None:
        if info.graph != registered.graph.name or info.inputs_digest != digest:
            what = f"of graph {info.graph!r}" if info.graph != registered.graph.name else "with other inputs"
            raise RunConflict(
                f"there is a run {info.run_id!r} already, {what}: use another run_id, or the same inputs to attach to it",
                run_id=info.run_id,
            )
        if Status(info.status) in OVER or info.run_id in self._driven:
            return
        await self._claim_one(registered, info, deps)

    # --- driving ---

    def _segment(self, graph: Graph[Any, Any, Any, Any]) -> SegmentStarted:
        worker = f"{self._owner.host}:{self._owner.pid}:{self._owner.id}"
        return SegmentStarted(worker, __version__, graph.fingerprint)

    def _drive(self, driver: Driver, registered: Registered, first: Decision | None) -> None:
        driven = self._driven[driver.run.run_id] = Driven(driver)
        name = f"perdure-{driver.run.run_id}"
        driven.task = asyncio.get_running_loop().create_task(self._driving(driven, registered, first), name=name)

    async def _driving(self, driven: Driven, registered: Registered, first: Decision | None) -> None:
        run_id = driven.driver.run.run_id
        about = {"run": run_id, "graph": registered.graph.name}
        try:
            await driven.driver.drive(first)
        except Fenced as error:
            self._log.warning("another worker drives the run now", error=str(error), **about)
        except Exception as error:
            self._log.exception("the run can't be driven on", **about)
            driven.error = error
        finally:
            lease = self._leases.drop(run_id)
            del self._driven[run_id]
            status = driven.driver.run.status
            if lease is not None and status not in OVER:
                with suppress(StoreError):
                    await asyncio.shield(self._store.release([lease]))
            self._log.info("segment ended", status=status.value, seq=driven.driver.run.seq, **about)
            driven.over.set_result(None)

    def _lose(self, run_id: str) -> None:
        """Stop driving a run whose lease is lost, without another word into its log."""
        driven = self._driven.get(run_id)
        if driven is not None and driven.task is not None:
            driven.task.cancel()

    # --- recovery ---

    async def recover(self) -> int:
        """Drive on the runs of this engine's graphs that nobody drives; return how many.

        Runs whose owner is known to be dead are taken at once, others when their lease has run out.
        """
        self._check_open()
        graphs = [name for name, known in self._graphs.items() if not self._lacks_deps(known.graph)]
        if not graphs:
            return 0
        for info in await self._store.orphans(self._clock.now()):
            if info.graph in graphs and info.owner is not None and is_provably_dead(info.owner):
                await self._store.expire(info.run_id, info.epoch)
        count = 0
        while True:
            claimed = await self._store.claim(
                self._owner, graphs=graphs, now=self._clock.now(), until=self._leases.until(), limit=CLAIM_PAGE
            )
            for info in claimed:
                registered = self._graphs[info.graph]
                count += await self._resume(registered, info, self._deps_of(registered.graph))
            if len(claimed) < CLAIM_PAGE:
                return count

    async def recover_run(self, run_id: str) -> RunHandle[Any]:
        """Drive one run on, if it is unfinished and nobody drives it; return its handle, whatever came of that.

        A run whose owner isn't known to be dead is taken when its lease has run out, and left alone before that.

        Raises:
            RunNotFound: there is no such run.
            RunStalled: it is of a graph that this engine wasn't given.
        """
        info = await self.get(run_id)
        if Status(info.status) not in OVER and run_id not in self._driven:
            registered = self._graphs.get(info.graph)
            if registered is None:
                raise RunStalled(
                    f"run {run_id!r} is of graph {info.graph!r}, which this engine wasn't given", run_id=run_id
                )
            await self._claim_one(registered, info, self._deps_of(registered.graph))
        return self.attach(run_id)

    async def _claim_one(self, registered: Registered, info: RunInfo, deps: Any) -> None:
        """Drive a run on if nobody else does."""
        if info.owner is not None and is_provably_dead(info.owner):
            await self._store.expire(info.run_id, info.epoch)
        claimed = await self._store.claim(
            self._owner, graphs=(), now=self._clock.now(), until=self._leases.until(), limit=1, run_id=info.run_id
        )
        for mine in claimed:
            await self._resume(registered, mine, deps)

    async def _resume(self, registered: Registered, info: RunInfo, deps: Any) -> bool:
        """Rebuild a claimed run and drive it; park it if its log or its graph doesn't allow that."""
        graph, values = registered.graph, CodedValues(registered.codec)
        log = self._log.bind(run=info.run_id, graph=info.graph)
        try:
            if info.fingerprint != graph.fingerprint:
                raise GraphRuntimeError(
                    f"run {info.run_id!r} was started with graph {graph.name!r} of fingerprint {info.fingerprint[:12]}, and "
                    f"this process has {graph.fingerprint[:12]}"
                )
            run = new_run(graph, info.run_id, values)
            position = await rebuild(self._store, info, run, values.blobs)
        except (GraphRuntimeError, StoreCorrupt) as error:
            log.error("the run is stalled", reason=str(error))
            await self._store.park(info.run_id, info.epoch, Status.STALLED.value, str(error))
            return False
        journal = Journal(self._store, info.run_id, info.epoch, position, self._clock, values.blobs, run.durability)
        self._leases.add(info.run_id, info.epoch)
        driver = Driver(
            run,
            graph,
            registered.flows,
            values,
            deps,
            self._segment(graph),
            self._clock,
            Durable(self._store, journal, values),
        )
        log.info("run recovered", seq=run.seq)
        self._drive(driver, registered, None)
        return True

    # --- reading ---

    def _check_open(self) -> None:
        if not self._is_open:
            raise GraphRuntimeError("this engine isn't open: use it inside `async with Engine.open(…) as engine`")

    def attach(self, run_id: str) -> RunHandle[Any]:
        """Return a handle of a run that exists, without driving it."""
        return RunHandle(self, run_id, self._driven.get(run_id))

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

    async def ended(self, run_id: str) -> RunInfo:
        """Wait until a run that another process drives has ended, or can't go on; return what is known of it.

        Raises:
            RunInterrupted: this engine is closed before that.
        """
        while True:
            info = await self.get(run_id)
            if Status(info.status) in OVER or info.status in (Status.PAUSED, Status.STALLED):
                return info
            await self._clock.sleep(POLL_S)
            if not self._is_open:
                raise RunInterrupted(f"run {run_id!r} is unfinished, and this engine is closed", run_id=run_id)

    async def recorded_result(self, info: RunInfo) -> Any:
        """Return the output of a run from its log.

        Raises:
            RunError: there is none; the class says why.
        """
        run_id, status = info.run_id, Status(info.status)
        if status is Status.COMPLETED:
            return await self._recorded_output(info)
        if status is Status.FAILED:
            raise await recorded_failure(self._store, info)
        if status is Status.CANCELLED:
            raise RunCancelled(f"run {run_id!r} was cancelled", run_id=run_id)
        if status is Status.PAUSED:
            raise RunPaused(f"run {run_id!r} is paused: resume it to go on", run_id=run_id)
        raise RunStalled(f"run {run_id!r} is stalled: {info.error}", run_id=run_id)

    async def _recorded_output(self, info: RunInfo) -> Any:
        registered = self._graphs.get(info.graph)
        if registered is None:
            raise RunStalled(
                f"the output of run {info.run_id!r} is of graph {info.graph!r}, which this engine wasn't given",
                run_id=info.run_id,
            )
        return await recorded_output(self._store, info, CodedValues(registered.codec))

    async def committed_state(self, run_id: str) -> Any:
        """Return a run's committed state, as a tree, from its log."""
        return (await self._folded(run_id)).state.tree

    async def _folded(self, run_id: str) -> Run:
        info = await self.get(run_id)
        registered = self._graphs.get(info.graph)
        if registered is None or registered.graph.fingerprint != info.fingerprint:
            raise RunStalled(f"run {run_id!r} is of a graph that this engine wasn't given", run_id=run_id)
        values = CodedValues(registered.codec)
        run = new_run(registered.graph, run_id, values)
        await rebuild(self._store, info, run, values.blobs)
        return run


def new_run_id() -> str:
    """Return an id that no other run has."""
    return secrets.token_hex(8)


def _digest(data: bytes | msgspec.Raw) -> str:
    return blake2b(data, digest_size=16).hexdigest()
