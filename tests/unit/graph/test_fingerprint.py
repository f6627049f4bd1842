"""What identifies a graph doesn't depend on the order in which it was put together, only on what it is."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from perdure import Graph, GraphBuilder, reduce_list_append, reduce_sum
from perdure.graph.plan import Plan
from unit.graph.graphs import builder, same, steps


def orders(rng: Random | None, change: str = "") -> Graph[Any, Any, Any, Any]:
    """Return a graph with a bit of everything, its edges added in the order of ``rng``, with one thing changed."""
    g = builder(end="all" if change == "end" else "first", name="renamed" if change == "name" else "orders")

    async def other(ctx: Any) -> Any:
        return ctx.inputs

    take = g.step(other if change == "body" else same, node_id="take", label="Take" if change == "label" else None)
    check, pack, send, bill, done = steps(g, "check pack send bill done")
    parcels = g.join(
        reduce_sum if change == "reducer" else reduce_list_append,
        initial_factory=list,
        node_id="parcels",
        order="branch" if change == "order" else "arrival",
        preferred_parent_fork="closest" if change == "parent" else "farthest",
    )
    all_done = g.join(reduce_list_append, initial_factory=list, node_id="all_done")
    decision = g.decision(node_id="large", note="note" if change == "note" else None)
    decision = decision.branch(g.match(list, matches=(lambda v: not v) if change == "match" else None).to(bill))
    decision = decision.branch(g.match(object).to(g.end_node if change == "branch" else done))
    transform = str if change == "transform function" else repr
    edges = [
        g.edge_from(g.start_node).to(take),
        g.edge_from(take).map(fork_id="mine" if change == "fork id" else None).to(check),
        g.edge_from(check).to(pack),
        g.edge_from(check).label("new" if change == "edge label" else "old").to(send),
        g.edge_from(check).broadcast(lambda e: [e.to(pack), e.transform(transform).to(pack), e.map().to(send)]),
        g.edge_from(pack, send).to(parcels),
        g.edge_from(parcels).to(decision),
        g.edge_from(bill, done).to(all_done),
        g.edge_from(all_done).to(g.end_node),
        g.edge_from(take).to(done),
    ]
    if change == "edge":
        edges.append(g.edge_from(take).to(bill))
    if rng is not None:
        rng.shuffle(edges)
        if rng.random() < 0.5:
            for edge in edges:
                g.add(edge)
            return g.build(validate_graph_structure=False)
    g.add(*edges)
    return g.build(validate_graph_structure=False)


def identity(graph: Graph[Any, Any, Any, Any]) -> Any:
    """Return all that goes into ids: nodes, parents, ordinals and ranks."""
    from perdure.graph.plan import structure_of

    return {id_: structure_of(node) for id_, node in graph.plan.nodes.items()}


def test_the_order_of_add_changes_nothing_that_is_recorded() -> None:
    expected = orders(None)
    for seed in range(50):
        graph = orders(Random(seed))
        assert graph.fingerprint == expected.fingerprint
        assert identity(graph) == identity(expected)
        assert list(graph.nodes) == list(expected.nodes)


def test_building_twice_gives_equal_graphs() -> None:
    g = builder()
    a, b = steps(g, "a b")
    joined = g.join(reduce_list_append, initial_factory=list)
    g.add(g.edge_from(g.start_node).to(a, b), g.edge_from(a, b).to(joined), g.edge_from(joined).to(g.end_node))
    first, second = g.build(), g.build()
    assert first.plan == second.plan
    assert first.fingerprint == second.fingerprint
    assert first.render() == second.render()
    assert first.nodes == second.nodes
    assert sorted(first.run_sync(inputs=1)) == sorted(second.run_sync(inputs=1)) == [1, 1]


@pytest.mark.parametrize("change", ["end", "order", "parent", "branch", "fork id", "edge"])
def test_a_change_that_a_running_run_would_notice_changes_the_fingerprint(change: str) -> None:
    assert orders(None, change).fingerprint != orders(None).fingerprint


@pytest.mark.parametrize(
    "change", ["body", "label", "note", "edge label", "match", "reducer", "transform function", "name"]
)
def test_what_may_be_mended_under_a_run_is_not_in_the_fingerprint(change: str) -> None:
    assert orders(None, change).fingerprint == orders(None).fingerprint


def two_arms(first: str, second: str, order: Any) -> str:
    g = builder()
    nodes = {name: g.step(same, node_id=name) for name in ("a", "b")}
    joined = g.join(reduce_list_append, initial_factory=list, order=order)
    g.add(
        g.edge_from(g.start_node).to(nodes[first], nodes[second]),
        g.edge_from(nodes["a"], nodes["b"]).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    return g.build().fingerprint


def test_the_order_of_arms_counts_only_where_a_join_folds_in_it() -> None:
    assert two_arms("a", "b", "branch") != two_arms("b", "a", "branch")
    assert two_arms("a", "b", "arrival") == two_arms("b", "a", "arrival")


def test_a_plan_comes_back_from_its_stored_form() -> None:
    plan = orders(None).plan
    assert Plan.decoded(plan.encoded()) == plan


# --- ids ---


def forks_of(add: Callable[[GraphBuilder[Any, Any, Any, Any]], None]) -> set[str]:
    g = builder()
    add(g)
    return {id_ for id_, node in g.build(validate_graph_structure=False).plan.nodes.items() if node.is_fork}


def test_a_fork_is_called_after_its_sources_and_its_kind() -> None:
    def add(g: GraphBuilder[Any, Any, Any, Any]) -> None:
        load, save = steps(g, "load save")
        g.add(
            g.edge_from(g.start_node).map().to(load),
            g.edge_from(load).to(save),
            g.edge_from(load).to(g.end_node),
            g.edge_from(load, save).broadcast(lambda e: [e.to(save), e.map().to(save)]),
            g.edge_from(save).map(fork_id="own").to(load),
        )

    assert forks_of(add) == {
        "start_map",
        "load_broadcast",
        "load_save_broadcast",
        "load_save_map",
        "own",
        "save_broadcast",
    }


def test_a_fork_gives_way_to_a_node_of_its_name() -> None:
    def add(g: GraphBuilder[Any, Any, Any, Any]) -> None:
        (taken,) = steps(g, "start_map")
        g.add(g.edge_from(g.start_node).map().to(taken), g.edge_from(taken).to(g.end_node))

    assert forks_of(add) == {"start_map_2"}


def test_a_fork_of_many_sources_has_a_short_name() -> None:
    def add(g: GraphBuilder[Any, Any, Any, Any]) -> None:
        many = steps(g, " ".join(f"a_step_with_a_long_name_{number}" for number in range(30)))
        g.add(g.edge_from(g.start_node).to(*many), g.edge_from(*many).map().to(g.end_node))

    assert "a_step_with_a_long_name_0_and_29_more_map" in forks_of(add)


def test_joins_and_decisions_are_numbered_as_they_are_made() -> None:
    g = builder()
    joins = [g.join(reduce_sum, initial=0) for _ in range(3)]
    assert [join.id for join in joins] == ["reduce_sum", "reduce_sum_2", "reduce_sum_3"]
    assert [g.decision().id for _ in range(2)] == ["decision", "decision_2"]
    assert g.join(reduce_sum, initial=0, node_id="own").id == "own"


def test_a_graph_gives_its_nodes_by_id() -> None:
    graph = orders(None)
    assert graph.nodes["take"].id == "take"
    fork: Any = graph.nodes["take_map"]
    assert fork.is_map
    assert not isinstance(graph.nodes, dict)
    with pytest.raises(TypeError):
        graph.nodes["new"] = fork  # type: ignore[index]
