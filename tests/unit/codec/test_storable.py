"""Types whose values could never be stored are found before anything runs, and no others."""

import abc
import collections.abc
import datetime as dt
import enum
import pathlib
import threading
import typing
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, NewType, Protocol, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest

from perdure import GraphBuilder, StepContext, TypeExpression
from perdure.codec.codec import storage_problems
from perdure.codec.storable import unsupported
from unit.codec.exchange import graph_of

T = TypeVar("T")


class Connection:
    pass


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


class Speaks(Protocol):
    name: str


class Animal:
    pass


@dataclass
class Dog(Animal):
    name: str
    friends: "list[Dog]" = field(default_factory=list)


class Vehicle:
    pass


class Car(Vehicle):
    pass


class Color(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    x: int


class Total(TypedDict, total=False):
    x: Pair


class Struct(msgspec.Struct, Generic[T]):
    content: T


class Model(pydantic.BaseModel):
    x: int
    _lock: Any = None


@pytest.mark.parametrize(
    "annotation",
    [
        int, str, float, bool, None, type(None), bytes, bytearray, complex, list, dict, tuple, set, frozenset, range, object, Any,
        Decimal, UUID, dt.datetime, dt.date, dt.time, dt.timedelta, pathlib.Path, pathlib.PurePath, Counter, deque[int],
        defaultdict[str, list[int]], list[int], dict[str, list[Dog]], tuple[int, ...], tuple[int, str], tuple[()], set[Color],
        int | None, typing.Optional[Dog], Literal["a"], Literal[Color.RED], T, NewType("Id", int), TypeExpression[int | str],  # noqa: UP045
        collections.abc.AsyncIterator[int], collections.abc.Iterator[Dog], collections.abc.AsyncGenerator[int, None],
        collections.abc.Generator[int, Connection, Connection], collections.abc.Sequence[int], collections.abc.Iterable[Any],
        collections.abc.Mapping[str, int], typing.Annotated[int, "x"], msgspec.UnsetType, int | msgspec.UnsetType,
        Shape, list[Shape], Speaks, Animal, enum.Enum, Color, Pair, Total, Struct[int], Struct, Model, pydantic.BaseModel, Dog,
        "a name", typing.Hashable,
    ],
    ids=str,
)  # fmt: skip
def test_types_with_values_that_can_be_stored_pass(annotation: Any) -> None:
    assert unsupported(annotation) is None


@pytest.mark.parametrize(
    "annotation",
    [
        Connection, type, type[int], Vehicle, Car, threading.Event, Exception, ValueError, memoryview, dt.tzinfo,
        type("Id", (int,), {}), type(len), Struct[Connection],
    ],
    ids=str,
)  # fmt: skip
def test_types_without_are_refused_wherever_they_stand(annotation: Any) -> None:
    for place in (
        annotation, list[annotation], dict[str, annotation], tuple[int, annotation], annotation | None,
        collections.abc.AsyncIterator[annotation], list[dict[str, list[annotation]]], typing.Annotated[annotation, 1],
        NewType("New", annotation), TypeExpression[annotation],
    ):  # fmt: skip
        problem = unsupported(place)
        assert problem is not None
        assert "keep it in deps" in problem


@pytest.mark.parametrize(
    "annotation", [collections.abc.Callable, collections.abc.Callable[[int], int], typing.Callable[..., Any]]
)
def test_functions_are_refused(annotation: Any) -> None:
    for place in (annotation, list[annotation], dict[str, annotation], annotation | None):
        assert unsupported(place) == "functions can't be stored; give them to the graph as deps"


def test_a_class_with_a_field_that_could_never_be_stored_is_refused_naming_the_field() -> None:
    @dataclass
    class Session:
        name: str
        lock: Connection = field(default_factory=Connection)

    class Holder(msgspec.Struct):
        sessions: list[Session]

    class View(TypedDict):
        holder: Holder

    problem = unsupported(list[View])
    assert problem is not None
    assert problem.startswith(
        "field 'holder' of View: field 'sessions' of Holder: field 'lock' of Session: values of type Conn"
    )


def test_a_field_that_may_be_left_empty_is_no_reason_to_refuse_a_class() -> None:
    @dataclass
    class Session:
        connection: Connection | None = None

    assert unsupported(Session) is None


def test_a_dataclass_that_is_also_a_builtin_is_refused() -> None:
    @dataclass
    class Problem(Exception):
        code: int

    assert "inherits from a builtin type" in str(unsupported(Problem))


# --- a whole graph -----------------------------------------------------------------------------------------------


def test_a_graph_of_storable_types_has_no_problems() -> None:
    assert storage_problems(graph_of(Dog, Shape, Color)) == []


def test_every_problem_of_a_graph_is_listed_with_its_place() -> None:
    other: Any = dataclass(type("Dog", (), {"__module__": "elsewhere"}))
    g = GraphBuilder(
        name="g", state_type=Connection, input_type=list[Connection], output_type=type[int], types=[Car, Dog, other]
    )

    @g.step
    async def call(ctx: StepContext[Connection, None, list[Connection]]) -> typing.Callable[[], int]:
        raise NotImplementedError

    @g.stream
    async def count(ctx: StepContext[Connection, None, Any]) -> collections.abc.AsyncIterator[int]:
        yield 1

    g.add(
        g.edge_from(g.start_node).to(call),
        g.edge_from(call).to(count),
        g.edge_from(count).map().to(g.end_node),
    )
    problems = storage_problems(g.build())
    places = [problem.partition(":")[0] for problem in problems[:-1]]
    assert places == ["input_type", "output_type", "state_type", "step 'call'", "types[0]"]
    assert "would both be stored as 'Dog'" in problems[-1]
