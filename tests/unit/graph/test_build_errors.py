"""What is wrong with a graph is said all at once, each problem by its node and with its remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure import (
    Fork,
    GraphBuildingError,
    GraphSetupError,
    GraphValidationError,
    ReduceFirstValue,
    reduce_list_append,
    reduce_sum,
)
from unit.graph.graphs import builder, problems, same, steps


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    g = builder()
    a, dead, lost = steps(g, "a dead lost")

    @g.stream
    async def items(ctx: Any) -> AsyncIterator[int]:
        yield 1

    empty = g.join(reduce_sum, node_id="empty")  # type: ignore[call-overload]
    astray = g.join(reduce_sum, initial=0, node_id="astray", parent_fork_id="nowhere")
    g.add(
        g.edge_from(g.start_node).to(a, dead, items),
        g.edge_from(a).map(downstream_join_id="nothing").to(empty),
        g.edge_from(items).to(astray),
        g.edge_from(empty, astray).to(g.end_node),
        g.edge_from(lost).to(g.end_node),
    )
    found = problems(g)
    for place, remedy in [
        ("join 'empty' has nothing to start from", "give initial= or initial_factory="),
        ("join 'astray': no fork has the id 'nowhere'", "the forks are ['a_map', 'start_broadcast']"),
        ("map 'a_map': no join has the id 'nothing'", "the joins are ['astray', 'empty']"),
        ("stream 'items': its items have to be mapped", "write g.edge_from(items).map().to(…)"),
        ("step 'dead' is a dead end", "add an edge from it"),
        ("step 'lost' can't be reached from the start", "add an edge that leads to it"),
    ]:
        assert [problem for problem in found if problem.startswith(place) and remedy in problem], (place, found)
    assert len(found) == 6
    with pytest.raises(GraphBuildingError) as caught:
        g.build()
    assert str(caught.value).count("\n  - ") == 6


def test_problems_of_structure_alone_are_validation_errors_and_can_be_skipped() -> None:
    g = builder()
    a, dead = steps(g, "a dead")
    g.add(g.edge_from(g.start_node).to(a, dead), g.edge_from(a).to(g.end_node))
    with pytest.raises(GraphValidationError) as caught:
        g.build()
    assert len(caught.value.problems) == 1
    assert g.build(validate_graph_structure=False).run_sync(inputs=5) == 5


def test_other_problems_cannot_be_skipped() -> None:
    g = builder()
    a, b = steps(g, "a a")
    g.add(g.edge_from(g.start_node).to(a, b), g.edge_from(a, b).to(g.end_node))
    with pytest.raises(GraphBuildingError) as caught:
        g.build(validate_graph_structure=False)
    assert caught.value.problems == ("two different nodes have the id 'a': give one of them another node_id",)
    assert not isinstance(caught.value, GraphValidationError)


def test_an_empty_graph_says_where_to_begin() -> None:
    assert problems(builder()) == ("nothing leads on from the start: add g.edge_from(g.start_node).to(…)",)


def test_a_graph_without_an_end_says_so() -> None:
    g = builder()
    (a,) = steps(g, "a")
    g.add(g.edge_from(g.start_node).to(a))
    assert [problem.split(":")[0] for problem in problems(g)] == ["nothing leads to the end", "step 'a' is a dead end"]


def test_a_decision_without_branches_is_a_dead_end() -> None:
    g = builder()
    (a,) = steps(g, "a")
    g.add(g.edge_from(g.start_node).to(a, g.decision()), g.edge_from(a).to(g.end_node))
    assert problems(g) == ("decision 'decision' is a dead end: add .branch(g.match(…).to(…))",)


def test_a_cycle_without_a_way_out_is_refused() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    g.add(
        g.edge_from(g.start_node).to(g.decision().branch(g.match(int).to(a)).branch(g.match(str).to(b))),
        g.edge_from(a).to(g.end_node),
        g.edge_from(b).to(c),
        g.edge_from(c).to(b),
    )
    found = problems(g)
    assert [problem.split(" can")[0] for problem in found] == ["step 'b'", "step 'c'"]
    assert all("a branch that leads out of it" in problem for problem in found)


def test_an_arm_may_go_round_until_another_ends_the_run() -> None:
    def graph(end: Any) -> Any:
        g = builder(end=end)
        a, beat = steps(g, "a beat")
        g.add(
            g.edge_from(g.start_node).to(a, beat),
            g.edge_from(beat).to(beat),
            g.edge_from(a).to(g.end_node),
        )
        return g

    assert graph("first").build().run_sync(inputs=7) == 7
    assert len(problems(graph("all"))) == 1


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        (same, "leads to 'same', which is no node: decorate it with @g.step"),
        ("a", "which is no node: give the node itself, as @g.step or g.join returns it, not its name"),
        (["a", "b"], "which is no node: give several nodes one after another, as in .to(a, b)"),
        (Fork("f", is_map=True), "forks are made by edges"),
        (5, "leads to 5, which is no node"),
    ],
    ids=["function", "name", "list", "fork", "number"],
)
def test_a_destination_that_is_no_node_is_refused(destination: Any, reason: str) -> None:
    g = builder()
    (a,) = steps(g, "a")
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(a).to(destination))
    [problem] = problems(g)
    assert problem.startswith("the edge from step 'a' leads to")
    assert reason in problem


def test_the_start_is_no_destination_and_the_end_no_source() -> None:
    g = builder()
    (a,) = steps(g, "a")
    decision = g.decision().branch(g.match(object).to(a))
    g.add(
        g.edge_from(g.start_node).to(a),
        g.edge_from(a).to(g.start_node),  # type: ignore[arg-type]
        g.edge_from(a).to(g.end_node),
        g.edge_from(g.end_node).to(a),  # type: ignore[call-overload]
        g.edge_from(decision).to(a),  # type: ignore[call-overload]
    )
    found = problems(g)
    assert len(found) == 3
    assert any("the edge from step 'a' leads to the start, where runs only begin" in problem for problem in found)
    assert any("no edge can start from the end" in problem for problem in found)
    assert any("no edge can start from decision 'decision'" in problem for problem in found)


@pytest.mark.parametrize("node_id", ["", "x" * 201, "line\nbreak", "\0"])
def test_an_id_that_cannot_be_shown_is_refused(node_id: str) -> None:
    g = builder()
    a = g.step(same, node_id=node_id)
    g.add(g.edge_from(g.start_node).to(a), g.edge_from(a).to(g.end_node))
    assert any("can't be a node id" in problem for problem in problems(g))


def test_a_fork_cannot_have_the_id_of_a_node() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(g.edge_from(g.start_node).to(a, b, fork_id="a"), g.edge_from(a, b).to(g.end_node))
    assert problems(g) == ("the fork id 'a' is taken by step 'a': give the edge another fork_id",)


def test_two_forks_cannot_have_one_id() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(
        g.edge_from(g.start_node).map(fork_id="f").to(a),
        g.edge_from(a).map(fork_id="f").to(b),
        g.edge_from(b).to(g.end_node),
    )
    assert problems(g) == ("the fork id 'f' is taken by fork 'f': give the edge another fork_id",)


def test_a_cycle_in_which_nothing_is_done_is_refused() -> None:
    g = builder()
    round_and_round: Any = g.decision()
    other = g.decision().branch(g.match(object).to(round_and_round))
    round_and_round.branch(g.match(int).to(other)).branch(g.match(object).to(g.end_node))
    g.add(g.edge_from(g.start_node).to(round_and_round))
    assert problems(g) == (
        "decision 'decision' leads back to itself through decision 'decision_2' without a step or a map in between: "
        "put a step into the loop",
    )


def test_the_first_value_cannot_be_taken_in_branch_order() -> None:
    g = builder()
    a, b = steps(g, "a b")
    joined = g.join(ReduceFirstValue[int](), initial=None, order="branch")
    g.add(g.edge_from(g.start_node).to(a, b), g.edge_from(a, b).to(joined), g.edge_from(joined).to(g.end_node))
    [problem] = problems(g)
    assert problem.startswith("join 'ReduceFirstValue': ReduceFirstValue ends the fork at the first arrival")
    assert "drop one of them" in problem


def test_a_map_cannot_name_a_join_its_items_cannot_reach() -> None:
    g = builder()
    a, b, c = steps(g, "a b c")
    joined = g.join(reduce_list_append, initial_factory=list, node_id="joined")
    g.add(
        g.edge_from(g.start_node).to(a, b, fork_id="both"),
        g.edge_from(a, b).to(joined),
        g.edge_from(joined).map(fork_id="items", downstream_join_id="joined").to(c),
        g.edge_from(c).to(g.end_node),
    )
    [problem] = problems(g)
    assert problem.startswith("map 'items': downstream_join_id='joined' names a join that the map's items can't reach")


def test_building_goes_on_after_a_problem_is_mended() -> None:
    g = builder()
    a, b = steps(g, "a b")
    g.add(g.edge_from(g.start_node).to(a, b), g.edge_from(a).to(g.end_node))
    assert len(problems(g)) == 1
    g.add(g.edge_from(b).to(g.end_node))
    assert g.build().run_sync(inputs=1) == 1


# --- what can't work is refused where it is declared ---


def test_a_builder_refuses_options_that_there_are_not() -> None:
    for options, reason in [
        ({"end": "last"}, "end='last' is not one of 'first', 'all'"),
        ({"state_conflicts": "ignore"}, "state_conflicts='ignore'"),
        ({"max_steps": 0}, "max_steps=0: give a whole number of at least 1"),
        ({"max_steps": True}, "max_steps=True"),
        ({"max_tasks": 0}, "max_tasks=0"),
    ]:
        with pytest.raises(GraphSetupError) as caught:
            builder(**options)
        assert reason in str(caught.value)


def test_an_async_reducer_is_refused() -> None:
    async def reducer(current: int, item: int) -> int:
        return current

    with pytest.raises(GraphSetupError, match="the reducer 'reducer' is async"):
        builder().join(reducer, initial=0)


@pytest.mark.parametrize("reducer", [lambda: 0, lambda current: 0, lambda a, b, c, d: 0], ids=["none", "one", "four"])
def test_a_reducer_with_other_arguments_is_refused(reducer: Any) -> None:
    with pytest.raises(GraphSetupError, match=r"write it as \(current, item\) or as \(ctx, current, item\)"):
        builder().join(reducer, initial=0)


def test_a_join_takes_one_beginning() -> None:
    with pytest.raises(GraphSetupError, match="is given both initial= and initial_factory="):
        builder().join(reduce_sum, initial=0, initial_factory=int)  # type: ignore[call-overload]
    with pytest.raises(GraphSetupError, match="initial_factory: 5 is no function"):
        builder().join(reduce_sum, initial_factory=5)  # type: ignore[call-overload]


def test_a_step_that_yields_is_a_stream_and_one_that_does_not_is_none() -> None:
    g = builder()

    async def items(ctx: Any) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(GraphSetupError, match=r"'items' yields items: decorate it with @g\.stream"):
        g.step(items)  # type: ignore[arg-type]
    with pytest.raises(GraphSetupError, match=r"'same' yields no items: decorate it with @g\.step"):
        g.stream(same)  # type: ignore[arg-type]
    with pytest.raises(GraphSetupError, match=r"g\.step: 5 is no function"):
        g.step(5)  # type: ignore[arg-type]
    with pytest.raises(GraphSetupError, match="resume='jump' is not one of 'skip', 'seek'"):
        g.stream(items, resume="jump")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["parent_fork_id", "node_id"])
def test_an_id_that_is_no_string_is_refused_with_a_hint(name: str) -> None:
    g = builder()
    (a,) = steps(g, "a")
    with pytest.raises(GraphSetupError, match=rf"{name}=.* is no string; give its id"):
        g.join(reduce_sum, initial=0, **{name: a})
