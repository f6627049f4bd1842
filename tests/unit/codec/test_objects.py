"""Objects of users' classes come back with everything that is stored of them, or are refused."""

import enum
from abc import ABC, abstractmethod
from dataclasses import InitVar, dataclass, field, make_dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from typing_extensions import TypeAliasType

from perdure import CodecError
from unit.codec.exchange import round_trip, same, stored

T = TypeVar("T")


@dataclass
class Point:
    x: int
    y: float = 0.5


@dataclass
class Point3(Point):
    z: int = 0


class Color(enum.Enum):
    RED = "r"
    ROUGE = "r"  # noqa: PIE796
    MIXED = ("r", 1)


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    FAR = 1 << 70


# --- dataclasses -------------------------------------------------------------------------------------------------


def test_a_closed_class_is_stored_as_a_plain_object() -> None:
    assert stored(Point, Point(1, 2.0)) == b'{"x":1,"y":2.0}'


def test_a_class_under_an_open_annotation_is_stored_under_its_name() -> None:
    assert stored(Any, Point(1, 2.0), Point) == b'{"$":"Point","v":{"x":1,"y":2.0}}'


def test_an_object_of_a_subclass_keeps_its_class() -> None:
    assert same(round_trip(Point, Point3(1, 2.0, 3)), Point3(1, 2.0, 3))
    assert same(round_trip(list[Point], [Point(1), Point3(1)]), [Point(1), Point3(1)])


def test_fields_that_do_not_fit_their_annotation_come_back_as_they_were() -> None:
    odd = Point(True, 3)
    odd.y = None
    assert same(round_trip(Point, odd), odd)
    assert same(round_trip(list[Point], [odd, Point(2**70)]), [odd, Point(2**70)])


def test_a_real_dict_under_a_class_annotation_stays_a_dict() -> None:
    value = {"x": 1, "y": 2.0}
    assert round_trip(Point, value) == value
    assert round_trip(Point | None, value) == value
    assert round_trip(list[Point], [value]) == [value]
    assert round_trip(Derived, {"base": 1}) == {"base": 1}
    assert round_trip(list[Derived], [{"base": 1}]) == [{"base": 1}]


@dataclass
class Derived:
    base: int
    seed: InitVar[int] = 1
    total: int = field(init=False)

    def __post_init__(self, seed: int) -> None:
        self.total = self.base + seed


def test_a_post_init_does_not_run_again_when_a_dataclass_is_read() -> None:
    value = Derived(1)
    value.total = 77
    assert round_trip(Derived, value).total == 77


def test_nothing_of_a_class_runs_when_its_object_is_read() -> None:
    @dataclass
    class Busy:
        x: int

        def __new__(cls, x: int) -> "Busy":
            return super().__new__(cls)

    @dataclass
    class Strict:
        x: int

        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, value + 1)

    assert round_trip(Busy, Busy(1)) == Busy(1)
    assert round_trip(Strict, Strict(1)).x == 2


def test_fields_with_names_of_any_look_come_back() -> None:
    odd = make_dataclass("Odd", [("_private", int), ("v", Any), ("self", int), ("fields", int)])
    assert same(round_trip(odd, odd(1, (2,), 3, 4)), odd(1, (2,), 3, 4))


def test_an_object_with_an_attribute_that_is_no_field_is_refused() -> None:
    value = Point(1)
    value.note = "lost?"
    for annotation in (Point, Any):
        with pytest.raises(CodecError, match="attribute 'note' that is no field"):
            stored(annotation, value, Point)


def test_an_attribute_in_place_of_a_field_is_refused() -> None:
    value = Point(1, 2.0)
    del value.y
    value.note = "lost?"
    with pytest.raises(CodecError, match="attribute 'note'"):
        stored(Point, value)


def test_a_field_that_was_never_set_is_refused_when_written_not_when_read() -> None:
    @dataclass
    class Lazy:
        value: int = field(init=False)

    with pytest.raises(CodecError, match="'value' of the object was never set"):
        stored(Lazy, Lazy())


def test_slots_of_a_subclass_that_are_no_fields_are_refused() -> None:
    @dataclass(slots=True)
    class Base:
        x: int

    class Sub(Base):
        __slots__ = ("y",)
        y: int

    value = Sub(1)
    assert same(round_trip(Base, value, Sub), value)
    value.y = 2
    with pytest.raises(CodecError, match="attribute 'y'"):
        stored(Base, value, Sub)


def test_what_a_cached_property_has_cached_is_left_out() -> None:
    @dataclass
    class Cached:
        x: int

        @cached_property
        def twice(self) -> int:
            return 2 * self.x

    value = Cached(2)
    assert value.twice == 4
    back = round_trip(Cached, value)
    assert vars(back) == {"x": 2}


def test_an_object_made_by_a_generic_alias_comes_back() -> None:
    @dataclass
    class Box(Generic[T]):
        content: T

    assert round_trip(Box[int], Box[int](5)) == Box(5)
    assert round_trip(Box[Point], Box(Point(1))) == Box(Point(1))


@pytest.mark.parametrize("base", [dict, list, int, Exception])
def test_a_dataclass_that_is_also_a_builtin_is_refused(base: type) -> None:
    odd: Any = dataclass(type("OddOne", (base,), {"__annotations__": {"x": int}, "x": 1}))
    for annotation in (odd, Any):
        with pytest.raises(CodecError, match="inherits from a builtin type"):
            stored(annotation, odd(), odd)


class Celsius:
    """A descriptor that keeps what it is given elsewhere."""

    values: ClassVar[dict[int, float]] = {}

    def __get__(self, owner: Any, cls: Any = None) -> Any:
        return 0.0 if owner is None else self.values[id(owner)]

    def __set__(self, owner: Any, value: float) -> None:
        self.values[id(owner)] = value


def test_a_field_behind_a_descriptor_comes_back() -> None:
    @dataclass
    class Room:
        name: str
        warmth: Any = Celsius()

    back = round_trip(Room, Room("a", 20.5))
    assert (back.name, back.warmth) == ("a", 20.5)
    assert "warmth" not in vars(back)


def test_a_field_behind_a_property_that_keeps_an_attribute_is_refused() -> None:
    @dataclass
    class Guarded:
        x: int

    Guarded.x = property(lambda self: self._x, lambda self, x: vars(self).update(_x=x))
    with pytest.raises(CodecError, match="'_x' that is no field"):
        stored(Guarded, Guarded(3))


# --- enumerations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [Color.RED, Color.MIXED, Access.READ, Access.READ | Access.WRITE, Access.READ | Access.FAR, Access(0)]
)
def test_a_member_of_an_enumeration_comes_back_as_that_member(value: enum.Enum) -> None:
    for annotation in (type(value), enum.Enum, Any):
        assert round_trip(annotation, value, type(value)) == value


def test_an_int_enum_is_no_int() -> None:
    class Level(enum.IntEnum):
        LOW = 1

    for annotation in (int, Level, list[int], Literal[Level.LOW]):
        value = [Level.LOW] if annotation == list[int] else Level.LOW
        assert same(round_trip(annotation, value, Level), value)


def test_an_enumeration_over_a_dataclass_is_an_enumeration() -> None:
    @dataclass
    class Data:
        x: int

    class Known(Data, enum.Enum):
        ONE = 1

    assert round_trip(Known, Known.ONE) is Known.ONE


# --- msgspec Structs ---------------------------------------------------------------------------------------------


class Order(msgspec.Struct, rename="camel", kw_only=True):
    order_id: int
    the_note: str = ""


class Express(Order, frozen=True, tag=True):
    hours: int = 24


class Row(msgspec.Struct, array_like=True, omit_defaults=True):
    left: int
    right: Any = None


def test_structs_of_every_make_come_back() -> None:
    for annotation in (Order, Express, Row, Any, Order | Row, list[Order]):
        for value in (Order(order_id=1), Express(order_id=2, hours=3), Row(1), Row(1, (2,))):
            value = [value] if annotation == list[Order] else value
            assert same(round_trip(annotation, value, Order, Row), value)


def test_a_struct_with_a_dict_of_its_own_is_refused_if_there_is_anything_in_it() -> None:
    class Loose(msgspec.Struct, dict=True):
        x: int

    value = Loose(1)
    assert same(round_trip(Loose, value), value)
    value.y = 2
    with pytest.raises(CodecError, match="attribute 'y'"):
        stored(Loose, value)


def test_a_post_init_of_a_struct_may_check_what_it_is_given() -> None:
    class Checked(msgspec.Struct, eq=False):
        items: list[Any]

        def __post_init__(self) -> None:
            if not self.items:
                raise ValueError("empty")

    back = round_trip(Checked, Checked([Checked([float("nan")])]))
    assert str(back.items[0].items) == "[nan]"


def test_a_post_init_of_a_struct_that_changes_what_it_is_given_is_refused() -> None:
    class Counting(msgspec.Struct):
        items: list[int]

        def __post_init__(self) -> None:
            self.items.append(1)

    value = Counting([])
    with pytest.raises(CodecError, match="__post_init__ of this Struct changes"):
        stored(Counting, value)
    assert value.items == [1]


def test_a_post_init_of_a_struct_that_changes_a_type_is_refused() -> None:
    class Number(msgspec.Struct):
        x: float

        def __post_init__(self) -> None:
            self.x = float(self.x)

    value = Number(1)
    value.x = True
    with pytest.raises(CodecError, match="__post_init__"):
        stored(Number, value)


def test_a_constraint_does_not_keep_a_value_from_being_read() -> None:
    class Bounded(msgspec.Struct):
        x: __import__("typing").Annotated[int, msgspec.Meta(ge=0)]

    assert round_trip(Bounded, Bounded(-5)).x == -5


# --- named tuples, typed dicts, aliases --------------------------------------------------------------------------


class Pair(NamedTuple):
    left: Any
    right: int = 0


class Total(TypedDict):
    point: Point


Dollar = TypedDict("Dollar", {"$": int})


def test_a_named_tuple_is_no_tuple() -> None:
    for annotation in (Pair, tuple, tuple[Any, int], list[int], Any):
        assert same(round_trip(annotation, Pair((1,), 2), Pair), Pair((1,), 2))


def test_a_named_tuple_with_attributes_is_refused() -> None:
    class Loose(Pair):
        pass

    value = Loose(1)
    assert same(round_trip(Loose, value), value)
    value.more = 1
    with pytest.raises(CodecError, match="attribute 'more'"):
        stored(Loose, value)


def test_a_typed_dict_is_a_dict() -> None:
    assert stored(Total, {"point": Point(1)}) == b'{"point":{"x":1,"y":0.5}}'
    assert same(round_trip(Total, {"point": Point(1)}), {"point": Point(1)})
    assert same(round_trip(Total, {"point": Point3(1)}), {"point": Point3(1)})
    assert round_trip(Total, {"point": {"x": 1, "y": 0.5}}) == {"point": {"x": 1, "y": 0.5}}
    assert round_trip(Total, {}) == {}
    assert round_trip(Dollar, {"$": 1}) == {"$": 1}


def test_a_class_behind_an_alias_is_known() -> None:
    class Inside(NamedTuple):
        x: int

    content = TypeVar("content")
    named = NewType("named", Inside)
    alias: Any = TypeAliasType("alias", list[Inside])
    generic: Any = TypeAliasType("generic", dict[str, content], type_params=(content,))
    for annotation, value in [
        (named, Inside(1)), (alias, [Inside(1)]), (generic[Inside], {"a": Inside(1)}), (list[alias], [[Inside(1)]])
    ]:  # fmt: skip
        assert same(round_trip(annotation, value), value)


# --- abstract classes and protocols ------------------------------------------------------------------------------


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


@dataclass
class Circle(Shape):
    radius: float

    def area(self) -> float:
        return 3.1 * self.radius**2


class Named(Protocol):
    name: str


@dataclass
class Dog(Named):
    name: str


def test_subclasses_of_an_abstract_class_or_a_protocol_are_known() -> None:
    assert same(round_trip(Shape, Circle(1.0)), Circle(1.0))
    assert same(round_trip(list[Shape], [Circle(1.0)]), [Circle(1.0)])
    assert same(round_trip(Named, Dog("a")), Dog("a"))


def test_a_class_the_graph_does_not_mention_is_refused_with_the_remedy() -> None:
    with pytest.raises(CodecError, match=r"isn't known to the graph .*types=\[…\]"):
        stored(Any, Circle(1.0))


# --- pydantic models ---------------------------------------------------------------------------------------------


class Inner(pydantic.BaseModel):
    number: int = pydantic.Field(default=0, alias="theNumber", ge=0)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    inner: Inner = Inner()
    tags: set[str] = set()
    _secret: Any = pydantic.PrivateAttr(default=1)
    _unset: int

    @cached_property
    def size(self) -> int:
        return len(self.tags)

    @pydantic.computed_field
    @property
    def upper(self) -> int:
        return 5

    @pydantic.field_validator("tags")
    @classmethod
    def _sized(cls, tags: set[str]) -> set[str]:
        if len(tags) > 2:
            raise ValueError("too many")
        return tags


def test_a_model_comes_back_with_its_extra_private_and_set_fields() -> None:
    value = Model(inner=Inner(theNumber=3), more=(1, 2), odd={"$": 1})
    value._secret = Point(1)
    back = round_trip(Model, value, Point)
    assert same(back, value)
    assert back == value
    assert back.model_fields_set == {"inner", "more", "odd"}
    assert back.more == (1, 2)


def test_a_model_is_not_validated_again() -> None:
    value = Model.model_construct(inner=Inner.model_construct(number=-1), tags={"a", "b", "c"})
    assert same(round_trip(Model, value), value)


def test_what_a_model_has_cached_is_left_out() -> None:
    value = Model(tags={"a"})
    assert value.size == 1
    back = round_trip(Model, value)
    assert "size" not in back.__dict__
    assert back.model_extra == {}


def test_a_datetime_that_pydantic_has_parsed_keeps_its_kind_of_time_zone() -> None:
    class Meeting(pydantic.BaseModel):
        at: datetime

    for text in ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00+05:30", "2024-01-01T00:00:00-23:59"):
        value = Meeting.model_validate({"at": text})
        for annotation in (Meeting, Any):
            back = round_trip(annotation, value, Meeting)
            assert same(back, value)
            assert type(back.at.tzinfo) is type(value.at.tzinfo)


def test_a_field_of_a_model_that_was_never_set_is_refused() -> None:
    class Needy(pydantic.BaseModel):
        x: int

    with pytest.raises(CodecError, match="'x' of the object was never set"):
        stored(Needy, Needy.model_construct())


def test_generic_and_root_models_come_back() -> None:
    class Page(pydantic.BaseModel, Generic[T]):
        items: list[T]

    class Names(pydantic.RootModel[list[str]]):
        pass

    assert same(round_trip(Page[int], Page[int](items=[1])), Page[int](items=[1]))
    assert same(round_trip(Names, Names(["a"])), Names(["a"]))


def test_a_pydantic_dataclass_comes_back() -> None:
    @pydantic.dataclasses.dataclass
    class Data:
        x: int = pydantic.Field(ge=0)

    assert round_trip(Data, Data(1)) == Data(1)
