"""Human tasks: who is asked what, which answers are taken, and what happens when nobody answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pydantic
import pytest

from examples.waits import WAITING, WaitingExample
from perdure import (
    Answer,
    AnswerRefused,
    DeadlineExceeded,
    Engine,
    Escalate,
    Graph,
    GraphBuilder,
    GraphRuntimeError,
    GraphSetupError,
    RunFailed,
    RunNotFound,
    Status,
    StepContext,
    reduce_list_append,
    reduce_sum,
)
from perdure.events import Answered, Escalated
from simulation.loop import SimulatedLoop
from simulation.world import World, kinds


class Struct(msgspec.Struct):
    approved: bool
    note: str = ""


@dataclass
class Record:
    approved: bool
    counts: dict[int, str]


class Model(pydantic.BaseModel):
    approved: bool
    level: int = pydantic.Field(default=1, alias="riskLevel", le=3)


SCHEMA = {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]}


def asking(form: Any = None, output: Any = Any, **options: Any) -> Graph[Any, Any, Any, Any]:
    """Return a graph that asks one person and gives out the answer."""
    g = GraphBuilder(name="asking", input_type=Any, output_type=output)
    ask = g.human("ask", form=form, **options)
    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(g.end_node))
    return g.build()


FORMS = [
    (Struct, Struct, Struct(True, "ok"), Struct(True, "ok"), {"approved": "yes"}, "approved"),
    (Struct, Struct, {"approved": True}, Struct(True), {}, "approved"),
    (Record, Record, Record(True, {1: "a"}), Record(True, {1: "a"}), {"approved": True}, "counts"),
    (Record, Record, {"approved": True, "counts": {"1": "a"}}, Record(True, {1: "a"}), [], "Record"),
    (
        Model,
        Model,
        Model(approved=True, riskLevel=3),
        Model(approved=True, riskLevel=3),
        {"approved": True, "riskLevel": 4},
        "riskLevel",
    ),
    (int, int, 3, 3, "3", "int"),
    (list[int], list[int], [1, 2], [1, 2], [1, "2"], "1"),
    (
        SCHEMA,
        Any,
        {"approved": True, "more": [1, None]},
        {"approved": True, "more": [1, None]},
        {"approved": 1},
        "approved",
    ),
    (None, Any, {"whatever": [1.5, None]}, {"whatever": [1.5, None]}, object(), "can't be given as JSON"),
]


@pytest.mark.parametrize(("form", "output", "given", "taken", "bad", "where"), FORMS)
def test_an_answer_that_fits_is_the_output_and_one_that_does_not_is_refused_with_the_reason(
    form: Any, output: Any, given: Any, taken: Any, bad: Any, where: str
) -> None:
    graph, world = asking(form, output), World()

    async def ask(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        (wait,) = await handle.until_waiting()
        assert (wait.kind, wait.name, wait.node, wait.path, wait.run_id) == ("human", "ask", "ask", "ask", "run")
        with pytest.raises(AnswerRefused, match=where):
            await handle.respond(wait.task_id, bad)
        assert await handle.waiting() == [wait]
        await handle.respond(wait.task_id, given, by="Ada")

    async def look(engine: Engine) -> Any:
        (answer,) = [r.event for r in await engine.history("run") if isinstance(r.event, Answered)]
        assert answer.by == "Ada"
        assert answer.entry
        return await engine.attach("run").result()

    world.live(ask, graph)
    assert world.live(look, graph) == taken


def test_a_form_is_told_as_a_json_schema() -> None:
    async def schema_of(engine: Engine) -> Any:
        handle = await engine.start(graph)
        (wait,) = await handle.until_waiting()
        return wait.form

    for form, has in ((Struct, "$ref"), (Model, "properties"), (SCHEMA, "properties"), (int, "type")):
        graph = asking(form)
        assert has in World().live(schema_of, graph)
    graph = asking()
    assert World().live(schema_of, graph) == {}


def test_what_is_no_form_is_refused_when_it_is_declared() -> None:
    g = GraphBuilder(name="g")
    with pytest.raises(GraphSetupError, match="JSON schema"):
        g.human("ask", form=type("Odd", (), {}))
    with pytest.raises(GraphSetupError, match="is no JSON schema"):
        g.human("ask", form={"type": "nothing"})
    with pytest.raises(GraphSetupError, match="needs a deadline"):
        g.human("ask", on_deadline=Answer(1))
    with pytest.raises(GraphSetupError, match="isn't negative"):
        g.human("ask", deadline=timedelta(-1))
    with pytest.raises(GraphSetupError, match="as the last"):
        g.human("ask", deadline=timedelta(1), on_deadline=[Answer(1), Escalate("boss")])


def test_title_and_assignee_can_be_said_by_functions_of_the_context() -> None:
    graph, world = (
        asking(
            str,
            title=lambda ctx: f"Approve {ctx.inputs}",
            assignee=lambda ctx: ctx.deps,
            deadline=lambda ctx: timedelta(seconds=len(ctx.inputs)),
        ),
        World(),
    )

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, inputs="order", deps="Ada")
        (wait,) = await handle.until_waiting()
        assert (wait.title, wait.assignee) == ("Approve order", "Ada")
        assert wait.due_at is not None
        assert wait.due_at - wait.opened_at == 5_000_000
        assert await engine.waiting(assignee="Ada") == [wait]
        assert await engine.waiting(assignee="Bob") == []
        assert await engine.waiting(kind="signal") == []

    world.live(main, graph)


def test_a_title_that_is_no_text_fails_the_task() -> None:
    graph = asking(str, title=lambda ctx: 3)

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph)
        with pytest.raises(GraphRuntimeError, match="returned 3, and not a string"):
            await handle.until_waiting()

    World().live(main, graph)


def test_a_second_answer_is_refused_unless_it_is_the_first_again() -> None:
    graph, world = asking(int, int), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph)
        (wait,) = await handle.until_waiting()
        # Nobody drives the run between these answers; the first has been taken up before the last ones come.
        await handle.respond(wait.task_id, 1, by="Ada")
        for _ in range(2):
            await handle.respond(wait.task_id, 1, by="Ada")
            with pytest.raises(AnswerRefused, match="answered already"):
                await handle.respond(wait.task_id, 2, by="Ada")
            with pytest.raises(AnswerRefused, match="answered already"):
                await handle.respond(wait.task_id, 1, by="Bob")
            assert await handle.result() == 1
        assert kinds(await engine.history(handle.run_id)).count("Answered") == 1

    world.live(main, graph)


def test_only_an_open_task_can_be_answered() -> None:
    graph, world = asking(int, int), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph)
        with pytest.raises(AnswerRefused, match="isn't open"):
            await handle.respond("NOSUCHTASK", 1)
        with pytest.raises(RunNotFound):
            await engine.respond("nowhere", "NOSUCHTASK", 1)

    world.live(main, graph)


def test_a_deadline_that_passes_fails_the_run() -> None:
    graph, world = asking(int, int, deadline=timedelta(seconds=5 * 1)), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        (wait,) = await handle.until_waiting()
        began = world.clock.now()
        with pytest.raises(DeadlineExceeded, match="nobody has answered ask in time"):
            await handle.result()
        assert 5e6 <= world.clock.now() - began <= 6e6
        with pytest.raises(AnswerRefused):
            await handle.respond(wait.task_id, 1)
        assert await handle.waiting() == []

    async def late(engine: Engine) -> Any:
        with pytest.raises(RunFailed, match="DeadlineExceeded"):
            await engine.attach("run").until_waiting()
        handle = await engine.retry("run", by="Ada")
        (wait,) = await handle.until_waiting()
        await handle.respond(wait.task_id, 5)
        return await handle.result()

    world.live(main, graph)
    assert world.live(late, graph) == 5


def test_a_deadline_hands_a_task_on_and_on_and_at_last_answers_it() -> None:
    chain = [Escalate("boss", timedelta(seconds=5 * 2)), Escalate("owner", timedelta(seconds=5 * 3)), Answer(7)]
    graph = asking(int, int, assignee="clerk", deadline=timedelta(seconds=5 * 1), on_deadline=chain)
    world = World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        began = world.clock.now()
        (wait,) = await handle.until_waiting()
        assert wait.assignee == "clerk"
        for hours, assignee in ((1, "boss"), (3, "owner")):
            while (await handle.waiting())[0].assignee != assignee:
                await world.clock.sleep(1)
            assert hours * 5e6 <= world.clock.now() - began <= hours * 5e6 + 2e6
            assert engine.driven("run") is None
        assert await handle.result() == 7
        assert 6 * 5e6 <= world.clock.now() - began <= 6 * 5e6 + 1e6
        events = [recorded.event for recorded in await engine.history("run")]
        assert [event.assignee for event in events if isinstance(event, Escalated)] == ["boss", "owner"]
        assert [event.by for event in events if isinstance(event, Answered)] == ["deadline"]

    world.live(main, graph)


def test_an_escalation_without_a_deadline_waits_for_good_and_its_task_can_be_answered() -> None:
    graph = asking(int, int, deadline=timedelta(seconds=5 * 1), on_deadline=Escalate("boss"))
    world = World()

    async def main(engine: Engine) -> Any:
        handle = await engine.start(graph)
        (wait,) = await handle.until_waiting()
        await world.clock.sleep(100)
        (still,) = await handle.waiting()
        assert (still.task_id, still.assignee, still.due_at) == (wait.task_id, "boss", None)
        assert still.opened_at == wait.opened_at
        await handle.respond(wait.task_id, 3)
        return await handle.result()

    assert world.live(main, graph) == 3


def test_an_answer_that_came_before_the_deadline_counts_though_it_is_taken_up_after_it() -> None:
    graph = asking(int, int, deadline=timedelta(seconds=5 * 1))
    world = World()

    async def ask(engine: Engine) -> str:
        handle = await engine.start(graph, run_id="run")
        (wait,) = await handle.until_waiting()
        return wait.task_id

    async def answer(engine: Engine) -> None:
        await engine.respond("run", task, 4)

    async def result(engine: Engine) -> Any:
        return await engine.attach("run").result()

    task = world.live(ask, graph)
    world.live(answer)  # a process without the graph: it puts the answer into the inbox and goes
    world.pass_time(7200)
    assert world.live(result, graph) == 4


def test_a_retried_task_is_escalated_anew() -> None:
    graph = asking(
        int,
        int,
        assignee="clerk",
        deadline=timedelta(seconds=5 * 1),
        on_deadline=Escalate("boss", timedelta(seconds=5 * 1)),
    )
    world = World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        with pytest.raises(DeadlineExceeded):
            await handle.result()
        for _ in range(2):
            handle = await engine.retry("run")
            (wait,) = await handle.until_waiting()
            assert wait.assignee == "clerk"
            with pytest.raises(DeadlineExceeded):
                await handle.result()
        assert kinds(await engine.history("run")).count("Escalated") == 3

    world.live(main, graph)


def test_a_task_waits_since_it_began_to_though_its_run_was_paused_failed_and_retried() -> None:
    g, world = GraphBuilder(name="long", input_type=int, output_type=int, end="all"), World()
    ask = g.human("ask", form=int)
    broken = True

    @g.step
    async def beside(ctx: StepContext[None, None, int]) -> int:
        await world.clock.sleep(30)
        if broken:
            raise ValueError("not yet")
        return 0

    g.add(g.edge_from(g.start_node).to(ask, beside), g.edge_from(ask, beside).to(g.end_node))
    graph = g.build()

    async def main(engine: Engine) -> None:
        nonlocal broken
        handle = await engine.start(graph, inputs=1, run_id="run")
        while not (waits := await engine.waiting("run")):
            await world.clock.sleep(1)
        (wait,) = waits
        with pytest.raises(ValueError, match="not yet"):
            await handle.result()
        await world.clock.sleep(100)
        broken = False
        handle = await engine.retry("run")
        (again,) = await engine.waiting("run")
        assert again.opened_at == wait.opened_at
        forked = await engine.fork_run("run", new_run_id="fork")
        (other,) = await engine.waiting("fork")
        assert other.opened_at > wait.opened_at, "in the new run it waits since that was made"
        await forked.cancel()
        await handle.respond(wait.task_id, 5)
        assert await handle.result() in (0, 5)

    world.live(main, graph)


@pytest.mark.parametrize("example", WAITING, ids=lambda example: example.name)
@pytest.mark.parametrize("order", [1, -1])
def test_waits_that_are_open_at_once_are_given_what_they_wait_for_in_any_order(
    example: WaitingExample, order: int
) -> None:
    """Between any two answers the process ends, and another one goes on."""
    graph, world = example.build(), World()

    async def start(engine: Engine) -> None:
        handle = await engine.start(graph, inputs=example.inputs, run_id="run")
        await handle.until_waiting()

    async def give_one(engine: Engine) -> bool:
        handle = await engine.recover_run("run")
        waiting = [wait for wait in await handle.until_waiting() if wait.kind != "sleep"]
        if not waiting:
            return False
        assert engine.driven("run") is None
        assert await handle.status() is Status.WAITING
        wait = waiting[::order][0]
        if wait.kind == "human":
            await handle.respond(wait.task_id, example.answer(wait))
        else:
            await handle.signal(wait.name, example.answer(wait))
        return True

    async def result(engine: Engine) -> Any:
        return await engine.attach("run").result()

    world.live(start, graph)
    while world.live(give_one, graph):
        pass
    assert example.view(world.live(result, graph)) == example.expected


def test_a_timer_that_wins_a_race_closes_the_question() -> None:
    example = next(example for example in WAITING if example.name == "a_person_against_a_timer")
    graph, world = example.build(), World()

    async def main(engine: Engine) -> Any:
        handle = await engine.start(graph, run_id="run")
        return await handle.until_waiting()

    async def look(engine: Engine) -> None:
        handle = engine.attach("run")
        assert await handle.result() == "too late"
        assert await handle.waiting() == []
        (person,) = [wait for wait in waits if wait.kind == "human"]
        with pytest.raises(AnswerRefused):
            await handle.respond(person.task_id, "in time")

    waits = world.live(main, graph)
    world.pass_time(24 * 3600)
    world.live(look, graph)


def test_a_run_in_memory_that_waits_for_a_person_says_that_nobody_can_reach_it() -> None:
    loop = SimulatedLoop()
    with pytest.raises(GraphRuntimeError, match="give it a store"):
        loop.run(asking(int).run())


def test_a_wait_holds_no_place_under_a_limit_and_needs_none() -> None:
    g = GraphBuilder(name="limited", output_type=list[Any])
    running = most = 0

    async def work(ctx: StepContext[None, None, None]) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await world.clock.sleep(5)
        running -= 1
        return 1

    people = [g.human(f"p{number}", form=int, title=lambda ctx: "by a function") for number in range(2)]
    group = g.parallel(
        g.step(work, node_id="one"), g.step(work, node_id="two"), *people, g.signal("go", int), max_concurrency=1
    )
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    graph, world = g.build(), World()

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        await world.clock.sleep(1)
        assert len(await handle.waiting()) == 3
        assert running == 1
        waiting = await handle.until_waiting()
        assert sorted(wait.name for wait in waiting) == ["go", "p0", "p1"]
        await handle.signal("go", 2)
        for wait in waiting:
            if wait.kind == "human":
                await handle.respond(wait.task_id, 3)
        assert await handle.result() == [1, 1, 3, 3, 2]
        assert most == 1

    world.live(main, graph)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_arm_that_only_waits_holds_no_place_in_its_window_though_a_join_is_open_in_it(streamed: bool) -> None:
    g = GraphBuilder(name="asking", output_type=list[int])

    @g.stream
    async def stream(ctx: StepContext[None, None, None]) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    @g.step
    async def listed(ctx: StepContext[None, None, None]) -> list[int]:
        return [0, 1, 2]

    @g.step
    async def begin(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    @g.step
    async def carry(ctx: StepContext[None, None, int]) -> int:
        return 10 * ctx.inputs

    ask = g.human("ask", form=int)
    meet = g.join(reduce_sum, initial=0, node_id="meet", preferred_parent_fork="closest")
    gather = g.join(reduce_list_append, initial_factory=list[int], node_id="gather", parent_fork_id="each")
    head: Any = stream if streamed else listed
    g.add(
        g.edge_from(g.start_node).to(head),
        g.edge_from(head).map(fork_id="each").to(begin),
        g.edge_from(begin).to(ask, carry),
        g.edge_from(ask, carry).to(meet),
        g.edge_from(meet).to(gather),
        g.edge_from(gather).to(g.end_node),
    )
    graph, world = g.build(), World()
    graph.plan.nodes["each"].window = 1

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        waiting = await handle.until_waiting()
        assert len(waiting) == 3
        for wait in waiting:
            await handle.respond(wait.task_id, 1)
        assert sorted(await handle.result()) == [1, 11, 21]

    world.live(main, graph)


def test_arms_that_go_on_behind_joins_of_their_own_hold_their_places_while_these_close() -> None:
    g = GraphBuilder(name="windowed", output_type=list[int])
    busy: list[int] = []

    async def work(ctx: StepContext[None, None, int]) -> int:
        busy.append(ctx.inputs % 10)
        assert len(set(busy)) <= 2, "of more arms than the window has room for"
        await world.clock.sleep(1)
        busy.remove(ctx.inputs % 10)
        return ctx.inputs

    @g.step
    async def listed(ctx: StepContext[None, None, None]) -> list[int]:
        return list(range(6))

    one, other, after = (g.step(work, node_id=name) for name in ("one", "other", "after"))
    meet = g.join(lambda current, value: value, initial=0, node_id="meet", preferred_parent_fork="closest")
    gather = g.join(reduce_list_append, initial_factory=list[int], node_id="gather", parent_fork_id="each")
    g.add(
        g.edge_from(g.start_node).to(listed),
        g.edge_from(listed).map(fork_id="each").to(one, other),
        g.edge_from(one, other).to(meet),
        g.edge_from(meet).to(after),
        g.edge_from(after).to(gather),
        g.edge_from(gather).to(g.end_node),
    )
    graph, world = g.build(), World()
    graph.plan.nodes["each"].window = 2

    async def main(engine: Engine) -> None:
        handle = await engine.start(graph, run_id="run")
        assert sorted(await handle.result()) == list(range(6))

    world.live(main, graph)
