"""Graphs defined in JSON: what the keys mean, and that everything wrong is told at once, with its place."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import (
    Condition,
    Graph,
    GraphBuilder,
    GraphBuildingError,
    GraphRuntimeError,
    GraphSetupError,
    StepContext,
    StepType,
    reduce_list_append,
)
from perdure.graph.nodes.policies import Retry
from perdure.graph.nodes.step import Step


async def add(ctx: StepContext[Any, None, int]) -> int:
    return ctx.inputs + 1


def plain(ctx: StepContext[Any, None, int]) -> int:
    return ctx.inputs + 10


async def total(ctx: StepContext[Any, None, list[int]]) -> int:
    return sum(ctx.inputs)


@dataclass
class Review:
    score: int


async def review(ctx: StepContext[Any, None, int]) -> Review:
    return Review(ctx.inputs)


STEPS: dict[str, Any] = {"add": add, "plain": plain, "total": total, "review": review}


def read(definition: Any, steps: Any = STEPS, **types: Any) -> Graph[Any, Any, Any, Any]:
    return Graph.from_json(json.dumps(definition), steps=steps, **types)


def nodes(*ids: str, **more: Any) -> list[dict[str, Any]]:
    return [{"id": id_, "stepType": "add", **more.get(id_, {})} for id_ in ids]


def edges(*pairs: str) -> list[dict[str, Any]]:
    return [{"from": source, "to": target} for source, target in (pair.split(">") for pair in pairs)]


def problems(definition: Any, steps: Any = STEPS, **types: Any) -> list[str]:
    with pytest.raises(GraphBuildingError) as caught:
        Graph.from_json(
            definition if isinstance(definition, str | bytes) else json.dumps(definition), steps=steps, **types
        )
    return list(caught.value.problems)


def run(graph: Graph[Any, Any, Any, Any], inputs: Any, state: Any = None) -> Any:
    return asyncio.run(graph.run(inputs=inputs, state=state))


DIAMOND = {
    "id": "diamond",
    "nodes": [*nodes("a", "b", "c"), {"id": "d", "stepType": "total", "waitForAll": True}],
    "edges": edges("a>b", "a>c", "b>d", "c>d"),
}


def test_both_spellings_of_keys_mean_the_same() -> None:
    other = {
        "name": "diamond",
        "nodes": [*nodes("a", "b", "c"), {"id": "d", "step": "total", "join": "all"}],
        "edges": [{"source": edge["from"], "target": edge["to"]} for edge in DIAMOND["edges"]],
        "start": "a",
        "terminal": ["d"],
    }
    assert read(other).fingerprint == read(DIAMOND).fingerprint
    assert run(read(other), 1) == run(read(DIAMOND), 1) == 6


def test_a_definition_means_what_the_builder_would_have_built() -> None:
    g = GraphBuilder(name="diamond", input_type=int, output_type=int, end="all")
    a, b, c = (g.step(add, node_id=id_) for id_ in "abc")
    d = g.step(total, node_id="d", join="all")
    g.add(
        g.edge_from(g.start_node).to(a),
        g.edge_from(a).to(b, c),
        g.edge_from(b, c).to(d),
        g.edge_from(d).to(g.end_node),
    )
    assert g.build().fingerprint == read(DIAMOND).fingerprint


@pytest.mark.parametrize(("join", "expected"), [("any", 3), (1, 2), (2, 4)])
def test_a_node_may_wait_for_some_of_the_edges(join: Any, expected: int) -> None:
    definition = {
        "id": "some",
        "nodes": [
            *nodes("a", "b", "c"),
            {"id": "d", "stepType": "add" if join == "any" else "total", "join": join, "cancel": True},
        ],
        "edges": edges("a>b", "a>c", "c>d", "b>d"),
    }
    assert run(read(definition), 0) == expected


def test_policies_reach_the_step_and_come_before_those_of_its_type() -> None:
    options = {
        "label": "the first", "timeout": 2.5, "executor": "thread", "effect": True, "onUncertain": "pause", "maxCrashes": 2,
        "maxConcurrency": 4, "retry": {"maxAttempts": 5, "initialInterval": 1, "jitter": False},
    }  # fmt: skip
    steps = {
        "plain": StepType(plain, retry=2, timeout=9, max_crashes=7, label="a type"),
        "step": Step(id="x", call=add),
    }
    definition = {
        "id": "told",
        "nodes": [{"id": "a", "stepType": "plain", **options}, {"id": "b", "stepType": "plain"}, {"id": "c", "step": "step"}],
        "edges": edges("a>b", "b>c"),
        "maxConcurrency": 3, "maxSteps": 50, "maxTasks": 60, "onError": "wait", "endPolicy": "first", "stateConflicts": "error",
    }  # fmt: skip
    graph = read(definition, steps)
    a, b, plan = graph.nodes["a"], graph.nodes["b"], graph.plan
    assert isinstance(a, Step)
    assert isinstance(b, Step)
    assert (a.label, a.policies.timeout_s, a.policies.executor, a.policies.effect) == ("the first", 2.5, "thread", True)
    assert (a.policies.on_uncertain, a.policies.max_crashes, a.policies.max_concurrency) == ("pause", 2, 4)
    assert a.policies.retry == Retry(max_attempts=5, initial_interval=1, jitter=False)
    assert (b.label, b.policies.retry, b.policies.timeout_s, b.policies.max_crashes) == (
        "a type",
        Retry(max_attempts=2),
        9,
        7,
    )
    assert (plan.max_concurrency, plan.max_steps, plan.max_tasks, plan.on_error) == (3, 50, 60, "wait")
    assert (plan.end, plan.state_conflicts) == ("first", "error")
    assert run(graph, 0) == 21


@pytest.mark.parametrize(("inputs", "expected"), [(0, 2), (4, 15), (5, 16 + 7), (9, 100)])
def test_the_first_condition_that_holds_is_taken_and_else_the_edge_without_one(inputs: int, expected: int) -> None:
    definition = {
        "id": "ways",
        "nodes": [
            *nodes("a", "low"),
            {"id": "mid", "stepType": "plain"},
            {"id": "left", "stepType": "plain"},
            {"id": "right", "stepType": "add"},
            {"id": "both", "stepType": "total", "waitForAll": True},
            {"id": "ten", "stepType": "square"},
        ],
        "edges": [
            {"from": "a", "to": "low"},
            {"from": "a", "to": "ten", "condition": "output == 10"},
            {"from": "a", "to": "left", "condition": "output  > 5 "},
            {"from": "a", "to": "mid", "condition": "output > 4"},
            {"from": "a", "to": "right", "condition": "output > 5"},
            *edges("left>both", "right>both"),
        ],
    }

    async def square(ctx: StepContext[Any, None, int]) -> int:
        return ctx.inputs**2

    graph = read(definition, {**STEPS, "square": square})
    assert run(graph, inputs) == expected
    assert "output == 10" in graph.render()


def test_a_value_that_no_condition_takes_is_an_error_and_never_hangs() -> None:
    definition = {
        "id": "ways",
        "nodes": nodes("a", "b"),
        "edges": [{"from": "a", "to": "b", "condition": "output > 100"}],
    }
    with pytest.raises(GraphRuntimeError, match="in JSON an edge without a condition"):
        run(read(definition), 0)


def test_a_node_that_leads_back_to_itself_by_condition_ends_when_that_no_longer_holds() -> None:
    definition = {
        "id": "loop",
        "nodes": nodes("a"),
        "edges": [{"from": "a", "to": "a", "condition": "output < 500"}],
    }
    assert run(read(definition), 0) == 500


def test_a_condition_may_stand_on_the_way_in_and_on_the_way_out() -> None:
    definition = {
        "id": "gates",
        "nodes": nodes("a", "b"),
        "edges": [
            {"from": "__start__", "to": "a", "condition": "output < 5"},
            {"from": "__start__", "to": "b"},
            {"from": "a", "to": "__end__", "condition": "output == 1", "label": "done"},
            {"from": "a", "to": "b"},
        ],
    }
    graph = read(definition)
    assert [run(graph, inputs) for inputs in (0, 1, 7)] == [1, 3, 8]
    assert read(json.loads(graph.to_json())).fingerprint == graph.fingerprint


def test_routers_waits_and_graphs_may_be_step_types() -> None:
    g = GraphBuilder(name="inner", input_type=int, output_type=int)
    step = g.step(add)
    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))

    @g.router
    async def route(ctx: StepContext[None, None, int]) -> list[str]:
        return ["left", "right"] if ctx.inputs > 1 else ["left"]

    definition = {
        "id": "outer",
        "nodes": [
            {"id": "twice", "stepType": "inner"},
            {"id": "route", "stepType": "route"},
            *nodes("left", "right"),
            {"id": "sum", "stepType": "total", "waitForAll": True},
        ],
        "edges": edges("twice>route", "route>left", "route>right", "left>sum", "right>sum"),
    }
    graph = read(definition, {**STEPS, "inner": g.build(), "route": route})
    assert [run(graph, inputs) for inputs in (0, 1)] == [2, 6]
    waiting = read(
        {"id": "asks", "nodes": [{"id": "ask", "stepType": "approve", "label": "Approve?"}]},
        {"approve": g.human("approve", form=bool)},
    )
    assert waiting.nodes["ask"].label == "Approve?"  # type: ignore[union-attr]


def test_every_problem_is_told_at_once_with_its_place() -> None:
    found = problems(
        """{
        "id": "wrong", "colour": 1, "maxConcurrency": 0, "version": "one",
        "nodes": [
            {"id": "a", "stepType": "ad"},
            {"id": "a", "stepType": "add"},
            {"id": "b", "stepType": "add", "tiemout": 3, "retry": {"maxAttempt": 1}, "timeout": "soon"},
            {"stepType": "add"},
            {"id": "__end__", "stepType": "add"},
            {"id": "c", "stepType": "add", "waitForAll": true, "join": "all", "label": "x", "label": "y"},
            {"id": "d", "stepType": "add", "cancel": true},
            {"id": "e", "stepType": "number"}
        ],
        "edges": [
            {"from": "a", "to": "bb"},
            {"from": "a", "source": "a", "to": "c"},
            {"from": "a", "to": "b", "condition": "x ="},
            {"from": "a"},
            "a>b",
            {"from": "a", "to": "c"}
        ],
        "start": ["nowhere"]
    }""",
        {**STEPS, "number": 3},
    )
    expected = [
        ("$.colour", "no such key"), ("$.maxConcurrency", "at least 1"), ("$.version", "is no version"),
        ("$.nodes[1].id", "is the id of $.nodes[0] already"), ("$.nodes[2].tiemout", "did you mean 'timeout'?"),
        ("$.nodes[2].timeout", "no positive number"), ("$.nodes[2].retry.maxAttempt", "did you mean 'maxAttempts'?"),
        ("$.nodes[3]", "'id' is missing"), ("$.nodes[4].id", "stands for the start or the end"),
        ("$.nodes[5].label", "is there twice"), ("$.nodes[5].waitForAll", 'the same as "join"'),
        ("$.nodes[6]", "add join="), ("$.nodes[7]", "3 is no function"),
        ("$.nodes[0]", "no step type 'ad' is known; did you mean 'add'?"),
        ("$.edges[0].to", "no node has the id 'bb'; did you mean 'b'?"),
        ("$.edges[1].source", "means the same as 'from'"), ("$.edges[2].condition", "can't stand at character 3"),
        ("$.edges[3]", "'target' or 'to' is missing"), ("$.edges[4]", "is no object"),
        ("$.edges[5]", "is the same as $.edges[1]"), ("$.start[0]", "no node has the id 'nowhere'"),
    ]  # fmt: skip
    missing = [
        (place, said)
        for place, said in expected
        if not any(each.startswith(f"{place}: ") and said in each for each in found)
    ]
    assert missing == []
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "this is no JSON"), ("[]", "is no object"), ("3", "is no object"), ("{}", "'id' or 'name' is missing"),
        ('{"id": "x"}', "'nodes' is missing"), ('{"id": "x", "nodes": []}', "there is none"), (b"\xff", "this is no JSON"),
        ('{"id": "x", "nodes": {}}', "is no list"), ('{"id": NaN, "nodes": []}', "this is no JSON"),
        ('{"id": "", "nodes": [{"id": "a", "step": "add"}]}', "is no text"), ("[" * 100_000, "this is no JSON"),
        ('{"id": "x", "nodes": [{"id": "\\ud800", "step": "add"}]}', "surrogate"), (None, "give JSON as text"),
    ],
)  # fmt: skip
def test_what_is_no_definition_is_refused(text: Any, said: str) -> None:
    with pytest.raises(GraphBuildingError) as caught:
        Graph.from_json(text, steps=STEPS)
    assert any(said in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"edges": edges("a>b", "b>a", "b>b")}, "name the first ones"),
        ({"edges": edges("a>b", "b>a"), "start": "a"}, "'a' only leads into a cycle without a way out"),
        ({"edges": edges("b>b")}, "$.nodes[1]: 'b' only leads into a cycle"),
        ({"edges": edges("a>b"), "end": "a"}, "$.nodes[1]: 'b' is a dead end"),
        ({"edges": edges("a>b"), "start": "b"}, "$.nodes[0]: 'a' can't be reached"),
        ({"edges": [{"from": "a", "to": "b", "condition": "output.x == 1"}]}, "$.edges[0].condition: output is of type int"),
        ({"edges": [{"from": "a", "to": "b", "condition": "state.x == 1"}]}, "the graph has no state"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_when_it_is_loaded(more: Any, said: str) -> None:
    assert any(said in problem for problem in problems({"id": "x", "nodes": nodes("a", "b"), **more}))


def test_fields_of_the_state_are_checked_when_it_is_loaded() -> None:
    definition = {
        "id": "x",
        "nodes": [{"id": "a", "stepType": "review"}, *nodes("b", "c")],
        "edges": [
            {"from": "a", "to": "b", "condition": "score > 3 and state.scroe > 3"},
            {"from": "a", "to": "c", "condition": "scroe > 3"},
        ],
    }
    assert len(problems(definition, state_type=Review)) == 2


def test_a_graph_read_from_json_is_written_as_it_was_read() -> None:
    definition = {
        **DIAMOND,
        "version": "1.2",
        "nodes": [{**DIAMOND["nodes"][0], "retry": {"maxAttempts": 2}, "label": "first"}, *DIAMOND["nodes"][1:]],  # type: ignore[misc,dict-item]
        "edges": [*DIAMOND["edges"], {"from": "d", "to": "a", "condition": "output < 30"}],
        "end": "d", "start": "a",
    }  # fmt: skip
    graph = read(definition)
    written = json.loads(graph.to_json())
    assert read(written).to_json() == graph.to_json()
    assert read(written).fingerprint == graph.fingerprint
    assert written["nodes"][0] == {
        "id": "a",
        "stepType": "add",
        "label": "first",
        "retry": {"maxAttempts": 2},
    }
    assert (written["start"], written["end"], written["version"]) == (["a"], ["d"], "1.2")
    assert json.loads(graph.with_version("1.3").to_json())["version"] == "1.3"
    assert [run(read(written), inputs) for inputs in (1, 9)] == [run(graph, inputs) for inputs in (1, 9)]


def test_a_graph_of_a_builder_is_written_if_a_definition_can_say_it() -> None:
    g = GraphBuilder(name="built", input_type=int, output_type=int, version="3", max_concurrency=2)
    a = g.step(add, node_id="a", retry=Retry(max_attempts=4, backoff_factor=3), timeout=1)
    b = g.step(add, node_id="b", label="second")
    c = g.step(total, node_id="c", join=2, cancel=True)
    g.add(
        g.edge_from(g.start_node).label("in").to(a),
        g.edge_from(a).broadcast(lambda e: [e.label("x").to(b), e.to(c)]),
        g.edge_from(b).to(c),
        g.edge_from(c).to(
            g.decision(node_id="c_decision")
            .branch(
                g.match(object, matches=Condition("output < 50")).broadcast(
                    lambda e: [e.label("again").to(a), e.label("output < 50").to(g.end_node)]
                )
            )
            .branch(g.match(object).to(g.end_node))
        ),
    )
    graph = g.build()
    again = Graph.from_json(graph.to_json(), steps=graph.nodes)
    assert again.fingerprint == graph.fingerprint
    assert again.plan == graph.plan
    assert again.to_json() == graph.to_json()


def test_what_a_definition_cannot_say_is_named() -> None:
    g = GraphBuilder(name="built", input_type=int, output_type=list[int])
    a = g.step(add, node_id="a", retry=Retry(retry_on=ValueError), effect=True, on_uncertain=lambda ctx: None)
    b = g.step(add, node_id="b")
    gathered = g.join(reduce_list_append, initial_factory=list[int], node_id="gathered")
    g.add(
        g.edge_from(g.start_node).transform(lambda ctx: [ctx.inputs]).map(fork_id="each").to(a),
        g.edge_from(a).to(
            g.decision(node_id="which").branch(g.match(int, matches=lambda value: value > 1).to(b, b, fork_id="own"))
        ),
        g.edge_from(b).to(gathered),
        g.edge_from(gathered).to(g.end_node),
    )
    with pytest.raises(GraphSetupError) as caught:
        g.build().to_json()
    for said in (
        "map 'each'", "join 'gathered'", "transforms the value", "maps the value", "retry_on", "on_uncertain", "'a_decision'",
        "branch for a type", "branch with a function", "fork 'own'",
    ):  # fmt: skip
        assert said in str(caught.value)


def test_a_fork_of_several_sources_is_named_as_what_cannot_be_said() -> None:
    g = GraphBuilder(name="built", input_type=int, output_type=int, end="all")
    a, b, c, d = (g.step(add, node_id=id_) for id_ in "abcd")
    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(a, b).to(c, d),
        g.edge_from(c, d).to(g.end_node),
    )
    with pytest.raises(GraphSetupError, match="one fork for several sources, step 'a', step 'b'"):
        g.build().to_json()


def test_a_step_type_is_checked_when_it_is_made() -> None:
    with pytest.raises(GraphSetupError):
        StepType(3)  # type: ignore[arg-type]
    with pytest.raises(GraphSetupError):
        StepType(add, retry=-1)
    with pytest.raises(TypeError):
        StepType(add, tiemout=3)  # type: ignore[call-arg]
