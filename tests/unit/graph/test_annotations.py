"""The types of a step's inputs and output are read off its function, however it was written."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from perdure import GraphBuilder, StepContext
from perdure.graph.builder.annotations import annotated_types
from perdure.graph.types import callable_name

T = TypeVar("T")
Ctx = StepContext[None, None, int]


@dataclass
class Row:
    id: int


async def plain(ctx: StepContext[None, None, Row]) -> list[Row]:
    return [ctx.inputs]


async def aliased(ctx: Ctx) -> None: ...


async def bare(ctx):
    return ctx.inputs


async def half(ctx: StepContext[None, None, Row]):
    return ctx.inputs


async def unknown(ctx: StepContext[None, None, NoSuchName]) -> int:  # type: ignore[name-defined]  # noqa: F821
    return 1


async def items(ctx: StepContext[None, None, str]) -> AsyncIterator[Row]:
    yield Row(1)


async def with_more(extra: str, ctx: StepContext[None, None, int]) -> str:
    return extra


class Callable_:
    async def __call__(self, ctx: StepContext[None, None, int]) -> Row:
        return Row(ctx.inputs)

    async def method(self, ctx: StepContext[None, None, str]) -> Row:
        return Row(1)


class Template(Generic[T]):
    async def run(self, ctx: StepContext[None, None, T]) -> T:
        return ctx.inputs


def test_types_are_read_off_a_function() -> None:
    assert annotated_types(plain) == (Row, list[Row])
    assert annotated_types(aliased) == (int, type(None))


def test_what_is_not_annotated_counts_as_any() -> None:
    assert annotated_types(bare) == (Any, Any)
    assert annotated_types(half) == (Row, Any)


def test_a_name_that_cannot_be_found_does_not_spoil_the_other_type() -> None:
    assert annotated_types(unknown) == (Any, int)


def test_types_are_found_behind_what_is_around_a_function() -> None:
    @functools.wraps(plain)
    async def wrapped(ctx: Any) -> Any:
        return await plain(ctx)

    assert annotated_types(functools.partial(with_more, "x")) == (int, str)
    assert annotated_types(wrapped) == (Row, list[Row])
    assert annotated_types(Callable_()) == (int, Row)
    assert annotated_types(Callable_().method) == (str, Row)
    assert annotated_types(len) == (Any, Any)


def test_a_stream_gives_out_what_it_is_annotated_with() -> None:
    assert annotated_types(items) == (str, AsyncIterator[Row])


def test_a_type_variable_stays_one() -> None:
    assert annotated_types(Template[int]().run) == (T, T)


def test_classes_of_the_function_around_a_step_are_found() -> None:
    @dataclass
    class Local:
        id: int

    g = GraphBuilder(input_type=Local, output_type=Local)

    @g.step
    async def step(ctx: StepContext[None, None, Local]) -> list[Local]:
        return [ctx.inputs]

    assert (step.input_type, step.output_type) == (Local, list[Local])


def test_classes_are_found_two_functions_out_and_inner_ones_win() -> None:
    @dataclass
    class Row:
        name: str

    def inner() -> Any:
        g = GraphBuilder()

        @g.step
        async def step(ctx: StepContext[None, None, Row]) -> Row:
            return ctx.inputs

        return step

    step = inner()
    assert step.input_type is Row
    assert step.output_type is Row


def test_a_function_has_a_name() -> None:
    assert callable_name(plain) == "plain"
    assert callable_name(functools.partial(with_more, "x")) == "with_more"
    assert callable_name(Callable_()) == "Callable_"
    assert callable_name(Callable_().method) == "method"
    assert callable_name(lambda: 0) == "<lambda>"
