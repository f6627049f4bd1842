"""Conditions: what they mean, what they refuse, and what is told before anything runs."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Optional, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import Condition, GraphBuilder, GraphRuntimeError, GraphSetupError, StepContext
from perdure.graph.nodes.condition_grammar import Comparison, Flag, Inverted, PathTo, Several, read_condition
from perdure.graph.nodes.condition_types import condition_problems


class Colour(Enum):
    RED = "red"


@dataclass
class Review:
    score: float
    approved: bool = False
    tags: list[str] = field(default_factory=list)
    colour: Colour = Colour.RED
    price: Decimal = Decimal("1.5")

    @property
    def computed(self) -> int:
        raise AssertionError("a condition looks values up, and calls nothing")


class Box(msgspec.Struct):
    review: Review
    counts: dict[str, int] = {}


class Model(pydantic.BaseModel):
    amount: int = 3


Pair = namedtuple("Pair", "left right")
BOX = Box(Review(0.8, True, ["new", "hot"]), {"a b": 2, "state": 7})


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("output == 3", 3, True),
        ("output == 3.0", 3, True),
        ("output == 1", True, False),
        ("output == true", 1, False),
        ("output == true", True, True),
        ("output != null", None, False),
        ("output == '3'", 3, False),
        ("output == [1, ['x', null]]", (1, ["x", None]), True),
        ("output == [1]", [1, 2], False),
        ("review.score >= 0.8", BOX, True),
        ("review.score > 0.8 or review.approved", BOX, True),
        ("review.score > 0.8 and review.approved", BOX, False),
        ("not (review.score > 0.8 and review.approved)", BOX, True),
        ("review.approved and not review.score < 0", BOX, True),
        ("review.tags contains 'hot'", BOX, True),
        ("review.tags[0] == \"new\" and review.tags[-1] == 'hot'", BOX, True),
        ("review.colour == 'red'", BOX, True),
        ("review.colour in ['blue', 'red']", BOX, True),
        ("review.price == 1.5 and review.price < 2", BOX, True),
        ("counts['a b'] not in [1, 3]", BOX, True),
        ("output.counts.state == 7", BOX, True),
        ("counts contains 'a b'", BOX, True),
        ("output contains 'ell'", "hello", True),
        ("output contains 3", {1, 2, 3}, True),
        ("output < 'b'", "a", True),
        ("left == 1 and right[0] == 2", Pair(1, [2]), True),
        ("amount == 3", Model(), True),
        ("x == 1", SimpleNamespace(x=1), True),
        ("a or b and c", {"a": True, "b": False, "c": False}, True),
        ("(a or b) and c", {"a": True, "b": False, "c": False}, False),
        ("a and missing", {"a": False}, False),
        ("größe >= -2.5e0", {"größe": -2}, True),
        ("output == 'it\\'s \"so\" \\u00e9'", 'it\'s "so" é', True),
    ],
)
def test_a_condition_holds_as_it_reads(text: str, value: Any, expected: bool) -> None:
    assert Condition(text)(value) is expected


@pytest.mark.parametrize(
    ("text", "value", "problem"),
    [
        ("missing == 1", {"a": 1}, "output, which is {'a': 1} of type dict, has no 'missing'"),
        ("review.missing == 1", BOX, "output.review"),
        ("review.computed == 1", BOX, "has no 'computed'"),
        ("review.__class__ == 1", BOX, "has no '__class__'"),
        ("output.upper == 1", "text", "has no 'upper'"),
        ("output[3] == 1", [1], "has no 3"),
        ("output[0] == 'a'", "abc", "has no 0"),
        ("output < 3", "2", "can't be less or greater than a number"),
        ("output < 'x'", 2, "can't be less or greater than a text"),
        ("output < 3", None, "nothing (null)"),
        ("output < 3", True, "can't be less"),
        ("output < 3", 1j, "can't be less"),
        ("output", 1, "neither true nor false"),
        ("output contains 1", 12, "contains nothing"),
        ("output contains 1", "12", "is a text"),
        ("state.n == 1", 1, "has no 'n'"),
    ],
)
def test_what_cannot_be_decided_is_an_error_that_names_the_condition(text: str, value: Any, problem: str) -> None:
    with pytest.raises(GraphRuntimeError) as caught:
        Condition(text)(value)
    assert problem in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a path"), ("a =", "'=' can't stand at character 3"), ("a ===", "'=' can't stand"), ("a ~ 3", "'~ 3' can't"),
        ("a ==", "there is nothing at character 5"), ("a == b", "there is 'b' at character 6"), ("a b", "there is 'b'"),
        ("a in 3", "asks for a list"), ("a contains [1]", "asks for one value"), ("a < null", "asks for a number or a string"),
        ("a < [1]", "asks for a number"), ("a < true", "asks for a number"), ("1 == a", "a path"), ("(a", "')' is expected"),
        ("a)", "'and', 'or' or the end"), ("a not == 3", "'in' is expected"), ("a.", "a name is expected"), ("a[1.5]", "1.5"),
        ("a[b]", "a whole number or a string"), ("a['x'", "']' is expected"), ("a in [1", "',' or ']'"), ("a in [1,]", "a number"),
        ("a == 'x", "can't stand"), ("a == '\\q'", "none of JSON"), ("a == 1e999", "beyond all numbers"), ("a == 01", "can't stand"),
        ("not", "a path"), ("and", "a path"), ("__import__('os')", "one of =="), ("a" + " and a" * 400, "characters"),
        ("(" * 40 + "a" + ")" * 40, "nesting"), ("a in " + "[" * 40 + "]" * 40, "nesting"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(GraphSetupError) as caught:
        Condition(text)
    assert problem in str(caught.value)


@given(st.text(alphabet="ab.[]()'\"\\ 01-e,=!<>_ü\n", max_size=30) | st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        condition = Condition(text)
    except GraphSetupError:
        return
    assert Condition(str(condition.test)).test == condition.test


keys = (
    st.from_regex(r"[a-z]{1,5}", fullmatch=True).map(lambda name: f"x{name}") | st.integers(-3, 9) | st.text(max_size=5)
)
paths = st.builds(PathTo, st.sampled_from(["output", "state"]), st.lists(keys, max_size=3).map(tuple))
leaves: Any = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
comparisons = (
    st.builds(Comparison, paths, st.sampled_from(["==", "!="]), leaves | st.lists(leaves, max_size=3))
    | st.builds(Comparison, paths, st.sampled_from(["<", "<=", ">", ">="]), st.integers() | st.text(max_size=5))
    | st.builds(Comparison, paths, st.just("in"), st.lists(leaves, max_size=3))
    | st.builds(Comparison, paths, st.just("contains"), leaves)
)
tests: Any = st.recursive(
    comparisons | st.builds(Flag, paths),
    lambda inner: (
        inner.filter(lambda test: not isinstance(test, Inverted)).map(Inverted)
        | st.builds(Several, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


@given(tests)
def test_a_condition_reads_back_as_what_was_written(test: Any) -> None:
    assert read_condition(str(test)) == test


class Row(TypedDict):
    name: str
    count: Optional[int]  # noqa: UP045


@pytest.mark.parametrize(
    ("text", "output", "problem"),
    [
        ("score >= 1 and approved and tags contains 'x' and colour == 'red' and price > 1", Review, None),
        ("scroe >= 1", Review, "has no field 'scroe'; it has ['score', 'approved', 'tags', 'colour', 'price']"),
        ("score == 'high'", Review, "can't be equal to a text"),
        ("score < 'high'", Review, "can't be less or greater than a text"),
        ("score", Review, "neither true nor false"),
        ("score.x == 1", Review, "has no 'x'"),
        ("tags.x == 1", Review, "write output.tags[0]"),
        ("tags[0] == 1", Review, "can't be equal to a number"),
        ("approved == 1", Review, "can't be equal to a number"),
        ("approved == null", Review, None),
        ("output.review.scroe == 1", Box, "no field 'scroe'"),
        ("counts.anything > 3", Box, None),
        ("counts.anything > 'x'", Box, "less or greater than a text"),
        ("count > 3 and name in ['a']", Row, None),
        ("name in [1, 2]", Row, "can't be any of the list"),
        ("nmae == 'x'", Row, "no field 'nmae'"),
        ("amount == 'x'", Model, "equal to a text"),
        ("output == 'x'", Annotated[int, "x"], "equal to a text"),
        ("output == 'x'", int | str, None),
        ("output == 'x'", Literal["x", "y"], None),
        ("output == 1", Literal["x", "y"], "equal to a number"),
        ("output contains 'x'", int, "contains nothing"),
        ("output.x == 1", int, "has no 'x'"),
        ("output.x == 1", Any, None),
        ("output.x == 1", dict, None),
        ("output.left == 1", Pair, None),
        ("score == 1", Review | None, None),
        ("state.rounds < 3", Any, "the graph has no state"),
    ],
)
def test_what_types_tell_is_told_before_anything_runs(text: str, output: Any, problem: str | None) -> None:
    problems = condition_problems(read_condition(text), output, None)
    assert (problems == []) if problem is None else (len(problems) == 1 and problem in problems[0])


def test_a_branch_of_a_builder_takes_a_condition_on_value_and_state() -> None:
    @dataclass
    class Desk:
        rounds: int = 0
        log: list[str] = field(default_factory=list)

    g = GraphBuilder(name="rounds", state_type=Desk, input_type=int, output_type=int)

    @g.step
    async def work(ctx: StepContext[Desk, None, int]) -> int:
        ctx.state.rounds += 1
        ctx.state.log.append("x")
        return ctx.inputs + 1

    g.add(
        g.edge_from(g.start_node).to(work),
        g.edge_from(work).to(
            g.decision()
            .branch(g.match(int, matches=Condition("state.rounds < 3 and not state.log contains 'y'")).to(work))
            .branch(g.match(int).to(g.end_node))
        ),
    )
    assert g.build().run_sync(inputs=0, state=Desk()) == 3
