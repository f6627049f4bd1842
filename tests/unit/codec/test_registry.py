"""Which class a stored name stands for."""

import dataclasses
import sys
import types
from abc import ABC
from dataclasses import dataclass, make_dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from perdure import CodecError, GraphSetupError, tagged, upcast, versioned
from perdure.codec.registry import Registry, tag_of
from perdure.codec.tags import RESERVED
from unit.codec.exchange import codec_for, read, round_trip, same, stored


def a_class(name: str = "Thing", module: str = __name__, **fields: Any) -> Any:
    """Return a new dataclass as if defined at the top of a module."""
    made = make_dataclass(name, fields.items() or [("x", int)])
    made.__module__ = module
    return made


def test_a_class_is_found_by_its_name() -> None:
    thing = a_class()
    assert Registry([thing]).find("Thing") is thing


def test_classes_inside_fields_generics_and_aliases_are_found() -> None:
    inner = a_class("Inner")
    outer = a_class("Outer", items=dict[str, list[inner] | None])
    registry = Registry([tuple[int, outer]])
    assert registry.find("Inner") is inner
    assert registry.find("Outer") is outer


def test_a_class_can_be_stored_under_another_name() -> None:
    thing = tagged("thing/1")(a_class())
    assert stored(Any, thing(1), thing) == b'{"$":"thing/1","v":{"x":1}}'
    assert round_trip(Any, thing(1), thing) == thing(1)


def test_a_name_is_not_inherited() -> None:
    base = tagged("base")(a_class())
    sub = dataclass(type("Sub", (base,), {}))
    assert tag_of(sub) == "Sub"
    assert round_trip(base, sub(1)) == sub(1)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_class_under_a_name_of_the_codec_itself_is_refused(name: str) -> None:
    with pytest.raises(GraphSetupError, match=rf"'{name}', a name of the codec's own: mark it with @tagged"):
        Registry([list[a_class(name)]])
    with pytest.raises(GraphSetupError, match="choose another"):
        tagged(name)


@pytest.mark.parametrize("name", ["", "a@2", "@"])
def test_a_name_that_could_not_be_told_from_a_version_is_refused(name: str) -> None:
    with pytest.raises(GraphSetupError, match="no @"):
        tagged(name)


def test_a_subclass_under_a_name_of_the_codec_itself_is_refused_when_it_turns_up() -> None:
    base = a_class("Base")
    sub = dataclass(type("tuple", (base,), {"__module__": "somewhere"}))
    with pytest.raises(CodecError, match=r"'tuple', is taken by the codec itself .*@tagged"):
        stored(base, sub(1))


def test_two_classes_under_one_name_are_refused() -> None:
    with pytest.raises(
        GraphSetupError, match=r"here\.Thing and there\.Thing .* 'Thing': mark one of them with @tagged"
    ):
        Registry([a_class(module="here"), a_class(module="there")])


def test_two_subclasses_under_one_name_are_refused_as_nothing_tells_which_is_meant() -> None:
    base = a_class("Base")
    one = dataclass(type("Twin", (base,), {"__module__": "here"}))
    data = stored(base, one(1))
    other = dataclass(type("Twin", (base,), {"__module__": "there"}))
    with pytest.raises(CodecError, match=r"here\.Twin and there\.Twin"):
        stored(base, other(1))
    with pytest.raises(CodecError, match=r"here\.Twin and there\.Twin"):
        read(base, data)


def test_a_subclass_does_not_take_the_name_of_a_known_class() -> None:
    base = a_class("Base", "here")
    sub = dataclass(type("Base", (base,), {"__module__": "there"}))
    with pytest.raises(CodecError, match=r"'Base', is taken by here\.Base"):
        stored(base, sub(1))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("notebook")
    monkeypatch.setitem(sys.modules, "notebook", module)
    return module


def test_a_class_that_is_defined_again_is_accepted_and_the_newest_wins(notebook: Any) -> None:
    old, new = a_class(module="notebook"), a_class(module="notebook")
    for mentioned in ([old, new], [new, old]):
        notebook.Thing = new
        assert Registry(mentioned).find("Thing") is new


def test_without_a_module_to_ask_the_one_mentioned_last_is_the_newest() -> None:
    old, new = a_class(module="gone"), a_class(module="gone")
    assert Registry([old, new]).find("Thing") is new


def test_values_of_a_class_defined_again_are_read_as_the_newest(notebook: Any) -> None:
    old, new = a_class(module="notebook"), a_class(module="notebook")
    notebook.Thing = old
    codec = codec_for(old)
    notebook.Thing = new
    for value in (new(1), old(1)):
        data = bytes(codec.write("", value, None))
        assert type(codec.read("", msgspec.Raw(data), None)) is new


def test_of_two_classes_defined_by_one_function_only_one_is_known() -> None:
    def make(**fields: Any) -> Any:
        return make_dataclass("Row", fields.items(), namespace={"__qualname__": "make.<locals>.Row"})

    ours, other = make(x=int), make(y=str)
    assert same(round_trip(Any, ours(1), ours), ours(1))
    with pytest.raises(CodecError, match="is taken by"):
        stored(Any, other(1), ours)


def test_subclasses_of_whatever_a_graph_mentions_are_known_to_a_process_that_has_not_written_them() -> None:
    class Root(ABC):  # noqa: B024
        pass

    @dataclass
    class Leaf(Root):
        x: int

    @dataclass
    class Twig(Leaf):
        y: int = 0

    assert same(round_trip(Root, Twig(1, 2)), Twig(1, 2))


def test_a_class_is_known_though_another_annotation_of_its_class_cannot_be_resolved() -> None:
    inner = a_class("Inner")
    outer = a_class("Outer", good=inner, bad="NotDefinedAnywhere")
    assert same(round_trip(outer, outer(inner(1), 2)), outer(inner(1), 2))


def test_the_classes_of_pydantic_itself_take_no_names() -> None:
    class Holder(pydantic.BaseModel):
        x: int

    registry = Registry([Holder])
    for taken in ("DecoratorInfos", "FieldInfo", "ConfigDict"):
        with pytest.raises(Exception, match="no graph of this process mentions"):
            registry.find(taken)


# --- marks -------------------------------------------------------------------------------------------------------


def test_versions_begin_at_one() -> None:
    with pytest.raises(GraphSetupError, match="versions begin at 1"):
        versioned(0)
    with pytest.raises(GraphSetupError, match="versions begin at 1"):
        upcast(versioned(2)(a_class()), from_version=0)


def test_an_upcast_needs_a_later_version_of_its_class() -> None:
    with pytest.raises(GraphSetupError, match=r"is of version 1; mark it with @versioned\(2\)"):
        upcast(a_class(), from_version=1)


def test_a_typed_dict_has_no_version() -> None:
    class Total(TypedDict):
        x: int

    with pytest.raises(GraphSetupError, match="plain dicts, which have no version"):
        versioned(2)(Total)


def test_a_version_is_not_inherited() -> None:
    base = versioned(3)(a_class("Base"))
    sub = dataclass(type("Sub", (base,), {}))
    assert stored(base, base(1)) == b'{"$":"Base@3","v":{"x":1}}'
    assert stored(base, sub(1)) == b'{"$":"Sub","v":{"x":1}}'


def test_marks_fit_every_kind_of_class() -> None:
    class Struct(msgspec.Struct):
        x: int

    class Model(pydantic.BaseModel):
        x: int

    class Pair(NamedTuple):
        x: int

    slotted = dataclasses.make_dataclass("Slotted", [("x", int)], slots=True)
    for cls in (Struct, Model, Pair, slotted):
        marked: Any = versioned(2)(tagged(f"own {cls.__name__}")(cls))
        value = marked(x=1)
        assert stored(Any, value, marked).startswith(b'{"$":"own ' + cls.__name__.encode() + b'@2"')
        assert same(round_trip(marked, value), value)
