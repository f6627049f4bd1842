"""Any value comes back as it went in, type and value at every leaf, or is refused: never changed."""

from __future__ import annotations

import datetime as dt
import enum
import pickle
import re
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath
from typing import Any, Literal, NamedTuple, NotRequired, Optional, TypedDict
from uuid import UUID

import msgspec
import pydantic
from hypothesis import assume, given
from hypothesis import strategies as st

from perdure import CodecError
from perdure.codec.blobs import BlobMissing, Blobs
from perdure.codec.plain import read_plain
from perdure.codec.tags import RESERVED, TAGGED
from perdure.kernel.state.draft import draft
from perdure.kernel.state.tree import freeze
from unit.codec.exchange import codec_for, read, round_trip, same

# --- types of every kind -----------------------------------------------------------------------------------------


class Color(enum.Enum):
    RED = "red"
    MIXED = ("r", 1)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    HUGE = 1 << 70


@dataclass
class Point:
    x: int
    y: float = 0.0
    label: str | None = None


@dataclass
class Point3(Point):
    z: Any = None


@dataclass(slots=True)
class Slotted:
    name: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Frozen:
    point: Point
    when: Any = None


@dataclass
class Derived:
    given: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        self.twice = 2 * self.given


@dataclass
class Tree:
    value: Any
    children: list[Tree] = field(default_factory=list)


class Order(msgspec.Struct):
    id: int
    note: str = ""
    weight: float = 1.0


class Express(Order):
    hours: Any = 24


class Strict(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    first_name: str
    the_order: Order | None = None


class Tagged(msgspec.Struct, tag="kind-a", tag_field="kind"):
    amount: Any


class Row(msgspec.Struct, array_like=True, omit_defaults=True):
    left: Any
    right: Any = None


class Checked(msgspec.Struct):
    amount: Any

    def __post_init__(self) -> None:
        if self.amount == "bad":
            raise ValueError("bad")


class Pair(NamedTuple):
    left: Any
    right: Any = 0


class Total(TypedDict):
    name: str
    size: int


class Partial(TypedDict, total=False):
    point: Point
    extra: Any


class Mixed(TypedDict):
    must: int
    may: NotRequired[Order | None]


class Model(pydantic.BaseModel):
    number: int = 0
    point: Any = None


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    inner: Model = pydantic.Field(default_factory=Model, alias="theInner")
    _secret: Any = pydantic.PrivateAttr(default=None)


CLASSES: tuple[Any, ...] = (
    Color, Level, Word, Access, Point, Slotted, Frozen, Derived, Tree, Order, Strict, Tagged, Row, Checked, Pair, Total,
    Partial, Mixed, Model, Outer,
)  # fmt: skip
ZONES = [zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("America/New_York"), dt.UTC, None]

# --- values of every kind ----------------------------------------------------------------------------------------

offsets = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))
zones = st.one_of(st.sampled_from(ZONES), offsets.map(dt.timezone), st.builds(dt.timezone, offsets, st.just("HERE")))
ints = st.one_of(st.integers(), st.integers(-(2**66), 2**66), st.sampled_from([2**63, -(2**63), 2**64]))
floats = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 5e-324, 1e22, float("nan"), float("inf")]))
texts = st.one_of(
    st.text(max_size=5),
    st.text(st.characters(), max_size=3),
    st.sampled_from(["", "$", "\x00", '{"$":', "\ud800", "any", '"', "\\"]),
)
whole_texts = texts.filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))
times = st.one_of(
    st.datetimes(timezones=zones, allow_imaginary=True),
    st.times(timezones=st.just(dt.UTC)),
    st.dates(),
    st.timedeltas(),
)
enums = st.sampled_from([*Color, *Level, *Word, *Access, Access.READ | Access.WRITE, Access.READ | Access.HUGE])
leaves = st.one_of(
    st.none(), st.booleans(), ints, floats, texts, st.binary(max_size=3), st.binary(max_size=3).map(bytearray), times, enums,
    st.decimals(allow_nan=True, allow_infinity=True), st.sampled_from([Decimal("-0"), Decimal("1E+5"), Decimal("sNaN")]),
    st.fractions(), st.complex_numbers(), st.uuids(), st.builds(range, st.integers(-9, 9), st.integers(-9, 2**70)),
    st.sampled_from([PosixPath("/a b"), PurePosixPath("x/\ud800"), PosixPath("."), msgspec.UNSET]),
)  # fmt: skip


keys = st.one_of(whole_texts, ints, st.booleans(), st.none(), enums, st.tuples(whole_texts, st.integers()), st.uuids())


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values that hold others."""
    few = st.lists(inner, max_size=3)
    mapping = st.dictionaries(keys, inner, max_size=3)
    named = st.dictionaries(texts, inner, max_size=3)
    return st.one_of(
        few, few.map(tuple), st.sets(keys, max_size=3), st.frozensets(keys, max_size=3), mapping, named,
        st.dictionaries(keys, st.integers()).map(Counter), mapping.map(OrderedDict), st.builds(deque, few, st.integers(3, 4)),
        mapping.map(lambda items: defaultdict(list, items)), few.map(lambda parts: draft(freeze(parts))),
        named.map(lambda items: draft(freeze(items))), st.sets(keys, max_size=3).map(lambda parts: draft(freeze(parts))),
        st.builds(Point, inner, inner, inner), st.builds(Point3, st.integers(), z=inner), st.builds(Slotted, inner, few),
        st.builds(Frozen, point=inner, when=inner), st.builds(Derived, st.integers()), st.builds(Tree, inner, few),
        st.builds(Order, inner, inner), st.builds(Express, st.integers(), hours=inner), st.builds(Tagged, inner),
        st.builds(Strict, first_name=texts, the_order=inner), st.builds(Row, inner), st.builds(Row, inner, inner),
        st.builds(Checked, inner.filter(lambda part: not isinstance(part, Decimal))), st.builds(Pair, inner, inner),
        st.builds(lambda part: Model.model_construct(number=part), inner), st.builds(Model, point=inner),
        st.builds(_outer, inner, named),
    )  # fmt: skip


def _outer(secret: Any, more: dict[str, Any]) -> Outer:
    made = Outer.model_construct(**{f"more {name}": part for name, part in more.items()})
    made._secret = secret
    return made


values = st.recursive(leaves, containers, max_leaves=6)
# --- annotations, with values that fit ---------------------------------------------------------------------------

Typed = tuple[Any, st.SearchStrategy[Any]]

finite = st.floats(allow_nan=False, allow_infinity=False)
small = st.integers(-(2**63), 2**63 - 1)
orders = st.builds(Order, small, whole_texts, finite)
points = st.builds(Point, small, finite, st.none() | whole_texts)
SIMPLE: list[Typed] = [
    (int, small), (float, finite), (str, whole_texts), (bool, st.booleans()), (None, st.none()), (bytes, st.binary()),
    (Decimal, st.decimals(allow_nan=False)), (dt.datetime, st.datetimes(timezones=zones)), (UUID, st.uuids()),
    (Fraction, st.fractions()), (Color, st.sampled_from(Color)), (Level, st.sampled_from(Level)),
    (Literal["a", 1], st.sampled_from(["a", 1])), (Literal[Color.RED], st.just(Color.RED)), (Point, points),
    (Slotted, st.builds(Slotted, whole_texts, st.lists(whole_texts))), (Frozen, st.builds(Frozen, point=points)),
    (Derived, st.builds(Derived, small)), (Order, orders),
    (Strict, st.builds(Strict, first_name=whole_texts, the_order=st.none() | orders)),
    (Row, st.builds(Row, small)), (Pair, whole_texts.map(Pair)), (Model, st.builds(Model, number=small)),
    (Total, st.fixed_dictionaries({"name": whole_texts, "size": small})), (Any, values),
    (Partial, st.fixed_dictionaries({}, optional={"point": points, "extra": values})),
    (Mixed, st.fixed_dictionaries({"must": small}, optional={"may": st.none() | orders})),
]  # fmt: skip
KEYED: list[Typed] = [
    (str, whole_texts), (int, ints), (Level, st.sampled_from(Level)), (tuple[int, str], st.tuples(ints, whole_texts))
]  # fmt: skip


@st.composite
def annotated(draw: st.DrawFn, depth: int = 3) -> Typed:
    """Draw an annotation and a strategy for values of it."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(SIMPLE))
    first, second = draw(annotated(depth - 1)), draw(annotated(depth - 1))
    key, of_key = draw(st.sampled_from(KEYED))
    hint, of_hint = first
    few = st.lists(of_hint, max_size=3)
    nested: list[Typed] = [
        (list[hint], few),
        (tuple[hint, ...], few.map(tuple)),
        (set[key], st.sets(of_key)),
        (frozenset[key], st.frozensets(of_key)),
        (dict[key, hint], st.dictionaries(of_key, of_hint, max_size=3)),
        (Optional[hint], st.none() | of_hint),  # noqa: UP045 (of a type that may be a Literal or an alias)
        (hint | second[0] if hint is not second[0] else hint, of_hint | second[1]),
    ]
    return draw(st.sampled_from(nested))


fitting = annotated().flatmap(lambda typed: st.tuples(st.just(typed[0]), typed[1]))
of_any_kind = annotated().flatmap(lambda typed: st.tuples(st.just(typed[0]), values))


# --- laws --------------------------------------------------------------------------------------------------------


def comes_back(annotation: Any, value: Any) -> bool:
    try:
        back = round_trip(annotation, value, *CLASSES)
    except CodecError as error:
        return _is_refused(value, error)
    return same(value, back)


def _is_refused(value: Any, error: CodecError) -> bool:
    """Of all these values only those that hold half of a surrogate pair may be refused."""
    # asked of the pickle: what a value shows of itself leaves out the private attributes of models
    return "surrogate" in error.problem and re.search(rb"\xed[\xa0-\xbf]", pickle.dumps(value)) is not None


@given(fitting)
def test_a_value_of_its_annotated_type_comes_back_as_it_was(case: tuple[Any, Any]) -> None:
    assert comes_back(*case)


@given(of_any_kind)
def test_a_value_that_does_not_fit_its_annotation_comes_back_as_it_was(case: tuple[Any, Any]) -> None:
    assert comes_back(*case)


@given(fitting)
def test_what_msgspec_reads_of_a_closed_type_the_slow_way_reads_too(case: tuple[Any, Any]) -> None:
    annotation, value = case
    plan = codec_for(annotation, *CLASSES).plans["__start__"]
    assume(plan.is_closed)
    data = plan.write(value)
    assume(TAGGED not in data)
    assert same(value, read_plain(msgspec.json.decode(data), annotation))


@given(annotated().flatmap(lambda typed: st.tuples(st.just(typed[0]), st.lists(typed[1] | values, max_size=5))))
def test_items_come_back_in_order_as_they_were(case: tuple[Any, list[Any]]) -> None:
    annotation, items = case
    codec, blobs = codec_for(list[annotation], *CLASSES), Blobs()
    try:
        chunks = codec.write_items("__start__", items, blobs)
    except CodecError as error:
        back, is_refused = [], _is_refused(items, error)
    else:
        back = [item for _, raw in chunks for item in codec.read_items("__start__", raw, blobs)]
        is_refused = False
    assert is_refused or same(items, back)


TAGS = st.sampled_from(
    [*sorted(RESERVED), *(cls.__name__ for cls in CLASSES), "os.system", "Order@9", "", "@", 5, None]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | whole_texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(whole_texts, inner, max_size=3)
        | st.fixed_dictionaries({"$": TAGS}, optional={"v": inner})
    ),
    max_leaves=8,
)


@given(annotated(), json_values)
def test_whatever_a_store_holds_is_read_or_refused(typed: Typed, content: Any) -> None:
    data = msgspec.json.encode(content) if _fits_json(content) else b"?"
    with suppress(CodecError, BlobMissing):
        read(typed[0], data, *CLASSES)


def _fits_json(content: Any) -> bool:
    try:
        msgspec.json.encode(content)
    except OverflowError:
        return False
    return True
