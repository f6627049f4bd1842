"""Groups and policies that can't be are refused, with a remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure import Graph, GraphBuilder, GraphBuildingError, GraphSetupError, Retry
from unit.graph.graphs import builder, problems, same, steps


@pytest.mark.parametrize("kind", ["parallel", "race", "chain"])
def test_what_cannot_be_a_member_is_refused(kind: str) -> None:
    g = builder()
    [a] = steps(g, "a")

    async def items(ctx: Any) -> AsyncIterator[int]:
        yield 1

    make = getattr(g, kind)
    for wrong, why in [
        (same, "decorate the function with @g.step"),
        (g.decision(), "give steps, waits and groups"),
        (g.end_node, "give steps, waits and groups"),
        ("a", "give steps, waits and groups"),
        (g.stream(items), "can't be a member of a group"),
    ]:
        with pytest.raises(GraphSetupError, match=why):
            make(a, wrong)
    with pytest.raises(GraphSetupError, match="give at least"):
        make()


def test_a_step_that_waits_for_arms_is_no_member() -> None:
    g = builder()
    [a] = steps(g, "a")
    waiting = g.step(same, node_id="waiting", join="all")
    for make in (g.parallel, g.race, g.chain):
        with pytest.raises(GraphSetupError, match="step 'waiting' waits for several arms"):
            make(a, waiting)


def test_a_race_needs_two_and_a_chain_takes_no_node_twice() -> None:
    g = builder()
    [a] = steps(g, "a")
    with pytest.raises(GraphSetupError, match="at least 2"):
        g.race(a)
    with pytest.raises(GraphSetupError, match="twice"):
        g.chain(a, a)


@pytest.mark.parametrize("kind", ["parallel", "race", "chain"])
def test_a_member_has_no_edges_of_its_own(kind: str) -> None:
    for where in ("from", "to", "decision"):
        g = builder(end="all")
        a, b, c = steps(g, "a b c")
        group = getattr(g, kind)(a, b)
        g.add(g.edge_from(g.start_node).to(group, c), g.edge_from(group).to(g.end_node))
        if where == "from":
            g.add(g.edge_from(b).to(g.end_node), g.edge_from(c).to(g.end_node))
        elif where == "to":
            g.add(g.edge_from(c).to(b))
        else:
            g.add(g.edge_from(c).to(g.decision().branch(g.match(int).to(b)).branch(g.match(str).to(g.end_node))))
        found = [problem for problem in problems(g) if "is a member of group" in problem]
        assert len(found) == 1
        assert "step 'b'" in found[0]


def test_a_node_is_a_member_of_one_group_only() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    one, two = g.parallel(a, b, node_id="one"), g.parallel(b, c, node_id="two")
    g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(two), g.edge_from(two).to(g.end_node))
    found = problems(g)
    assert any("step 'b' is a member of group 'one' and has an edge of group 'two'" in problem for problem in found)


def test_the_edge_out_of_a_group_may_start_from_its_last_member_only_over_the_group() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    outer = g.chain(a, g.chain(b, c, node_id="inner"), node_id="outer")
    g.add(g.edge_from(g.start_node).to(outer), g.edge_from(outer).to(g.end_node))
    assert {"a", "b", "c", "inner", "outer"} <= set(g.build().nodes)


def test_two_groups_need_two_ids() -> None:
    g = builder()
    a, b, c, d = steps(g, "a b c d")
    one, two = g.parallel(a, b, node_id="same"), g.parallel(c, d, node_id="same")
    g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(two), g.edge_from(two).to(g.end_node))
    assert any("two different groups have the id 'same'" in problem for problem in problems(g))


def test_a_group_that_is_not_used_is_no_part_of_the_graph() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    g.parallel(a, b)
    g.add(g.edge_from(g.start_node).to(c), g.edge_from(c).to(g.end_node))
    assert set(g.build().nodes) == {"__start__", "__end__", "c"}


def test_a_group_that_leads_nowhere_is_a_dead_end() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(g.edge_from(g.start_node).to(g.parallel(a, b)))
    assert any("dead end" in problem for problem in problems(g))


def test_groups_build_the_same_twice() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    group = g.parallel(g.race(a, b), c)
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    assert g.build().fingerprint == g.build().fingerprint


# --- subgraphs ---


def inner(**options: Any) -> Graph[Any, Any, Any, Any]:
    g = GraphBuilder(name="inner", input_type=object, output_type=object, **options)
    a = g.step(same, node_id="a")
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(a).to(g.end_node))
    return g.build()


def test_a_graph_with_a_state_says_what_that_starts_from() -> None:
    g = builder()
    graph = inner(state_type=dict[str, int])
    with pytest.raises(GraphSetupError, match=r'state=lambda ctx: …, .* state="shared"'):
        g.subgraph(graph)
    with pytest.raises(GraphSetupError, match="give a function of the context"):
        g.subgraph(graph, state=3)  # type: ignore[call-overload]
    with pytest.raises(GraphSetupError, match="on_end="):
        g.subgraph(graph, state="shared", on_end=lambda outer, inner: None)
    with pytest.raises(GraphSetupError, match="is no graph"):
        g.subgraph(g)  # type: ignore[arg-type]


def test_the_nodes_of_a_subgraph_have_ids_under_its_own() -> None:
    g = builder()
    one, two = g.subgraph(inner()), g.subgraph(inner(), node_id="second")
    g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(two), g.edge_from(two).to(g.end_node))
    assert {"inner", "inner/a", "inner_join", "second", "second/a", "second_join"} <= set(g.build().nodes)


def test_a_graph_is_not_changed_by_being_used() -> None:
    graph = inner()
    before = (graph.fingerprint, set(graph.nodes), [node.id for node in graph.nodes.values()])
    g = builder()
    node = g.subgraph(graph)
    g.add(g.edge_from(g.start_node).to(node), g.edge_from(node).to(g.end_node))
    g.build()
    assert (graph.fingerprint, set(graph.nodes), [node.id for node in graph.nodes.values()]) == before


# --- policies ---


def test_policies_that_cannot_be_are_refused() -> None:
    g = builder()
    refused: list[tuple[dict[str, Any], str]] = [
        ({"join": "most"}, "is not one of"),
        ({"join": 0}, "at least 1"),
        ({"join": True}, "is not one of"),
        ({"cancel": True}, 'add join="all", "any" or a number'),
        ({"join": "all", "cancel": True}, "nothing left to cancel"),
        ({"min_ok": 2}, "add join="),
        ({"join": 2, "min_ok": 2}, "drop min_ok="),
        ({"join": "all", "min_ok": 0}, "at least 1"),
        ({"join": "all", "on_error": "ignore"}, "is not one of"),
        ({"on_error": "wait"}, "add join="),
        ({"retry": "often"}, "give a Retry"),
        ({"retry": 0}, "at least 1"),
        ({"timeout": 0}, "positive"),
        ({"timeout": float("inf")}, "positive"),
        ({"executor": "process"}, "is for plain functions"),
        ({"executor": 3}, 'give "thread"'),
        ({"on_uncertain": "pause"}, "add effect=True"),
        ({"effect": True, "on_uncertain": "guess"}, 'give "retry"'),
        ({"max_crashes": 0}, "at least 1"),
        ({"max_concurrency": 0}, "at least 1"),
    ]
    for options, why in refused:
        with pytest.raises(GraphSetupError, match=why):
            g.step(same, **options)
    with pytest.raises(TypeError, match="no argument 'tiemout'"):
        g.step(same, tiemout=3)  # type: ignore[call-overload]
    for number in ({"backoff_factor": 0.5}, {"initial_interval": 0}, {"max_interval": -1}, {"max_attempts": 0}):
        with pytest.raises(GraphSetupError):
            Retry(**number)  # type: ignore[arg-type]


def test_a_policy_step_that_only_one_value_can_reach_still_has_a_parent() -> None:
    g = builder()
    a = g.step(same, node_id="a", join="all")
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(a).to(g.end_node))
    assert g.build().plan.nodes["a_join"].parent == "__start__"


def test_a_policy_step_in_a_loop_without_a_fork_is_refused() -> None:
    g = builder()
    a, b = g.step(same, node_id="a", join="all"), g.step(same, node_id="b")
    again = g.decision().branch(g.match(int).to(a)).branch(g.match(str).to(g.end_node))
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(a).to(b), g.edge_from(b).to(again))
    with pytest.raises(GraphBuildingError, match="join 'a_join' has no parent"):
        g.build()
