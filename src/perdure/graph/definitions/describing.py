"""Describing: a graph as a definition in JSON, if a definition can say all of it.

A graph that was read from a definition is described by that. Of any other the definition is put together from its edges, and
then made into a graph again: only if that one has the same fingerprint the definition is given out.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from perdure.errors import ConvergenceWarning, GraphBuildingError, GraphSetupError
from perdure.graph.compile.fingerprint import node_fingerprint
from perdure.graph.compile.parts import named
from perdure.graph.definitions.defining import build_definition, decision_id
from perdure.graph.definitions.definition import (
    END,
    GRAPH_OPTIONS,
    NODE_OPTIONS,
    RETRY,
    START,
    Definition,
    EdgeDefinition,
    NodeDefinition,
)
from perdure.graph.definitions.step_type import join_options
from perdure.graph.graph import Graph
from perdure.graph.nodes.conditions import Condition
from perdure.graph.nodes.decision import Decision, DecisionBranch
from perdure.graph.nodes.group import Entry
from perdure.graph.nodes.join import Join
from perdure.graph.nodes.nodes import EndNode, Fork, StartNode
from perdure.graph.nodes.paths import BroadcastItem, DestinationItem, EnterItem, LabelItem, MapItem, Path, TransformItem
from perdure.graph.nodes.policies import Retry, StepPolicies
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import Step
from perdure.graph.nodes.wait import Wait
from perdure.graph.types import unwrapped

AnyGraph = Graph[Any, Any, Any, Any]


def described(graph: AnyGraph) -> str:
    """Return a graph as JSON.

    Raises:
        GraphSetupError: a definition can't say all of it.
    """
    definition = graph.definition
    if definition is None:
        definition = definition_of(graph)
    return json.dumps(_written(definition._replace(version=graph.version)), ensure_ascii=False, indent=2)


def definition_of(graph: AnyGraph) -> Definition:
    """Return the definition of a graph, put together from its nodes and edges.

    Raises:
        GraphSetupError: a definition can't say all of it; names what.
    """
    describing = _Describing(graph)
    definition = describing.definition()
    problems = describing.problems or _differences(graph, definition)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise GraphSetupError(f"graph {graph.name!r} can't be written as a definition:\n{listed}")
    return definition


class _Way(NamedTuple):
    """One way along a path."""

    target: Any
    label: str | None


class _Describing:
    """Describes one graph."""

    def __init__(self, graph: AnyGraph) -> None:
        self._graph = graph
        self._decided: dict[int, str] = {}
        self.problems: list[str] = []

    def _refuse(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def definition(self) -> Definition:
        graph, plan = self._graph, self._graph.plan
        nodes = [described for node in graph.nodes.values() if (described := self._node(node)) is not None]
        leaving: dict[str, list[EdgeDefinition]] = defaultdict(list)
        for edge in graph.edges:
            if len(edge.sources) > 1 and any(isinstance(item, BroadcastItem) for item in edge.path):
                self._refuse(
                    f"one fork for several sources, {', '.join(map(named, edge.sources))}: give each its own edges"
                )
            for source in edge.sources:
                if hasattr(source, "id"):
                    leaving[source.id] += self._edges(source, edge.path)
        for router in graph.nodes.values():
            empty: Any = router.empty if isinstance(router, Router) else None
            if (
                empty is not None
                and not isinstance(empty, str)
                and empty.id not in {edge.target for edge in leaving[router.id]}
            ):
                leaving[router.id].append(EdgeDefinition(router.id, empty.id))
        options = {name: getattr(plan, name) for name, _ in GRAPH_OPTIONS.values()}
        edges = tuple(edge for found in leaving.values() for edge in found)
        return Definition(graph.name, tuple(nodes), edges, graph.version, options)

    # --- nodes ---

    def _node(self, node: Any) -> NodeDefinition | None:
        if isinstance(node, Step) and node.is_stream:
            self._refuse(f"stream {node.id!r}: a definition has no maps")
        elif isinstance(node, Step | Router):
            options = self._policies(node.id, node.policies)
            joining = join_options(node.joining) if node.joining is not None else {}
            return NodeDefinition(node.id, node.id, {**_labelled(node), **joining, **options})
        elif isinstance(node, Wait):
            return NodeDefinition(node.id, node.id, _labelled(node))
        elif isinstance(node, Entry):
            self._refuse(f"group {node.id!r}: a definition has no groups, except for graphs among its step types")
        elif isinstance(node, Join) and not self._is_before_a_step(node):
            self._refuse(f"{named(node)}: a reducer is code; a definition has waitForAll, and join on a node")
        elif isinstance(node, Fork) and node.is_map:
            self._refuse(f"map {node.id!r}: a definition has no maps")
        return None

    def _is_before_a_step(self, join: Join[Any, Any, Any, Any]) -> bool:
        step = self._graph.nodes.get(join.id.removesuffix("_join"))
        return isinstance(step, Step | Router) and step.joining is join.policies

    def _policies(self, id_: str, policies: StepPolicies) -> dict[str, Any]:
        found: dict[str, Any] = {}
        retry, plain = policies.retry, StepPolicies()
        if retry is not None:
            if retry.retry_on is not Exception or retry.no_retry_on != ():
                self._refuse(
                    f"step {id_!r}: which exceptions are tried again is code: leave out retry_on and no_retry_on"
                )
            found["retry"] = _retry(retry)
        if callable(policies.on_uncertain):
            self._refuse(f"step {id_!r}: on_uncertain is a function")
        if policies.timeout_s is not None:
            found["timeout"] = policies.timeout_s
        for name in ("executor", "effect", "on_uncertain", "max_crashes", "max_concurrency"):
            if getattr(policies, name) != getattr(plain, name):
                found[name] = getattr(policies, name)
        return found

    # --- edges ---

    def _edges(self, source: Any, path: Path) -> list[EdgeDefinition]:
        found: list[EdgeDefinition] = []
        for way in self._ways(named(source), path):
            if isinstance(way.target, Decision):
                found += self._decided_edges(source, way)
            else:
                found.append(EdgeDefinition(source.id, _id(way.target), None, way.label))
        return found

    def _ways(self, owner: str, path: Path) -> list[_Way]:
        """Return where a path leads, if it is only labels, one fork and nodes."""
        label: str | None = None
        for item in path:
            if isinstance(item, LabelItem):
                label = item.label
            elif isinstance(item, TransformItem):
                self._refuse(f"the edge from {owner} transforms the value, and that is code: make it a step")
            elif isinstance(item, MapItem):
                self._refuse(f"the edge from {owner} maps the value: a definition has no maps")
            elif isinstance(item, EnterItem):
                self._refuse(f"the edge from {owner} enters a graph")
            elif isinstance(item, BroadcastItem):
                if item.fork_id is not None:
                    self._refuse(f"fork {item.fork_id!r} has an id of its own: leave out fork_id=")
                if label is not None:
                    self._refuse(f"the edge from {owner} has a label before a fork: label its arms")
                if any(isinstance(inner, BroadcastItem) for arm in item.paths for inner in arm):
                    self._refuse(f"the edge from {owner} forks within a fork: put a step between")
                return [way for arm in item.paths for way in self._ways(owner, arm)]
            elif isinstance(item, DestinationItem):
                return [_Way(item.node, label)]
        return []

    def _decided_edges(self, source: Any, way: _Way) -> list[EdgeDefinition]:
        decision: Decision[Any, Any, Any] = way.target
        if decision.id != decision_id(source.id):
            self._refuse(f"decision {decision.id!r} behind {named(source)} would be called {decision_id(source.id)!r}")
        if self._decided.setdefault(id(decision), source.id) != source.id:
            self._refuse(f"decision {decision.id!r} is behind several nodes: give each one of its own")
        if way.label is not None or decision.note is not None:
            self._refuse(f"decision {decision.id!r} has a note, or a label on the edge to it")
        found: list[EdgeDefinition] = []
        for place, branch in enumerate(decision.branches):
            condition = self._condition(decision.id, branch)
            if condition is None and place + 1 < len(decision.branches):
                self._refuse(f"decision {decision.id!r} has a branch that takes everything before others")
            for arm in self._ways(f"decision {decision.id!r}", branch.path):
                if isinstance(arm.target, Decision):
                    self._refuse(f"decision {decision.id!r} leads to a decision: put a step between")
                label = None if condition is not None and arm.label == condition.text else arm.label
                found.append(EdgeDefinition(source.id, _id(arm.target), condition, label))
        return found

    def _condition(self, decision: str, branch: DecisionBranch[Any]) -> Condition | None:
        if unwrapped(branch.source) not in (object, Any):
            self._refuse(f"decision {decision!r} has a branch for a type: use g.match(object, matches=Condition(…))")
        if branch.matches is None or isinstance(branch.matches, Condition):
            return branch.matches
        self._refuse(f"decision {decision!r} has a branch with a function: use g.match(object, matches=Condition(…))")
        return None


def _id(node: Any) -> str:
    if isinstance(node, EndNode):
        return END
    return START if isinstance(node, StartNode) else str(getattr(node, "id", ""))


def _labelled(node: Any) -> dict[str, Any]:
    return {"label": node.label} if node.label is not None else {}


def _retry(retry: Retry) -> dict[str, Any]:
    plain = asdict(Retry())
    names = {name for name, _ in RETRY.values()}
    given = {name: value for name, value in asdict(retry).items() if name in names and value != plain[name]}
    seconds = {name: value.total_seconds() for name, value in given.items() if hasattr(value, "total_seconds")}
    return {"max_attempts": retry.max_attempts, **given, **seconds}


def _differences(graph: AnyGraph, definition: Definition) -> list[str]:
    """Return which nodes a graph made of the definition has otherwise, a sentence each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            again = build_definition(
                definition,
                graph.nodes,
                state_type=graph.state_type,
                deps_type=graph.deps_type,
                input_type=graph.input_type,
                output_type=graph.output_type,
            )
        except GraphBuildingError as error:
            return list(error.problems)
    if again.fingerprint == graph.fingerprint:
        return []
    ours, theirs = _fingerprints(graph), _fingerprints(again)
    return [
        f"node {id_!r} would be another one, with other forks or edges"
        if id_ in theirs
        else f"node {id_!r} would be missing"
        for id_ in ours
        if theirs.get(id_) != ours[id_]
    ] or [f"it would have further nodes: {sorted(theirs.keys() - ours.keys())}"]


def _fingerprints(graph: AnyGraph) -> dict[str, str]:
    return {id_: node_fingerprint(graph.plan, node) for id_, node in graph.plan.nodes.items()}


# --- writing ---


def _written(definition: Definition) -> dict[str, Any]:
    starts, edges, ends = _sorted_out(definition.edges)
    return {
        "id": definition.name,
        **({"version": definition.version} if definition.version else {}),
        **_options(definition.options, GRAPH_OPTIONS),
        "nodes": [_written_node(node) for node in definition.nodes],
        "edges": [_written_edge(edge) for edge in edges],
        **({"start": starts} if starts else {}),
        **({"end": ends} if ends else {}),
    }


def _sorted_out(edges: Sequence[EdgeDefinition]) -> tuple[list[str], list[EdgeDefinition], list[str]]:
    """Return the edges from the start and to the end that a plain list of nodes can stand for, and between them the rest."""
    entering = [edge for edge in edges if edge.source == START]
    starts = [edge.target for edge in entering] if all(map(_is_plain, entering)) else []
    if END in starts:
        starts = []
    last = {edge.source: edge for edge in edges}
    rest: list[EdgeDefinition] = []
    ends: list[str] = []
    for edge in edges:
        if edge.source == START and starts:
            continue
        if edge.target == END and edge.source != START and _is_plain(edge) and last[edge.source] is edge:
            ends.append(edge.source)
        else:
            rest.append(edge)
    return starts, rest, ends


def _is_plain(edge: EdgeDefinition) -> bool:
    return edge.condition is None and edge.label is None


def _written_node(node: NodeDefinition) -> dict[str, Any]:
    return {"id": node.id, "stepType": node.step, **_options(node.options, NODE_OPTIONS)}


def _written_edge(edge: EdgeDefinition) -> dict[str, Any]:
    return {
        "source": edge.source,
        "target": edge.target,
        **({"condition": edge.condition.text} if edge.condition is not None else {}),
        **({"label": edge.label} if edge.label is not None else {}),
    }


def _options(options: Mapping[str, Any], keys: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for key, (name, _) in keys.items():
        value = options.get(name)
        if isinstance(value, Mapping):
            written[key] = _options(value, RETRY)
        elif value is not None:
            written[key] = value
    return written
