"""Defining: what a definition means, as a graph.

A node that only edges without a condition leave sends its value along all of them. A node that an edge with a condition
leaves becomes a decision, ``{node}_decision``: its conditions are tried in the order of the definition, and the value goes
along all edges of the first that holds; if none does, along those without a condition. ``waitForAll`` is ``join="all"``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import NoneType
from typing import Any

from perdure.errors import GraphBuildingError, GraphSetupError
from perdure.graph.builder.builder import GraphBuilder
from perdure.graph.definitions.definition import END, START, Definition, EdgeDefinition, NodeDefinition, read_definition
from perdure.graph.definitions.step_type import placed
from perdure.graph.graph import Graph
from perdure.graph.nodes.condition_types import condition_problems
from perdure.graph.nodes.conditions import Condition
from perdure.graph.nodes.policies import Retry
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import StepContext

AnyGraph = Graph[Any, Any, Any, Any]


def read_graph(text: str | bytes, steps: Mapping[str, Any], **types: Any) -> AnyGraph:
    """Return the graph that a text defines.

    Raises:
        GraphBuildingError: it defines none that can work; lists every problem, each with its place in the text.
    """
    problems: list[str] = []
    definition = read_definition(text, problems)
    if definition is None:
        raise _refusal("", problems)
    defining = _Defining(definition, steps, types, problems)
    if definition.is_whole:
        defining.check_ways()
    builder = defining.builder()
    if definition.is_whole and not defining.has_lost_ways:
        try:
            graph = builder.build()
        except GraphBuildingError as error:
            problems += error.problems
        else:
            if not problems:
                graph.definition = definition
                return graph
    raise _refusal(definition.name, problems)


def build_definition(definition: Definition, steps: Mapping[str, Any], **types: Any) -> AnyGraph:
    """Return the graph of a definition that is known to be sound.

    Raises:
        GraphBuildingError: it isn't after all.
    """
    problems: list[str] = []
    builder = _Defining(definition, steps, types, problems).builder()
    if problems:
        raise _refusal(definition.name, problems)
    return builder.build()


def _refusal(name: str, problems: Sequence[str]) -> GraphBuildingError:
    listed = "\n".join(f"  - {problem}" for problem in problems)
    what = f"the definition of graph {name!r}" if name else "the definition"
    return GraphBuildingError(f"{what} can't be used:\n{listed}", tuple(problems))


def decision_id(source: str) -> str:
    """Return the id of the decision behind a node."""
    return f"{'start' if source == START else source}_decision"


class _Defining:
    """Makes a graph of one definition."""

    def __init__(
        self, definition: Definition, steps: Mapping[str, Any], types: Mapping[str, Any], problems: list[str]
    ) -> None:
        self._definition = definition
        self._steps = steps
        self._types = types
        self._problems = problems
        self._g: GraphBuilder[Any, Any, Any, Any] = GraphBuilder(
            name=definition.name, version=definition.version or None, **definition.options, **types
        )
        self._nodes: dict[str, Any] = {START: self._g.start_node, END: self._g.end_node}
        self.has_lost_ways = False

    def builder(self) -> GraphBuilder[Any, Any, Any, Any]:
        """Return a builder that has got everything that is sound."""
        for node in self._definition.nodes:
            self._nodes[node.id] = self._node(node)
        leaving: dict[str, list[EdgeDefinition]] = defaultdict(list)
        for edge in self._definition.edges:
            if edge.source in self._nodes and edge.target in self._nodes:
                leaving[edge.source].append(edge)
        for source, edges in leaving.items():
            self._lead_on(source, edges)
        return self._g

    # --- nodes ---

    def _node(self, node: NodeDefinition) -> Any:
        type_ = self._steps.get(node.step)
        if type_ is None:
            if node.step:
                close = get_close_matches(node.step, self._steps, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {sorted(self._steps)[:20]}"
                self._problems.append(f"{node.place}: no step type {node.step!r} is known; {hint}")
            return placed(node.id, _unknown, {})
        try:
            options = dict(node.options)
            if isinstance(options.get("retry"), Mapping):
                options["retry"] = Retry(**options["retry"])
            if isinstance(type_, Graph):
                if options:
                    raise GraphSetupError(f"a graph as a node has no {min(options)!r}")
                inner: AnyGraph = type_
                shares = inner.state_type not in (None, NoneType)
                return self._g.subgraph(inner, node_id=node.id, state="shared" if shares else None)
            return placed(node.id, type_, options)
        except (GraphSetupError, TypeError) as error:
            place = f"{node.place}: " if node.place else ""
            self._problems.append(f"{place}{error}")
            return placed(node.id, _unknown, {})

    # --- edges ---

    def _lead_on(self, source: str, edges: Sequence[EdgeDefinition]) -> None:
        node = self._nodes[source]
        if all(edge.condition is None for edge in edges):
            for edge in edges:
                self._g.add_edge(node, self._nodes[edge.target], label=edge.label)
            return
        if isinstance(node, Router):
            place = next(edge.place for edge in edges if edge.condition is not None)
            self._problems.append(
                f"{place}: {source!r} is a router, which chooses among its edges itself: drop the condition"
            )
            return
        decision = self._g.decision(node_id=decision_id(source))
        for condition, taken in _ways_of(edges):
            if condition is not None:
                self._check(condition, node, taken[0].place)
            match = self._g.match(object, matches=condition)
            arms = _arms(taken, [self._nodes[edge.target] for edge in taken])
            decision.branch(arms(match)[0] if len(taken) == 1 else match.broadcast(arms))
        self._g.add_edge(node, decision)

    def _check(self, condition: Condition, node: Any, place: str) -> None:
        output = getattr(node, "output_type", self._types.get("input_type", Any) if node is self._g.start_node else Any)
        state = self._types.get("state_type", None)
        where = f"{place}.condition: " if place else ""
        self._problems += [
            f"{where}{problem}" for problem in condition_problems(condition.test, output, state)
        ]  # fmt: skip

    # --- the whole ---

    def check_ways(self) -> None:
        """See to it that every node is on a way from the start to the end."""
        definition = self._definition
        onward: dict[str, set[str]] = defaultdict(set)
        back: dict[str, set[str]] = defaultdict(set)
        for edge in definition.edges:
            onward[edge.source].add(edge.target)
            back[edge.target].add(edge.source)
        reached, escaping = _reached(START, onward), _reached(END, back)
        for node in definition.nodes:
            problem = ""
            if node.id not in reached:
                problem = 'can\'t be reached from the start: add an edge that leads to it, or name it in "start"'
            elif not onward[node.id]:
                problem = 'is a dead end: add an edge from it, or name it in "end"'
            elif node.id not in escaping:
                problem = 'only leads into a cycle without a way out: add an edge with a condition out of it, or name it in "end"'
            if problem:
                self.has_lost_ways = True
                self._problems.append(f"{node.place}: {node.id!r} {problem}")


def _ways_of(edges: Sequence[EdgeDefinition]) -> list[tuple[Condition | None, list[EdgeDefinition]]]:
    """Return the edges of each condition, in the order of the first of them; those without one last."""
    ways: dict[str, tuple[Condition | None, list[EdgeDefinition]]] = {}
    for edge in sorted(edges, key=lambda edge: edge.condition is None):
        key = str(edge.condition.test) if edge.condition is not None else ""
        ways.setdefault(key, (edge.condition, []))[1].append(edge)
    return list(ways.values())


def _arms(edges: Sequence[EdgeDefinition], targets: Sequence[Any]) -> Any:
    def forked(match: Any) -> list[Any]:
        return [
            (match.label(label) if (label := _label(edge)) is not None else match).to(target)
            for edge, target in zip(edges, targets, strict=True)
        ]

    return forked


def _label(edge: EdgeDefinition) -> str | None:
    if edge.label is not None or edge.condition is None:
        return edge.label
    return edge.condition.text


def _reached(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    found, frontier = {start}, [start]
    for node in frontier:
        fresh = edges.get(node, set()) - found
        found |= fresh
        frontier += fresh
    return found


async def _unknown(ctx: StepContext[Any, Any, Any]) -> Any:
    """Stand in for a step whose type isn't known, until all problems are told."""
