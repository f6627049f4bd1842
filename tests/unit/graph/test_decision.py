"""A decision sends a value down its first branch that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, NewType, NotRequired, Protocol, TypedDict, TypeVar, runtime_checkable

import pytest
from typing_extensions import TypeAliasType

from perdure import Graph, GraphRuntimeError, GraphSetupError, TypeExpression
from perdure.graph.types import membership, type_name
from unit.graph.graphs import builder, steps


class Colour(Enum):
    RED = 1


class Row(TypedDict):
    id: int
    note: NotRequired[str]


@runtime_checkable
class Named(Protocol):
    name: str


class Unchecked(Protocol):
    name: str


@dataclass
class Person:
    name: str


UserId = NewType("UserId", int)
Words = TypeAliasType("Words", list[str])
Bound = TypeVar("Bound", bound=int)
Free = TypeVar("Free")


@pytest.mark.parametrize(
    ("type_", "inside", "outside"),
    [
        (int, [1, True], [1.0, "1", None]),
        (bool, [True], [1, None]),
        (None, [None], [0, ""]),
        (type(None), [None], [0]),
        (int | str, [1, "a"], [1.0]),
        (TypeExpression[int | None], [1, None], ["a"]),
        (Literal["left", "right"], ["left"], ["up", None]),
        (Literal[1], [1], [True, 1.0]),
        (Literal[True], [True], [1]),
        (Literal[Colour.RED], [Colour.RED], [1]),
        (list[int], [[], ["any list"]], [(1,)]),
        (dict[str, int], [{}], [[]]),
        (tuple[int, ...], [(1,)], [[1]]),
        (Row, [{"id": 1}, {"id": 1, "note": ""}], [{}, {"note": ""}, 1]),
        (Annotated[int, "note"], [1], ["a"]),
        (UserId, [1], ["a"]),
        (Words, [["a"]], ["a"]),
        (Named, [Person("A")], [1]),
        (Bound, [1], ["a"]),
        (float, [1.0], [1]),
        (Person, [Person("A")], [1]),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_of_a_type_or_is_not(type_: Any, inside: list[Any], outside: list[Any]) -> None:
    test = membership(type_)
    assert test is not None
    assert [value for value in inside if not test(value)] == []
    assert [value for value in outside if test(value)] == []


@pytest.mark.parametrize("type_", [Any, object, Free, int | Any, TypeExpression[Any]], ids=str)
def test_every_value_is_of_a_type_that_says_nothing(type_: Any) -> None:
    assert membership(type_) is None


@pytest.mark.parametrize("type_", [Unchecked, 5, "int"], ids=str)
def test_a_type_that_tells_nothing_is_refused_when_the_branch_is_begun(type_: Any) -> None:
    g = builder()
    (a,) = steps(g, "a")
    with pytest.raises(GraphSetupError, match=r"g\.match: .*can't be matched against"):
        g.match(type_).to(a)


def choose(*branches: Any) -> Any:
    """Return the name of the branch each value takes; a branch is a type, or a type and a test."""
    g = builder()
    decision: Any = g.decision()
    for name, branch in zip("abcdef", branches, strict=False):
        type_, matches = branch if isinstance(branch, tuple) else (branch, None)
        decision = decision.branch(g.match(type_, matches=matches).transform(partial(_named, name)).to(g.end_node))
    g.add(g.edge_from(g.start_node).to(decision))
    return g.build()


def _named(name: str, ctx: Any) -> str:
    return name


def taken(graph: Graph[Any, Any, Any, Any], *values: Any) -> str:
    return "".join(graph.run_sync(inputs=value) for value in values)


def test_the_first_branch_that_takes_a_value_gets_it() -> None:
    assert taken(choose(int, object, int), 1, "x") == "ab"


def test_a_test_is_asked_only_of_values_of_the_type() -> None:
    graph = choose((int, lambda value: value > 5), (str, str.isdigit), object)
    assert taken(graph, 6, 5, "7", "x", None) == "acbcc"


def test_a_test_that_is_not_true_or_false_counts_by_its_truth() -> None:
    assert taken(choose((list, len), object), [1], []) == "ab"


def test_ints_pass_for_floats_where_a_test_decides() -> None:
    graph = choose((float, lambda value: value > 2), (complex, lambda value: value == 1), object)
    assert taken(graph, 3, 3.5, 1, 1.0, 0) == "aabbc"


def test_a_test_alone_decides_where_the_type_tells_nothing() -> None:
    assert taken(choose((Unchecked, lambda value: hasattr(value, "name")), object), Person("A"), 1) == "ab"


def test_a_value_no_branch_takes_fails_the_run_by_name_and_remedy() -> None:
    with pytest.raises(GraphRuntimeError, match=r"decision 'decision': no branch takes 'x' of type str; add a branch"):
        choose(int).run_sync(inputs="x")


@pytest.mark.parametrize("matches", ["no function", 5])
def test_a_test_that_cannot_be_called_is_refused(matches: Any) -> None:
    g = builder()
    with pytest.raises(GraphSetupError, match="no plain function of the value"):
        g.match(int, matches=matches).to(g.end_node)


def test_an_async_test_is_refused() -> None:
    async def matches(value: Any) -> bool:
        return True

    g = builder()
    with pytest.raises(GraphSetupError, match="no plain function of the value"):
        g.match(int, matches=matches).to(g.end_node)


def test_an_unfinished_branch_is_refused() -> None:
    g = builder()
    with pytest.raises(GraphSetupError, match=r"begin it with g\.match\(…\), end it with \.to"):
        g.decision().branch(g.match(int))  # type: ignore[arg-type]


def test_an_arm_of_a_branch_cannot_begin_with_a_match_of_its_own() -> None:
    g = builder()
    a, b = steps(g, "a b")
    with pytest.raises(GraphSetupError, match=r"an arm has a g\.match of its own"):
        g.match(int).broadcast(lambda e: [e.to(a), g.match(str).to(b)])


def test_a_branch_maps_transforms_and_broadcasts() -> None:
    g = builder()
    a, b = steps(g, "a b")
    from perdure import reduce_list_append

    joined = g.join(reduce_list_append, initial_factory=list)
    g.add(
        g.edge_from(g.start_node).to(
            g.decision()
            .branch(g.match(list).label("items").map(fork_id="each").transform(lambda ctx: ctx.inputs + 1).to(a, b))
            .branch(
                g.match(int).broadcast(lambda e: [e.to(a), e.transform(lambda ctx: -ctx.inputs).to(b)], fork_id="two")
            )
        ),
        g.edge_from(a, b).to(joined),
        g.edge_from(joined).to(g.end_node),
    )
    graph = g.build()
    assert sorted(graph.run_sync(inputs=[1, 2])) == [2, 2, 3, 3]
    assert sorted(graph.run_sync(inputs=5)) == [-5, 5]


def test_decisions_follow_one_another() -> None:
    g = builder()
    second = (
        g.decision()
        .branch(g.match(int, matches=lambda n: n % 2 == 0).transform(lambda ctx: "even").to(g.end_node))
        .branch(g.match(int).transform(lambda ctx: "odd").to(g.end_node))
    )
    first = g.decision().branch(g.match(str).to(g.end_node)).branch(g.match(int).to(second))
    g.add(g.edge_from(g.start_node).to(first))
    graph = g.build()
    assert [graph.run_sync(inputs=value) for value in ("x", 2, 3)] == ["x", "even", "odd"]
    assert {"decision", "decision_2"} <= graph.nodes.keys()


@pytest.mark.parametrize(
    ("type_", "name"),
    [(int, "int"), (None, "None"), (type(None), "None"), (TypeExpression[int], "int"), (list[int], "list[int]"),
     (int | None, "int | None"), (Any, "Any")],
)  # fmt: skip
def test_a_type_has_a_short_name(type_: Any, name: str) -> None:
    assert type_name(type_) == name
