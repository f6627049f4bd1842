"""The form in which values are stored never changes: logs hold it for ever."""

import datetime as dt
import enum
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from pydantic_core import TzInfo

from perdure import versioned
from perdure.codec.reading import Reader
from perdure.codec.registry import Registry
from perdure.codec.tags import ANY, BLOB, RESERVED
from unit.codec.exchange import read, same, stored


@dataclass
class Point:
    x: int
    y: Any = None


@versioned(3)
@dataclass
class Later:
    x: int


class Order(msgspec.Struct, rename="camel"):
    order_id: int
    more: Any = None


class Pair(NamedTuple):
    left: int
    right: str = ""


class Color(enum.Enum):
    RED = "r"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int = 0
    _secret: int = 1


TYPES = (Point, Later, Order, Pair, Color, Access, Model)

FORMS: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (2**64, "18446744073709551616"),
    (16**4000, '{"$":"int","v":"0x1%s"}' % ("0" * 4000)),
    (-0.0, "-0.0"),
    (float("nan"), '{"$":"float","v":"nan"}'),
    (float("-inf"), '{"$":"float","v":"-inf"}'),
    ("ä\n\x00", '"ä\\n\\u0000"'),
    ([1, [], {}], "[1,[],{}]"),
    ({"a": 1}, '{"a":1}'),
    ({"$": 1}, '{"$":"dict","v":[["$",1]]}'),
    ({1: "a", (2,): None}, '{"$":"dict","v":[[1,"a"],[{"$":"tuple","v":[2]},null]]}'),
    ((1, (2,)), '{"$":"tuple","v":[1,{"$":"tuple","v":[2]}]}'),
    ({3, 1, 2}, '{"$":"set","v":[1,2,3]}'),
    (frozenset({"b", "a"}), '{"$":"frozenset","v":["a","b"]}'),
    (b"\xff", '{"$":"bytes","v":"/w=="}'),
    (bytearray(b"a"), '{"$":"bytearray","v":"YQ=="}'),
    (1 - 2j, '{"$":"complex","v":["1.0","-2.0"]}'),
    (range(0, 10, 2), '{"$":"range","v":[0,10,2]}'),
    (Decimal("1.50"), '{"$":"decimal","v":"1.50"}'),
    (Fraction(1, -3), '{"$":"fraction","v":[-1,3]}'),
    (UUID(int=1), '{"$":"uuid","v":"00000000-0000-0000-0000-000000000001"}'),
    (dt.date(2024, 2, 29), '{"$":"date","v":"2024-02-29"}'),
    (dt.timedelta(-1, 2, 3), '{"$":"timedelta","v":[-1,2,3]}'),
    (dt.time(1, 2), '{"$":"time","v":["01:02:00",null,0]}'),
    (dt.datetime(2024, 1, 2, tzinfo=dt.UTC), '{"$":"datetime","v":["2024-01-02T00:00:00",[0,0,0],0]}'),
    (
        dt.datetime(2024, 10, 27, 2, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        '{"$":"datetime","v":["2024-10-27T02:00:00","Europe/Berlin",1]}',
    ),
    (dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=-1), "X")), '{"$":"time","v":["01:00:00",[-1,82800,0,"X"],0]}'),
    (dt.time(1, tzinfo=TzInfo(-60)), '{"$":"time","v":["01:00:00",["pydantic",-60],0]}'),
    (PosixPath("/a"), '{"$":"path","v":"/a"}'),
    (PurePosixPath("a"), '{"$":"purepath","v":"a"}'),
    (msgspec.UNSET, '{"$":"unset","v":null}'),
    (Counter("aab"), '{"$":"Counter","v":[["a",2],["b",1]]}'),
    (OrderedDict(b=1, a=2), '{"$":"OrderedDict","v":[["b",1],["a",2]]}'),
    (defaultdict(list, a=[1]), '{"$":"defaultdict","v":["list",[["a",[1]]]]}'),
    (defaultdict(None), '{"$":"defaultdict","v":[null,[]]}'),
    (deque([1], 5), '{"$":"deque","v":[[1],5]}'),
    (Point(1), '{"$":"Point","v":{"x":1,"y":null}}'),
    (Later(1), '{"$":"Later@3","v":{"x":1}}'),
    (Order(1), '{"$":"Order","v":{"order_id":1,"more":null}}'),
    (Pair(1), '{"$":"Pair","v":{"left":1,"right":""}}'),
    (Color.RED, '{"$":"Color","v":"RED"}'),
    (Access.READ | Access.WRITE, '{"$":"Access","v":[3]}'),
    (Model(x=1), '{"$":"Model","v":{"x":1,"__pydantic_private__":{"_secret":1}}}'),
    (
        Model(more=(1,)),
        '{"$":"Model","v":{"x":0,"__pydantic_fields_set__":{"$":"set","v":["more"]},'
        '"__pydantic_extra__":{"more":{"$":"tuple","v":[1]}},"__pydantic_private__":{"_secret":1}}}',
    ),
]


@pytest.mark.parametrize(
    ("value", "text"), FORMS, ids=[f"{type(value).__name__}{n}" for n, (value, _) in enumerate(FORMS)]
)
def test_a_value_has_this_form(value: Any, text: str) -> None:
    assert stored(Any, value, *TYPES).decode() == text
    assert same(read(Any, text.encode(), *TYPES), value)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (Point, Point(1), '{"$":"Point","v":{"x":1,"y":null}}'),
        (Order | None, Order(1), '{"$":"Order","v":{"order_id":1,"more":null}}'),
        (list[Pair], [Pair(1)], '[{"$":"Pair","v":{"left":1,"right":""}}]'),
        (Point, {"x": 1}, '{"$":"any","v":{"x":1}}'),
        (Point, [1], "[1]"),
        (int, True, '{"$":"any","v":true}'),
        (list[int], [1, 2.0], '{"$":"any","v":[1,2.0]}'),
        (list[int], [1, (2,)], '[1,{"$":"tuple","v":[2]}]'),
        (float, 1, '{"$":"any","v":1}'),
    ],
)
def test_a_value_has_this_form_under_an_annotation(annotation: Any, value: Any, text: str) -> None:
    assert stored(annotation, value).decode() == text
    assert same(read(annotation, text.encode()), value)


def test_every_tag_of_the_codec_itself_is_reserved() -> None:
    assert {ANY, BLOB, *Reader(Registry())._by_tag} == RESERVED
