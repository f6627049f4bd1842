"""Routers: code that says which ways a value takes, one, several, or one of them twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from examples import example
from perdure import Graph, GraphBuilder, Send, StepContext, reduce_list_append, reduce_sum

Number = StepContext[None, None, int]
Text = StepContext[None, None, str]


@example("by rail: 900", inputs=900)
def a_router_that_takes_one_way() -> Graph[None, None, int, str]:
    g = GraphBuilder(name="one way", input_type=int, output_type=str, end="all")

    @g.step
    async def by_bike(ctx: Number) -> str:
        return f"by bike: {ctx.inputs}"

    @g.step
    async def by_rail(ctx: Number) -> str:
        return f"by rail: {ctx.inputs}"

    @g.router
    async def carrier(ctx: Number) -> Any:
        return by_bike if ctx.inputs < 20 else by_rail

    g.add(
        g.edge_from(g.start_node).to(carrier),
        g.edge_from(carrier).to(by_bike, by_rail),
        g.edge_from(by_bike, by_rail).to(g.end_node),
    )
    return g.build()


@dataclass
class Toolbox:
    used: list[str] = field(default_factory=list)
    rounds: int = 0


@example(
    ["maps: Oslo", "weather: Oslo"],
    inputs="Oslo",
    state=Toolbox,
    expected_state=lambda state: sorted(state.used) == ["maps", "weather"],
)
def a_router_that_takes_two_ways_of_three() -> Graph[Toolbox, None, str, list[str]]:
    """The third tool isn't chosen, so the step that waits for all doesn't wait for it."""
    g = GraphBuilder(name="two of three", state_type=Toolbox, input_type=str, output_type=list[str])

    @g.step
    async def maps(ctx: StepContext[Toolbox, None, str]) -> str:
        ctx.state.used.append("maps")
        return f"maps: {ctx.inputs}"

    @g.step
    async def weather(ctx: StepContext[Toolbox, None, str]) -> str:
        ctx.state.used.append("weather")
        return f"weather: {ctx.inputs}"

    @g.step
    async def news(ctx: StepContext[Toolbox, None, str]) -> str:
        ctx.state.used.append("news")
        return f"news: {ctx.inputs}"

    @g.router
    async def tools(ctx: StepContext[Toolbox, None, str]) -> Any:
        return ["maps", "weather"]

    @g.step(join="all")
    async def answer(ctx: StepContext[Toolbox, None, list[str]]) -> list[str]:
        return ctx.inputs

    g.add(
        g.edge_from(g.start_node).to(tools),
        g.edge_from(tools).to(maps, weather, news),
        g.edge_from(maps, weather, news).to(answer),
        g.edge_from(answer).to(g.end_node),
    )
    return g.build()


@example([1], inputs=1)
def a_router_that_returns_a_list_of_one() -> Graph[None, None, int, list[int]]:
    g = GraphBuilder(name="list of one", input_type=int, output_type=list[int])

    @g.step
    async def left(ctx: Number) -> int:
        return ctx.inputs

    @g.step
    async def right(ctx: Number) -> int:
        return -ctx.inputs

    @g.router
    async def way(ctx: Number) -> Any:
        return [left]

    @g.step(join="all")
    async def met(ctx: StepContext[None, None, list[int]]) -> list[int]:
        return ctx.inputs

    g.add(
        g.edge_from(g.start_node).to(way),
        g.edge_from(way).to(left),
        g.edge_from(way).to(right),
        g.edge_from(left, right).to(met),
        g.edge_from(met).to(g.end_node),
    )
    return g.build()


@example(["ask: ada", "ask: bob", "ask: ada", "tell: all"], inputs="all")
def a_router_that_sends_values_of_its_own_and_takes_a_way_twice() -> Graph[None, None, str, list[str]]:
    g = GraphBuilder(name="sends", input_type=str, output_type=list[str])

    @g.step
    async def ask(ctx: Text) -> str:
        return f"ask: {ctx.inputs}"

    @g.step
    async def tell(ctx: Text) -> str:
        return f"tell: {ctx.inputs}"

    @g.router
    async def post(ctx: Text) -> Any:
        return [Send(ask, "ada"), Send(ask, "bob"), Send("ask", "ada"), tell]

    answers = g.join(reduce_list_append, initial_factory=list[str], order="branch")
    g.add(
        g.edge_from(g.start_node).to(post),
        g.edge_from(post).to(ask, tell),
        g.edge_from(ask, tell).to(answers),
        g.edge_from(answers).to(g.end_node),
    )
    return g.build()


@example("nothing to do", inputs=[])
def a_router_that_chooses_nothing_and_says_where_to_go_then() -> Graph[None, None, list[str], str]:
    g = GraphBuilder(name="empty", input_type=list[str], output_type=str)

    @g.step
    async def work(ctx: StepContext[None, None, list[str]]) -> str:
        return "worked"

    @g.step
    async def rest(ctx: StepContext[None, None, list[str]]) -> str:
        return "nothing to do"

    @g.router(empty=rest)
    async def choose(ctx: StepContext[None, None, list[str]]) -> Any:
        return [work] * len(ctx.inputs)

    @g.step(join="any", cancel=True)
    async def told(ctx: Text) -> str:
        return ctx.inputs

    g.add(
        g.edge_from(g.start_node).to(choose),
        g.edge_from(choose).to(work),
        g.edge_from(work, rest).to(told),
        g.edge_from(told).to(g.end_node),
    )
    return g.build()


@example(
    "after 3 rounds",
    state=Toolbox,
    expected_state=lambda state: state.rounds == 3 and sorted(state.used) == ["look"] * 3 + ["think"] * 3,
)
def a_router_and_a_join_in_a_loop() -> Graph[Toolbox, None, None, str]:
    g = GraphBuilder(name="rounds", state_type=Toolbox, output_type=str)

    @g.step
    async def begin(ctx: StepContext[Toolbox, None, None]) -> list[str]:
        return []

    @g.step
    async def think(ctx: StepContext[Toolbox, None, list[str]]) -> str:
        ctx.state.used.append("think")
        return "thought"

    @g.step
    async def look(ctx: StepContext[Toolbox, None, list[str]]) -> str:
        ctx.state.used.append("look")
        return "looked"

    @g.step
    async def close(ctx: StepContext[Toolbox, None, list[str]]) -> str:
        return f"after {ctx.state.rounds} rounds"

    @g.router
    async def plan(ctx: StepContext[Toolbox, None, list[str]]) -> Any:
        if ctx.state.rounds == 3:
            return close
        ctx.state.rounds += 1
        return [think, look]

    seen = g.join(reduce_list_append, initial_factory=list[str], order="branch", node_id="seen")
    g.add(
        g.edge_from(g.start_node).to(begin),
        g.edge_from(begin, seen).to(plan),
        g.edge_from(plan).to(think, look, close),
        g.edge_from(think, look).to(seen),
        g.edge_from(close).to(g.end_node),
    )
    return g.build()


@example([[5], [7, 6]], inputs=[5, 12], view=sorted)
def a_router_in_every_arm_of_a_map() -> Graph[None, None, list[int], list[list[int]]]:
    g = GraphBuilder(name="in arms", input_type=list[int], output_type=list[list[int]])

    @g.step
    async def whole(ctx: Number) -> int:
        return ctx.inputs

    @g.step
    async def part(ctx: Number) -> int:
        return ctx.inputs

    @g.router
    async def halve(ctx: Number) -> Any:
        return whole if ctx.inputs < 10 else [Send(part, 7), Send(part, ctx.inputs // 2)]

    @g.step(join="all")
    async def parts(ctx: StepContext[None, None, list[int]]) -> list[int]:
        return ctx.inputs

    table = g.join(reduce_list_append, initial_factory=list[list[int]])
    g.add(
        g.edge_from(g.start_node).map().to(halve),
        g.edge_from(halve).to(whole, part),
        g.edge_from(whole, part).to(parts),
        g.edge_from(parts).to(table),
        g.edge_from(table).to(g.end_node),
    )
    return g.build()


@example(12, inputs=3)
def a_router_that_leads_to_a_join_to_an_edge_with_a_transform_and_to_a_map() -> Graph[None, None, int, int]:
    g = GraphBuilder(name="kinds of ways", input_type=int, output_type=int)
    total = g.join(reduce_sum, initial=0, node_id="total")

    @g.step
    async def once(ctx: Number) -> int:
        return ctx.inputs

    @g.step
    async def each(ctx: Number) -> int:
        return ctx.inputs

    @g.router
    async def ways(ctx: Number) -> Any:
        return [total, once, each]

    g.add(
        g.edge_from(g.start_node).to(ways),
        g.edge_from(ways).to(total),
        g.edge_from(ways).transform(lambda ctx: ctx.inputs * 2).to(once),
        g.edge_from(ways).transform(lambda ctx: list(range(ctx.inputs))).map().to(each),
        g.edge_from(once, each).to(total),
        g.edge_from(total).to(g.end_node),
    )
    return g.build()
