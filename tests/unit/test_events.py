"""Events are arrays that begin with their kind, and those of every version are read for ever."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from perdure import events
from perdure.events import AnyEvent, Event, NodeStarted, as_written, decode_events

KINDS: list[Any] = sorted(get_args(AnyEvent), key=lambda kind: kind.__name__)
PARTS: list[Any] = [
    cls
    for cls in vars(events).values()
    if isinstance(cls, type) and issubclass(cls, msgspec.Struct) and cls is not Event
]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def sample(hint: Any, depth: int = 0) -> Any:
    """Return a value of an annotated type, other than any default; routes hold items and items routes, but not for ever."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return sample(next(argument for argument in arguments if argument is not NoneType), depth)
    if origin is Literal:
        return arguments[-1]
    if origin is tuple:
        return (sample(arguments[0], depth + 1),) * 2 if depth < 4 else ()
    if origin is dict:
        return {sample(arguments[0]): sample(arguments[1])}
    if issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint)
        return hint(**{name: sample(hints[name], depth + 1) for name in hint.__struct_fields__})
    return {str: "ä", int: 2**40, bool: True, msgspec.Raw: msgspec.Raw(b'{"$":"tuple","v":[1]}')}[hint]


@pytest.mark.parametrize("data", [b"[" * 100_000, b'[["\xff"]]', b'[["NodeStarted","\xff","a",1]]', b"[\xff]", b""])
def test_what_is_no_array_of_events_is_refused_in_one_way(data: bytes) -> None:
    """Also where it nests without end, or is no text."""
    with pytest.raises(msgspec.DecodeError):
        decode_events(data)


def test_every_event_is_read() -> None:
    assert {cls for cls in PARTS if issubclass(cls, Event)} == set(KINDS)


@each_kind
def test_an_event_is_an_array_that_begins_with_its_kind(kind: Any) -> None:
    written = msgspec.json.decode(msgspec.json.encode(sample(kind)))
    assert type(written) is list
    assert written[0] == kind.__name__
    assert len(written) == 1 + len(kind.__struct_fields__)


@each_kind
def test_an_event_comes_back_as_it_was(kind: Any) -> None:
    event = sample(kind)
    data = msgspec.json.encode([event, event])
    back = decode_events(data)
    assert back == [event, event]
    assert msgspec.json.encode(back) == data


@each_kind
def test_an_event_written_before_a_field_was_added_has_its_default(kind: Any) -> None:
    written = msgspec.json.decode(msgspec.json.encode([sample(kind)]))
    fields = msgspec.structs.fields(kind)
    while fields and not fields[-1].required:
        added, fields = fields[-1], fields[:-1]
        written[0].pop()
        [event] = decode_events(msgspec.json.encode(written))
        expected = added.default_factory() if added.default is msgspec.NODEFAULT else added.default
        assert getattr(event, added.name) == expected


@each_kind
def test_what_is_left_out_where_it_says_nothing_is_read_back(kind: Any) -> None:
    fields = msgspec.structs.fields(kind)
    full = sample(kind)
    bare = kind(**{field.name: getattr(full, field.name) for field in fields if field.required})
    for event in (full, bare):
        data = msgspec.json.encode(as_written([event]))
        assert decode_events(data) == [event]
        assert len(data) <= len(msgspec.json.encode([event]))


@each_kind
def test_an_event_with_fields_of_a_newer_version_is_read(kind: Any) -> None:
    written = msgspec.json.decode(msgspec.json.encode([sample(kind)]))
    written[0] += ["new", {"newer": []}]
    assert decode_events(msgspec.json.encode(written)) == [sample(kind)]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_an_event_cannot_be_changed(part: Any) -> None:
    config = part.__struct_config__
    assert config.frozen
    assert config.array_like
    assert not config.forbid_unknown_fields


def test_a_value_is_not_looked_into() -> None:
    data = b'[["NodeCompleted","k3",{"$":"NoSuchType","v":[1e400,"\xff"]}]]'.replace(b"1e400", b"1").replace(
        b"\xff", b"x"
    )
    [event] = decode_events(data)
    assert bytes(event.output) == b'{"$":"NoSuchType","v":[1,"x"]}'


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"{}", b'"NodeStarted"', b'["NodeStarted","t","n",1]', b"[[]]", b"[[5]]", b'[["NodeStarted"]]',
        b'[["NodeStarted","t",5]]', b'[["NodeDone","t"]]', b'[["NodeStarted","t","n",1]', b'[{"task":"t"}]', b'[["Event"]]',
    ],
)  # fmt: skip
def test_what_is_no_array_of_known_events_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_events(data)


def test_a_row_of_any_length_is_read() -> None:
    many = [NodeStarted(f"t{number}", "n") for number in range(5_000)]
    assert decode_events(msgspec.json.encode(many)) == many
    assert decode_events(b"[]") == []
