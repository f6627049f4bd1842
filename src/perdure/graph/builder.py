"""The builder: steps, joins, decisions and edges, put together into a graph."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable
from inspect import isasyncgenfunction, iscoroutinefunction
from types import NoneType
from typing import Any, Generic, Literal, Never, TypedDict, Unpack, cast, overload

from typing_extensions import TypeVar

from perdure.errors import GraphSetupError
from perdure.graph.annotations import annotated_types, written_function
from perdure.graph.build import complete
from perdure.graph.compiler import Compiler
from perdure.graph.decision import Decision, DecisionBranchBuilder
from perdure.graph.graph import Graph
from perdure.graph.join import FoldOrder, Join, ReduceFirstValue, ReducerFunction
from perdure.graph.nodes import DestinationNode, EndNode, SourceNode, StartNode
from perdure.graph.parts import Parts
from perdure.graph.paths import EdgePath, EdgePathBuilder
from perdure.graph.plan import ConflictPolicy, EndPolicy, Plan
from perdure.graph.step import Step, StepFunction, StreamFunction
from perdure.graph.types import (
    MISSING,
    InputT,
    Missing,
    OutputT,
    T,
    TypeExpression,
    TypeOrTypeExpression,
    callable_name,
    optional_text,
    text,
    unwrapped,
)
from perdure.ids import checked_identifier

StateT = TypeVar("StateT", default=None)
DepsT = TypeVar("DepsT", default=None)
GraphInputT = TypeVar("GraphInputT", default=None)
GraphOutputT = TypeVar("GraphOutputT", default=None)
SourceT = TypeVar("SourceT")
AT = TypeVar("AT")
BT = TypeVar("BT")
CT = TypeVar("CT")
DT = TypeVar("DT")


class _GraphOptions(TypedDict, total=False):
    end: EndPolicy
    state_conflicts: ConflictPolicy
    max_steps: int
    max_tasks: int | None
    types: Iterable[Any]


class _JoinOptions(TypedDict, total=False):
    node_id: str | None
    parent_fork_id: str | None
    preferred_parent_fork: Literal["farthest", "closest"]
    order: FoldOrder


class GraphBuilder(Generic[StateT, DepsT, GraphInputT, GraphOutputT]):
    """Collects nodes and edges; :meth:`build` makes a graph of them.

    Args:
        name: the name runs of the graph are recorded under.
        state_type: the type of the shared state: a mutable dataclass, msgspec Struct, TypedDict or pydantic model.
        deps_type: the type of the dependencies.
        input_type: the type of the inputs.
        output_type: the type of the output.
        end: ``"first"`` ends a run at the first value that reaches the end node and cancels the rest; ``"all"`` lets
            every live task finish.
        state_conflicts: ``"record"`` notes conflicting changes of the state in the log and lets the last one win;
            ``"error"`` fails the later task with ``StateConflict``.
        max_steps: how many tasks may follow one another on one lineage; it bounds loops, not width.
        max_tasks: how many tasks a run may have altogether, or None.
        types: further types that values may have, where no annotation of the graph mentions them.
    """

    # A TypeExpression needs an overload of its own: mypy can't choose between type[TypeExpression[T]] and type[T].
    @overload
    def __init__(
        self,
        *,
        name: str | None = None,
        state_type: TypeOrTypeExpression[StateT] = ...,
        deps_type: TypeOrTypeExpression[DepsT] = ...,
        input_type: type[TypeExpression[GraphInputT]],
        output_type: type[TypeExpression[GraphOutputT]],
        **options: Unpack[_GraphOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        name: str | None = None,
        state_type: TypeOrTypeExpression[StateT] = ...,
        deps_type: TypeOrTypeExpression[DepsT] = ...,
        input_type: type[TypeExpression[GraphInputT]],
        output_type: type[GraphOutputT] = ...,
        **options: Unpack[_GraphOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        name: str | None = None,
        state_type: TypeOrTypeExpression[StateT] = ...,
        deps_type: TypeOrTypeExpression[DepsT] = ...,
        input_type: type[GraphInputT] = ...,
        output_type: type[TypeExpression[GraphOutputT]],
        **options: Unpack[_GraphOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        name: str | None = None,
        state_type: TypeOrTypeExpression[StateT] = ...,
        deps_type: TypeOrTypeExpression[DepsT] = ...,
        input_type: type[GraphInputT] = ...,
        output_type: type[GraphOutputT] = ...,
        **options: Unpack[_GraphOptions],
    ) -> None: ...

    def __init__(
        self,
        *,
        name: str | None = None,
        state_type: Any = NoneType,
        deps_type: Any = NoneType,
        input_type: Any = NoneType,
        output_type: Any = NoneType,
        end: EndPolicy = "first",
        state_conflicts: ConflictPolicy = "record",
        max_steps: int = 10_000,
        max_tasks: int | None = None,
        types: Iterable[Any] = (),
    ) -> None:
        self.name = checked_identifier("graph name", name) if name is not None else "graph"
        self.state_type = unwrapped(state_type)
        self.deps_type = unwrapped(deps_type)
        self.input_type = unwrapped(input_type)
        self.output_type = unwrapped(output_type)
        self._end: EndPolicy = _one_of("end", end, ("first", "all"))
        self._state_conflicts: ConflictPolicy = _one_of("state_conflicts", state_conflicts, ("record", "error"))
        self._max_steps = _positive("max_steps", max_steps)
        self._max_tasks = _positive("max_tasks", max_tasks) if max_tasks is not None else None
        self._types = tuple(types)
        self._edges: list[EdgePath[StateT, DepsT]] = []
        self._problems: list[str] = []
        self._default_ids: Counter[str] = Counter()
        self._start_node: StartNode[GraphInputT] = StartNode()
        self._end_node: EndNode[GraphOutputT] = EndNode()

    @property
    def start_node(self) -> StartNode[GraphInputT]:
        """Where a run begins; its output is the run's inputs."""
        return self._start_node

    @property
    def end_node(self) -> EndNode[GraphOutputT]:
        """Where a run ends."""
        return self._end_node

    # --- nodes ---

    @overload
    def step(
        self, *, node_id: str | None = None, label: str | None = None
    ) -> Callable[[StepFunction[StateT, DepsT, InputT, OutputT]], Step[StateT, DepsT, InputT, OutputT]]: ...

    @overload
    def step(
        self,
        call: StepFunction[StateT, DepsT, InputT, OutputT],
        *,
        node_id: str | None = None,
        label: str | None = None,
    ) -> Step[StateT, DepsT, InputT, OutputT]: ...

    def step(
        self,
        call: StepFunction[StateT, DepsT, InputT, OutputT] | None = None,
        *,
        node_id: str | None = None,
        label: str | None = None,
    ) -> (
        Step[StateT, DepsT, InputT, OutputT]
        | Callable[[StepFunction[StateT, DepsT, InputT, OutputT]], Step[StateT, DepsT, InputT, OutputT]]
    ):
        """Make a step of an async function.

        Args:
            call: the function.
            node_id: the node's id; the function's name if it isn't given.
            label: what renderings show instead of the id.

        Raises:
            GraphSetupError: what is given is no function, or yields items.
        """
        if call is None:
            return lambda function: self.step(function, node_id=node_id, label=label)
        if isasyncgenfunction(_function("g.step", call)):
            raise GraphSetupError(f"g.step: {callable_name(call)!r} yields items: decorate it with @g.stream")
        inputs, output = annotated_types(call)
        return Step(
            id=text("node_id", node_id if node_id is not None else callable_name(call)),
            call=call,
            label=optional_text("label", label),
            input_type=inputs,
            output_type=output,
        )

    @overload
    def stream(
        self, *, node_id: str | None = None, label: str | None = None, resume: Literal["skip", "seek"] = "skip"
    ) -> Callable[
        [StreamFunction[StateT, DepsT, InputT, OutputT]], Step[StateT, DepsT, InputT, AsyncIterable[OutputT]]
    ]: ...

    @overload
    def stream(
        self,
        call: StreamFunction[StateT, DepsT, InputT, OutputT],
        *,
        node_id: str | None = None,
        label: str | None = None,
        resume: Literal["skip", "seek"] = "skip",
    ) -> Step[StateT, DepsT, InputT, AsyncIterable[OutputT]]: ...

    def stream(
        self,
        call: StreamFunction[StateT, DepsT, InputT, OutputT] | None = None,
        *,
        node_id: str | None = None,
        label: str | None = None,
        resume: Literal["skip", "seek"] = "skip",
    ) -> (
        Step[StateT, DepsT, InputT, AsyncIterable[OutputT]]
        | Callable[
            [StreamFunction[StateT, DepsT, InputT, OutputT]], Step[StateT, DepsT, InputT, AsyncIterable[OutputT]]
        ]
    ):
        """Make a stream step of an async generator function; each item it yields is mapped while it goes on.

        Args:
            call: the function.
            node_id: the node's id; the function's name if it isn't given.
            label: what renderings show instead of the id.
            resume: after a crash, ``"skip"`` runs the function from its beginning and drops the items that are
                recorded already; ``"seek"`` expects it to start at ``ctx.stream_offset``.

        Raises:
            GraphSetupError: what is given is no function, or yields no items.
        """
        _one_of("resume", resume, ("skip", "seek"))
        if call is None:
            return lambda function: self.stream(function, node_id=node_id, label=label, resume=resume)
        if iscoroutinefunction(_function("g.stream", call)):
            raise GraphSetupError(
                f"g.stream: {callable_name(call)!r} yields no items: decorate it with @g.step, and map what it returns"
            )
        function = cast("StepFunction[StateT, DepsT, InputT, AsyncIterable[OutputT]]", call)
        inputs, output = annotated_types(call)
        return Step(
            id=text("node_id", node_id if node_id is not None else callable_name(call)),
            call=function,
            label=optional_text("label", label),
            is_stream=True,
            resume=resume,
            input_type=inputs,
            output_type=output,
        )

    # Its first value is what a race gives out, so it doesn't matter that what it starts from is of another type.
    @overload
    def join(
        self, reducer: ReduceFirstValue[T], *, initial: T | None, **options: Unpack[_JoinOptions]
    ) -> Join[StateT, DepsT, T, T]: ...

    @overload
    def join(
        self,
        reducer: ReducerFunction[StateT, DepsT, InputT, OutputT],
        *,
        initial: OutputT,
        **options: Unpack[_JoinOptions],
    ) -> Join[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def join(
        self,
        reducer: ReducerFunction[StateT, DepsT, InputT, OutputT],
        *,
        initial_factory: Callable[[], OutputT],
        **options: Unpack[_JoinOptions],
    ) -> Join[StateT, DepsT, InputT, OutputT]: ...

    def join(
        self,
        reducer: Callable[..., Any],
        *,
        initial: Any = MISSING,
        initial_factory: Callable[[], Any] | Missing = MISSING,
        node_id: str | None = None,
        parent_fork_id: str | None = None,
        preferred_parent_fork: Literal["farthest", "closest"] = "farthest",
        order: FoldOrder = "arrival",
    ) -> Join[StateT, DepsT, Any, Any]:
        """Make a join, which folds what arrives from the arms of a fork into one value.

        Args:
            reducer: a function of ``(current, item)`` or ``(ctx, current, item)`` that returns the new current value.
            initial: what every instance of the join starts from; a mutable one is copied for each instance.
            initial_factory: a function that makes what an instance starts from; give this or ``initial``.
            node_id: the node's id; the reducer's name if it isn't given.
            parent_fork_id: the fork whose arms are joined, where the default isn't the one meant.
            preferred_parent_fork: among the forks that qualify, take the farthest from the join, or the closest.
            order: fold in the order of ``"arrival"``, or of the ``"branch"``, which doesn't depend on timing.

        Raises:
            GraphSetupError: the reducer takes neither two nor three arguments, or both ``initial`` and
                ``initial_factory`` are given.
        """
        _one_of("preferred_parent_fork", preferred_parent_fork, ("farthest", "closest"))
        _one_of("order", order, ("arrival", "branch"))
        if iscoroutinefunction(_function("g.join", reducer)):
            raise GraphSetupError(f"g.join: the reducer {callable_name(reducer)!r} is async; make it a plain function")
        name = self._id_for(node_id, callable_name(reducer))
        return Join(
            id=name,
            reducer=reducer,
            initial_factory=self._initial(name, initial, initial_factory),
            parent_fork_id=optional_text("parent_fork_id", parent_fork_id),
            preferred_parent_fork=preferred_parent_fork,
            order=order,
        )

    def _initial(self, join: str, initial: Any, initial_factory: Callable[[], Any] | Missing) -> Callable[[], Any]:
        """Return a function that makes what an instance of a join starts from."""
        if not isinstance(initial_factory, Missing):
            if initial is not MISSING:
                raise GraphSetupError(f"g.join: join {join!r} is given both initial= and initial_factory=; give one")
            _function("initial_factory", initial_factory)
            return initial_factory
        if initial is MISSING:
            self._problems.append(f"join {join!r} has nothing to start from: give initial= or initial_factory=")
        return (lambda: initial) if _is_immutable(initial) else (lambda: copy.deepcopy(initial))

    def decision(self, *, note: str | None = None, node_id: str | None = None) -> Decision[StateT, DepsT, Never]:
        """Make a decision; add its ways out with ``.branch(g.match(…).to(…))``.

        Args:
            note: text shown beside the node in renderings.
            node_id: the node's id; ``decision``, ``decision_2`` … if it isn't given.
        """
        return Decision(id=self._id_for(node_id, "decision"), note=optional_text("note", note))

    @overload
    def match(
        self, source: type[TypeExpression[SourceT]], *, matches: Callable[[Any], bool] | None = None
    ) -> DecisionBranchBuilder[StateT, DepsT, SourceT, SourceT, Never]: ...

    @overload
    def match(
        self, source: type[SourceT], *, matches: Callable[[Any], bool] | None = None
    ) -> DecisionBranchBuilder[StateT, DepsT, SourceT, SourceT, Never]: ...

    def match(
        self, source: Any, *, matches: Callable[[Any], bool] | None = None
    ) -> DecisionBranchBuilder[StateT, DepsT, Any, Any, Never]:
        """Begin a branch of a decision, for values of a type.

        Args:
            source: a class, a Literal, a union of these, or a ``TypeExpression``.
            matches: a further test; the branch is taken if it returns a true value.
        """
        return DecisionBranchBuilder(source=source, matches=matches)

    def _id_for(self, node_id: str | None, base: str) -> str:
        if node_id is not None:
            return text("node_id", node_id)
        self._default_ids[base] += 1
        count = self._default_ids[base]
        return base if count == 1 else f"{base}_{count}"

    # --- edges ---

    # Spelled out for a few sources: of different outputs, mypy would make object and not their union.
    @overload
    def edge_from(self, a: SourceNode[StateT, DepsT, AT], /) -> EdgePathBuilder[StateT, DepsT, AT]: ...

    @overload
    def edge_from(
        self, a: SourceNode[StateT, DepsT, AT], b: SourceNode[StateT, DepsT, BT], /
    ) -> EdgePathBuilder[StateT, DepsT, AT | BT]: ...

    @overload
    def edge_from(
        self,
        a: SourceNode[StateT, DepsT, AT],
        b: SourceNode[StateT, DepsT, BT],
        c: SourceNode[StateT, DepsT, CT],
        /,
    ) -> EdgePathBuilder[StateT, DepsT, AT | BT | CT]: ...

    @overload
    def edge_from(
        self,
        a: SourceNode[StateT, DepsT, AT],
        b: SourceNode[StateT, DepsT, BT],
        c: SourceNode[StateT, DepsT, CT],
        d: SourceNode[StateT, DepsT, DT],
        /,
    ) -> EdgePathBuilder[StateT, DepsT, AT | BT | CT | DT]: ...

    @overload
    def edge_from(self, *sources: SourceNode[StateT, DepsT, OutputT]) -> EdgePathBuilder[StateT, DepsT, OutputT]: ...

    def edge_from(self, *sources: SourceNode[StateT, DepsT, Any]) -> EdgePathBuilder[StateT, DepsT, Any]:
        """Begin edges from one or several nodes; they share what follows, forks included.

        Raises:
            GraphSetupError: no source is given.
        """
        if not sources:
            raise GraphSetupError("edge_from: name at least one node the edge starts from")
        return EdgePathBuilder(sources)

    def add(self, *edges: EdgePath[StateT, DepsT]) -> None:
        """Add edges to the graph; the order doesn't matter, except for which arm of a broadcast comes first.

        Raises:
            GraphSetupError: something that isn't a finished edge is given.
        """
        for edge in edges:
            if not isinstance(edge, EdgePath):
                raise GraphSetupError(f"add: {edge!r} is no finished edge: end it with .to(…) or .broadcast(…)")
            self._edges.append(edge)

    def add_edge(
        self,
        source: SourceNode[StateT, DepsT, T],
        destination: DestinationNode[StateT, DepsT, T],
        *,
        label: str | None = None,
    ) -> None:
        """Add one edge."""
        builder = self.edge_from(source)
        if label is not None:
            builder = builder.label(label)
        self.add(builder.to(destination))

    def add_mapping_edge(
        self,
        source: SourceNode[StateT, DepsT, Iterable[T]] | SourceNode[StateT, DepsT, AsyncIterable[T]],
        map_to: DestinationNode[StateT, DepsT, T],
        *,
        pre_map_label: str | None = None,
        post_map_label: str | None = None,
        fork_id: str | None = None,
        downstream_join_id: str | None = None,
    ) -> None:
        """Add one edge that sends each item of the source's output on its own way.

        Args:
            source: where the items come from.
            map_to: where each of them goes.
            pre_map_label: text on the edge into the fork.
            post_map_label: text on the edge out of it.
            fork_id: the id of the fork.
            downstream_join_id: a join that is to fire even if there are no items.
        """
        builder: EdgePathBuilder[StateT, DepsT, Any] = self.edge_from(source)
        if pre_map_label is not None:
            builder = builder.label(pre_map_label)
        mapped: EdgePathBuilder[StateT, DepsT, T] = builder.map(fork_id=fork_id, downstream_join_id=downstream_join_id)
        if post_map_label is not None:
            mapped = mapped.label(post_map_label)
        self.add(mapped.to(map_to))

    # --- the graph ---

    def build(self, validate_graph_structure: bool = True) -> Graph[StateT, DepsT, GraphInputT, GraphOutputT]:
        """Make the graph; the builder can go on being used, and build again.

        Args:
            validate_graph_structure: whether dead ends, unreachable nodes and the like are errors.

        Raises:
            GraphBuildingError: the graph can't work; lists every problem, each with its remedy.
            GraphValidationError: only the structure is at fault.
        """
        parts = Parts(self._edges, self._start_node, self._end_node, self._problems)
        compiler = Compiler(parts)
        plan = Plan(
            self.name,
            compiler.node_plans(),
            end=self._end,
            state_conflicts=self._state_conflicts,
            max_steps=self._max_steps,
            max_tasks=self._max_tasks,
        )
        complete(plan, parts, compiler, validate_structure=validate_graph_structure)
        return Graph(
            plan=plan,
            nodes={id_: parts.nodes[id_] for id_ in plan.nodes},
            transforms=tuple(compiler.transforms),
            matches=tuple(compiler.matches),
            state_type=self.state_type,
            deps_type=self.deps_type,
            input_type=self.input_type,
            output_type=self.output_type,
            types=self._types,
        )


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise GraphSetupError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")
    return value


def _positive(name: str, value: int) -> int:
    if type(value) is not int or value < 1:
        raise GraphSetupError(f"{name}={value!r}: give a whole number of at least 1")
    return value


def _function(where: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise GraphSetupError(f"{where}: {value!r:.80} is no function")
    return written_function(value)


def _is_immutable(value: object) -> bool:
    return value is None or type(value) in (bool, int, float, complex, str, bytes)
