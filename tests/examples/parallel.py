"""Broadcasts, maps and streams: one value on several ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from examples import example
from perdure import Graph, GraphBuilder, StepContext, reduce_dict_update, reduce_list_append, reduce_sum

Ctx = StepContext[None, None, int]


@example([41, 42, 43], view=sorted)
def one_price_in_three_currencies() -> Graph[None, None, None, list[int]]:
    g = GraphBuilder(name="prices", output_type=list[int])

    @g.step
    async def price(ctx: StepContext[None, None, None]) -> int:
        return 40

    @g.step
    async def in_euro(ctx: Ctx) -> int:
        return ctx.inputs + 1

    @g.step
    async def in_dollar(ctx: Ctx) -> int:
        return ctx.inputs + 2

    @g.step
    async def in_yen(ctx: Ctx) -> int:
        return ctx.inputs + 3

    together = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(price),
        g.edge_from(price).to(in_euro, in_dollar, in_yen),
        g.edge_from(in_euro, in_dollar, in_yen).to(together),
        g.edge_from(together).to(g.end_node),
    )
    return g.build()


@example([1, 4, 9, 16, 25], view=sorted)
def areas_of_squares() -> Graph[None, None, None, list[int]]:
    g = GraphBuilder(name="areas", output_type=list[int])

    @g.step
    async def sides(ctx: StepContext[None, None, None]) -> list[int]:
        return [1, 2, 3, 4, 5]

    @g.step
    async def area(ctx: Ctx) -> int:
        return ctx.inputs * ctx.inputs

    areas = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(sides),
        g.edge_from(sides).map().to(area),
        g.edge_from(area).to(areas),
        g.edge_from(areas).to(g.end_node),
    )
    return g.build()


@example([3, 6, 9], view=sorted)
def readings_tripled_as_they_come() -> Graph[None, None, None, list[int]]:
    g = GraphBuilder(name="readings", output_type=list[int])

    @g.stream
    async def readings(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
        for reading in range(1, 4):
            yield reading

    @g.step
    async def triple(ctx: Ctx) -> int:
        return ctx.inputs * 3

    tripled = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(readings),
        g.edge_from(readings).map().to(triple),
        g.edge_from(triple).to(tripled),
        g.edge_from(tripled).to(g.end_node),
    )
    return g.build()


@example(["no. 10", "no. 20", "no. 30"], view=sorted)
def numbers_named_over_a_mapping_edge() -> Graph[None, None, None, list[str]]:
    g = GraphBuilder(name="names", output_type=list[str])

    @g.step
    async def numbers(ctx: StepContext[None, None, None]) -> list[int]:
        return [10, 20, 30]

    @g.step
    async def name(ctx: Ctx) -> str:
        return f"no. {ctx.inputs}"

    names = g.join(reduce_list_append, initial_factory=list[str])
    g.add(g.edge_from(g.start_node).to(numbers))
    g.add_mapping_edge(numbers, name, pre_map_label="all", post_map_label="each")
    g.add(g.edge_from(name).to(names), g.edge_from(names).to(g.end_node))
    return g.build()


@example([])
def nothing_to_map() -> Graph[None, None, None, list[int]]:
    g = GraphBuilder(name="nothing", output_type=list[int])

    @g.step
    async def orders(ctx: StepContext[None, None, None]) -> list[int]:
        return []

    @g.step
    async def ship(ctx: Ctx) -> int:
        return ctx.inputs

    shipped = g.join(reduce_list_append, initial_factory=list[int])
    g.add(g.edge_from(g.start_node).to(orders))
    g.add_mapping_edge(orders, ship, downstream_join_id=shipped.id)
    g.add(g.edge_from(ship).to(shipped), g.edge_from(shipped).to(g.end_node))
    return g.build()


@example([11, 12, 21, 22], view=sorted)
def each_item_on_two_ways() -> Graph[None, None, None, list[int]]:
    g = GraphBuilder(name="two ways", output_type=list[int])

    @g.step
    async def items(ctx: StepContext[None, None, None]) -> list[int]:
        return [10, 20]

    @g.step
    async def plus_one(ctx: Ctx) -> int:
        return ctx.inputs + 1

    @g.step
    async def plus_two(ctx: Ctx) -> int:
        return ctx.inputs + 2

    together = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(items),
        g.edge_from(items).map().to(plus_one, plus_two),
        g.edge_from(plus_one, plus_two).to(together),
        g.edge_from(together).to(g.end_node),
    )
    return g.build()


@example(["n1", "n2", "n3", "n4"], view=sorted)
def pairs_taken_apart_twice() -> Graph[None, None, None, list[str]]:
    g = GraphBuilder(name="pairs", output_type=list[str])

    @g.step
    async def pairs(ctx: StepContext[None, None, None]) -> list[tuple[int, int]]:
        return [(1, 2), (3, 4)]

    @g.step
    async def parts(ctx: StepContext[None, None, tuple[int, int]]) -> list[int]:
        return [ctx.inputs[0], ctx.inputs[1]]

    @g.step
    async def name(ctx: Ctx) -> str:
        return f"n{ctx.inputs}"

    names = g.join(reduce_list_append, initial_factory=list[str])
    g.add(
        g.edge_from(g.start_node).to(pairs),
        g.edge_from(pairs).map().to(parts),
        g.edge_from(parts).map().to(name),
        g.edge_from(name).to(names),
        g.edge_from(names).to(g.end_node),
    )
    return g.build()


@example([2, 3, 4, 5], view=sorted)
def a_table_mapped_by_row_and_cell() -> Graph[None, None, None, list[int]]:
    g = GraphBuilder(name="table", output_type=list[int])

    @g.step
    async def table(ctx: StepContext[None, None, None]) -> list[list[int]]:
        return [[1, 2], [3, 4], []]

    @g.step
    async def add_one(ctx: Ctx) -> int:
        return ctx.inputs + 1

    cells = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(table),
        g.edge_from(table).map().map().to(add_one),
        g.edge_from(add_one).to(cells),
        g.edge_from(cells).to(g.end_node),
    )
    return g.build()


@dataclass
class Ledger:
    seen: list[int] = field(default_factory=list)
    total: int = 0


@example(
    [1, 4, 9],
    view=sorted,
    state=Ledger,
    expected_state=lambda state: (sorted(state.seen), state.total) == ([1, 2, 3], 6),
)
def all_arms_write_to_one_ledger() -> Graph[Ledger, None, None, list[int]]:
    g = GraphBuilder(name="ledger", state_type=Ledger, output_type=list[int])

    @g.step
    async def amounts(ctx: StepContext[Ledger, None, None]) -> list[int]:
        return [1, 2, 3]

    @g.step
    async def book(ctx: StepContext[Ledger, None, int]) -> int:
        ctx.state.seen.append(ctx.inputs)
        ctx.state.total += ctx.inputs
        return ctx.inputs * ctx.inputs

    booked = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(amounts),
        g.edge_from(amounts).map().to(book),
        g.edge_from(book).to(booked),
        g.edge_from(booked).to(g.end_node),
    )
    return g.build()


@example("it is 84")
def a_value_changed_on_its_way() -> Graph[None, None, None, str]:
    g = GraphBuilder(name="transform", output_type=str)

    @g.step
    async def answer(ctx: StepContext[None, None, None]) -> int:
        return 42

    @g.step
    async def say(ctx: StepContext[None, None, str]) -> str:
        return f"it is {ctx.inputs}"

    g.add(
        g.edge_from(g.start_node).to(answer),
        g.edge_from(answer).transform(lambda ctx: str(ctx.inputs * 2)).to(say),
        g.edge_from(say).to(g.end_node),
    )
    return g.build()


@example(["got 10", "got 20", "got 30"], view=sorted)
def rows_transformed_then_mapped() -> Graph[None, None, None, list[str]]:
    g = GraphBuilder(name="rows", output_type=list[str])

    @g.step
    async def rows(ctx: StepContext[None, None, None]) -> list[dict[str, int]]:
        return [{"amount": 10}, {"amount": 20}, {"amount": 30}]

    @g.step
    async def note(ctx: Ctx) -> str:
        return f"got {ctx.inputs}"

    notes = g.join(reduce_list_append, initial_factory=list[str])
    g.add(
        g.edge_from(g.start_node).to(rows),
        g.edge_from(rows).transform(lambda ctx: [row["amount"] for row in ctx.inputs]).label("amounts").map().to(note),
        g.edge_from(note).to(notes),
        g.edge_from(notes).to(g.end_node),
    )
    return g.build()


@example({"even": 3, "odd": 2})
def a_stream_with_a_decision_for_each_item() -> Graph[None, None, None, dict[str, int]]:
    g = GraphBuilder(name="sorting", output_type=dict[str, int])

    @g.stream
    async def numbers(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
        for number in (2, 3, 4, 5, 6):
            yield number

    @g.step
    async def even(ctx: Ctx) -> int:
        return 1

    @g.step
    async def odd(ctx: Ctx) -> int:
        return 1

    evens = g.join(reduce_sum, initial=0, node_id="evens")
    odds = g.join(reduce_sum, initial=0, node_id="odds")
    both = g.join(reduce_dict_update, initial_factory=dict[str, int])
    g.add(
        g.edge_from(g.start_node).to(numbers),
        g.edge_from(numbers)
        .map()
        .to(
            g.decision()
            .branch(g.match(int, matches=lambda n: n % 2 == 0).to(even))
            .branch(g.match(int).label("odd").to(odd))
        ),
        g.edge_from(even).to(evens),
        g.edge_from(odd).to(odds),
        g.edge_from(evens).transform(lambda ctx: {"even": ctx.inputs}).to(both),
        g.edge_from(odds).transform(lambda ctx: {"odd": ctx.inputs}).to(both),
        g.edge_from(both).to(g.end_node),
    )
    return g.build()


@example(6, inputs=[1, 2, 3])
def inputs_mapped_at_the_start() -> Graph[None, None, list[int], int]:
    g = GraphBuilder(name="sum", input_type=list[int], output_type=int)

    @g.step
    async def same(ctx: Ctx) -> int:
        return ctx.inputs

    total = g.join(reduce_sum, initial=0)
    g.add(
        g.edge_from(g.start_node).map().to(same),
        g.edge_from(same).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()


@example(64, inputs=1)
def doubled_until_it_is_large() -> Graph[None, None, int, int]:
    g = GraphBuilder(name="doubling", input_type=int, output_type=int)

    @g.step
    async def double(ctx: Ctx) -> int:
        return ctx.inputs * 2

    g.add(
        g.edge_from(g.start_node).to(double),
        g.edge_from(double).to(
            g.decision()
            .branch(g.match(int, matches=lambda n: n < 50).label("again").to(double))
            .branch(g.match(int).to(g.end_node))
        ),
    )
    return g.build()
