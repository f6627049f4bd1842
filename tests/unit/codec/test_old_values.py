"""Values that an earlier version of the code has stored are read, brought to the present, or refused with a remedy.

Classes of several times are made by functions: ``then`` is what the code was, ``now`` is what it has become.
"""

import enum
from dataclasses import dataclass, field, make_dataclass
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from perdure import CodecError, upcast, versioned
from unit.codec.exchange import read, round_trip, same, stored


def a_class(name: str, *fields: Any, **namespace: Any) -> Any:
    made = make_dataclass(name, fields, namespace=namespace)
    made.__module__ = __name__
    return made


def a_struct(name: str, *fields: Any, **config: Any) -> Any:
    return msgspec.defstruct(name, fields, module="app", **config)


MAKERS = pytest.mark.parametrize("make", [a_class, a_struct])


# --- fields that come and go -------------------------------------------------------------------------------------


@MAKERS
@pytest.mark.parametrize("under", [lambda cls: cls, lambda cls: Any, lambda cls: list[cls], lambda cls: cls | None])
def test_a_field_that_was_added_gets_its_default(make: Any, under: Any) -> None:
    then = make("Order", ("id", int))
    now = make("Order", ("id", int), ("note", str, field(default="-") if make is a_class else "-"))
    is_list = under is not None and getattr(under(int), "__origin__", None) is list
    data = stored(under(then), [then(1)] if is_list else then(1), then)
    back = read(under(now), data, now)
    assert (back[0] if is_list else back) == now(1, "-")


@MAKERS
@pytest.mark.parametrize("is_open", [True, False])
def test_a_field_that_was_added_without_a_default_is_named_with_the_remedy(make: Any, is_open: bool) -> None:
    then, now = make("Order", ("id", int)), make("Order", ("id", int), ("note", str))
    data = stored(Any if is_open else list[then], [then(1)], then)
    with pytest.raises(CodecError, match="no field 'note'") as refused:
        read(Any if is_open else list[now], data, now)
    assert refused.value.path == "$[0]"
    assert refused.value.type_name == "Order"
    assert refused.value.remedy == "Give new fields a default, or mark the type with @versioned and add an @upcast"
    assert refused.value.where == "inputs"


def test_a_field_added_to_a_model_or_a_named_tuple_gets_its_default() -> None:
    class Model(pydantic.BaseModel):
        x: int
        tags: list[str] = pydantic.Field(default_factory=lambda: ["new"])
        twice: int = pydantic.Field(default_factory=lambda data: 2 * data["x"])
        _private: int = pydantic.PrivateAttr(default=7)

    back = read(Model, b'{"$":"Model","v":{"x":4}}')
    assert (back.x, back.tags, back.twice, back._private) == (4, ["new"], 8, 7)
    assert back.model_fields_set == {"x"}

    class Pair(NamedTuple):
        left: int
        right: str = "new"

    assert read(Pair, b'{"$":"Pair","v":{"left":1}}') == Pair(1, "new")
    for cls in (Model, Pair):
        with pytest.raises(CodecError, match=r"has no field '(x|left)'"):
            read(cls, b'{"$":"%s","v":{}}' % cls.__name__.encode())


@MAKERS
@pytest.mark.parametrize("is_open", [True, False])
def test_a_field_that_was_dropped_or_renamed_is_named_with_the_remedy(make: Any, is_open: bool) -> None:
    then = make("Order", ("id", int), ("note", str))
    now = make("Order", ("id", int), ("remark", str, field(default="-") if make is a_class else "-"))
    data = stored(Any if is_open else list[then], [then(1, "important")], then)
    with pytest.raises(CodecError, match="has a field 'note', and the type has none of that name") as refused:
        read(Any if is_open else list[now], data, now)
    assert refused.value.path == "$[0]"
    assert refused.value.remedy == "Keep the field, or mark the type with @versioned and add an @upcast"


@MAKERS
def test_an_upcast_may_leave_over_what_was_dropped(make: Any) -> None:
    then, now = make("Order", ("id", int), ("note", str)), versioned(2)(make("Order", ("id", int)))
    upcast(now, from_version=1)(lambda fields: fields)
    for under in (list[then], Any):
        assert read(Any if under is Any else list[now], stored(under, [then(1, "a")], then), now) == [now(1)]


@MAKERS
def test_fields_may_change_places(make: Any) -> None:
    then, now = make("Order", ("a", int), ("b", int)), make("Order", ("b", int), ("a", int))
    for under in (then, Any):
        assert read(now if under is then else Any, stored(under, then(1, 2), then), now) == now(a=1, b=2)


def test_a_key_that_a_typed_dict_has_dropped_stays_in_the_dict() -> None:
    then, now = TypedDict("Total", {"a": int, "b": int}), TypedDict("Total", {"a": int, "c": int})
    assert read(list[now], stored(list[then], [{"a": 1, "b": 2}])) == [{"a": 1, "b": 2}]


def test_parts_that_a_model_has_dropped_are_refused() -> None:
    class Model(pydantic.BaseModel):
        x: int

    for content in (b'{"x":1,"y":2}', b'{"x":1,"__pydantic_private__":{"_y":2}}'):
        with pytest.raises(CodecError, match="the type has none of that name"):
            read(Model, b'{"$":"Model","v":%s}' % content)


def test_a_field_of_another_type_comes_back_as_it_was_stored() -> None:
    then, now = a_class("Order", ("id", int)), a_class("Order", ("id", str))
    assert read(now, stored(then, then(1))) == now(1)


# --- annotations that cease to be closed -------------------------------------------------------------------------


def test_a_class_that_ceases_to_be_closed_still_reads_what_it_stored_when_it_was() -> None:
    then = a_class("Order", ("id", int))
    data = stored(then, then(1))
    assert data == b'{"id":1}'
    for now in (
        a_class("Order", ("id", int), ("price", Decimal, field(default=Decimal(1)))),
        a_class("Order", ("id", int), __post_init__=lambda self: None),
        a_class("Order", ("id", int), ("made", int, field(init=False, default=1))),
        versioned(1)(a_class("Order", ("id", int))),
        a_struct("Order", ("id", int), tag=True),
        a_struct("Order", ("id", int), array_like=True),
        a_struct("Order", ("id", int), omit_defaults=True),
        a_struct("Order", ("id", Annotated[int, msgspec.Meta(ge=5)])),
    ):
        assert same(read(now, data), now(1))
        assert same(read(list[now], b"[%s]" % data), [now(1)])
        assert same(read(dict[str, now | None], b'{"a":%s,"b":null}' % data), {"a": now(1), "b": None})


def test_a_struct_reads_by_the_names_it_wrote() -> None:
    then = a_struct("Order", ("order_id", int), rename="camel")
    assert stored(then, then(1)) == b'{"orderId":1}'
    assert read(a_struct("Order", ("order_id", int), rename="camel", tag=True), b'{"orderId":1}').order_id == 1
    assert read(a_struct("Order", ("order_id", int), tag=True), b'{"order_id":1}').order_id == 1


def test_a_class_that_becomes_closed_still_reads_what_it_stored_before() -> None:
    then = a_class("Order", ("id", Any))
    now = a_class("Order", ("id", int, field(default=0)))
    data = stored(list[then], [then(1)])
    assert data.startswith(b'[{"$":"Order"')
    assert read(list[now], data) == [now(1)]
    assert read(dict[str, now], b'{"k":' + stored(then, then(1)) + b"}") == {"k": now(1)}


def test_inner_classes_are_made_by_the_annotations_of_their_fields() -> None:
    inner = a_class("Inner", ("x", int))
    then = a_class(
        "Outer", ("one", inner), ("many", list[inner]), ("named", dict[str, inner]), ("plain", dict[str, int])
    )
    now = a_class(
        "Outer", ("one", inner), ("many", list[inner]), ("named", dict[str, inner]), ("plain", dict[str, int]),
        ("when", Any, field(default=None)),
    )  # fmt: skip
    data = stored(then, then(inner(1), [inner(2)], {"a": inner(3)}, {"b": 4}))
    assert read(now, data) == now(inner(1), [inner(2)], {"a": inner(3)}, {"b": 4})


def test_a_union_is_resolved_when_only_one_of_its_types_fits() -> None:
    order, refund = a_class("Order", ("id", int)), a_class("Refund", ("amount", float))
    assert read(order | refund, stored(order, order(1))) == order(1)
    assert read(list[order | refund], stored(list[refund], [refund(1.0)])) == [refund(1.0)]


def test_a_union_that_leaves_open_what_was_stored_is_refused() -> None:
    order, refund = a_class("Order", ("id", int)), a_class("Refund", ("id", int))
    with pytest.raises(CodecError, match=r"names several types it could be of at \$\[0\] \(type Order \| Refund\)"):
        read(list[order | refund], stored(list[order], [order(1)]))
    with pytest.raises(CodecError, match="names several types"):
        read(order | dict[str, Any], stored(order, order(1)))


def test_an_annotation_that_can_no_longer_be_resolved_is_refused() -> None:
    inner = a_class("Inner", ("x", int))
    then, now = a_class("Outer", ("inner", inner)), a_class("Outer", ("inner", "Nowhere"))
    with pytest.raises(CodecError, match=r"can't be resolved at \$\.inner"):
        read(now, stored(then, then(inner(1))))


# --- versions ----------------------------------------------------------------------------------------------------


def order_then() -> Any:
    return a_class("Order", ("first", str), ("last", str))


def order_now(version: int = 2) -> Any:
    now: Any = versioned(version)(a_class("Order", ("name", str), ("level", int, field(default=0))))

    @upcast(now, from_version=1)
    def join_names(fields: dict[str, Any]) -> dict[str, Any]:
        return {"name": f"{fields['first']} {fields['last']}"}

    if version == 3:

        @upcast(now, from_version=2)
        def count_levels_from_one(fields: dict[str, Any]) -> dict[str, Any]:
            return fields | {"level": fields.get("level", 0) + 1}

    return now


def in_list(cls: Any) -> tuple[Any, Any]:
    return list[cls], lambda value: [value]


def in_dict(cls: Any) -> tuple[Any, Any]:
    return dict[str, cls], lambda value: {"k": value}


def in_optional(cls: Any) -> tuple[Any, Any]:
    return cls | None, lambda value: value


def in_class(cls: Any) -> tuple[Any, Any]:
    outer = a_class("Outer", ("order", cls), ("more", list[cls]))
    return outer, lambda value: outer(value, [value])


def in_open_class(cls: Any) -> tuple[Any, Any]:
    outer = a_class("Outer", ("order", cls), ("more", Any))
    return outer, lambda value: outer(value, (value, Decimal(1)))


def in_any(cls: Any) -> tuple[Any, Any]:
    return Any, lambda value: [value]


def by_itself(cls: Any) -> tuple[Any, Any]:
    return cls, lambda value: value


@pytest.mark.parametrize("place", [by_itself, in_list, in_dict, in_optional, in_class, in_open_class, in_any])
def test_a_value_stored_before_its_type_had_a_version_is_upcast_wherever_it_stands(place: Any) -> None:
    then, now = order_then(), order_now()
    hint_then, put_then = place(then)
    hint_now, put_now = place(now)
    data = stored(hint_then, put_then(then("Ada", "King")), then)
    assert same(read(hint_now, data, now), put_now(now("Ada King", 0)))


@pytest.mark.parametrize("place", [by_itself, in_list, in_class, in_any])
def test_upcasts_form_a_chain(place: Any) -> None:
    stages = [order_then(), order_now(2), order_now(3)]
    values = [stages[0]("Ada", "King"), stages[1]("Ada King", 5), stages[2]("Ada King", 6)]
    levels = [1, 6, 6]
    for stage, value, level in zip(stages, values, levels, strict=True):
        hint, put = place(stage)
        hint_now, put_now = place(stages[2])
        assert read(hint_now, stored(hint, put(value), stage), stages[2]) == put_now(stages[2]("Ada King", level))


def test_a_value_of_the_present_version_is_not_upcast() -> None:
    now = order_now(3)
    assert stored(now, now("a", 1)) == b'{"$":"Order@3","v":{"name":"a","level":1}}'
    assert same(round_trip(now, now("a", 1)), now("a", 1))


def test_an_upcast_gets_objects_in_the_fields_that_are_still_there_and_may_move_others() -> None:
    place = a_class("Place", ("city", str))
    then = a_class("Order", ("ship_to", place), ("bill_to", place))
    now: Any = versioned(2)(a_class("Order", ("ship_to", place), ("pay_from", place)))

    @upcast(now, from_version=1)
    def rename(fields: dict[str, Any]) -> dict[str, Any]:
        assert fields["ship_to"] == place("A")
        return {"ship_to": fields["ship_to"], "pay_from": fields["bill_to"]}

    for under in (lambda cls: cls, lambda cls: Any):
        back = read(under(now), stored(under(then), then(place("A"), place("B")), then), now)
        assert same(back, now(place("A"), place("B")))


def test_upcasts_work_for_structs_models_and_named_tuples() -> None:
    class Model(pydantic.BaseModel):
        total: int

    class Pair(NamedTuple):
        total: int

    for cls in (a_struct("Sum", ("total", int)), Model, Pair):
        now: Any = versioned(2)(cls)
        upcast(now, from_version=1)(lambda fields: {"total": fields["a"] + fields["b"]})
        back = read(now, b'{"$":"%s","v":{"a":1,"b":2}}' % cls.__name__.encode())
        assert same(back, now(total=3))


def test_a_renamed_field_of_a_struct_reaches_the_upcast_by_its_name() -> None:
    then = a_struct("Order", ("order_id", int), rename="camel")
    now: Any = versioned(2)(a_struct("Order", ("order_id", int), rename="camel"))
    upcast(now, from_version=1)(lambda fields: {"order_id": fields["order_id"] + 100})
    assert read(now, stored(then, then(1))).order_id == 101


def test_a_version_without_an_upcast_is_refused_with_the_remedy() -> None:
    then = order_then()
    now: Any = versioned(3)(a_class("Order", ("name", str)))
    upcast(now, from_version=1)(lambda fields: fields)
    with pytest.raises(CodecError, match="nothing brings that to version 3") as refused:
        read(list[now], stored(list[then], [then("a", "b")]))
    assert refused.value.path == "$[0]"
    assert refused.value.remedy == "Add @upcast(Order, from_version=2)"


def test_a_version_newer_than_the_code_is_refused() -> None:
    with pytest.raises(CodecError, match="stored as version 9, and this process only knows version 2"):
        read(order_now(), b'{"$":"Order@9","v":{"name":"a"}}')


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda fields: fields["nowhere"], "raised KeyError"),
        (lambda fields: None, "returned a NoneType"),
        (lambda fields: {"level": 1}, "no field 'name'"),
    ],
)
def test_an_upcast_that_does_not_do_its_work_is_refused(function: Any, why: str) -> None:
    then = order_then()
    now: Any = versioned(2)(a_class("Order", ("name", str), ("level", int, field(default=0))))
    upcast(now, from_version=1)(function)
    for under in (lambda cls: cls, lambda cls: Any):
        with pytest.raises(CodecError, match=why):
            read(under(now), stored(under(then), then("a", "b"), then), now)


# --- enumerations ------------------------------------------------------------------------------------------------


def test_a_member_that_is_gone_is_refused_and_an_alias_brings_it_back() -> None:
    class Color(enum.Enum):
        CRIMSON = 1
        RED = 1  # noqa: PIE796

    assert read(Color, b'{"$":"Color","v":"RED"}') is Color.CRIMSON
    with pytest.raises(CodecError, match=r"no member 'PINK' any more .* as an alias"):
        read(Color, b'{"$":"Color","v":"PINK"}')


# --- annotations that change -------------------------------------------------------------------------------------


@dataclass
class Kept:
    x: int


@pytest.mark.parametrize(
    ("then", "now", "value"),
    [
        (int, Any, 5), (Any, int, "five"), (int, list[int], 5), (list[int], tuple[int, ...], [5]), (int, float | None, None),
        (list[Kept], list[Kept] | None, [Kept(1)]), (Kept, Kept | None, Kept(1)), (Kept | None, Kept, Kept(1)),
        (Kept | int, Kept, 5), (Any, list[Kept], [Kept(1)]), (dict[str, int], Any, {"a": 1}),
    ],
)  # fmt: skip
def test_a_value_outlives_a_change_of_its_annotation(then: Any, now: Any, value: Any) -> None:
    assert same(read(now, stored(then, value, Kept), Kept), value)
