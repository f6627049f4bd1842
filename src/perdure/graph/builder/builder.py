"""The builder: steps, joins, decisions and edges, put together into a graph."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from types import NoneType
from typing import Any, Generic, TypedDict, Unpack, overload

from typing_extensions import TypeVar

from perdure.errors import GraphSetupError
from perdure.graph.builder.arguments import one_of
from perdure.graph.builder.declare_classes import ClassDeclarations
from perdure.graph.builder.declare_groups import GroupDeclarations
from perdure.graph.compile.build import complete
from perdure.graph.compile.compiler import Compiler
from perdure.graph.compile.parts import Parts
from perdure.graph.graph import Graph
from perdure.graph.nodes.nodes import DestinationNode, EndNode, SourceNode, StartNode
from perdure.graph.nodes.paths import EdgePath, EdgePathBuilder
from perdure.graph.nodes.policies import OnError, at_least_one, optional_count
from perdure.graph.plan import ConflictPolicy, EndPolicy, Plan
from perdure.graph.types import OutputT, T, TypeExpression, TypeOrTypeExpression, unwrapped
from perdure.graph.version_order import checked_version
from perdure.ids import checked_identifier

StateT = TypeVar("StateT", default=None)
DepsT = TypeVar("DepsT", default=None)
GraphInputT = TypeVar("GraphInputT", default=None)
GraphOutputT = TypeVar("GraphOutputT", default=None)
AT = TypeVar("AT")
BT = TypeVar("BT")
CT = TypeVar("CT")
DT = TypeVar("DT")


class _GraphOptions(TypedDict, total=False):
    end: EndPolicy
    state_conflicts: ConflictPolicy
    max_steps: int
    max_tasks: int | None
    max_concurrency: int | None
    on_error: OnError
    types: Iterable[Any]
    version: str | None


class GraphBuilder(
    GroupDeclarations[StateT, DepsT],
    ClassDeclarations[StateT, DepsT, GraphOutputT],
    Generic[StateT, DepsT, GraphInputT, GraphOutputT],
):
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
        max_concurrency: how many steps run at once in one run, or None.
        on_error: what a failure comes to where no join says so: ``"fail"`` fails the run at once, ``"collect"`` lets a
            ``Failure`` arrive at the innermost join, ``"wait"`` fails the run when everything else is done.
        types: further types that values may have, where no annotation of the graph mentions them.
        version: which version of the graph this is, as in ``"1.10"``; a run stays with the version it was started with.
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
        max_concurrency: int | None = None,
        on_error: OnError = "fail",
        types: Iterable[Any] = (),
        version: str | None = None,
    ) -> None:
        super().__init__()
        self.name: str = checked_identifier("graph name", name) if name is not None else "graph"
        self.state_type: Any = unwrapped(state_type)
        self.deps_type: Any = unwrapped(deps_type)
        self.input_type: Any = unwrapped(input_type)
        self.output_type: Any = unwrapped(output_type)
        self._end: EndPolicy = one_of("end", end, ("first", "all"))
        self._state_conflicts: ConflictPolicy = one_of("state_conflicts", state_conflicts, ("record", "error"))
        self._max_steps = at_least_one("max_steps", max_steps)
        self._max_tasks = optional_count("max_tasks", max_tasks)
        self._max_concurrency = optional_count("max_concurrency", max_concurrency)
        self._on_error: OnError = one_of("on_error", on_error, ("fail", "collect", "wait"))
        self._types += types
        self.version: str = checked_version(version)
        self._edges: list[EdgePath[StateT, DepsT]] = []
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
        max_concurrency: int | None = None,
    ) -> None:
        """Add one edge that sends each item of the source's output on its own way.

        Args:
            source: where the items come from.
            map_to: where each of them goes.
            pre_map_label: text on the edge into the fork.
            post_map_label: text on the edge out of it.
            fork_id: the id of the fork.
            downstream_join_id: a join that is to fire even if there are no items.
            max_concurrency: how many steps may run at once in its arms.
        """
        builder: EdgePathBuilder[StateT, DepsT, Any] = self.edge_from(source)
        if pre_map_label is not None:
            builder = builder.label(pre_map_label)
        mapped: EdgePathBuilder[StateT, DepsT, T] = builder.map(
            fork_id=fork_id, downstream_join_id=downstream_join_id, max_concurrency=max_concurrency
        )
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
            max_concurrency=self._max_concurrency,
            on_error=self._on_error,
            version=self.version,
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
            types=tuple(self._types),
            edges=tuple(self._edges),
        )
