"""The graph: an immutable definition that can be run any number of times."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, overload

import msgspec

from perdure.errors import GraphRuntimeError
from perdure.events import Durability
from perdure.graph.compile.fingerprint import fingerprint_of
from perdure.graph.definitions.definition import Definition
from perdure.graph.nodes.nodes import AnyNode
from perdure.graph.nodes.paths import EdgePath
from perdure.graph.plan import Plan
from perdure.graph.render import Direction, render
from perdure.graph.runtime import Asked, Until, runtime
from perdure.graph.types import DepsT_contra, InputT_contra, OutputT_co, StateT_contra
from perdure.graph.version_order import checked_version

if TYPE_CHECKING:
    from perdure.codec.redaction import Redact
    from perdure.engine.calling.observing import Observer
    from perdure.engine.calling.waiting import Waiting
    from perdure.engine.graph_run import GraphRun
    from perdure.store.encryption import Encryption
    from perdure.store.port import Store


class Graph(Generic[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """What ``GraphBuilder.build()`` returns.

    Attributes:
        name: the name runs are recorded under.
        state_type, deps_type, input_type, output_type: the types the graph was declared with.
        nodes: every node by id, forks included.
        plan: the structure as plain data.
        edges: what it was built from, for a graph that takes it in as a subgraph.
        definition: what it was read from, for a graph that was defined in JSON, or None.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        nodes: Mapping[str, AnyNode],
        transforms: tuple[Callable[..., Any], ...],
        matches: tuple[Callable[[Any], bool], ...],
        state_type: Any,
        deps_type: Any,
        input_type: Any,
        output_type: Any,
        types: tuple[Any, ...] = (),
        edges: tuple[EdgePath[Any, Any], ...] = (),
    ) -> None:
        self.plan = plan
        self.name: str = plan.name
        self.nodes: Mapping[str, AnyNode] = MappingProxyType(dict(nodes))
        self.transforms = transforms
        self.matches = matches
        self.state_type = state_type
        self.deps_type = deps_type
        self.input_type = input_type
        self.output_type = output_type
        self.types = types
        self.edges = edges
        self.definition: Definition | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of the structure; a run goes on only with a graph whose structure fits what it has recorded."""
        return self.plan.fingerprint

    @staticmethod
    def from_json(
        text: str | bytes,
        *,
        steps: Mapping[str, Any],
        state_type: Any = None,
        deps_type: Any = None,
        input_type: Any = Any,
        output_type: Any = Any,
        types: Iterable[Any] = (),
    ) -> Graph[Any, Any, Any, Any]:
        """Return the graph that a definition in JSON describes; see the how-to on JSON definitions for the format.

        Args:
            text: the definition.
            steps: what its step types are, by name: functions, steps, routers and waits of a builder, graphs, or
                ``StepType``.
            state_type: the type of the shared state.
            deps_type: the type of the dependencies.
            input_type: the type of the inputs.
            output_type: the type of the output.
            types: further types that values may have, where no annotation of a step mentions them.

        Raises:
            GraphBuildingError: the definition can't be used; lists every problem, each with its place in the text.
        """
        from perdure.graph.definitions.defining import read_graph  # noqa: PLC0415  # which needs this module

        return read_graph(
            text,
            steps,
            state_type=state_type,
            deps_type=deps_type,
            input_type=input_type,
            output_type=output_type,
            types=tuple(types),
        )

    def to_json(self) -> str:
        """Return the graph as a definition in JSON, from which :meth:`from_json` makes an equal graph.

        Steps are named by the types they were read as, or by their ids, so that ``graph.nodes`` will do for ``steps=``.

        Raises:
            GraphSetupError: something in the graph can't be said in a definition; names all of it.
        """
        from perdure.graph.definitions.describing import described  # noqa: PLC0415  # which needs this module

        return described(self)

    @property
    def version(self) -> str:
        """Which version of the graph this is, or an empty text."""
        return self.plan.version

    def with_version(self, version: str) -> Self:
        """Return the same graph as another version.

        Raises:
            GraphSetupError: it is no version.
        """
        other = copy.copy(self)
        other.plan = msgspec.structs.replace(self.plan, version=checked_version(version))
        other.plan.fingerprint = fingerprint_of(other.plan)
        return other

    @overload
    async def run(
        self,
        *,
        state: StateT_contra = ...,
        deps: DepsT_contra = ...,
        inputs: InputT_contra = ...,
        store: str | PathLike[str] | Store | None = None,
        run_id: str | None = None,
        durability: Durability = "sync",
        executors: Mapping[str, Pool] | None = None,
        redact: Redact | None = None,
        encryption: Encryption | None = None,
        telemetry: Observer | None = None,
        deadline: timedelta | datetime | None = None,
        until: Literal["end"] = "end",
    ) -> OutputT_co: ...

    @overload
    async def run(
        self,
        *,
        state: StateT_contra = ...,
        deps: DepsT_contra = ...,
        inputs: InputT_contra = ...,
        store: str | PathLike[str] | Store,
        run_id: str | None = None,
        durability: Durability = "sync",
        executors: Mapping[str, Pool] | None = None,
        redact: Redact | None = None,
        encryption: Encryption | None = None,
        telemetry: Observer | None = None,
        deadline: timedelta | datetime | None = None,
        until: Literal["waiting"],
    ) -> Sequence[Waiting]: ...

    async def run(
        self,
        *,
        state: StateT_contra = None,  # type: ignore[assignment]
        deps: DepsT_contra = None,  # type: ignore[assignment]
        inputs: InputT_contra = None,  # type: ignore[assignment]
        store: str | PathLike[str] | Store | None = None,
        run_id: str | None = None,
        durability: Durability = "sync",
        executors: Mapping[str, Pool] | None = None,
        redact: Redact | None = None,
        encryption: Encryption | None = None,
        telemetry: Observer | None = None,
        deadline: timedelta | datetime | None = None,
        until: Until = "end",
    ) -> Any:
        """Run the graph to its end and return its output.

        Without a store everything stays in memory, and any Python object will do for values. With one the run is
        durable: call this again with the same ``run_id`` after a crash and the run goes on where it was; call it after
        the end and the recorded result is returned.

        Args:
            state: what the run's state starts from; holds the committed state afterwards, also after a failure.
            deps: dependencies, handed to steps and never stored.
            inputs: the inputs of the run.
            store: the path of an SQLite file, made if it isn't there, or an open store.
            run_id: the id of the run, 1 to 200 printable characters; made up if it isn't given.
            durability: when events are made durable; see the reference on durability for what each mode can lose.
            executors: where plain functions run that name one.
            redact: with a store, what keeps parts of values out of it; as for :meth:`Engine.open`.
            encryption: with a store, what values are encrypted with there; as for :meth:`Engine.open`.
            telemetry: who is told of the run, as a :class:`perdure.telemetry.Telemetry`.
            deadline: how long the run may take, or until when; it fails with ``DeadlineExceeded`` if it isn't over then.
            until: ``"waiting"`` returns as soon as all that is left to do is to wait, with the list of what the run waits
                for; an empty list says that it is over.

        Raises:
            Exception: whatever a step raised, unwrapped, with the run and the task added as a note.
            RunFailed: the run has ended in failure in an earlier process.
            RunConflict: the id is taken by a run of another graph or with other inputs.
            NoResult: nothing was left to run and no value had reached the end.
            CodecError: with a store, a value can't be stored.
            StoreError: the store can't be used.
        """
        return await runtime().run(
            self,
            Asked(
                state=state,
                deps=deps,
                inputs=inputs,
                store=store,
                run_id=run_id,
                durability=durability,
                executors=executors,
                redact=redact,
                encryption=encryption,
                telemetry=telemetry,
                deadline=deadline,
                until=until,
            ),
        )

    @overload
    def run_sync(
        self,
        *,
        state: StateT_contra = ...,
        deps: DepsT_contra = ...,
        inputs: InputT_contra = ...,
        store: str | PathLike[str] | Store | None = None,
        run_id: str | None = None,
        durability: Durability = "sync",
        executors: Mapping[str, Pool] | None = None,
        redact: Redact | None = None,
        encryption: Encryption | None = None,
        telemetry: Observer | None = None,
        deadline: timedelta | datetime | None = None,
        until: Literal["end"] = "end",
    ) -> OutputT_co: ...

    @overload
    def run_sync(
        self,
        *,
        state: StateT_contra = ...,
        deps: DepsT_contra = ...,
        inputs: InputT_contra = ...,
        store: str | PathLike[str] | Store,
        run_id: str | None = None,
        durability: Durability = "sync",
        executors: Mapping[str, Pool] | None = None,
        redact: Redact | None = None,
        encryption: Encryption | None = None,
        telemetry: Observer | None = None,
        deadline: timedelta | datetime | None = None,
        until: Literal["waiting"],
    ) -> Sequence[Waiting]: ...

    def run_sync(
        self,
        *,
        state: StateT_contra = None,  # type: ignore[assignment]
        deps: DepsT_contra = None,  # type: ignore[assignment]
        inputs: InputT_contra = None,  # type: ignore[assignment]
        store: str | PathLike[str] | Store | None = None,
        run_id: str | None = None,
        durability: Durability = "sync",
        executors: Mapping[str, Pool] | None = None,
        redact: Redact | None = None,
        encryption: Encryption | None = None,
        telemetry: Observer | None = None,
        deadline: timedelta | datetime | None = None,
        until: Until = "end",
    ) -> Any:
        """Run the graph from code that isn't async; otherwise as :meth:`run`.

        Raises:
            GraphRuntimeError: an event loop is running in this thread; await :meth:`run` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            running = runtime().run(
                self,
                Asked(
                    state=state,
                    deps=deps,
                    inputs=inputs,
                    store=store,
                    run_id=run_id,
                    durability=durability,
                    executors=executors,
                    redact=redact,
                    encryption=encryption,
                    telemetry=telemetry,
                    deadline=deadline,
                    until=until,
                ),
            )
            return asyncio.run(running)
        raise GraphRuntimeError("an event loop is running in this thread: write `await graph.run(…)` instead")

    def iter(
        self,
        *,
        state: StateT_contra = None,  # type: ignore[assignment]
        deps: DepsT_contra = None,  # type: ignore[assignment]
        inputs: InputT_contra = None,  # type: ignore[assignment]
        store: str | PathLike[str] | Store | None = None,
        run_id: str | None = None,
        durability: Durability = "sync",
        executors: Mapping[str, Pool] | None = None,
        redact: Redact | None = None,
        encryption: Encryption | None = None,
        telemetry: Observer | None = None,
    ) -> AbstractAsyncContextManager[GraphRun[StateT_contra, DepsT_contra, OutputT_co]]:
        """Step through a run: ``async with graph.iter(…) as run``, and ``async for item in run``.

        The items are the tasks that are about to start, as lists, and at last an ``EndMarker``. Between them the caller may
        look at the state, and put other tasks in the place of those to come (``run.next(…)``, ``run.override_next(…)``).
        With a store the run is durable, and what the caller decides is recorded: step through it again with the same
        ``run_id`` after a crash and it goes on where it was.

        Args:
            state: what the run's state starts from; holds the committed state afterwards, also after a failure.
            deps: dependencies, handed to steps and never stored.
            inputs: the inputs of the run.
            store: the path of an SQLite file, made if it isn't there, or an open store.
            run_id: the id of the run, 1 to 200 printable characters; made up if it isn't given.
            durability: when events are made durable; see the reference on durability for what each mode can lose.
            executors: where plain functions run that name one.
            redact: with a store, what keeps parts of values out of it; as for :meth:`Engine.open`.
            encryption: with a store, what values are encrypted with there; as for :meth:`Engine.open`.
            telemetry: who is told of the run, as a :class:`perdure.telemetry.Telemetry`.

        Raises:
            RunConflict: the id is taken by a run of another graph or with other inputs, or by one that is driven already.
            RunError: the run is over and has no output.
            CodecError: with a store, the inputs or the state can't be stored.
            StoreError: the store can't be used.
        """
        return runtime().iter(
            self,
            Asked(
                state=state,
                deps=deps,
                inputs=inputs,
                store=store,
                run_id=run_id,
                durability=durability,
                executors=executors,
                redact=redact,
                encryption=encryption,
                telemetry=telemetry,
            ),
        )

    def render(self, *, title: str | None = None, direction: Direction | None = None) -> str:
        """Return the graph as a Mermaid state diagram.

        Args:
            title: a title above the diagram.
            direction: ``"TB"``, ``"LR"``, ``"RL"`` or ``"BT"``; Mermaid's own default if it isn't given.
        """
        return render(self.plan, title=title, direction=direction)

    def __repr__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"<Graph {self.name!r}{version}, {len(self.nodes)} nodes, fingerprint {self.fingerprint[:12]}>"

    def __str__(self) -> str:
        return self.render()
