"""Joins and reducers: several values into one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from examples import example
from perdure import (
    Graph,
    GraphBuilder,
    ReduceFirstValue,
    ReducerContext,
    StepContext,
    reduce_dict_update,
    reduce_list_append,
    reduce_list_extend,
    reduce_null,
    reduce_sum,
)

Nothing = StepContext[None, None, None]


@example(["v-10", "v-20", "v-30"], view=sorted)
def values_appended() -> Graph[None, None, None, list[str]]:
    g = GraphBuilder(name="append", output_type=list[str])

    @g.step
    async def values(ctx: Nothing) -> list[int]:
        return [10, 20, 30]

    @g.step
    async def spell(ctx: StepContext[None, None, int]) -> str:
        return f"v-{ctx.inputs}"

    spelled = g.join(reduce_list_append, initial_factory=list[str])
    g.add(
        g.edge_from(g.start_node).to(values),
        g.edge_from(values).map().to(spell),
        g.edge_from(spell).to(spelled),
        g.edge_from(spelled).to(g.end_node),
    )
    return g.build()


@example([0, 0, 0, 1, 1, 2], view=sorted)
def lists_extended() -> Graph[None, None, None, list[int]]:
    g = GraphBuilder(name="extend", output_type=list[int])

    @g.step
    async def lengths(ctx: Nothing) -> list[int]:
        return [1, 2, 3]

    @g.step
    async def count_up(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(ctx.inputs))

    flat = g.join(reduce_list_extend, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(lengths),
        g.edge_from(lengths).map().to(count_up),
        g.edge_from(count_up).to(flat),
        g.edge_from(flat).to(g.end_node),
    )
    return g.build()


@example({"fig": 3, "plum": 4, "quince": 6})
def dicts_merged() -> Graph[None, None, None, dict[str, int]]:
    g = GraphBuilder(name="dicts", output_type=dict[str, int])

    @g.step
    async def fruits(ctx: Nothing) -> list[str]:
        return ["fig", "plum", "quince"]

    @g.step
    async def measure(ctx: StepContext[None, None, str]) -> dict[str, int]:
        return {ctx.inputs: len(ctx.inputs)}

    merged = g.join(reduce_dict_update, initial_factory=dict[str, int])
    g.add(
        g.edge_from(g.start_node).to(fruits),
        g.edge_from(fruits).map().to(measure),
        g.edge_from(measure).to(merged),
        g.edge_from(merged).to(g.end_node),
    )
    return g.build()


@dataclass
class Sum:
    total: int = 0


@example(15, state=Sum, expected_state=lambda state: state.total == 15)
def outputs_dropped_but_state_kept() -> Graph[Sum, None, None, int]:
    g = GraphBuilder(name="dropped", state_type=Sum, output_type=int)

    @g.step
    async def numbers(ctx: StepContext[Sum, None, None]) -> list[int]:
        return [1, 2, 3, 4, 5]

    @g.step
    async def tally(ctx: StepContext[Sum, None, int]) -> int:
        ctx.state.total += ctx.inputs
        return ctx.inputs

    @g.step
    async def total(ctx: StepContext[Sum, None, None]) -> int:
        return ctx.state.total

    dropped = g.join(reduce_null, initial=None)
    g.add(
        g.edge_from(g.start_node).to(numbers),
        g.edge_from(numbers).map().to(tally),
        g.edge_from(tally).to(dropped),
        g.edge_from(dropped).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


@example(100)
def numbers_summed() -> Graph[None, None, None, int]:
    g = GraphBuilder(name="sums", output_type=int)

    @g.step
    async def numbers(ctx: Nothing) -> list[int]:
        return [10, 20, 30, 40]

    @g.step
    async def same(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).to(numbers),
        g.edge_from(numbers).map().to(same),
        g.edge_from(same).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


@dataclass
class Finished:
    count: int = 0


@example("answer 1", state=Finished, expected_state=lambda state: state.count == 1)
def the_first_answer_wins() -> Graph[Finished, None, None, str]:
    g = GraphBuilder(name="first", state_type=Finished, output_type=str)

    @g.step
    async def sources(ctx: StepContext[Finished, None, None]) -> list[int]:
        return [1, 12, 13, 14, 15]

    @g.step
    async def ask(ctx: StepContext[Finished, None, int]) -> str:
        if ctx.inputs > 1:
            await asyncio.Event().wait()
        ctx.state.count += 1
        return f"answer {ctx.inputs}"

    answer = g.join(ReduceFirstValue[str](), initial="", node_id="answer")
    g.add(
        g.edge_from(g.start_node).to(sources),
        g.edge_from(sources).map().to(ask),
        g.edge_from(ask).to(answer),
        g.edge_from(answer).to(g.end_node),
    )
    return g.build()


def _longest(current: str, item: str) -> str:
    return max(current, item, key=len)


@example("hippopotamus")
def a_reducer_of_ones_own() -> Graph[None, None, None, str]:
    g = GraphBuilder(name="longest", output_type=str)

    @g.step
    async def animals(ctx: Nothing) -> list[str]:
        return ["cat", "hippopotamus", "otter"]

    @g.step
    async def same(ctx: StepContext[None, None, str]) -> str:
        return ctx.inputs

    longest = g.join(_longest, initial="")
    g.add(
        g.edge_from(g.start_node).to(animals),
        g.edge_from(animals).map().to(same),
        g.edge_from(same).to(longest),
        g.edge_from(longest).to(g.end_node),
    )
    return g.build()


@dataclass
class Metrics:
    count: int = 0
    total: int = 0


@dataclass
class Figures:
    count: int = 0
    total: int = 0


def _measure(ctx: ReducerContext[Metrics, None], current: Figures, item: int) -> Figures:
    ctx.state.count += 1
    ctx.state.total += item
    return Figures(current.count + 1, current.total + item)


def _greater(current: Figures, item: Figures) -> Figures:
    return Figures(max(current.count, item.count), max(current.total, item.total))


@example(
    Figures(count=5, total=200),
    state=Metrics,
    expected_state=lambda state: (state.count, state.total) == (9, 275),
)
def two_joins_meet_in_a_third() -> Graph[Metrics, None, None, Figures]:
    g = GraphBuilder(name="metrics", state_type=Metrics, output_type=Figures)

    @g.step
    async def numbers(ctx: StepContext[Metrics, None, None]) -> list[int]:
        return [1, 3, 5, 7, 9, 10, 20, 30, 40]

    @g.step
    async def double(ctx: StepContext[Metrics, None, int]) -> int:
        return ctx.inputs * 2

    @g.step
    async def triple(ctx: StepContext[Metrics, None, int]) -> int:
        return ctx.inputs * 3

    evens = g.join(_measure, initial_factory=Figures, node_id="evens")
    odds = g.join(_measure, initial_factory=Figures, node_id="odds")
    greatest = g.join(_greater, initial_factory=Figures, node_id="greatest")
    g.add(
        g.edge_from(g.start_node).to(numbers),
        g.edge_from(numbers)
        .map()
        .to(
            g.decision()
            .branch(g.match(int, matches=lambda n: n % 2 == 0).label("even").to(double))
            .branch(g.match(int, matches=lambda n: n % 2 == 1).label("odd").to(triple))
        ),
        g.edge_from(double).to(evens),
        g.edge_from(triple).to(odds),
        g.edge_from(evens, odds).to(greatest),
        g.edge_from(greatest).to(g.end_node),
    )
    return g.build()


@dataclass
class Searches:
    finished: int = 0


def _find(ctx: ReducerContext[Searches, None], current: str | None, item: str) -> str | None:
    if current is not None:
        return current
    if item.startswith("gold"):
        ctx.cancel_sibling_tasks()
        return item
    return None


@example("gold in the attic", state=Searches, expected_state=lambda state: state.finished == 3)
def a_search_that_ends_when_it_has_found() -> Graph[Searches, None, None, str | None]:
    g = GraphBuilder(name="search", state_type=Searches, output_type=str | None)  # type: ignore[arg-type]

    @g.step
    async def places(ctx: StepContext[Searches, None, None]) -> list[str]:
        return ["cellar", "garden", "attic", "moon", "sea"]

    @g.step
    async def dig(ctx: StepContext[Searches, None, str]) -> str:
        if ctx.inputs in ("moon", "sea"):
            await asyncio.Event().wait()
        ctx.state.finished += 1
        return f"gold in the {ctx.inputs}" if ctx.inputs == "attic" else f"nothing in the {ctx.inputs}"

    found = g.join(_find, initial=None)
    g.add(
        g.edge_from(g.start_node).to(places),
        g.edge_from(places).map().to(dig),
        g.edge_from(dig).to(found),
        g.edge_from(found).to(g.end_node),
    )
    return g.build()


@dataclass
class Results:
    by_group: dict[str, list[int]] = field(default_factory=dict)


@example({"a": [2, 4, 6], "b": [30, 60]}, state=Results, view=lambda r: {k: sorted(v) for k, v in r.items()})
def two_groups_side_by_side() -> Graph[Results, None, None, dict[str, list[int]]]:
    g = GraphBuilder(name="groups", state_type=Results, output_type=dict[str, list[int]])

    @g.step
    async def group_a(ctx: StepContext[Results, None, None]) -> list[int]:
        return [1, 2, 3]

    @g.step
    async def group_b(ctx: StepContext[Results, None, None]) -> list[int]:
        return [10, 20]

    @g.step
    async def double(ctx: StepContext[Results, None, int]) -> int:
        return ctx.inputs * 2

    @g.step
    async def triple(ctx: StepContext[Results, None, int]) -> int:
        return ctx.inputs * 3

    join_a = g.join(reduce_list_append, initial_factory=list[int], node_id="join_a", parent_fork_id="map_a")
    join_b = g.join(reduce_list_append, initial_factory=list[int], node_id="join_b", parent_fork_id="map_b")

    @g.step
    async def keep_a(ctx: StepContext[Results, None, list[int]]) -> None:
        ctx.state.by_group["a"] = ctx.inputs

    @g.step
    async def keep_b(ctx: StepContext[Results, None, list[int]]) -> None:
        ctx.state.by_group["b"] = ctx.inputs

    both = g.join(reduce_null, initial=None, node_id="both")

    @g.step
    async def combine(ctx: StepContext[Results, None, None]) -> dict[str, list[int]]:
        return ctx.state.by_group

    g.add(
        g.edge_from(g.start_node).to(group_a, group_b),
        g.edge_from(group_a).map(fork_id="map_a").to(double),
        g.edge_from(group_b).map(fork_id="map_b").to(triple),
        g.edge_from(double).to(join_a),
        g.edge_from(triple).to(join_b),
        g.edge_from(join_a).to(keep_a),
        g.edge_from(join_b).to(keep_b),
        g.edge_from(keep_a, keep_b).to(both),
        g.edge_from(both).to(combine),
        g.edge_from(combine).to(g.end_node),
    )
    return g.build()


@example(["ant", "bee", "cow"])
def folded_in_the_order_of_the_branches() -> Graph[None, None, None, list[str]]:
    g = GraphBuilder(name="branches", output_type=list[str])

    @g.step
    async def lengths(ctx: Nothing) -> list[int]:
        return [3, 2, 1]

    @g.step
    async def wait_and_name(ctx: StepContext[None, None, int]) -> str:
        for _ in range(ctx.inputs):
            await asyncio.sleep(0)
        return {3: "ant", 2: "bee", 1: "cow"}[ctx.inputs]

    names = g.join(reduce_list_append, initial_factory=list[str], order="branch")
    g.add(
        g.edge_from(g.start_node).to(lengths),
        g.edge_from(lengths).map().to(wait_and_name),
        g.edge_from(wait_and_name).to(names),
        g.edge_from(names).to(g.end_node),
    )
    return g.build()


@example([10, 100], view=sorted)
def a_join_for_each_row_and_one_for_all() -> Graph[None, None, None, list[int]]:
    g = GraphBuilder(name="nested", output_type=list[int])

    @g.step
    async def rows(ctx: Nothing) -> list[list[int]]:
        return [[1, 2, 7], [30, 70]]

    @g.step
    async def cells(ctx: StepContext[None, None, list[int]]) -> list[int]:
        return ctx.inputs

    @g.step
    async def same(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    row = g.join(reduce_sum, initial=0, node_id="row", preferred_parent_fork="closest")
    table = g.join(reduce_list_append, initial_factory=list[int], node_id="table")
    g.add(
        g.edge_from(g.start_node).to(rows),
        g.edge_from(rows).map().to(cells),
        g.edge_from(cells).map().to(same),
        g.edge_from(same).to(row),
        g.edge_from(row).to(table),
        g.edge_from(table).to(g.end_node),
    )
    return g.build()


@example([3, 9, 27], inputs=1)
def a_join_inside_a_loop() -> Graph[None, None, int, list[int]]:
    g = GraphBuilder(name="loop", input_type=int, output_type=list[int])

    @g.step
    async def spread(ctx: StepContext[None, None, int]) -> list[int]:
        return [ctx.inputs] * 3

    @g.step
    async def same(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    total = g.join(reduce_sum, initial=0)

    @g.step
    async def powers(ctx: StepContext[None, None, int]) -> list[int]:
        found, n = [], ctx.inputs
        while n > 1:
            found.append(n)
            n //= 3
        return found[::-1]

    g.add(
        g.edge_from(g.start_node).to(spread),
        g.edge_from(spread).map().to(same),
        g.edge_from(same).to(total),
        g.edge_from(total).to(
            g.decision()
            .branch(g.match(int, matches=lambda n: n < 27).label("again").to(spread))
            .branch(g.match(int).to(powers))
        ),
        g.edge_from(powers).to(g.end_node),
    )
    return g.build()
