"""Steps with policies, routers and groups that are right, read by type checkers only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from perdure import (
    NOT_DONE,
    Failure,
    Graph,
    GraphBuilder,
    Group,
    Retry,
    Router,
    Send,
    Step,
    StepContext,
    reduce_list_append,
)


@dataclass
class State:
    total: int = 0


@dataclass
class Inner:
    count: int = 0


g = GraphBuilder(
    state_type=State, input_type=int, output_type=str, max_concurrency=4, on_error="collect", max_tasks=100
)


# --- plain functions, and policies ---


@g.step
def plain(ctx: StepContext[State, None, int]) -> str:
    return str(ctx.inputs)


@g.step(retry=3, timeout=1.5, executor="thread", max_concurrency=2, max_crashes=2)
def careful(ctx: StepContext[State, None, int]) -> str:
    return str(ctx.inputs)


async def look(ctx: StepContext[State, None, int]) -> Any:
    return NOT_DONE


@g.step(
    retry=Retry(max_attempts=2, initial_interval=timedelta(seconds=1), retry_on=(OSError, ValueError)),
    timeout=timedelta(minutes=1),
    effect=True,
    on_uncertain=look,
)
async def effect(ctx: StepContext[State, None, int]) -> str:
    return ctx.idempotency_key


assert_type(plain, Step[State, None, int, str])
assert_type(careful, Step[State, None, int, str])
assert_type(effect, Step[State, None, int, str])


# --- steps that wait for arms: edges carry single values, the function takes their list ---


@g.step(join="all", on_error="collect", min_ok=2)
async def gathered(ctx: StepContext[State, None, list[str]]) -> int:
    return len(ctx.inputs)


@g.step(join=2, cancel=True)
def two(ctx: StepContext[State, None, list[str]]) -> int:
    return len(ctx.inputs)


@g.step(join="any", cancel=True)
async def first(ctx: StepContext[State, None, str]) -> int:
    return len(ctx.inputs)


@g.step(join="all", on_error="collect")
async def with_failures(ctx: StepContext[State, None, list[str | Failure]]) -> int:
    return sum(isinstance(item, Failure) for item in ctx.inputs)


assert_type(gathered, Step[State, None, str, int])
assert_type(two, Step[State, None, str, int])
assert_type(first, Step[State, None, str, int])
g.add(
    g.edge_from(g.start_node).to(plain, careful, effect),
    g.edge_from(plain, careful, effect).to(gathered, two, first, with_failures),
)


# --- routers ---


@g.router
async def choose(ctx: StepContext[State, None, int]) -> Any:
    return [plain, "careful", Send(effect, 3)]


@g.router(empty=plain, retry=2, join="all")
async def choose_of_all(ctx: StepContext[State, None, list[int]]) -> Any:
    return []


assert_type(choose, Router[State, None, int, int])
assert_type(choose_of_all, Router[State, None, int, list[int]])
g.add(g.edge_from(gathered).to(choose), g.edge_from(choose).to(plain, careful, effect))

# --- groups ---

both = g.parallel(plain, careful, max_concurrency=2, on_error="wait", min_ok=1)
assert_type(both, Group[State, None, int, list[str]])


@g.step
async def joined(ctx: StepContext[State, None, list[str]]) -> str:
    return "".join(ctx.inputs)


assert_type(g.parallel(plain, careful, then=joined), Group[State, None, int, str])
assert_type(g.race(plain, careful), Group[State, None, int, str])
assert_type(g.chain(plain), Group[State, None, int, str])
assert_type(g.chain(both, joined), Group[State, None, int, str])
assert_type(g.race(g.chain(both, joined), plain, node_id="nested"), Group[State, None, int, str])

inner_builder = GraphBuilder(name="inner", state_type=Inner, input_type=int, output_type=str)
inner: Graph[Inner, None, int, str] = inner_builder.build()


def take_over(outer: State, inner: Inner) -> None:
    outer.total += inner.count


assert_type(g.subgraph(inner, state=lambda ctx: Inner(ctx.state.total), on_end=take_over), Group[State, None, int, str])
all_of_them = g.join(reduce_list_append, initial_factory=list[str], on_error="collect", min_ok=1)
g.add(
    g.edge_from(g.start_node).to(both),
    g.edge_from(both).map(max_concurrency=3).to(all_of_them),
)
