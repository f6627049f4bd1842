"""A join waits for the arms of the fork that was meant."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import GraphBuilder, reduce_list_append, reduce_sum
from unit.graph.graphs import builder, problems, steps


def collect(g: GraphBuilder[Any, Any, Any, Any], name: str, **options: Any) -> Any:
    return g.join(reduce_list_append, initial_factory=list, node_id=name, **options)


def add_up(g: GraphBuilder[Any, Any, Any, Any], name: str, **options: Any) -> Any:
    return g.join(reduce_sum, initial=0, node_id=name, **options)


def parent(g: GraphBuilder[Any, Any, Any, Any], join: str) -> str:
    return g.build().plan.nodes[join].parent


def table(first: Any, second: Any, **wishes: Any) -> GraphBuilder[Any, Any, Any, Any]:
    """Return a map inside a map with two joins behind it."""
    g = builder()
    row, cell = steps(g, "row cell")
    inner, outer = first(g, "inner", **wishes.get("inner", {})), second(g, "outer", **wishes.get("outer", {}))
    g.add(
        g.edge_from(g.start_node).map(fork_id="rows").to(row),
        g.edge_from(row).map(fork_id="cells").to(cell),
        g.edge_from(cell).to(inner),
        g.edge_from(inner).to(outer),
        g.edge_from(outer).to(g.end_node),
    )
    return g


CLOSEST = {"preferred_parent_fork": "closest"}


def test_the_farthest_fork_is_the_default() -> None:
    g = table(add_up, collect)
    assert (parent(g, "inner"), parent(g, "outer")) == ("rows", "rows")
    assert g.build().run_sync(inputs=[[1, 2], [3]]) == [6]


def test_the_closest_fork_is_taken_on_request() -> None:
    g = table(add_up, collect, inner=CLOSEST)
    assert (parent(g, "inner"), parent(g, "outer")) == ("cells", "rows")
    assert sorted(g.build().run_sync(inputs=[[1, 2], [3, 4]])) == [3, 7]


def test_the_closest_fork_is_not_one_that_is_joined_already() -> None:
    g = table(add_up, collect, inner=CLOSEST, outer=CLOSEST)
    assert (parent(g, "inner"), parent(g, "outer")) == ("cells", "rows")
    assert sorted(g.build().run_sync(inputs=[[1, 2], [3, 4]])) == [3, 7]


def test_a_joined_fork_is_taken_if_it_is_asked_for() -> None:
    g = table(add_up, collect, inner=CLOSEST, outer={"parent_fork_id": "cells"})
    assert parent(g, "outer") == "cells"


def test_the_closest_fork_is_a_joined_one_if_all_are() -> None:
    g = builder()
    (a,) = steps(g, "a")
    first, second, third = (collect(g, name, **CLOSEST) for name in ("first", "second", "third"))
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(a),
        g.edge_from(a).to(first),
        g.edge_from(first).to(second),
        g.edge_from(second).to(third),
        g.edge_from(third).to(g.end_node),
    )
    assert [parent(g, name) for name in ("first", "second", "third")] == ["items"] * 3
    assert g.build().run_sync(inputs=[1, 2]) == [[[1, 2]]]


def test_a_joined_fork_is_not_passed_over_if_another_lets_several_values_through() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    first, second = collect(g, "first", **CLOSEST), collect(g, "second", **CLOSEST)
    g.add(
        g.edge_from(g.start_node).map(fork_id="rows").to(a),
        g.edge_from(a).map(fork_id="cells").to(b),
        g.edge_from(b).to(first),
        g.edge_from(first).to(
            g.decision()
            .branch(g.match(list, matches=lambda found: len(found) > 1).map(fork_id="again").to(c))
            .branch(g.match(list).to(second))
        ),
        g.edge_from(c).to(second),
        g.edge_from(second).to(g.end_node),
    )
    assert (parent(g, "first"), parent(g, "second")) == ("cells", "cells")


def test_a_join_without_a_fork_waits_for_the_run() -> None:
    g = builder()
    low, high = steps(g, "low high")
    joined = collect(g, "joined")
    g.add(
        g.edge_from(g.start_node).to(
            g.decision().branch(g.match(int, matches=lambda n: n < 10).to(low)).branch(g.match(int).to(high))
        ),
        g.edge_from(low, high).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    assert parent(g, "joined") == "__start__"
    assert g.build().run_sync(inputs=3) == [3]


def pages(**wishes: Any) -> GraphBuilder[Any, Any, Any, Any]:
    """Return a loop that sends out work each time it goes round."""
    g = builder()
    (page,) = steps(g, "page")

    @g.step
    async def work(ctx: Any) -> int:
        result: int = ctx.inputs * 10
        return result

    @g.step
    async def more(ctx: Any) -> int:
        result: int = ctx.inputs + 1
        return result

    (last,) = steps(g, "last")
    joined = collect(g, "joined", **wishes)
    g.add(
        g.edge_from(g.start_node).to(page),
        g.edge_from(page).to(work, more, fork_id="each"),
        g.edge_from(more).to(
            g.decision().branch(g.match(int, matches=lambda n: n < 4).to(page)).branch(g.match(int).to(last))
        ),
        g.edge_from(work, last).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    return g


def test_a_join_of_a_fork_that_is_opened_again_and_again_fires_once() -> None:
    g = pages()
    assert parent(g, "joined") == "__start__"
    assert sorted(g.build().run_sync(inputs=1)) == [4, 10, 20, 30]


def test_a_join_of_each_time_a_fork_is_opened_is_had_on_request() -> None:
    assert parent(pages(preferred_parent_fork="closest"), "joined") == "each"
    assert pages(
        parent_fork_id="each",
    ).build().run_sync(inputs=1) == [10]
    assert parent(pages(parent_fork_id="__start__"), "joined") == "__start__"


def test_a_fork_that_some_items_of_another_reach_is_opened_more_than_once() -> None:
    g = builder()
    a, x, y = steps(g, "a x y")
    joined = collect(g, "joined")
    g.add(
        g.edge_from(g.start_node).to(
            g.decision().branch(g.match(list).map(fork_id="items").to(a)).branch(g.match(object).to(a))
        ),
        g.edge_from(a).to(x, y, fork_id="both"),
        g.edge_from(x, y).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    assert parent(g, "joined") == "__start__"
    assert sorted(g.build().run_sync(inputs=[1, 2])) == [1, 1, 2, 2]
    assert g.build().run_sync(inputs=3) == [3, 3]


def test_a_join_in_a_loop_has_the_fork_in_the_loop() -> None:
    g = builder()
    outside, inside, again = steps(g, "outside inside again")
    joined = add_up(g, "joined")
    g.add(
        g.edge_from(g.start_node).map(fork_id="around").to(outside),
        g.edge_from(outside).to(inside, again, fork_id="within"),
        g.edge_from(inside, again).to(joined),
        g.edge_from(joined).to(
            g.decision().branch(g.match(int, matches=lambda n: n < 10).to(outside)).branch(g.match(int).to(g.end_node))
        ),
    )
    assert parent(g, "joined") == "within"


def test_a_join_in_a_loop_without_a_fork_has_no_parent() -> None:
    g = builder()
    (a,) = steps(g, "a")
    joined = add_up(g, "joined")
    g.add(
        g.edge_from(g.start_node).map().to(a),
        g.edge_from(a).to(joined),
        g.edge_from(joined).to(g.decision().branch(g.match(int).to(a)).branch(g.match(str).to(g.end_node))),
    )
    [problem] = problems(g)
    assert "join 'joined' has no parent" in problem
    assert "Put a fork into the cycle" in problem


def test_a_fork_that_not_every_path_passes_cannot_be_asked_for() -> None:
    g = builder()
    a, b = steps(g, "a b")
    joined = collect(g, "joined", parent_fork_id="items")
    g.add(
        g.edge_from(g.start_node).to(
            g.decision().branch(g.match(list).map(fork_id="items").to(a)).branch(g.match(object).to(b))
        ),
        g.edge_from(a, b).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    [problem] = problems(g)
    assert "join 'joined'" in problem
    assert "the fork 'items' of parent_fork_id" in problem
    assert "those that can be are ['__start__']" in problem


def test_a_fork_that_another_join_leaves_is_refused_by_both_names() -> None:
    g = table(add_up, collect, inner={}, outer={"parent_fork_id": "cells"})
    [problem] = problems(g)
    for part in ("'inner'", "'outer'", "'cells'", "'rows'", "parent_fork_id='cells'", "parent_fork_id='rows'"):
        assert part in problem


@pytest.mark.parametrize("wish", ["farthest", "closest"])
def test_what_another_join_leaves_is_no_candidate(wish: str) -> None:
    g = table(add_up, collect, inner={}, outer={"preferred_parent_fork": wish})
    assert parent(g, "outer") == "rows"


def test_the_region_of_a_join_is_what_lies_between_it_and_its_parent() -> None:
    g = builder()
    before, inside, aside, behind = steps(g, "before inside aside behind")
    joined = collect(g, "joined")
    g.add(
        g.edge_from(g.start_node).to(before),
        g.edge_from(before).to(inside, aside, fork_id="both"),
        g.edge_from(inside).to(joined),
        g.edge_from(joined).to(behind),
        g.edge_from(behind, aside).to(g.end_node),
    )
    counted = {id_: node.counted for id_, node in g.build().plan.nodes.items() if node.counted}
    assert counted == {"both": (("both", "joined"),), "inside": (("both", "joined"),)}
