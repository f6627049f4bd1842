"""Routers: what they may choose, and what their rounds cost."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest

from e2e.short_graphs import Told, builder, run
from perdure import Engine, GraphRuntimeError, MemoryStore, Retry, Send, Status, reduce_list_append


async def same(ctx: Any) -> Any:
    return ctx.inputs


def routed(choose: Any, **options: Any) -> Any:
    """Return a graph with a router that may go to a and b, and knows c."""
    g = builder(end="all")
    a, b = g.step(same, node_id="a"), g.step(same, node_id="b")
    router = g.router(choose(g, a, b), node_id="choose", **options)
    met = g.step(same, node_id="met", join="all")
    g.add(
        g.edge_from(g.start_node).to(router),
        g.edge_from(router).to(a, b),
        g.edge_from(a, b).to(met),
        g.edge_from(met).to(g.end_node),
    )
    return g.build()


def choosing(choice: Any) -> Any:
    """Return what makes a router that always returns something."""

    def made(g: Any, a: Any, b: Any) -> Any:
        async def choose(ctx: Any) -> Any:
            return choice(a, b) if callable(choice) else choice

        return choose

    return made


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("a", [7]),
        (lambda a, b: a, [7]),
        (["a"], [7]),
        (("a", "b"), [7, 7]),
        (lambda a, b: [b, a, b], [7, 7, 7]),
        (lambda a, b: Send(a, 1), [1]),
        (lambda a, b: [Send(b, 3), Send("a", 2), a], [3, 2, 7]),
        (lambda a, b: Send(a, None), [None]),
    ],
    ids=lambda value: "chosen" if callable(value) else str(value),
)
def test_a_router_names_nodes_or_their_ids_one_or_several(choice: Any, expected: Any) -> None:
    graph = routed(choosing(choice))
    assert run(graph, 7) == expected
    assert Told(graph, 7).result == expected


def test_a_choice_that_is_no_edge_is_refused_by_name() -> None:
    def unconnected(g: Any, a: Any, b: Any) -> Any:
        c = g.step(same, node_id="c")

        async def choose(ctx: Any) -> Any:
            return c

        return choose

    for made, name in [(unconnected, "'c'"), (choosing("nowhere"), "'nowhere'"), (choosing(17), "17")]:
        with pytest.raises(GraphRuntimeError, match=f"'choose' has chosen {name}, .* it has edges to 'a', 'b'"):
            run(routed(made), 7)


@pytest.mark.parametrize("nothing", [[], (), None])
def test_choosing_nothing_is_an_error_unless_it_is_said_where_to_go_then(nothing: Any) -> None:
    with pytest.raises(GraphRuntimeError, match=r"'choose' has chosen (nothing|None)"):
        run(routed(choosing(nothing)), 7)
    if nothing is not None:
        assert run(routed(choosing(nothing), empty="b"), 7) == [7]


def test_a_router_can_fail_and_be_tried_again_and_leaves_nothing_in_the_state() -> None:
    g = builder(state_type=dict[str, Any], end="all")
    a, b = g.step(same, node_id="a"), g.step(same, node_id="b")

    @g.router(retry=Retry(initial_interval=0.001), timeout=5)
    async def choose(ctx: Any) -> Any:
        ctx.state[f"attempt {ctx.attempt}"] = True
        if ctx.attempt == 1:
            raise OSError
        return [a]

    g.add(g.edge_from(g.start_node).to(choose), g.edge_from(choose).to(a, b), g.edge_from(a, b).to(g.end_node))
    state: dict[str, Any] = {}
    assert run(g.build(), 7, state=state) == 7
    assert state == {"attempt 2": True}


def test_a_router_can_wait_for_arms_itself() -> None:
    g = builder(end="all")
    a, b, c = (g.step(same, node_id=name) for name in "abc")
    met = g.step(same, node_id="met", join="all")

    @g.router(join="all")
    async def choose(ctx: Any) -> Any:
        return [Send(c, sum(ctx.inputs)), c]

    g.add(
        g.edge_from(g.start_node).to(a, b),
        g.edge_from(a, b).to(choose),
        g.edge_from(choose).to(c),
        g.edge_from(c).to(met),
        g.edge_from(met).to(g.end_node),
    )
    assert run(g.build(), 4) == [8, [4, 4]]


def test_a_router_can_go_to_the_end_a_decision_and_a_group() -> None:
    g = builder(end="all")
    a, b = g.step(same, node_id="a"), g.step(same, node_id="b")
    decision = g.decision(node_id="which").branch(g.match(int).to(g.end_node)).branch(g.match(str).to(a))
    pair = g.parallel(g.step(same, node_id="x"), g.step(same, node_id="y"), node_id="pair")

    @g.router
    async def choose(ctx: Any) -> Any:
        return [g.end_node, Send(decision, "text"), Send("which", 5), Send(pair, 1)]

    g.add(
        g.edge_from(g.start_node).to(b),
        g.edge_from(b).to(choose),
        g.edge_from(choose).to(g.end_node, decision, pair),
        g.edge_from(a, pair).to(g.end_node),
    )

    async def main() -> Any:
        graph = g.build()
        async with Engine.open(MemoryStore(), [graph]) as engine:
            return list(await (await engine.start(graph, inputs=0)).outputs())

    assert sorted(asyncio.run(main()), key=str) == sorted([0, "text", 5, [1, 1]], key=str)


# --- rounds ---


def rounds(policy: str) -> Any:
    g = builder(max_steps=10_000)

    async def tool(ctx: Any) -> Any:
        return ctx.inputs + 1

    a, b = g.step(tool, node_id="a"), g.step(tool, node_id="b")
    done = g.step(same, node_id="done")

    async def choose(ctx: Any) -> Any:
        value = ctx.inputs[0] if isinstance(ctx.inputs, list) else ctx.inputs
        return Send(done, value) if value >= 1000 else [Send(a, value), Send(b, value)]

    router = g.router(choose, node_id="choose")
    met: Any
    if policy == "join":
        met = g.join(reduce_list_append, initial_factory=list, order="branch", node_id="met")
    else:
        met = g.step(same, node_id="met", join="all")
    g.add(
        g.edge_from(g.start_node).to(router),
        g.edge_from(router).to(a, b, done),
        g.edge_from(a, b).to(met),
        g.edge_from(met).to(router),
        g.edge_from(done).to(g.end_node),
    )
    return g.build()


@pytest.mark.parametrize("policy", ["join", "step"])
def test_a_thousand_rounds_of_router_and_join_cost_the_same_each(policy: str) -> None:
    told = Told(rounds(policy), 0)
    assert told.result == 1000
    starts = [place for place, r in enumerate(told.history) if r.kind == "NodeStarted" and r.event.node == "choose"]
    assert len(starts) == 1001
    events = [after - before for before, after in itertools.pairwise(starts)]
    assert len(set(events[:-1])) == 1
    sizes = [
        sum(len(msgspec.json.encode(r.event)) for r in told.history[before:after])
        for before, after in itertools.pairwise(starts)
    ]
    assert max(sizes[900:]) <= max(sizes[:10]) + 40, "but for the digits of the numbers"


def test_nothing_is_left_of_rounds_that_are_over() -> None:
    sizes: list[tuple[int, ...]] = []

    async def main() -> None:
        graph = rounds("join")
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handle = await engine.start(graph, inputs=0, run_id="run")
            run = engine.driven("run").driver.run  # type: ignore[union-attr]
            while run.status is Status.RUNNING:
                sizes.append((len(run.instances()), len(run.root.inner), len(run.tasks), len(run.joins)))
                await asyncio.sleep(0)
            assert await handle.result() == 1000

    asyncio.run(main())
    assert len(sizes) > 1000
    assert max(sizes) <= (2, 1, 3, 1)
