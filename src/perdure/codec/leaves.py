"""Leaves: values of builtin types that JSON has no word for, and that have no parts."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import fractions
import pathlib
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from perdure.codec.refusal import Refusal

_DECIMAL_BITS = 14_000
"""Python refuses to make decimal text of much longer integers, and to read it."""


class Leaf(NamedTuple):
    """How values of one type are written and read."""

    tag: str
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


def text_of(value: str) -> str:
    """Return a string that can be written as UTF-8.

    Raises:
        Refusal: it can't.
    """
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refusal(
                "the text holds half of a surrogate pair, which UTF-8 can't express", "Store it as bytes", "str"
            ) from None
    return value


def is_huge(value: int) -> bool:
    """Say whether an integer is too long to stand in JSON as a number; those beyond 64 bits aren't."""
    return value.bit_length() > _DECIMAL_BITS


def _load_huge(content: str) -> int:
    return int(content, 16)


def _dump_ints(*values: int) -> list[Any]:
    return [hex(value) if is_huge(value) else value for value in values]


def _load_ints(content: list[Any]) -> list[int]:
    return [_load_huge(value) if type(value) is str else value for value in content]


_PYDANTIC = "pydantic"


def _zone_of_pydantic() -> Any:
    """Return the class of the time zones that pydantic makes when it parses a datetime, if pydantic is there."""
    return getattr(sys.modules.get("pydantic_core"), "TzInfo", None)


def _dump_zone(value: dt.datetime | dt.time) -> Any:
    zone: Any = value.tzinfo
    if zone is None:
        return None
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        plain = dt.timezone(offset).tzname(None) == name
        return [offset.days, offset.seconds, offset.microseconds, *([] if plain else [text_of(name)])]
    if type(zone) is _zone_of_pydantic():
        return [_PYDANTIC, round(zone.utcoffset(None).total_seconds())]
    raise Refusal("this time zone can't be stored", "Use zoneinfo.ZoneInfo or datetime.timezone", type(zone).__name__)


def _load_zone(zone: Any) -> Any:
    if zone is None:
        return None
    if isinstance(zone, str):
        return zoneinfo.ZoneInfo(zone)
    if zone[0] == _PYDANTIC:
        return _zone_of_pydantic()(zone[1])
    offset = dt.timedelta(*zone[:3])
    if len(zone) > 3:
        return dt.timezone(offset, zone[3])
    return dt.timezone(offset) if offset else dt.UTC


def _dump_moment(value: Any) -> Any:
    return [value.replace(tzinfo=None, fold=0).isoformat(), _dump_zone(value), value.fold]


def _load_datetime(content: Any) -> dt.datetime:
    text, zone, fold = content
    return dt.datetime.fromisoformat(text).replace(tzinfo=_load_zone(zone), fold=fold)


def _load_time(content: Any) -> dt.time:
    text, zone, fold = content
    return dt.time.fromisoformat(text).replace(tzinfo=_load_zone(zone), fold=fold)


def _dump_bytes(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


def _load_bytes(content: str) -> bytes:
    return base64.b64decode(content, validate=True)


LEAVES: dict[type, Leaf] = {
    complex: Leaf(
        "complex", lambda value: [repr(value.real), repr(value.imag)], lambda parts: complex(*map(float, parts))
    ),
    decimal.Decimal: Leaf("decimal", str, decimal.Decimal),
    fractions.Fraction: Leaf(
        "fraction",
        lambda value: _dump_ints(value.numerator, value.denominator),
        lambda content: fractions.Fraction(*_load_ints(content)),
    ),
    range: Leaf(
        "range",
        lambda value: _dump_ints(value.start, value.stop, value.step),
        lambda content: range(*_load_ints(content)),
    ),
    bytes: Leaf("bytes", _dump_bytes, _load_bytes),
    bytearray: Leaf("bytearray", _dump_bytes, lambda content: bytearray(_load_bytes(content))),
    dt.datetime: Leaf("datetime", _dump_moment, _load_datetime),
    dt.time: Leaf("time", _dump_moment, _load_time),
    dt.date: Leaf("date", dt.date.isoformat, dt.date.fromisoformat),
    dt.timedelta: Leaf(
        "timedelta",
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda content: dt.timedelta(*content),
    ),
    uuid.UUID: Leaf("uuid", str, uuid.UUID),
    pathlib.PosixPath: Leaf("path", lambda value: text_of(str(value)), pathlib.PosixPath),
    pathlib.PurePosixPath: Leaf("purepath", lambda value: text_of(str(value)), pathlib.PurePosixPath),
    msgspec.UnsetType: Leaf("unset", lambda value: None, lambda content: msgspec.UNSET),
}
"""Types whose every value is tagged."""

HUGE_INT = Leaf("int", hex, _load_huge)
NONFINITE = Leaf("float", repr, float)
"""NaN and the infinities, for which msgspec alone would write null."""

LOADERS: dict[str, Callable[[Any], Any]] = {leaf.tag: leaf.load for leaf in (*LEAVES.values(), HUGE_INT, NONFINITE)}
