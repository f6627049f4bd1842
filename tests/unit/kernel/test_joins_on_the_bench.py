"""A join folds every arrival once and closes once: when no live task is left that could still reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import permutations
from typing import Any

import pytest

from perdure import (
    GraphBuilder,
    MaxStepsError,
    NoResult,
    ReduceFirstValue,
    ReducerContext,
    reduce_list_append,
    reduce_sum,
)
from perdure.kernel.fold.status import Status
from unit.graph.graphs import builder, steps
from unit.kernel.bench import Bench

# Arms that meet without a join are what some of these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore::perdure.errors.ConvergenceWarning")


def collect(g: GraphBuilder[Any, Any, Any, Any], name: str, **options: Any) -> Any:
    return g.join(reduce_list_append, initial_factory=list, node_id=name, **options)


def test_a_join_closes_once_when_two_arms_finish_in_one_decision() -> None:
    g = builder()
    a, b = steps(g, "a b")
    joined = collect(g, "joined")
    g.add(g.edge_from(g.start_node).to(a, b), g.edge_from(a, b).to(joined), g.edge_from(joined).to(g.end_node))
    bench = Bench(g.build(), 7)
    bench.finish("start_broadcast[1]/b", "start_broadcast[0]/a")
    assert bench.closed() == [("joined", [7, 7])]
    assert bench.run.status is Status.COMPLETED


def mapped(**options: Any) -> Any:
    g = builder(**options)
    (a,) = steps(g, "a")
    joined = collect(g, "joined")
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(a),
        g.edge_from(a).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    return g.build()


def test_arrivals_are_folded_in_the_order_in_which_the_bodies_finished() -> None:
    for order in permutations(range(3)):
        bench = Bench(mapped(), [10, 11, 12])
        for place, index in enumerate(order):
            assert bench.closed() == []
            bench.finish(f"items[{index}]/a")
            assert bench.run.status is (Status.COMPLETED if place == 2 else Status.RUNNING)
        assert bench.output() == [10 + index for index in order]


def test_with_branch_order_the_result_does_not_depend_on_timing() -> None:
    g = builder()
    (a,) = steps(g, "a")
    joined = collect(g, "joined", order="branch")
    g.add(
        g.edge_from(g.start_node).map(fork_id="rows").map(fork_id="cells").to(a),
        g.edge_from(a).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    graph = g.build()
    places = ["rows[0]/cells[0]/a", "rows[0]/cells[1]/a", "rows[1]/cells[0]/a"]
    for order in permutations(places):
        bench = Bench(graph, [[1, 2], [3]])
        for place in order:
            bench.finish(place)
        assert bench.output() == [1, 2, 3]


def test_a_join_waits_for_what_could_still_reach_it_and_for_nothing_else() -> None:
    g = builder(end="all")
    short, long, aside = steps(g, "short long aside")
    middle = steps(g, "middle")[0]
    joined = collect(g, "joined")
    g.add(
        g.edge_from(g.start_node).to(short, long, aside, fork_id="f"),
        g.edge_from(short, middle).to(joined),
        g.edge_from(long).to(middle),
        g.edge_from(joined, aside).to(g.end_node),
    )
    bench = Bench(g.build(), 1)
    bench.finish("f[0]/short")
    bench.finish("f[1]/long")
    assert bench.closed() == []
    bench.finish("f[1]/middle")
    assert bench.closed() == [("joined", [1, 1])]
    assert bench.running() == ["f[2]/aside"]


def test_an_arm_that_turns_away_from_a_join_is_not_waited_for() -> None:
    g = builder(end="all")
    a, b, away = steps(g, "a b away")
    joined = collect(g, "joined")
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(a),
        g.edge_from(a).to(
            g.decision().branch(g.match(int, matches=lambda n: n > 1).to(b)).branch(g.match(int).to(away))
        ),
        g.edge_from(b).to(joined),
        g.edge_from(joined, away).to(g.end_node),
    )
    bench = Bench(g.build(), [1, 2])
    bench.finish("items[1]/a")
    bench.finish("items[1]/b")
    assert bench.closed() == []
    bench.finish("items[0]/a")
    assert bench.closed() == [("joined", [2])]
    assert bench.running() == ["items[0]/away"]


# --- empty maps ---


@pytest.mark.parametrize("where", ["start", "step"])
def test_an_empty_map_closes_the_join_it_names(where: str) -> None:
    g = builder()
    a, b = steps(g, "a b")
    joined = collect(g, "joined")
    source: Any = g.start_node
    if where == "step":
        g.add(g.edge_from(g.start_node).to(b))
        source = b
    g.add_mapping_edge(source, a, downstream_join_id="joined")
    g.add(g.edge_from(a).to(joined), g.edge_from(joined).to(g.end_node))
    bench = Bench(g.build(), [])
    bench.finish_all()
    assert bench.closed() == [("joined", [])]
    assert bench.output() == []


def test_an_empty_map_that_names_no_join_ends_its_arm() -> None:
    bench = Bench(mapped(), [])
    assert bench.run.status is Status.FAILED
    assert isinstance(bench.exception, NoResult)
    assert "items had no items" in str(bench.exception)


def test_an_empty_inner_map_does_not_keep_the_outer_join_open() -> None:
    g = builder()
    row, cell = steps(g, "row cell")
    inner = g.join(reduce_sum, initial=0, node_id="inner", parent_fork_id="cells")
    outer = collect(g, "outer")
    g.add(
        g.edge_from(g.start_node).map(fork_id="rows").to(row),
        g.edge_from(row).map(fork_id="cells", downstream_join_id="inner").to(cell),
        g.edge_from(cell).to(inner),
        g.edge_from(inner).to(outer),
        g.edge_from(outer).to(g.end_node),
    )
    bench = Bench(g.build(), [[], [1, 2], []])
    bench.finish_all()
    assert sorted(bench.output()) == [0, 0, 3]
    assert [join for join, _ in bench.closed()].count("inner") == 3


# --- nested, chained, in loops ---


def test_an_inner_join_closes_before_the_outer_one_in_one_decision() -> None:
    g = builder()
    row, cell = steps(g, "row cell")
    inner = g.join(reduce_sum, initial=0, node_id="inner", parent_fork_id="cells")
    outer = collect(g, "outer")
    g.add(
        g.edge_from(g.start_node).map(fork_id="rows").to(row),
        g.edge_from(row).map(fork_id="cells").to(cell),
        g.edge_from(cell).to(inner),
        g.edge_from(inner).to(outer),
        g.edge_from(outer).to(g.end_node),
    )
    bench = Bench(g.build(), [[1], [2]])
    bench.finish("rows[0]/row", "rows[1]/row")
    bench.finish("rows[1]/cells[0]/cell", "rows[0]/cells[0]/cell")
    assert bench.closed() == [("inner", 2), ("inner", 1), ("outer", [2, 1])]


def test_joins_follow_one_another() -> None:
    g = builder()
    names = "a b c d"
    a, b, c, d = steps(g, names)
    first, second = collect(g, "first"), collect(g, "second")
    g.add(
        g.edge_from(g.start_node).to(a, b, fork_id="f"),
        g.edge_from(a, b).to(first),
        g.edge_from(first).to(c, d, fork_id="h"),
        g.edge_from(c, d).to(second),
        g.edge_from(second).to(g.end_node),
    )
    bench = Bench(g.build(), 1)
    bench.finish_all()
    assert bench.output() == [[1, 1], [1, 1]]


def looping() -> Any:
    g = builder()
    (spread,) = steps(g, "spread")

    @g.step
    async def double(ctx: Any) -> int:
        result: int = ctx.inputs * 2
        return result

    total = g.join(reduce_sum, initial=0, node_id="total")
    g.add(
        g.edge_from(g.start_node).to(spread),
        g.edge_from(spread).transform(lambda ctx: [ctx.inputs, ctx.inputs]).map(fork_id="items").to(double),
        g.edge_from(double).to(total),
        g.edge_from(total).to(
            g.decision().branch(g.match(int, matches=lambda n: n < 60).to(spread)).branch(g.match(int).to(g.end_node))
        ),
    )
    return g.build()


def test_a_join_in_a_loop_closes_each_time_round_and_scopes_do_not_grow() -> None:
    bench = Bench(looping(), 1)
    depths = []
    while running := bench.running():
        if running == ["spread"]:
            [task] = bench.run.tasks.values()
            depths.append(len(task.scope.scope))
            assert len(task.path) <= 2
        bench.finish(running[0])
    assert [value for _, value in bench.closed()] == [4, 16, 64]
    assert bench.output() == 64
    assert max(depths) == 2


def test_instances_of_a_fork_in_a_loop_do_not_share_a_join() -> None:
    bench = Bench(looping(), 1)
    bench.finish_all()
    closed = [event.instance for event in bench.events if type(event).__name__ == "JoinClosed"]
    assert len(set(closed)) == 3


# --- early ends ---


def stop_at_two(ctx: ReducerContext[Any, Any], current: list[int], item: int) -> list[int]:
    if item == 2:
        ctx.cancel_sibling_tasks()
    return [*current, item]


def test_an_early_end_cancels_only_what_could_still_reach_the_join() -> None:
    g = builder(end="all")
    a, b, c = steps(g, "a b c")
    found = g.join(stop_at_two, initial=[], node_id="found", parent_fork_id="f")
    g.add(
        g.edge_from(g.start_node).to(a, b, c, fork_id="f"),
        g.edge_from(a).transform(lambda ctx: 2).to(found),
        g.edge_from(b).to(found),
        g.edge_from(found, c).to(g.end_node),
    )
    bench = Bench(g.build(), 1)
    bench.finish("f[0]/a")
    assert bench.cancelled() == 1
    assert bench.closed() == [("found", [2])]
    assert bench.running() == ["f[2]/c"]


def test_what_arrived_in_the_same_decision_is_folded_before_an_early_end() -> None:
    g = builder()
    (a,) = steps(g, "a")
    found = g.join(stop_at_two, initial=[], node_id="found")
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(a),
        g.edge_from(a).to(found),
        g.edge_from(found).to(g.end_node),
    )
    bench = Bench(g.build(), [2, 3, 4, 5])
    bench.finish("items[1]/a", "items[0]/a", "items[3]/a")
    assert bench.closed() == [("found", [3, 2, 5])]
    assert bench.cancelled() == 1


def race() -> Any:
    g = builder()
    row, cell = steps(g, "row cell")
    first = g.join(ReduceFirstValue[int](), initial=None, node_id="first", parent_fork_id="cells")
    outer = collect(g, "outer")
    g.add(
        g.edge_from(g.start_node).map(fork_id="rows").to(row),
        g.edge_from(row).map(fork_id="cells").to(cell),
        g.edge_from(cell).to(first),
        g.edge_from(first).to(outer),
        g.edge_from(outer).to(g.end_node),
    )
    return g.build()


def test_an_early_end_stays_in_its_instance() -> None:
    bench = Bench(race(), [[1, 2], [3, 4]])
    bench.finish("rows[0]/row", "rows[1]/row")
    bench.finish("rows[0]/cells[1]/cell")
    assert bench.running() == ["rows[1]/cells[0]/cell", "rows[1]/cells[1]/cell"]
    bench.finish("rows[1]/cells[0]/cell")
    assert bench.output() == [2, 3]


def test_the_first_of_two_values_in_one_decision_wins() -> None:
    bench = Bench(race(), [[1, 2, 3]])
    bench.finish("rows[0]/row")
    bench.finish("rows[0]/cells[2]/cell", "rows[0]/cells[0]/cell")
    assert bench.output() == [3]


def test_an_early_end_takes_open_inner_joins_and_inner_maps_with_it() -> None:
    g = builder()
    quick, slow, cell = steps(g, "quick slow cell")
    inner = collect(g, "inner", parent_fork_id="cells")
    first = g.join(ReduceFirstValue[Any](), initial=None, node_id="first", parent_fork_id="f")
    g.add(
        g.edge_from(g.start_node).to(quick, slow, fork_id="f"),
        g.edge_from(slow).transform(lambda ctx: [1, 2, 3]).map(fork_id="cells").to(cell),
        g.edge_from(cell).to(inner),
        g.edge_from(quick, inner).to(first),
        g.edge_from(first).to(g.end_node),
    )
    bench = Bench(g.build(), 9)
    bench.finish("f[1]/slow")
    bench.finish("f[1]/cells[0]/cell")
    assert {join for join, _ in bench.run.joins} == {"inner"}
    bench.finish("f[0]/quick")
    assert bench.output() == 9
    assert bench.closed() == [("first", 9)]
    assert bench.kinds().count("JoinCancelled") == 1
    assert bench.cancelled() == 2


# --- streams ---


def streamed(reducer: Any = reduce_list_append, **options: Any) -> Any:
    g = builder()

    @g.stream
    async def items(ctx: Any) -> AsyncIterator[int]:
        yield 1

    (a,) = steps(g, "a")
    joined = g.join(reducer, node_id="joined", **(options or {"initial_factory": list}))
    g.add(
        g.edge_from(g.start_node).to(items),
        g.edge_from(items).map(fork_id="f").to(a),
        g.edge_from(a).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    return g.build()


def test_an_item_starts_while_its_stream_goes_on_and_the_join_waits_for_the_stream() -> None:
    bench = Bench(streamed())
    bench.give("items", 1, 2)
    assert bench.running() == ["f[0]/a", "f[1]/a", "items"]
    bench.finish("f[0]/a")
    bench.finish("f[1]/a")
    assert bench.closed() == []
    bench.give("items", 3)
    bench.finish("items")
    assert bench.closed() == []
    bench.finish("f[2]/a")
    assert bench.output() == [1, 2, 3]


def test_an_early_end_stops_the_stream_that_feeds_the_fork() -> None:
    bench = Bench(streamed(ReduceFirstValue[int](), initial=None))
    bench.give("items", 5, 6)
    bench.finish("f[0]/a")
    assert bench.output() == 5
    assert bench.cancelled() == 2


def test_a_stream_may_give_nothing() -> None:
    bench = Bench(streamed())
    bench.give("items")
    bench.finish("items")
    assert isinstance(bench.exception, NoResult)


# --- maps with many arms ---


def test_a_map_opens_no_more_arms_than_its_window_and_settles_them_in_any_order() -> None:
    graph = mapped()
    graph.plan.nodes["items"].window = 3
    bench = Bench(graph, list(range(10)))
    widest = 0
    while running := bench.running():
        widest = max(widest, len(running))
        bench.finish(running[-1])
    assert widest == 3
    assert sorted(bench.output()) == list(range(10))


# --- ends ---


def test_the_first_value_at_the_end_cancels_the_rest() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(g.edge_from(g.start_node).to(a, b, fork_id="f"), g.edge_from(a, b).to(g.end_node))
    bench = Bench(g.build(), 1)
    bench.finish("f[1]/b")
    assert bench.run.status is Status.COMPLETED
    assert bench.cancelled() == 1


def test_with_all_every_live_task_finishes_and_the_first_value_is_the_output() -> None:
    g = builder(end="all")
    a, b = steps(g, "a b")
    g.add(
        g.edge_from(g.start_node).to(a, b, fork_id="f"),
        g.edge_from(a).transform(lambda ctx: "a").to(g.end_node),
        g.edge_from(b).transform(lambda ctx: "b").to(g.end_node),
    )
    bench = Bench(g.build(), 1)
    bench.finish("f[1]/b")
    assert bench.run.status is Status.RUNNING
    bench.finish("f[0]/a")
    assert bench.run.status is Status.COMPLETED
    assert bench.output() == "b"
    assert bench.cancelled() == 0
    completed: Any = bench.events[-1]
    assert len(completed.outputs) == 2


def test_a_run_without_a_result_says_where_its_arms_ended() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(
        g.edge_from(g.start_node).to(a, b, fork_id="f"),
        g.edge_from(a).map(fork_id="left").to(g.end_node),
        g.edge_from(b).map(fork_id="right").to(g.end_node),
    )
    bench = Bench(g.build(), [])
    bench.finish_all()
    assert isinstance(bench.exception, NoResult)
    for arm in ("f[0]/left had no items", "f[1]/right had no items"):
        assert arm in str(bench.exception)


def test_a_step_that_leads_nowhere_is_named_where_a_run_has_no_result() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(g.edge_from(g.start_node).to(a, b, fork_id="f"))
    bench = Bench(g.build(validate_graph_structure=False), 1)
    bench.finish_all()
    assert isinstance(bench.exception, NoResult)
    for arm in ("nothing follows f[0]/a", "nothing follows f[1]/b"):
        assert arm in str(bench.exception)


def test_a_join_that_leads_nowhere_is_named_and_many_arms_are_counted() -> None:
    g = builder()
    a, b = steps(g, "a b")
    joined = collect(g, "joined")
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(a, b, fork_id="both"),
        g.edge_from(a).to(joined),
    )
    bench = Bench(g.build(validate_graph_structure=False), list(range(30)))
    bench.finish_all()
    assert "nothing follows items[0]/both[1]/b" in str(bench.exception)
    assert "; and 11 more" in str(bench.exception)
    assert len(str(bench.exception)) < 2000


def test_a_failure_in_the_same_decision_beats_the_end() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(g.edge_from(g.start_node).to(a, b, fork_id="f"), g.edge_from(a, b).to(g.end_node))
    bench = Bench(g.build(), 1)
    failing = bench.task("f[0]/a")
    from perdure.events import ErrorInfo
    from perdure.kernel.decide.results import Failed

    bench._decide(
        bench.succeeded("f[1]/b"), Failed(failing.id, failing.attempt, ErrorInfo("KeyError", "x"), KeyError("x"))
    )
    assert bench.run.status is Status.FAILED
    assert isinstance(bench.exception, KeyError)


def test_a_failure_interrupts_siblings_and_leaves_joins_open() -> None:
    bench = Bench(mapped(), [1, 2, 3])
    bench.finish("items[0]/a")
    bench.fail("items[1]/a", ValueError("no"))
    assert bench.run.status is Status.FAILED
    assert bench.kinds().count("NodeInterrupted") == 1
    assert bench.cancelled() == 0
    assert list(bench.run.joins) != []


# --- the length of a lineage ---


def test_max_steps_bounds_the_length_of_a_lineage_and_not_its_width() -> None:
    bench = Bench(mapped(max_steps=1), list(range(50)))
    bench.finish_all()
    assert bench.run.status is Status.COMPLETED


@pytest.mark.parametrize(("most", "fits"), [(3, True), (2, False)])
def test_a_chain_has_as_many_steps_as_it_has(most: int, fits: bool) -> None:
    g = builder(max_steps=most)
    a, b, c = steps(g, "a b c")
    g.add(
        g.edge_from(g.start_node).to(a),
        g.edge_from(a).to(b),
        g.edge_from(b).to(c),
        g.edge_from(c).to(g.end_node),
    )
    bench = Bench(g.build(), 1)
    bench.finish_all()
    assert (bench.run.status is Status.COMPLETED) == fits
    if not fits:
        assert isinstance(bench.exception, MaxStepsError)
        assert "c would be step 3 of one lineage, and max_steps is 2" in str(bench.exception)


def test_what_follows_a_join_is_one_deeper_than_the_deepest_arrival() -> None:
    g = builder()
    short, first, second, behind = steps(g, "short first second behind")
    joined = collect(g, "joined")
    g.add(
        g.edge_from(g.start_node).to(short, first, fork_id="f"),
        g.edge_from(first).to(second),
        g.edge_from(short, second).to(joined),
        g.edge_from(joined).to(behind),
        g.edge_from(behind).to(g.end_node),
    )
    bench = Bench(g.build(), 1)
    bench.finish("f[1]/first")
    second_depth = bench.task("f[1]/second").depth
    bench.finish("f[1]/second")
    bench.finish("f[0]/short")
    assert bench.task("behind").depth == second_depth + 2
