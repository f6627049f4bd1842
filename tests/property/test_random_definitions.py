"""Random definitions: each is refused or makes a graph, and a graph is written as a definition that makes an equal one."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from perdure import (
    Condition,
    Graph,
    GraphBuilder,
    GraphBuildingError,
    GraphRuntimeError,
    GraphSetupError,
    MaxStepsError,
    StepContext,
)
from perdure.errors import ConvergenceWarning
from perdure.graph.definitions.describing import definition_of, described

pytestmark = pytest.mark.filterwarnings("ignore::perdure.errors.ConvergenceWarning")


async def work(ctx: StepContext[Any, None, Any]) -> Any:
    return sum(ctx.inputs) + 1 if isinstance(ctx.inputs, list) else ctx.inputs + 1


STEPS = {"work": work}
CONDITIONS = ["output > 3", "output in [1, 2, 3]", "not output == 4", "output > 3 and output < 9"]


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    ids = [f"n{number}" for number in range(draw(st.integers(1, 6)))]
    nodes: list[dict[str, Any]] = [{"id": id_, "stepType": "work"} for id_ in ids]
    for node in nodes:
        if draw(st.booleans()):
            node["join"] = draw(st.sampled_from(["each", "all", "any", 2]))
        if draw(st.integers(0, 5)) == 0:
            node |= {"retry": draw(st.integers(1, 3)), "label": "text", "timeout": 3.5, "maxConcurrency": 2}
    forward = [(low, high) for low in range(len(ids)) for high in range(low + 1, len(ids))]
    pairs = draw(st.lists(st.sampled_from(forward), unique=True, max_size=9)) if forward else []
    edges: list[dict[str, Any]] = []
    for low, high in pairs:
        edges.append({"from": ids[low], "to": ids[high]})
        if draw(st.integers(0, 2)) == 0:
            edges[-1]["condition"] = draw(st.sampled_from(CONDITIONS))
        if draw(st.integers(0, 4)) == 0:
            edges[-1]["label"] = "way"
    for _ in range(draw(st.integers(0, 2))):
        source, target = draw(st.sampled_from(ids)), draw(st.sampled_from(ids))
        edges.append({"from": source, "to": target, "condition": draw(st.sampled_from(CONDITIONS))})
    definition: dict[str, Any] = {"id": "random", "nodes": nodes, "edges": draw(st.permutations(edges))}
    if draw(st.booleans()):
        definition["start"] = [ids[0]]
    if draw(st.booleans()):
        definition["end"] = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=2, unique=True))
    if draw(st.booleans()):
        definition |= {"version": "1.2.3", "endPolicy": "first", "maxConcurrency": 2}
    definition["maxSteps"] = 60
    return definition


def outcome(graph: Graph[Any, Any, Any, Any]) -> Any:
    try:
        return graph.run_sync(inputs=0)
    except (GraphRuntimeError, MaxStepsError) as error:
        return type(error)
    except Exception as error:  # a quorum that isn't reached
        return type(error)


@settings(max_examples=300, deadline=None)
@given(definitions())
def test_a_graph_read_from_a_definition_is_written_as_one_that_makes_an_equal_graph(definition: dict[str, Any]) -> None:
    try:
        graph = Graph.from_json(json.dumps(definition), steps=STEPS)
    except GraphBuildingError as error:
        event("refused")
        assert error.problems
        return
    event("built")
    again = Graph.from_json(graph.to_json(), steps=STEPS)
    assert again.fingerprint == graph.fingerprint
    assert again.to_json() == graph.to_json()
    # Without what it was read from, from its nodes and edges alone:
    graph.definition = None
    derived = Graph.from_json(described(graph), steps=graph.nodes)
    assert derived.fingerprint == graph.fingerprint
    assert outcome(derived) == outcome(graph)


@settings(max_examples=100, deadline=None)
@given(definitions(), st.randoms())
def test_a_graph_of_a_builder_is_refused_or_written_as_one_that_makes_an_equal_graph(
    definition: dict[str, Any], rng: Any
) -> None:
    """The builder says the same in several ways: forks as one edge or as many, several sources at once."""
    g = GraphBuilder(name="random", input_type=int, output_type=Any)
    nodes: dict[str, Any] = {
        node["id"]: g.step(work, node_id=node["id"], join=node.get("join", "each")) for node in definition["nodes"]
    }
    targets: dict[str, list[Any]] = {}
    for edge in definition["edges"]:
        targets.setdefault(edge["from"], []).append((nodes[edge["to"]], edge.get("condition")))
    g.add_edge(g.start_node, nodes["n0"])
    for id_, node in nodes.items():
        leaving = targets.get(id_, [])
        plain = [target for target, condition in leaving if condition is None] or [g.end_node]
        asked = [(target, condition) for target, condition in leaving if condition is not None]
        if asked:
            decision: Any = g.decision(node_id=f"{id_}_decision")
            for target, condition in asked:
                decision = decision.branch(g.match(object, matches=Condition(condition)).to(target))
            g.add_edge(node, decision.branch(g.match(object).to(*plain)))
        elif rng.random() < 0.5:
            g.add(g.edge_from(node).to(*plain))
        else:
            for target in plain:
                g.add_edge(node, target)
    with suppress(GraphBuildingError):
        graph = g.build()
        try:
            text = graph.to_json()
        except GraphSetupError:
            event("not expressible")
            return
        event("expressible")
        assert Graph.from_json(text, steps=graph.nodes).fingerprint == graph.fingerprint


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["n0", "n1", "work", "all"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "nodes", "stepType", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(definitions(), st.data())
def test_any_json_makes_a_graph_or_is_refused_with_its_problems(
    definition: dict[str, Any], data: st.DataObject
) -> None:
    """A definition in which some value, anywhere, is another one."""
    places: list[tuple[Any, Any]] = [(definition, key) for key in definition]
    for owner in [*definition["nodes"], *definition["edges"]]:
        places += [(owner, key) for key in owner]
    for _ in range(data.draw(st.integers(1, 3))):
        owner, key = data.draw(st.sampled_from(places))
        owner[key] = data.draw(json_values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            graph = Graph.from_json(json.dumps(definition), steps=STEPS)
        except GraphBuildingError as error:
            assert all(problem.strip() for problem in error.problems)
        else:
            assert definition_of(graph).name == graph.name
