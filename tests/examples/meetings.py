"""Steps at which arms meet: for each arrival, when all have come, with the first, or with so many."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from examples import example
from perdure import Graph, GraphBuilder, StepContext, append

Nothing = StepContext[None, None, None]
Text = StepContext[None, None, str]
Texts = StepContext[None, None, list[str]]
Number = StepContext[None, None, int]


@dataclass
class Log:
    history: list[str] = field(default_factory=list)
    a: int = 0
    b: int = 0


Logged = StepContext[Log, None, None]


@example(
    None,
    state=Log,
    expected_state=lambda log: (log.a, log.b) == (1, 2) and log.history.count("last") == 2,
)
def without_a_join_the_node_runs_for_each_arm() -> Graph[Log, None, None, None]:
    g = GraphBuilder(name="each", state_type=Log, end="all")

    @g.step
    async def first(ctx: Logged) -> None:
        ctx.state.history.append("first")

    @g.step
    async def branch_a(ctx: Logged) -> None:
        ctx.state.a = 1

    @g.step
    async def branch_b(ctx: Logged) -> None:
        ctx.state.b = 2

    @g.step(join="each")
    async def last(ctx: Logged) -> None:
        ctx.state.history.append("last")

    g.add(
        g.edge_from(g.start_node).to(first),
        g.edge_from(first).to(branch_a, branch_b),
        # Two edges in sequence, each of which leads on: that is what is meant here.
        g.edge_from(branch_a).to(last),
        g.edge_from(branch_b).to(last),
        g.edge_from(last).to(g.end_node),
    )
    return quietly(g)


def quietly(g: GraphBuilder[Log, None, None, None]) -> Graph[Log, None, None, None]:
    """Build a graph in which arms meet without a join on purpose."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return g.build()


@example(
    None,
    state=Log,
    expected_state=lambda log: log.history == ["first", "last"] and (log.a, log.b) == (1, 2),
)
def with_a_join_the_node_runs_once() -> Graph[Log, None, None, None]:
    g = GraphBuilder(name="all", state_type=Log)

    @g.step
    async def first(ctx: Logged) -> None:
        ctx.state.history.append("first")

    @g.step
    async def branch_a(ctx: Logged) -> None:
        ctx.state.a = 1

    @g.step
    async def branch_b(ctx: Logged) -> None:
        ctx.state.b = 2

    @g.step(join="all")
    async def last(ctx: StepContext[Log, None, list[None]]) -> None:
        assert ctx.inputs == [None, None]
        ctx.state.history.append("last")

    g.add(
        g.edge_from(g.start_node).to(first),
        g.edge_from(first).to(branch_a, branch_b),
        g.edge_from(branch_a, branch_b).to(last),
        g.edge_from(last).to(g.end_node),
    )
    return g.build()


@example("moods and names of news", inputs="news")
def text_analysed_in_two_ways() -> Graph[None, None, str, str]:
    g = GraphBuilder(name="analysis", input_type=str, output_type=str)

    @g.step
    async def fetch(ctx: Text) -> str:
        return ctx.inputs

    @g.step
    async def moods(ctx: Text) -> str:
        await asyncio.sleep(0)
        return "moods"

    @g.step
    async def names(ctx: Text) -> str:
        return f"names of {ctx.inputs}"

    @g.step(join="all")
    async def merge(ctx: Texts) -> str:
        return " and ".join(ctx.inputs)

    g.add(
        g.edge_from(g.start_node).to(fetch),
        g.edge_from(fetch).to(moods, names),
        g.edge_from(moods, names).to(merge),
        g.edge_from(merge).to(g.end_node),
    )
    return g.build()


@example("short, deeper", inputs=0)
def arms_of_unequal_depth_one_of_which_ends_on_its_own() -> Graph[None, None, int, str]:
    """The step waits for an arm that is three steps long, and not for one that a decision lets end elsewhere."""
    g = GraphBuilder(name="unequal", input_type=int, output_type=str)

    @g.step
    async def short(ctx: Number) -> str:
        return "short"

    @g.step
    async def deep(ctx: Number) -> str:
        return "deep"

    @g.step
    async def deeper(ctx: Text) -> str:
        return f"{ctx.inputs}er"

    @g.step
    async def gated(ctx: Number) -> int:
        return ctx.inputs

    @g.step
    async def passed(ctx: Number) -> str:
        return "passed"

    @g.step(join="all", node_id="swallowed")
    async def swallowed(ctx: StepContext[None, None, list[int]]) -> str:
        return "swallowed"

    @g.step(join="all")
    async def merge(ctx: Texts) -> str:
        return ", ".join(ctx.inputs)

    g.add(
        g.edge_from(g.start_node).to(short, deep, gated),
        g.edge_from(deep).to(deeper),
        g.edge_from(gated).to(
            g.decision()
            .branch(g.match(int, matches=lambda n: n > 0).to(passed))
            .branch(g.match(int).transform(lambda ctx: []).map().to(passed))
        ),
        g.edge_from(short, deeper, passed).to(merge),
        g.edge_from(merge).to(g.end_node),
    )
    return g.build()


@example("gold", state=Log, expected_state=lambda log: log.history == ["near"])
def any_runs_once_and_stops_the_rest() -> Graph[Log, None, None, str]:
    g = GraphBuilder(name="any", state_type=Log, output_type=str)

    @g.step
    async def near(ctx: Logged) -> str:
        ctx.state.history.append("near")
        return "gold"

    @g.step
    async def far(ctx: Logged) -> str:
        await asyncio.Event().wait()
        ctx.state.history.append("far")
        return "silver"

    @g.step(join="any", cancel=True)
    async def take(ctx: StepContext[Log, None, str]) -> str:
        return ctx.inputs

    g.add(
        g.edge_from(g.start_node).to(near, far),
        g.edge_from(near, far).to(take),
        g.edge_from(take).to(g.end_node),
    )
    return g.build()


@example("one", state=Log, expected_state=lambda log: sorted(log.history) == ["a", "b", "taken"])
def any_runs_once_and_absorbs_what_comes_later() -> Graph[Log, None, None, str]:
    g = GraphBuilder(name="absorbs", state_type=Log, output_type=str, end="all")

    @g.step
    async def a(ctx: Logged) -> str:
        ctx.state.history.append("a")
        return "one"

    @g.step
    async def b(ctx: Logged) -> str:
        ctx.state.history.append("b")
        return "one"

    @g.step(join="any")
    async def take(ctx: StepContext[Log, None, str]) -> str:
        ctx.state.history.append("taken")
        return ctx.inputs

    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(a, b).to(take),
        g.edge_from(take).to(g.end_node),
    )
    return g.build()


@example([1, 3], inputs=[1, 2, 3, 4])
def two_of_four_are_enough() -> Graph[None, None, list[int], list[int]]:
    g = GraphBuilder(name="quorum", input_type=list[int], output_type=list[int])

    @g.step
    async def vote(ctx: Number) -> int:
        if ctx.inputs % 2 == 0:
            await asyncio.Event().wait()
        return ctx.inputs

    @g.step(join=2, cancel=True)
    async def enough(ctx: StepContext[None, None, list[int]]) -> list[int]:
        return ctx.inputs

    g.add(
        g.edge_from(g.start_node).map().to(vote),
        g.edge_from(vote).to(enough),
        g.edge_from(enough).to(g.end_node),
    )
    return g.build()


@dataclass
class Scores:
    shared: Annotated[list[int], append] = field(default_factory=list)
    sentiment: str = ""
    entities: list[str] = field(default_factory=list)


@example(
    "done",
    state=Scores,
    expected_state=lambda state: (
        sorted(state.shared) == [1, 2] and state.sentiment == "calm" and state.entities == ["Oslo"]
    ),
)
def branches_write_keys_of_their_own_and_a_shared_one() -> Graph[Scores, None, None, str]:
    g = GraphBuilder(name="shared keys", state_type=Scores, output_type=str)

    @g.step
    async def sentiment(ctx: StepContext[Scores, None, None]) -> None:
        ctx.state.sentiment = "calm"
        ctx.state.shared.append(1)

    @g.step
    async def entities(ctx: StepContext[Scores, None, None]) -> None:
        ctx.state.entities.append("Oslo")
        ctx.state.shared.append(2)

    @g.step(join="all")
    async def merge(ctx: StepContext[Scores, None, list[None]]) -> str:
        return "done"

    g.add(
        g.edge_from(g.start_node).to(sentiment, entities),
        g.edge_from(sentiment, entities).to(merge),
        g.edge_from(merge).to(g.end_node),
    )
    return g.build()
