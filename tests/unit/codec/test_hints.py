"""What annotations say of values."""

import collections.abc
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Annotated, Any, ClassVar, Generic, Literal, NewType, TypeVar

import msgspec
import pydantic
import pytest
from typing_extensions import TypeAliasType

from perdure import TypeExpression
from perdure.codec.hints import classes_in, field_types, is_open, item_type, members_of, peeled

T = TypeVar("T")


class Leaf(msgspec.Struct):
    x: int


class Tree(msgspec.Struct, Generic[T]):
    content: T
    leaves: "list[Leaf]"
    trees: "list[Tree[T]]"
    not_there: "Nowhere"  # noqa: F821
    shared: ClassVar[int] = 0


def test_wrappers_that_say_nothing_of_the_type_are_peeled_off() -> None:
    number = NewType("number", int)
    alias = TypeAliasType("alias", Annotated[number, "x"])
    pair = TypeAliasType("pair", tuple[T, T], type_params=(T,))
    fixed = TypeAliasType("fixed", list[int], type_params=(T,))
    assert peeled(TypeExpression[Annotated[alias, 1]]) is int
    assert peeled(pair[int]) == tuple[int, int]
    assert peeled(fixed[str]) == list[int]


def test_members_of_nested_unions_are_found() -> None:
    inner = TypeAliasType("inner", int | None)
    assert set(members_of(str | inner)) == {str, int, type(None)}
    assert members_of(int) == (int,)


def test_classes_are_found_in_arguments_fields_bounds_and_literals() -> None:
    class Color(collections.abc.Hashable):
        pass

    bounded = TypeVar("bounded", bound=Leaf)
    assert Leaf in classes_in(list[bounded])
    assert {Tree, Leaf} <= set(classes_in(dict[str, Tree[int]]))
    assert Color in classes_in(Tree[Color])
    assert str in classes_in(Literal["a"])
    assert Leaf not in classes_in(Annotated[int, Leaf])


def test_fields_are_known_though_one_cannot_be_resolved() -> None:
    assert field_types(Tree) == {"content": T, "leaves": list[Leaf], "trees": list[Tree[T]]}


def test_fields_of_a_model_are_its_own() -> None:
    class Model(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        leaf: Leaf
        shared: ClassVar[int] = 1
        _private: int = 0

    assert {"leaf": Leaf, "_private": int}.items() <= field_types(Model).items()
    assert field_types(Model).keys() <= {"leaf", "_private", "__pydantic_extra__"}


@pytest.mark.parametrize(
    ("annotation", "item"),
    [
        (list[int], int), (AsyncIterator[Leaf], Leaf), (Iterable[int] | None, int), (tuple[int, ...], int), (tuple[int, int], int),
        (tuple[int, str], Any), (dict[str, int], str), (Sequence[int] | set[int], int), (list[int] | list[str], Any), (int, Any),
        (list, Any), (Any, Any), (Annotated[list[Annotated[int, []]], 1], Annotated[int, []]), (TypeAliasType("a", set[int]), int),
        (str, Any), (Tree[int], Any),
    ],
)  # fmt: skip
def test_the_type_of_items_is_that_of_what_is_iterated(annotation: Any, item: Any) -> None:
    assert item_type(annotation) == item


def test_an_open_annotation_says_nothing_of_a_class() -> None:
    assert all(map(is_open, (Any, object, T, "name")))
    assert not any(map(is_open, (int, None, list[Any])))
