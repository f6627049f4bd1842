"""Where arms meet without anybody having said how, ``build()`` warns; and nowhere else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from perdure import ConvergenceWarning, reduce_list_append
from unit.graph.graphs import builder, steps


def warned(g: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        g.build()
    assert all(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return [str(warning.message) for warning in caught]


def diamond(between: Callable[[Any, Any, Any, Any], None], **options: Any) -> list[str]:
    """Build a fork to a and b, and what ``between`` adds, which leads on from both."""
    g = builder(name="diamond", **options)
    a, b, c = steps(g, "a b c")
    g.add(g.edge_from(g.start_node).to(a, b))
    between(g, a, b, c)
    return warned(g)


def test_two_arms_of_a_broadcast_that_meet_at_a_step_are_reported_with_fork_node_and_fixes() -> None:
    def between(g: Any, a: Any, b: Any, c: Any) -> None:
        g.add(g.edge_from(a, b).to(c), g.edge_from(c).to(g.end_node))

    [sentence] = diamond(between, end="all")
    assert sentence.startswith("graph 'diamond': several arms of broadcast 'start_broadcast' lead to 'c'")
    assert 'join="all"' in sentence


def test_with_end_first_the_step_is_reported_and_not_the_end_behind_it() -> None:
    def between(g: Any, a: Any, b: Any, c: Any) -> None:
        g.add(g.edge_from(a, b).to(c), g.edge_from(c).to(g.end_node))

    assert ["'c'" in sentence for sentence in diamond(between)] == [True]


def test_arms_that_meet_at_the_end_are_reported_only_if_the_first_ends_the_run() -> None:
    def between(g: Any, a: Any, b: Any, c: Any) -> None:
        g.add(g.edge_from(a).to(c), g.edge_from(b, c).to(g.end_node))

    [sentence] = diamond(between)
    assert "lead to the end" in sentence
    assert 'end="all"' in sentence
    assert diamond(between, end="all") == []


@pytest.mark.parametrize("policy", ["all", "any", 2])
def test_a_join_policy_is_an_answer(policy: Any) -> None:
    def between(g: Any, a: Any, b: Any, c: Any) -> None:
        async def work(ctx: Any) -> Any: ...

        met = g.step(work, node_id="met", join=policy)
        g.add(g.edge_from(a).to(c), g.edge_from(b, c).to(met), g.edge_from(met).to(g.end_node))

    assert diamond(between) == []


def test_a_join_is_an_answer_also_one_of_an_outer_fork() -> None:
    def inner(g: Any, a: Any, b: Any, c: Any) -> None:
        d, e = steps(g, "d e")
        met = g.join(reduce_list_append, initial_factory=list)
        g.add(
            g.edge_from(a).to(d, e),
            g.edge_from(b, d, e).to(met),
            g.edge_from(met).to(c),
            g.edge_from(c).to(g.end_node),
        )

    assert diamond(inner) == []


def test_the_branches_of_a_decision_are_no_arms() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    g.add(
        g.edge_from(g.start_node).to(g.decision().branch(g.match(int).to(a)).branch(g.match(str).to(b))),
        g.edge_from(a, b).to(c),
        g.edge_from(c).to(g.end_node),
    )
    assert warned(g) == []


def test_the_items_of_a_map_are_no_two_arms_but_arms_behind_it_are() -> None:
    g = builder(end="all")
    a, b, c = steps(g, "a b c")
    g.add(g.edge_from(g.start_node).map().to(a), g.edge_from(a).to(g.end_node))
    assert warned(g) == []
    g = builder(end="all")
    a, b, c = steps(g, "a b c")
    g.add(g.edge_from(g.start_node).map().to(a, b), g.edge_from(a, b).to(c), g.edge_from(c).to(g.end_node))
    assert len(warned(g)) == 1


def test_the_ways_of_a_router_are_arms() -> None:
    g = builder(end="all")
    a, b, c = steps(g, "a b c")

    async def choose(ctx: Any) -> Any: ...

    router = g.router(choose)
    g.add(
        g.edge_from(g.start_node).to(router),
        g.edge_from(router).to(a, b),
        g.edge_from(a, b).to(c),
        g.edge_from(c).to(g.end_node),
    )
    [sentence] = warned(g)
    assert "router 'choose_routes'" in sentence


def test_a_loop_back_through_the_fork_is_no_meeting() -> None:
    g = builder(end="all")
    a, b = steps(g, "a b")

    async def choose(ctx: Any) -> Any: ...

    router = g.router(choose)
    met = g.join(reduce_list_append, initial_factory=list)
    g.add(
        g.edge_from(g.start_node, met).to(router),
        g.edge_from(router).to(a, b, g.end_node),
        g.edge_from(a, b).to(met),
    )
    assert warned(g) == []


def test_the_members_of_a_group_are_joined_by_it_and_a_group_is_named_as_one() -> None:
    g = builder()
    a, b = steps(g, "a b")
    group = g.parallel(a, b)
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    assert warned(g) == []

    def between(g: Any, a: Any, b: Any, c: Any) -> None:
        pair = g.parallel(c, *steps(g, "d"), node_id="pair")
        g.add(g.edge_from(a, b).to(pair), g.edge_from(pair).to(g.end_node))

    [sentence] = diamond(between)
    assert "lead to 'pair'" in sentence


def test_a_step_that_is_named_twice_is_meant_to_run_twice() -> None:
    g = builder()
    [a] = steps(g, "a")
    group = g.parallel(a, a)
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    assert warned(g) == []


def test_a_warning_points_at_the_line_that_builds_the_graph() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    g.add(g.edge_from(g.start_node).to(a, b), g.edge_from(a, b).to(c), g.edge_from(c).to(g.end_node))
    with pytest.warns(ConvergenceWarning) as caught:
        g.build()
    assert caught[0].filename == __file__


def test_each_is_the_default_and_so_no_answer() -> None:
    def between(g: Any, a: Any, b: Any, c: Any) -> None:
        async def work(ctx: Any) -> Any: ...

        met = g.step(work, node_id="met", join="each")
        g.add(g.edge_from(a, b).to(met), g.edge_from(met).to(g.end_node))

    assert len(diamond(between, end="all")) == 1
