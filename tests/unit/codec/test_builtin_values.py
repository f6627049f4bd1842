"""Values of builtin types come back as they were, whatever their annotation says."""

import datetime as dt
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest

from perdure import CodecError
from unit.codec.exchange import round_trip, same, stored

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


VALUES: list[Any] = [
    None, True, 0, 1, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**6000, -(10**6000), 0.0, -0.0, 1e22, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", "\x00", "ä😀", "\u2028", "$", '{"$":"int","v":"1"}', b"", b"\xff",
    bytearray(b"a"), 1j, complex("nan"), complex(-0.0, -0.0), range(3), range(0, 2**70, 2**65), (), (1, (2, [3])), [],
    [[], ()], {}, {"a": 1}, {"$": 1}, {"$": {"$": "int"}}, {1: "a"}, {(1, 2): 3}, {None: 1, True: 2}, {b"k": []},
    {1.5: 1, "1.5": 2}, set(), {1, "a", None}, frozenset({(1, 2)}), Decimal("1.10"), Decimal("-0"), Decimal("Infinity"),
    Decimal("1E+400"), Fraction(1, 3), Fraction(10**5000, 7), UUID(int=5), dt.date(1, 1, 1), dt.timedelta(-1, 5, 7),
    dt.time(1, 2, 3, 4), dt.time(1, tzinfo=dt.UTC), dt.time(1, fold=1), dt.datetime.fromisoformat("9999-12-31T23:59:59.999999"), dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=0), dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, seconds=1))),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(0), "Zulu")), PosixPath("/a"), PurePosixPath("b/c"),
    Counter("aab"), OrderedDict(b=1, a=2), defaultdict(list, {1: [2]}), defaultdict(None, {}), deque([1, (2,)], 3),
    deque(), msgspec.UNSET,
]  # fmt: skip
ANNOTATIONS: list[Any] = [
    Any, int, float, str, bool, None, list[int], dict[str, Any], dict[str, str], float | None, Literal["a", 1], bytes,
]  # fmt: skip


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
def test_a_value_comes_back_as_it_was_under_any_annotation(annotation: Any) -> None:
    for value in VALUES:
        assert same(value, round_trip(annotation, value))
        assert same([value], round_trip(list[annotation], [value]))
        assert same({"k": value}, round_trip(dict[str, annotation], {"k": value}))


def test_a_signaling_nan_comes_back_as_one() -> None:
    assert str(round_trip(Any, Decimal("-sNaN12"))) == "-sNaN12"


def test_a_bool_in_an_int_field_comes_back_a_bool() -> None:
    assert round_trip(int, True) is True
    assert round_trip(list[int], [1, True])[1] is True


def test_an_int_in_a_float_field_comes_back_an_int() -> None:
    assert same(round_trip(float, 3), 3)
    assert same(round_trip(list[float], [3, 3.0]), [3, 3.0])


def test_what_json_has_is_stored_as_it_is() -> None:
    value = {"name": "a", "sizes": [1, 2.5, None, True]}
    assert stored(Any, value) == msgspec.json.encode(value)
    assert stored(dict[str, Any], value) == msgspec.json.encode(value)


def test_equal_sets_are_stored_alike_in_whatever_order_they_were_built() -> None:
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert stored(Any, one) == stored(Any, other)


@pytest.mark.parametrize("value", ["\ud800", ["a", "\udfff"], {"\ud800": 1}, PosixPath("\udc80"), {"a": ("\ud800",)}])
@pytest.mark.parametrize("annotation", [Any, str, list[str], dict[str, int]], ids=str)
def test_half_of_a_surrogate_pair_is_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(CodecError, match="half of a surrogate pair"):
        stored(annotation, value)


@pytest.mark.parametrize(
    "value", [object(), len, lambda: 0, type, int, iter([]), memoryview(b""), slice(1), Ellipsis, ValueError("x"), ...]
)
def test_what_has_no_form_of_its_own_is_refused(value: Any) -> None:
    with pytest.raises(CodecError, match="can't be stored"):
        stored(Any, value)


@pytest.mark.parametrize("kind", [str, int, float, list, dict, set, tuple, bytes])
def test_an_object_of_a_subclass_of_a_builtin_type_is_refused_with_its_remedy(kind: type) -> None:
    special = type("Special", (kind,), {})
    with pytest.raises(CodecError, match=rf"convert it with {kind.__name__}"):
        stored(Any, [special()])


def test_a_time_zone_that_is_only_code_is_refused() -> None:
    class Own(dt.tzinfo):
        def utcoffset(self, moment: dt.datetime | None, /) -> dt.timedelta:
            return dt.timedelta(hours=1)

    with pytest.raises(CodecError, match="time zone"):
        stored(Any, dt.datetime(2024, 1, 1, tzinfo=Own()))


def test_a_default_factory_that_is_only_code_is_refused() -> None:
    with pytest.raises(CodecError, match="default_factory"):
        stored(Any, defaultdict(lambda: 0))
