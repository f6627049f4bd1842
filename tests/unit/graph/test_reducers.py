"""Reducers fold what arrives, with or without a context, and start from something of their own."""

from __future__ import annotations

import functools
import operator
from typing import Any

import pytest

from perdure import (
    Join,
    ReduceFirstValue,
    ReducerContext,
    reduce_dict_update,
    reduce_list_append,
    reduce_list_extend,
    reduce_null,
    reduce_sum,
)
from perdure.graph.nodes.join import takes_context
from unit.graph.graphs import builder, steps


def test_the_reducers_that_come_along() -> None:
    assert reduce_list_append([1], 2) == [1, 2]
    assert reduce_list_extend([1], (2, 3)) == [1, 2, 3]
    assert reduce_dict_update({"a": 1}, {"a": 2, "b": 3}) == {"a": 2, "b": 3}
    assert reduce_null(None, 5) is None
    assert reduce_sum(1, 2) == 3
    assert reduce_sum("a", "b") == "ab"


def test_the_first_value_cancels_the_others_and_stays() -> None:
    calls = []
    first: ReduceFirstValue[int] = ReduceFirstValue()
    context = ReducerContext(state=None, deps=None, cancel=lambda: calls.append(1))
    assert first(context, 0, 5) == 5
    assert calls == [1]
    assert first(ReducerContext(state=None, deps=None, was_cancelled=True), 5, 6) == 5


class Counter:
    def __call__(self, current: int, item: int) -> int:
        return current + item

    def method(self, ctx: Any, current: int, item: int) -> int:
        return current + item


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        (lambda current, item: 0, False),
        (lambda ctx, current, item: 0, True),
        (lambda current, item, extra=1: 0, False),
        (lambda *arrived: 0, False),
        (operator.add, False),
        (max, False),
        (Counter(), False),
        (Counter().method, True),
        (functools.partial(lambda scale, current, item: 0, 2), False),
        (ReduceFirstValue(), True),
        (reduce_sum, False),
    ],
    ids=["two", "three", "default", "any", "builtin", "no signature", "object", "method", "partial", "first", "sum"],
)
def test_a_reducer_that_takes_three_arguments_gets_a_context(reducer: Any, expected: bool) -> None:
    assert takes_context(reducer) is expected


def test_a_join_can_be_asked_to_fold_by_hand() -> None:
    g = builder()
    plain: Join[Any, Any, int, int] = g.join(operator.sub, initial=0)
    context = ReducerContext(state=None, deps=None)
    assert plain.reduce(context, 5, 3) == 2
    assert g.join(Counter().method, initial=0).reduce(context, 5, 3) == 8


def test_a_mutable_beginning_is_copied_for_each_instance() -> None:
    g = builder()
    beginning: dict[str, list[int]] = {"found": []}

    def add(current: dict[str, list[int]], item: int) -> dict[str, list[int]]:
        current["found"].append(item)
        return current

    row, cell = steps(g, "row cell")
    inner = g.join(add, initial=beginning, node_id="inner", preferred_parent_fork="closest")
    outer = g.join(reduce_list_append, initial_factory=list, node_id="outer", order="branch")
    g.add(
        g.edge_from(g.start_node).map().to(row),
        g.edge_from(row).map().to(cell),
        g.edge_from(cell).to(inner),
        g.edge_from(inner).to(outer),
        g.edge_from(outer).to(g.end_node),
    )
    graph = g.build()
    for _ in range(2):
        assert graph.run_sync(inputs=[[1], [2]]) == [{"found": [1]}, {"found": [2]}]
    assert beginning == {"found": []}


def test_a_beginning_may_be_made_by_a_function() -> None:
    g = builder()
    assert g.join(reduce_list_append, initial_factory=list).initial_factory() == []
    assert g.join(reduce_sum, initial=5).initial_factory() == 5
    assert g.join(reduce_null, initial=None).initial_factory() is None


def test_a_reducer_has_state_and_dependencies() -> None:
    def tally(ctx: ReducerContext[dict[str, int], int], current: int, item: int) -> int:
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        return current + item * ctx.deps

    g = builder(state_type=dict, deps_type=int)
    (a,) = steps(g, "a")
    total = g.join(tally, initial=0)
    g.add(
        g.edge_from(g.start_node).map().to(a),
        g.edge_from(a).to(total),
        g.edge_from(total).to(g.end_node),
    )
    state: dict[str, int] = {}
    assert g.build().run_sync(inputs=[1, 2, 3], deps=10, state=state) == 60
    assert state == {"count": 3}
