"""Signals: each is kept until somebody waits for it, and taken once, by who has waited longest."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from perdure import AnswerRefused, Engine, Graph, GraphBuilder, StepContext, reduce_list_append
from perdure.events import AnswerRefused as Refusal
from simulation.loop import SimulatedLoop
from simulation.world import World, kinds


def receiving(times: int, form: Any = int, *, work_s: float = 0.0) -> Graph[Any, Any, Any, Any]:
    """Return a graph that works a while, and then waits for a signal several times, one after another."""
    g = GraphBuilder(name="receiving", state_type=list[Any], output_type=Any)

    @g.step
    async def work(ctx: StepContext[list[Any], None, None]) -> None:
        if work_s:
            await World.now.sleep(work_s)

    before: Any = work
    g.add(g.edge_from(g.start_node).to(work))
    for number in range(times):
        wait = g.signal("go", form, node_id=f"go_{number}")

        async def note(ctx: StepContext[list[Any], None, Any]) -> Any:
            ctx.state.append(ctx.inputs)
            return ctx.inputs

        step = g.step(note, node_id=f"note_{number}")
        g.add(g.edge_from(before).to(wait), g.edge_from(wait).to(step))
        before = step
    g.add(g.edge_from(before).to(g.end_node))
    return g.build()


def test_a_run_keeps_so_many_signals_that_nobody_waits_for_and_says_which_it_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perdure.kernel.decide.outcomes.MAX_KEPT", 3)
    graph, world = receiving(2, work_s=9), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, state=[], run_id="run")
        for number in range(5):
            await handle.signal("go" if number in (0, 2) else "other", number, by="Ada")
            await world.clock.sleep(1)
        assert await handle.result() == 2
        assert await handle.state() == [0, 2]
        history = await engine.history("run")
        refused = [recorded.event for recorded in history if isinstance(recorded.event, Refusal)]
        assert kinds(history).count("SignalKept") == 3
        assert [(event.task, event.by) for event in refused] == [("", "Ada"), ("", "Ada")]
        assert "3 signals that nobody waits for" in refused[0].reason
        await engine.explain("run")

    world.live(main, graph)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_signals_that_come_early_are_kept_and_taken_once_each_in_order(
    durability: Literal["sync", "async", "exit"],
) -> None:
    graph, world = receiving(4, work_s=5), World()

    async def main(engine: Engine) -> Any:
        handle = await engine.start(graph, state=[], run_id="run", durability=durability)
        for number in range(3):
            await world.clock.sleep(1)
            await handle.signal("go", number, by="Ada")
        await handle.signal("other", "nobody waits for this")
        assert [wait.name for wait in await handle.until_waiting()] == ["go"]
        assert await handle.state() == [0, 1, 2]
        await handle.signal("go", 3)
        assert await handle.result() == 3
        assert await handle.state() == [0, 1, 2, 3]
        return kinds(await engine.history("run"))

    recorded = world.live(main, graph)
    assert recorded.count("SignalReceived") == 4
    assert recorded.count("SignalKept") == 4  # the last of them for nobody


def test_signals_sent_between_processes_are_kept() -> None:
    graph, world = receiving(3), World()

    async def start(engine: Engine) -> None:
        await (await engine.start(graph, state=[], run_id="run")).until_waiting()

    async def send(engine: Engine) -> None:
        for number in range(3):
            await engine.signal("run", "go", number)

    async def look(engine: Engine) -> Any:
        handle = engine.attach("run")
        return await handle.result(), await handle.state()

    world.live(start, graph)
    world.live(send)
    assert world.live(look, graph) == (2, [0, 1, 2])


def test_who_has_waited_longest_is_served_first() -> None:
    g = GraphBuilder(name="queue", input_type=list[int], output_type=list[Any])

    @g.step
    async def come(ctx: StepContext[None, None, int]) -> int:
        await World.now.sleep(ctx.inputs)
        return ctx.inputs

    async def leave(ctx: StepContext[None, None, str]) -> tuple[str, str]:
        return ctx.task_path, ctx.inputs

    go = g.signal("go", str)
    left = g.step(leave, node_id="leave")
    all_of_them = g.join(reduce_list_append, initial_factory=list[tuple[str, str]])
    g.add(
        g.edge_from(g.start_node).map(fork_id="arm").to(come),
        g.edge_from(come).to(go),
        g.edge_from(go).to(left),
        g.edge_from(left).to(all_of_them),
        g.edge_from(all_of_them).to(g.end_node),
    )
    graph, world = g.build(), World()

    async def main(engine: Engine) -> Any:
        handle = await engine.start(graph, inputs=[3, 1, 2], run_id="run")
        await handle.until_waiting()
        for name in "abc":
            await handle.signal("go", name)
        return await handle.result()

    assert dict(world.live(main, graph)) == {"arm[1]/leave": "a", "arm[2]/leave": "b", "arm[0]/leave": "c"}


def test_a_payload_that_does_not_fit_is_refused_at_once_where_the_graph_is_known() -> None:
    graph, world = receiving(1), World()

    async def main(engine: Engine) -> Any:
        handle = await engine.start(graph, state=[], run_id="run")
        await handle.until_waiting()
        with pytest.raises(AnswerRefused, match="Expected `int`"):
            await handle.signal("go", "seven")
        await handle.signal("go", 7)
        result = await handle.result()
        with pytest.raises(AnswerRefused, match="is over"):
            await handle.signal("go", 7)
        return result

    assert world.live(main, graph) == 7


def test_a_payload_that_does_not_fit_is_refused_by_the_run_where_the_graph_was_not_known() -> None:
    """Whether it was waited for when it came, or was kept for a while."""
    graph, world = receiving(2, work_s=2), World()

    async def start(engine: Engine) -> None:
        await engine.start(graph, state=[], run_id="run")
        await world.clock.sleep(0.1)

    async def send(engine: Engine) -> None:
        await engine.signal("run", "go", "seven")

    async def look(engine: Engine) -> Any:
        handle = engine.attach("run")
        (wait,) = await handle.until_waiting()
        refused = [recorded.event for recorded in await engine.history("run") if recorded.kind == "AnswerRefused"]
        return wait.node, [event.reason for event in refused]

    async def end(engine: Engine) -> Any:
        await engine.signal("run", "go", 1)
        await engine.signal("run", "go", 2)
        return await engine.attach("run").result()

    world.live(start, graph)
    world.live(send)
    node, reasons = world.live(look, graph)
    assert (node, len(reasons)) == ("go_0", 1)
    world.live(send)
    node, reasons = world.live(look, graph)
    assert (node, len(reasons)) == ("go_0", 2)
    assert "Expected `int`" in reasons[0]
    assert world.live(end, graph) == 2


def test_a_signal_without_a_type_takes_everything() -> None:
    graph, world = receiving(1, None), World()

    async def main(engine: Engine) -> Any:
        handle = await engine.start(graph, state=[])
        await handle.until_waiting()
        await handle.signal("go", {"a": [1, None, "x"]})
        return await handle.result()

    assert world.live(main, graph) == {"a": [1, None, "x"]}


def test_a_run_in_memory_that_waits_for_a_signal_says_that_nobody_can_reach_it() -> None:
    with pytest.raises(Exception, match="give it a store"):
        SimulatedLoop().run(receiving(1).run(state=[]))
