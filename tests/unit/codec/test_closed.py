"""Which annotations settle the type of every part, and which values are exactly of them."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import msgspec
import pytest

from perdure import TypeExpression, versioned
from perdure.codec.closed import NotClosed, closed
from unit.codec.exchange import stored

T = TypeVar("T")


@dataclass
class Point:
    x: int
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slotted:
    name: str


@dataclass
class Holder:
    points: list[Point]
    best: Point | None = None


class Struct(msgspec.Struct, frozen=True, rename="camel"):
    the_name: str
    the_size: int | None = None


class Total(TypedDict):
    a: int
    b: NotRequired[str]


class Color(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    x: int


@dataclass
class Tree:
    children: "list[Tree]"


@dataclass
class Box(Generic[T]):
    content: T


CLOSED: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "int": (int, [1, -(2**70)], [True, 1.0, "1", None, Color.RED]),
    "bool": (bool, [True], [1, None]),
    "str": (str, ["a"], [b"a", 1, type("S", (str,), {})()]),
    "float": (float, [1.0, -0.0], [1, True, float("nan"), float("inf")]),
    "None": (None, [None], [0, ""]),
    "expression": (TypeExpression[int], [1], [True]),
    "annotated": (Annotated[int, "x"], [1], [True]),
    "literal": (Literal["a", 1], ["a", 1], ["b", True, 1.0, [], {}]),
    "optional": (int | None, [1, None], [True, 1.0]),
    "scalars": (int | str | bool | None, [1, "a", True, None], [1.0, []]),
    "optional float": (float | None, [1.5, None], [1, float("nan")]),
    "one of each": (str | list[int] | Point | None, ["a", [1], Point(1, 2.0), None], [1, [True], Point(True, 2.0), {}]),
    "list": (list[int], [[], [1]], [(1,), [True], [None], {1}, "a"]),
    "floats": (list[float], [[], [1.0]], [[1], [float("inf")]]),
    "nested": (list[list[str | None]], [[["a", None]], []], [[("a",)], [["a"], None]]),
    "dict": (dict[str, int], [{}, {"a": 1}], [{1: 1}, {"$": 1}, {"a": True}, {None: 1}, []]),
    "dataclass": (Point, [Point(1, 2.0)], [Point(True, 2.0), Point(1, 2), Slotted(name="a"), {"x": 1, "y": 2.0}, None]),
    "slots": (Slotted, [Slotted(name="a")], [Slotted(name=1)]),
    "holder": (Holder, [Holder([Point(1, 1.0)]), Holder([], Point(1, 1.0))], [Holder((), None), Holder([None])]),
    "struct": (Struct, [Struct("a"), Struct("a", 1)], [Struct(1), Struct("a", True), Point(1, 1.0)]),
    "typed dict": (
        Total,
        [{"a": 1}, {"a": 1, "b": ""}],
        [{}, {"b": ""}, {"a": True}, {"a": 1, "c": 1}, {"a": 1, 2: 3}],
    ),
    "no fields": (make_dataclass("Empty", []), [], [Point(1, 1.0)]),
}


@pytest.mark.parametrize(("annotation", "exact", "others"), CLOSED.values(), ids=CLOSED)
def test_only_values_of_exactly_the_annotated_type_are_written_without_tags(
    annotation: Any, exact: list[Any], others: list[Any]
) -> None:
    check = closed(annotation).check
    assert all(map(check, exact))
    assert not any(map(check, others))
    for value in exact:
        assert stored(annotation, value) == msgspec.json.encode(value)


def with_default(**config: Any) -> Any:
    return msgspec.defstruct("Odd", [("x", int, 0)], **config)


@pytest.mark.parametrize(
    "annotation",
    [
        Any, object, list, dict, tuple[int, ...], set[int], bytes, datetime, Color, Pair, dict[int, int], dict[str, Any], list[Any],
        int | float, Point | Struct, list[int] | list[str], dict[str, int] | Point, Literal[True], Literal[Color.RED], T, Box[int],
        Tree, list[Tree], TypedDict("Dollar", {"$": int}), make_dataclass("Odd", [("x", "Nowhere")]), Callable[[], int],
        make_dataclass("Odd", [("x", int, field(init=False))]), make_dataclass("Odd", [("x", int)], bases=(dict,)),
        make_dataclass("Odd", [("x", int)], namespace={"__post_init__": lambda self: None}), versioned(2)(make_dataclass("Odd", [])),
        make_dataclass("Odd", [("x", int)], namespace={"__slots__": ("y", "x")}), with_default(tag=True), with_default(dict=True),
        with_default(array_like=True), with_default(omit_defaults=True), with_default(rename={"x": "$"}),
        with_default(namespace={"__post_init__": lambda self: None}), type("Odd", (make_dataclass("Odd", []),), {"__new__": int}),
        make_dataclass("Odd", [("x", int)], namespace={"__setattr__": lambda self, name, value: None}),
    ],
    ids=str,
)  # fmt: skip
def test_annotations_that_leave_something_open_or_that_msgspec_would_change_are_not_closed(annotation: Any) -> None:
    with pytest.raises(NotClosed):
        closed(annotation)


def test_an_object_with_more_or_less_than_its_fields_is_not_exact() -> None:
    check = closed(Point).check
    more, less, other = Point(1, 2.0), Point(1, 2.0), Point(1, 2.0)
    more.z = 1
    del less.y
    del other.y
    other.z = 2.0
    assert not any(map(check, (more, less, other)))
