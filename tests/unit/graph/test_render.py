"""A graph is shown as a Mermaid state diagram."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import GraphBuilder, StepContext, reduce_list_append
from unit.graph.graphs import builder, same, steps


def shop() -> GraphBuilder[Any, Any, Any, Any]:
    g = builder(name="shop")
    check = g.step(same, node_id="check", label="check the order")
    pack, send = steps(g, "pack send")
    packed = g.join(reduce_list_append, initial_factory=list, node_id="packed")
    g.add(
        g.edge_from(g.start_node).to(check),
        g.edge_from(check)
        .label("order")
        .to(
            g.decision(note="how large\nis it?", node_id="size")
            .branch(g.match(list).label("items").map(fork_id="items").label("each").to(pack))
            .branch(g.match(object).to(pack, send, fork_id="both"))
        ),
        g.edge_from(pack, send).to(packed),
        g.edge_from(packed).to(g.end_node),
    )
    return g


def test_a_graph_is_drawn_with_its_title_direction_forks_joins_choices_and_notes() -> None:
    assert (
        shop().build().render(title="The shop", direction="LR")
        == """\
---
title: The shop
---
stateDiagram-v2
  direction LR
  check: check the order
  state size <<choice>>
  note right of size
    how large
    is it?
  end note
  state items <<fork>>
  state both <<fork>>
  pack
  send
  state packed <<join>>

  [*] --> check
  check --> size: order
  size --> items: items
  size --> both
  items --> pack: each
  both --> pack
  both --> send
  pack --> packed
  send --> packed
  packed --> [*]"""
    )


def test_title_and_direction_can_be_left_out() -> None:
    graph = shop().build()
    assert graph.render().startswith("stateDiagram-v2\n  check:")
    assert str(graph) == graph.render()


@pytest.mark.parametrize("direction", ["TB", "LR", "RL", "BT"])
def test_every_direction_is_written(direction: Any) -> None:
    assert f"\n  direction {direction}\n" in shop().build().render(direction=direction)


def test_a_title_that_could_be_taken_for_yaml_is_quoted() -> None:
    graph = shop().build()
    assert '\ntitle: "a: b"\n' in graph.render(title="a: b")
    assert '\ntitle: "true"\n' in graph.render(title="true")
    assert '\ntitle: "1st"\n' in graph.render(title="1st")
    assert "\ntitle: a b\n" in graph.render(title=" a \n b ")


def drawn(node_id: str, **options: Any) -> list[str]:
    g = builder()
    a = g.step(same, node_id=node_id, **options)
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(a).to(g.end_node))
    return g.build().render().splitlines()[1:]


def test_an_id_that_mermaid_would_not_take_is_replaced_and_shown() -> None:
    assert drawn("load data") == ["  load_data: load data", "", "  [*] --> load_data", "  load_data --> [*]"]
    assert drawn("End")[0] == "  End_: End"
    assert drawn("state")[0] == "  state_: state"


def test_ids_that_look_alike_stay_apart() -> None:
    g = builder()
    a, b = g.step(same, node_id="a b"), g.step(same, node_id="a-b")
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(a).to(b), g.edge_from(b).to(g.end_node))
    shown = g.build().render()
    assert "  a_b: a b\n  a_b_2: a-b\n" in shown
    assert "  a_b --> a_b_2\n" in shown


def test_text_is_escaped_where_mermaid_would_read_it_as_markup() -> None:
    assert drawn("a", label="<b> & 50%; #1")[0] == "  a: #60;b#62; #38; 50#37;#59; #35;1"
    g = builder()
    (a,) = steps(g, "a")
    g.add(g.edge_from(g.start_node).label("two\nlines; x").to(a), g.edge_from(a).to(g.end_node))
    assert "  [*] --> a: two lines#59; x\n" in g.build().render()


def test_a_fork_that_sources_share_is_drawn_once() -> None:
    g = builder()
    a, b, c, d = steps(g, "a b c d")
    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(a, b).to(c, d, fork_id="shared"),
        g.edge_from(c, d).to(g.end_node),
    )
    shown = g.build().render()
    assert shown.count("state shared <<fork>>") == 1
    assert shown.count("shared --> c") == 1
    assert "a --> shared" in shown
    assert "b --> shared" in shown


def test_a_graph_that_leads_nowhere_is_drawn_as_far_as_it_goes() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(b).to(g.end_node))
    shown = g.build(validate_graph_structure=False).render()
    assert "  b --> [*]" in shown


def test_a_router_is_drawn_as_a_fork_of_its_ways() -> None:
    g = builder()
    a, b = steps(g, "a b")

    @g.router
    async def choose(ctx: StepContext[None, None, int]) -> str:
        return "a"

    g.add(
        g.edge_from(g.start_node).to(choose),
        g.edge_from(choose).to(a, b),
        g.edge_from(a, b).to(g.end_node),
    )
    shown = g.build().render().splitlines()
    assert "  state choose_routes <<fork>>" in shown
    assert [line for line in shown if line.startswith("  choose")] == [
        "  choose",
        "  choose --> choose_routes",
        "  choose_routes --> a",
        "  choose_routes --> b",
    ]
