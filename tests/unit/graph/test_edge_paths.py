"""A path is what a value goes through, item by item, and is refused where it can't work."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import GraphSetupError, reduce_list_append
from perdure.graph.nodes.paths import BroadcastItem, DestinationItem, LabelItem, MapItem, TransformItem
from unit.graph.graphs import builder, same, steps


def test_a_path_holds_its_items_in_order() -> None:
    g = builder()
    (a,) = steps(g, "a")
    edge = g.edge_from(g.start_node).label("x").transform(str).map(fork_id="f", downstream_join_id="j").label("y").to(a)
    assert [type(item) for item in edge.path] == [LabelItem, TransformItem, MapItem, LabelItem, DestinationItem]
    assert edge.sources == (g.start_node,)


def test_a_builder_of_edges_can_be_used_twice() -> None:
    g = builder()
    a, b = steps(g, "a b")
    begun = g.edge_from(g.start_node).label("x")
    begun.label("y")
    assert [type(item) for item in begun.to(a).path] == [LabelItem, DestinationItem]
    assert len(begun.to(a, b).path) == 2


def test_several_destinations_are_a_broadcast() -> None:
    g = builder()
    a, b = steps(g, "a b")
    [broadcast] = g.edge_from(g.start_node).to(a, b, fork_id="f").path
    assert isinstance(broadcast, BroadcastItem)
    assert broadcast.fork_id == "f"
    assert [path[0].node for path in broadcast.paths if isinstance(path[0], DestinationItem)] == [a, b]


def test_what_comes_before_a_broadcast_happens_once() -> None:
    g = builder()
    a, b = steps(g, "a b")
    calls = []

    def noted(ctx: Any) -> Any:
        calls.append(ctx.inputs)
        return ctx.inputs + 1

    joined = g.join(reduce_list_append, initial_factory=list)
    g.add(
        g.edge_from(g.start_node).transform(noted).broadcast(lambda e: [e.to(a), e.transform(noted).to(b)]),
        g.edge_from(a, b).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    assert sorted(g.build().run_sync(inputs=1)) == [2, 3]
    assert calls == [1, 2]


def test_labels_and_ids_are_given_by_name_or_place() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(g.edge_from(g.start_node).label(label="one").to(a))
    g.add_edge(source=a, destination=b, label="two")
    g.add_mapping_edge(
        b, g.end_node, pre_map_label="three", post_map_label="four", fork_id="f", downstream_join_id=None
    )
    shown = g.build().render()
    for edge in ("[*] --> a: one", "a --> b: two", "b --> f: three", "f --> [*]: four"):
        assert edge in shown


def test_a_transform_has_the_state_and_the_dependencies() -> None:
    g = builder(state_type=dict, deps_type=int)
    (a,) = steps(g, "a")

    def add_up(ctx: Any) -> int:
        ctx.state["seen"] = ctx.inputs
        total: int = ctx.inputs + ctx.deps
        return total

    g.add(g.edge_from(g.start_node).transform(add_up).to(a), g.edge_from(a).to(g.end_node))
    state: dict[str, int] = {}
    assert g.build().run_sync(inputs=1, deps=10, state=state) == 11
    assert state == {"seen": 1}


def test_sources_share_a_map() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    joined = g.join(reduce_list_append, initial_factory=list)
    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(a, b).map().to(c),
        g.edge_from(c).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    graph = g.build()
    assert "a_b_map" in graph.nodes
    assert sorted(graph.run_sync(inputs=[1, 2])) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    "value", [{"a": 1, "b": 2}, "ab", ("a", "b"), {"a": 1, "b": 2}.keys()], ids=lambda v: type(v).__name__
)
def test_any_iterable_is_mapped(value: Any) -> None:
    g = builder()
    (a,) = steps(g, "a")
    joined = g.join(reduce_list_append, initial_factory=list)
    g.add(
        g.edge_from(g.start_node).map().to(a),
        g.edge_from(a).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    assert sorted(g.build().run_sync(inputs=value)) == ["a", "b"]


def test_an_edge_needs_a_source_and_an_end() -> None:
    g = builder()
    (a,) = steps(g, "a")
    with pytest.raises(GraphSetupError, match="name at least one node"):
        g.edge_from()
    with pytest.raises(GraphSetupError, match=r"is no finished edge: end it with \.to"):
        g.add(g.edge_from(a))  # type: ignore[arg-type]


async def later(ctx: Any) -> Any:
    return ctx.inputs


@pytest.mark.parametrize(("function", "reason"), [(5, "is no function"), (later, "'later' is async")])
def test_a_transform_is_a_plain_function(function: Any, reason: str) -> None:
    g = builder()
    with pytest.raises(GraphSetupError, match=reason):
        g.edge_from(g.start_node).transform(function)


@pytest.mark.parametrize("arms", [[], None, [5], "ab"], ids=repr)
def test_a_broadcast_is_a_list_of_finished_arms(arms: Any) -> None:
    g = builder()
    with pytest.raises(GraphSetupError, match="has to return a list of at least one arm"):
        g.edge_from(g.start_node).broadcast(lambda e: arms)


def test_an_arm_cannot_start_from_another_node() -> None:
    g = builder()
    a, b = steps(g, "a b")
    with pytest.raises(GraphSetupError, match="an arm starts from a node of its own"):
        g.edge_from(a).broadcast(lambda e: [e.to(b), g.edge_from(b).to(a)])


def test_a_label_is_text() -> None:
    g = builder()
    with pytest.raises(GraphSetupError, match="label=5 is no string"):
        g.edge_from(g.start_node).label(5)  # type: ignore[arg-type]
    with pytest.raises(GraphSetupError, match="downstream_join_id="):
        g.edge_from(g.start_node).map(downstream_join_id=g.step(same))  # type: ignore[arg-type]
