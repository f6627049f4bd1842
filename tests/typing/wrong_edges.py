"""Edges that are wrong, read by type checkers only: every marked line has to be an error.

A mark on a line that is right is an error itself (``warn_unused_ignores`` of mypy, ``reportUnnecessaryTypeIgnoreComment``
of pyright), so this file passes exactly if a type checker finds each of these mistakes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from perdure import (
    GraphBuilder,
    ReduceFirstValue,
    ReducerContext,
    StepContext,
    TypeExpression,
    reduce_dict_update,
    reduce_list_append,
    reduce_list_extend,
    reduce_sum,
)


@dataclass
class State:
    total: int = 0


@dataclass
class Deps:
    factor: int = 1


class Other: ...


g = GraphBuilder(state_type=State, deps_type=Deps, input_type=int, output_type=str)


@g.step
async def to_int(ctx: StepContext[State, Deps, int]) -> int:
    return ctx.inputs


@g.step
async def to_text(ctx: StepContext[State, Deps, int]) -> str:
    return ""


@g.step
async def text_to_ints(ctx: StepContext[State, Deps, str]) -> list[int]:
    return []


@g.step
async def to_either(ctx: StepContext[State, Deps, int]) -> int | str:
    return 1


@g.stream
async def stream_ints(ctx: StepContext[State, Deps, int]) -> AsyncIterator[int]:
    yield 1


# --- one step to the next ---

g.edge_from(to_int).to(text_to_ints)  # type: ignore[arg-type]
g.add_edge(to_int, text_to_ints)  # type: ignore[misc]
g.edge_from(to_either).to(to_int)  # type: ignore[arg-type]
g.edge_from(to_int, to_text).to(to_int)  # type: ignore[arg-type]
g.edge_from(to_int).to(to_int, text_to_ints)  # type: ignore[arg-type]
g.edge_from(to_int).label("x").to(text_to_ints)  # type: ignore[arg-type]

# --- start and end ---

g.edge_from(g.start_node).to(text_to_ints)  # type: ignore[arg-type]
g.edge_from(to_int).to(g.end_node)  # type: ignore[arg-type]
g.edge_from(g.end_node).to(to_int)  # type: ignore[call-overload]
g.edge_from(to_int).to(g.start_node)  # type: ignore[arg-type]

# --- maps ---

g.edge_from(text_to_ints).map().to(text_to_ints)  # type: ignore[arg-type]
g.edge_from(text_to_ints).to(to_int)  # type: ignore[arg-type]
g.edge_from(to_int).map().to(to_int)  # type: ignore[misc]
g.add_mapping_edge(text_to_ints, text_to_ints)  # type: ignore[misc]
g.add_mapping_edge(to_int, to_int)  # type: ignore[arg-type]
g.edge_from(stream_ints).map().to(text_to_ints)  # type: ignore[arg-type]
g.edge_from(stream_ints).to(to_int)  # type: ignore[arg-type]
g.add_mapping_edge(stream_ints, text_to_ints)  # type: ignore[misc]

# --- transforms and broadcasts ---


def to_float(ctx: StepContext[State, Deps, int]) -> float:
    return 1.0


def with_other_state(ctx: StepContext[Other, Deps, int]) -> int:
    return 1


g.edge_from(to_int).transform(to_float).to(to_int)  # type: ignore[arg-type]
g.edge_from(to_text).transform(to_float)  # type: ignore[arg-type]
g.edge_from(to_int).transform(with_other_state)  # type: ignore[arg-type]
g.edge_from(to_int).transform(lambda ctx: str(ctx.inputs)).to(to_int)  # type: ignore[arg-type]
g.edge_from(to_text).transform(lambda ctx: ctx.inputs + 1)  # type: ignore[operator]
g.edge_from(to_int).transform(lambda ctx: ctx.state.missing)  # type: ignore[attr-defined]
g.edge_from(to_int).broadcast(lambda e: [e.to(to_int), e.to(text_to_ints)])  # type: ignore[arg-type]
g.edge_from(to_int).broadcast(lambda e: [e.map().to(to_int)])  # type: ignore[misc]
g.edge_from(to_int).broadcast(lambda e: [e])  # type: ignore[list-item]

# --- decisions ---

only_int = g.decision().branch(g.match(int).to(to_int))
g.edge_from(to_text).to(only_int)  # type: ignore[arg-type]
g.edge_from(to_either).to(only_int)  # type: ignore[arg-type]
g.edge_from(to_int).to(g.decision())  # type: ignore[arg-type]
g.edge_from(text_to_ints).map().to(g.decision().branch(g.match(str).to(text_to_ints)))  # type: ignore[arg-type]
g.match(int).to(text_to_ints)  # type: ignore[arg-type]
g.match(TypeExpression[int | str]).to(to_int)  # type: ignore[arg-type]
g.match(int).map()  # type: ignore[misc]
g.match(list[int]).map().to(text_to_ints)  # type: ignore[arg-type]
g.match(int).transform(lambda ctx: str(ctx.inputs)).to(to_int)  # type: ignore[arg-type]
g.match(int).broadcast(lambda e: [e.to(text_to_ints)])  # type: ignore[arg-type]
g.decision().branch(g.match(int))  # type: ignore[arg-type]
g.edge_from(only_int).to(to_int)  # type: ignore[call-overload]

# --- joins ---


def count_up(current: int, item: int) -> int:
    return current + item


def of_other_deps(ctx: ReducerContext[State, Other], current: int, item: int) -> int:
    return current


ints = g.join(reduce_list_append, initial_factory=list[int])
words = g.join(reduce_list_append, initial_factory=list[str])
total = g.join(count_up, initial=0)
fastest = g.join(ReduceFirstValue[int](), initial=None)
g.edge_from(to_text).to(ints)  # type: ignore[arg-type]
g.edge_from(to_text).to(total)  # type: ignore[arg-type]
g.edge_from(to_text).to(fastest)  # type: ignore[arg-type]
g.edge_from(ints).to(to_int)  # type: ignore[arg-type]
g.edge_from(words).map().to(to_int)  # type: ignore[arg-type]
g.edge_from(total).to(text_to_ints)  # type: ignore[arg-type]
g.edge_from(fastest).to(text_to_ints)  # type: ignore[arg-type]
g.join(count_up, initial="")  # type: ignore[arg-type]
g.join(count_up, initial_factory=list[int])  # type: ignore[misc]
g.join(of_other_deps, initial=0)  # type: ignore[arg-type]
g.join(count_up)  # type: ignore[call-overload]
g.join(count_up, initial=0, initial_factory=int)  # type: ignore[call-overload]
g.join(count_up, initial=0, order="random")  # type: ignore[call-overload]
g.join(reduce_sum, initial=Other())  # type: ignore[arg-type]
g.edge_from(to_int).to(g.join(reduce_list_extend, initial_factory=list[int]))  # type: ignore[arg-type]
g.edge_from(to_int).to(g.join(reduce_dict_update, initial_factory=dict[str, int]))  # type: ignore[arg-type]

# --- state and dependencies ---


@g.step  # type: ignore[call-overload]
async def other_state(ctx: StepContext[Other, Deps, int]) -> int:
    return 1


@g.step  # type: ignore[call-overload]
async def other_deps(ctx: StepContext[State, Other, int]) -> int:
    return 1


@g.step(node_id="other")  # type: ignore[call-overload]
async def other_state_named(ctx: StepContext[Other, Deps, int]) -> int:
    return 1


@g.stream  # type: ignore[call-overload]
async def other_stream(ctx: StepContext[Other, Deps, int]) -> AsyncIterator[int]:
    yield 1


elsewhere = GraphBuilder(state_type=Other, deps_type=Deps, input_type=int, output_type=str)


@elsewhere.step
async def foreign(ctx: StepContext[Other, Deps, int]) -> int:
    return 1


g.edge_from(to_int).to(foreign)  # type: ignore[arg-type]
g.edge_from(foreign).to(to_int)  # type: ignore[arg-type]
g.add(elsewhere.edge_from(foreign).to(foreign))  # type: ignore[arg-type]
g.edge_from(to_int).to(elsewhere.join(count_up, initial=0))  # type: ignore[arg-type]

# --- running ---

graph = g.build()


async def run() -> None:
    await graph.run(state=Other(), deps=Deps(), inputs=1)  # type: ignore[call-overload]
    await graph.run(state=State(), deps=Other(), inputs=1)  # type: ignore[call-overload]
    await graph.run(state=State(), deps=Deps(), inputs="")  # type: ignore[call-overload]
    number: int = await graph.run(state=State(), deps=Deps(), inputs=1)  # type: ignore[assignment]
    print(number)


GraphBuilder(end="last")  # type: ignore[call-overload]
graph.render(direction="UP")  # type: ignore[arg-type]
g.edge_from(to_int, to_int, to_int, to_int, to_text).to(to_int)  # type: ignore[arg-type]
g.edge_from(to_int).broadcast(lambda e: [e.broadcast(lambda i: [i.to(text_to_ints)])])  # type: ignore[arg-type]
g.edge_from(text_to_ints).map().transform(lambda ctx: str(ctx.inputs)).to(to_int)  # type: ignore[arg-type]
g.edge_from(to_text).to(g.decision().branch(g.match(TypeExpression[int | None]).to(to_int)))  # type: ignore[arg-type]
g.match(str, matches="isdigit")  # type: ignore[call-overload]
