"""What a failure comes to: for the run, for a join, for the siblings, and when the run is tried again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.short_graphs import Told, builder, line, run
from perdure import (
    NOT_DONE,
    Engine,
    Failure,
    GraphBuilder,
    GraphSetupError,
    MemoryStore,
    QuorumNotReached,
    Retry,
    RunFailed,
    SQLiteStore,
    Status,
    StepContext,
    reduce_list_append,
)
from perdure.events import NodeCompleted, NodeStarted


async def same(ctx: Any) -> Any:
    return ctx.inputs


@dataclass
class Tally:
    count: int = 0


class Trouble(Exception):
    pass


def picky(*bad: int, slow: int | None = None) -> Any:
    """Return a body that fails for some inputs."""

    async def work(ctx: Any) -> Any:
        if ctx.inputs in bad:
            raise Trouble(f"no {ctx.inputs}")
        if ctx.inputs == slow:
            for _ in range(100):
                await asyncio.sleep(0)
        return ctx.inputs

    return work


def gathering(work: Any, *, graph: Any = None, step: Any = None, join: Any = "all", **meeting: Any) -> Any:
    g = builder(**(graph or {}))
    each = g.step(work, node_id="work", **(step or {}))
    all_ = g.step(same, node_id="met", join=join, **meeting)
    g.add(
        g.edge_from(g.start_node).map(fork_id="each").to(each),
        g.edge_from(each).to(all_),
        g.edge_from(all_).to(g.end_node),
    )
    return g.build()


def both(values: list[Any]) -> list[Any]:
    """Show failures by what they say."""
    return [value.error_message if isinstance(value, Failure) else value for value in values]


# --- fail, collect, wait ---


def test_a_failure_reaches_the_caller_as_it_was_raised_and_interrupts_the_siblings() -> None:
    trouble = Trouble("mine")
    ended: list[str] = []

    async def work(ctx: Any) -> Any:
        if ctx.inputs == 1:
            raise trouble
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("sibling")

    graph = gathering(work)
    with pytest.raises(Trouble) as caught:
        run(graph, [0, 1])
    assert caught.value is trouble
    assert any("each[1]/work" in note or "perdure" in note for note in caught.value.__notes__)
    assert ended == ["sibling"], "no body is left behind"
    told = Told(graph, [0, 1])
    assert told.error is trouble
    assert len(told.events("NodeInterrupted")) == 1
    assert told.events("NodeCancelled") == []


@pytest.mark.parametrize("where", ["step", "join", "graph", "group"])
def test_failures_are_collected_as_values_in_their_place(where: str) -> None:
    if where == "step":
        graph = gathering(picky(1), on_error="collect")
    elif where == "graph":
        graph = gathering(picky(1), graph={"on_error": "collect"})
    else:
        g = builder()
        each = g.step(picky(1), node_id="work")
        if where == "join":
            all_ = g.join(reduce_list_append, initial_factory=list, order="branch", on_error="collect")
            g.add(g.edge_from(g.start_node).map(fork_id="each").to(each), g.edge_from(each).to(all_))
        else:
            row = g.parallel(each, on_error="collect")
            all_ = g.join(reduce_list_append, initial_factory=list, order="branch")
            flat = g.step(_first, node_id="flat")
            g.add(g.edge_from(g.start_node).map().to(row), g.edge_from(row).to(flat), g.edge_from(flat).to(all_))
        g.add(g.edge_from(all_).to(g.end_node))
        graph = g.build()
    for result in (run(graph, [0, 1, 2]), Told(graph, [0, 1, 2]).result):
        assert both(result) == [0, "no 1", 2]
        assert result[1].error_type == "Trouble"
        assert result[1].attempts == 1


async def _first(ctx: Any) -> Any:
    return ctx.inputs[0]


def test_a_failure_is_collected_by_the_innermost_join_around_it() -> None:
    g = builder(on_error="collect")
    each = g.step(picky(2), node_id="work")
    cells = g.step(same, node_id="cells")
    row = g.step(same, node_id="row", join="all")
    table = g.join(reduce_list_append, initial_factory=list, order="branch")
    g.add(
        g.edge_from(g.start_node).map().to(cells),
        g.edge_from(cells).map().to(each),
        g.edge_from(each).to(row),
        g.edge_from(row).to(table),
        g.edge_from(table).to(g.end_node),
    )
    assert [both(row) for row in run(g.build(), [[1, 2], [3]])] == [[1, "no 2"], [3]]


def test_a_failure_is_collected_after_the_last_attempt() -> None:
    async def work(ctx: Any) -> Any:
        raise Trouble(f"attempt {ctx.attempt}")

    graph = gathering(work, step={"retry": 2, "timeout": 5}, on_error="collect")
    quick = gathering(work, step={"retry": Retry(max_attempts=3, initial_interval=0.001)}, on_error="collect")
    [failure] = run(quick, [1])
    assert (failure.error_message, failure.attempts) == ("attempt 3", 3)
    assert graph.nodes["work"].policies.retry.max_attempts == 2


def test_waiting_lets_the_siblings_finish_and_then_fails() -> None:
    told = Told(gathering(picky(0, 3, slow=2), on_error="wait"), list(range(5)))
    assert isinstance(told.error, Trouble)
    assert str(told.error) == "no 0", "the first failure is the run's"
    finished = [event.output for event in told.events("NodeCompleted")]
    assert len(finished) == 1 + 3
    assert told.events("NodeInterrupted") == told.events("NodeCancelled") == []


def test_waiting_goes_on_to_the_last_item_of_a_map_with_a_narrow_window() -> None:
    done: list[int] = []

    async def work(ctx: Any) -> Any:
        if ctx.inputs < 3:
            raise Trouble
        done.append(ctx.inputs)

    g = builder(on_error="wait")
    each, all_ = g.step(work), g.step(same, join="all")
    g.add(
        g.edge_from(g.start_node).map(max_concurrency=1).to(each),
        g.edge_from(each).to(all_),
        g.edge_from(all_).to(g.end_node),
    )
    with pytest.raises(Trouble):
        run(g.build(), list(range(6)))
    assert done == [3, 4, 5]


def test_a_pending_failure_beats_the_end() -> None:
    g = builder(on_error="wait", end="all")
    bad, good = g.step(picky(1), node_id="bad"), g.step(same, node_id="good")
    g.add(g.edge_from(g.start_node).to(bad, good), g.edge_from(bad, good).to(g.end_node))
    with pytest.raises(Trouble):
        run(g.build(), 1)


def reducing(reducer: Any, work: Any, on_error: Any) -> Any:
    g = builder()
    each = g.step(work, node_id="work")
    total = g.join(reducer, initial=0, on_error=on_error)
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(total), g.edge_from(total).to(g.end_node))
    return g.build()


@pytest.mark.parametrize("on_error", ["fail", "collect", "wait"])
def test_a_reducer_that_refuses_values_and_failures_fails_the_run(on_error: Any) -> None:
    def refusing(current: int, item: Any) -> int:
        raise Trouble("refused")

    def adding(current: int, item: Any) -> int:
        return current + item  # a failure is no number

    for told in (Told(reducing(refusing, same, on_error), [1, 2]), Told(reducing(adding, picky(1), on_error), [1, 2])):
        assert type(told.error) in (Trouble, TypeError)
        assert len(told.events("RunFailed")) == 1


def test_a_reducer_that_refuses_a_value_may_take_the_failure() -> None:
    def adding(current: int, item: Any) -> int:
        if isinstance(item, Failure):
            return current + 100
        if item == 2:
            raise Trouble("refused")
        return current + int(item)

    assert Told(reducing(adding, same, "collect"), [1, 2, 3]).result == 104


# --- quorum ---


def test_a_quorum_counts_successes_only() -> None:
    graph = gathering(picky(0, 1), join=2, cancel=True, on_error="collect")
    assert run(graph, [0, 1, 2, 3]) == [2, 3]


def test_any_takes_the_first_success() -> None:
    graph = gathering(picky(0, 1), join="any", cancel=True, on_error="collect")
    assert run(graph, [0, 1, 2]) == 2


def test_too_few_successes_fail_the_run_and_list_what_failed() -> None:
    for graph in (
        gathering(picky(0, 2), join=2, on_error="collect"),
        gathering(picky(0, 2), on_error="collect", min_ok=2),
    ):
        for error in (_error_of(graph, [0, 1, 2]), Told(graph, [0, 1, 2]).error):
            assert isinstance(error, QuorumNotReached)
            assert "1 of the 2 successes" in str(error)
            assert "each[0]/work: Trouble: no 0" in str(error)
            assert [path for path, _ in error.failures] == ["each[0]/work", "each[2]/work"]


def _error_of(graph: Any, inputs: Any) -> BaseException:
    try:
        run(graph, inputs)
    except Exception as error:
        return error
    raise AssertionError("it didn't fail")


def test_enough_successes_are_enough() -> None:
    assert both(run(gathering(picky(0), on_error="collect", min_ok=2), [0, 1, 2])) == ["no 0", 1, 2]


def test_failures_do_not_count_as_values_that_came_for_a_quorum_that_is_never_reached_by_too_few_items() -> None:
    with pytest.raises(QuorumNotReached, match="nothing failed"):
        run(gathering(picky(), join=3), [1, 2])


# --- races ---


def race(*bodies: Any) -> Any:
    g = builder()
    members = [g.step(body, node_id=f"runner {place}") for place, body in enumerate(bodies)]
    group = g.race(*members)
    g.add(g.edge_from(g.start_node).to(group), g.edge_from(group).to(g.end_node))
    return g.build()


def late(error: Exception, turns: int) -> Any:
    async def body(ctx: Any) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise error

    return body


def test_a_race_that_nobody_wins_fails_with_the_last_error_and_notes_the_others() -> None:
    first, last = Trouble("first"), Trouble("last")
    graph = race(late(last, 60), late(first, 1))
    told = Told(graph)
    for error in (_error_of(graph, None), told.error):
        assert error is last
        assert any("Trouble: first" in note for note in error.__notes__)
    [failed] = told.events("RunFailed")
    assert failed.error.message == "last"
    assert any("Trouble: first" in note for note in failed.error.notes)


def test_a_race_lost_in_another_process_is_told_by_name() -> None:
    graph = race(late(Trouble("a"), 1), late(KeyError("b"), 60))

    async def main() -> None:
        store = MemoryStore()
        async with Engine.open(store, [graph]) as engine:
            with pytest.raises(KeyError):
                await (await engine.start(graph, run_id="run")).result()
        async with Engine.open(store, [graph]) as engine:
            with pytest.raises(RunFailed, match="KeyError: 'b'"):
                await engine.attach("run").result()

    asyncio.run(main())


def test_the_losers_of_a_race_are_cancelled_and_their_bodies_end() -> None:
    ended: list[str] = []

    async def loser(ctx: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("loser")

    told = Told(race(loser, same, loser), "won")
    assert told.result == "won"
    assert ended == ["loser", "loser"]
    assert len(told.events("NodeCancelled")) == 2


# --- trying again ---


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_retry_after_a_failed_map_of_a_hundred_loses_none_of_sixty_in_flight(kind: str, tmp_path: Path) -> None:
    entered: list[int] = []
    broken = True

    async def work(ctx: Any) -> Any:
        entered.append(ctx.inputs)
        if ctx.inputs < 40 or not broken:
            return ctx.inputs
        if ctx.inputs == 99:
            while len(entered) < 100:
                await asyncio.sleep(0)
            for _ in range(200):
                await asyncio.sleep(0)
            raise Trouble
        return await asyncio.Event().wait()

    graph = gathering(work)
    store = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "runs.db")

    async def main() -> None:
        nonlocal broken
        async with Engine.open(store, [graph]) as engine:
            handle = await engine.start(graph, inputs=list(range(100)), run_id="run")
            with pytest.raises(Trouble):
                await handle.result()
            assert await handle.status() is Status.FAILED
            broken = False
            again = await engine.retry("run")
            assert await again.result() == list(range(100))
            history = [recorded.event for recorded in await engine.history("run")]
            completed = [event.task for event in history if isinstance(event, NodeCompleted)]
            assert len(completed) == len(set(completed)) == 1 + 100 + 1
            started = [event.task for event in history if isinstance(event, NodeStarted) and event.node == "work"]
            assert len(started) == 160

    asyncio.run(main())
    assert sorted(entered) == sorted([*range(100), *range(40, 100)])


def test_a_retry_starts_to_count_attempts_afresh() -> None:
    attempts: list[int] = []

    async def work(ctx: Any) -> Any:
        attempts.append(ctx.attempt)
        if len(attempts) < 4:
            raise Trouble
        return ctx.attempt

    graph = line(work, retry=Retry(max_attempts=2, initial_interval=0.001))

    async def main() -> Any:
        async with Engine.open(MemoryStore(), [graph]) as engine:
            with pytest.raises(Trouble):
                await (await engine.start(graph, run_id="run")).result()
            return await (await engine.retry("run")).result()

    assert asyncio.run(main()) == 4
    assert attempts == [1, 2, 3, 4]


# --- effects ---


def test_effects_are_not_left_to_a_mode_that_would_forget_them() -> None:
    graph = line(same, effect=True)
    with pytest.raises(GraphSetupError, match='durability="exit"'):
        asyncio.run(graph.run(store=MemoryStore(), durability="exit"))
    assert asyncio.run(graph.run(inputs=1, store=MemoryStore(), durability="async")) == 1


def uncertain(on_uncertain: Any, entered: list[int]) -> Any:
    async def work(ctx: Any) -> Any:
        entered.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return f"attempt {ctx.attempt}"

    return line(work, effect=True, on_uncertain=on_uncertain)


def interrupted(graph: Any, entered: list[int], *, resume: bool = False) -> Any:
    """Run a graph whose first attempt is cut short, and once more."""

    async def main() -> Any:
        store = MemoryStore()
        async with Engine.open(store, [graph]) as engine:
            await engine.start(graph, run_id="run")
            while not entered:
                await asyncio.sleep(0)
        async with Engine.open(store, [graph]) as engine:
            handle = engine.attach("run")
            if resume:
                while await handle.status() is not Status.PAUSED:
                    await asyncio.sleep(0.001)
                assert entered == [1]
                handle = await engine.resume("run")
            return await handle.result()

    return asyncio.run(main())


def test_an_uncertain_effect_runs_again_unless_told_otherwise() -> None:
    entered: list[int] = []
    assert interrupted(uncertain("retry", entered), entered) == "attempt 2"
    assert entered == [1, 2]


def test_an_uncertain_effect_pauses_the_run_until_somebody_has_looked() -> None:
    entered: list[int] = []
    assert interrupted(uncertain("pause", entered), entered, resume=True) == "attempt 2"
    assert entered == [1, 2]


def test_an_uncertain_effect_is_looked_up() -> None:
    asked: list[str] = []

    async def done(ctx: Any) -> Any:
        asked.append(ctx.idempotency_key)
        return "found"

    def not_done(ctx: Any) -> Any:
        asked.append(ctx.idempotency_key)
        return NOT_DONE

    entered: list[int] = []
    assert interrupted(uncertain(done, entered), entered) == "found"
    assert entered == [1]
    entered = []
    assert interrupted(uncertain(not_done, entered), entered) == "attempt 2"
    assert entered == [1, 2]
    assert len(set(asked)) == 1


def test_an_uncertain_effect_under_a_limit_pauses_when_the_others_are_done() -> None:
    entered: list[Any] = []

    async def work(ctx: Any) -> Any:
        entered.append((ctx.inputs, ctx.attempt))
        if ctx.inputs == 0 and ctx.attempt == 1:
            await asyncio.Event().wait()
        for _ in range(20):
            await asyncio.sleep(0)
        return ctx.inputs

    graph = gathering(work, step={"effect": True, "on_uncertain": "pause", "max_concurrency": 1})

    async def main() -> Any:
        store = MemoryStore()
        async with Engine.open(store, [graph]) as engine:
            await engine.start(graph, inputs=[0, 1, 2], run_id="run")
            while not entered:
                await asyncio.sleep(0)
        async with Engine.open(store, [graph]) as engine:
            handle = engine.attach("run")
            while await handle.status() is not Status.PAUSED:
                await asyncio.sleep(0.001)
            assert entered == [(0, 1), (1, 1), (2, 1)]
            return await (await engine.resume("run")).result()

    assert asyncio.run(asyncio.wait_for(main(), 20)) == [0, 1, 2]


@pytest.mark.parametrize("policy", ["fail", "collect", "wait"])
@pytest.mark.parametrize("many", [1, 5])
def test_a_reducer_that_raises_comes_to_the_same_in_memory_and_on_a_store(policy: Any, many: int) -> None:
    def picky(current: list[Any], item: Any) -> list[Any]:
        if item in (1, 3):
            raise ValueError(f"not {item}")
        return [*current, item]

    g = GraphBuilder(name="picky", state_type=Tally, input_type=list[int], output_type=list[Any])

    @g.step
    async def pass_on(ctx: StepContext[Tally, None, int]) -> int:
        for _ in range(ctx.inputs % many):
            await asyncio.sleep(0)
        ctx.state.count += 1
        return ctx.inputs

    join = g.join(picky, initial_factory=list[Any], on_error=policy)
    g.add(
        g.edge_from(g.start_node).map().to(pass_on),
        g.edge_from(pass_on).to(join),
        g.edge_from(join).to(g.end_node),
    )
    graph = g.build()

    def told(store: Any) -> tuple[Any, int]:
        tally = Tally()
        try:
            result = asyncio.run(graph.run(state=tally, inputs=[0, 1, 2, 3, 4], store=store))
        except ValueError as error:
            return str(error), tally.count if policy == "wait" else 0
        shown = [item.error_message if isinstance(item, Failure) else str(item) for item in result]
        return sorted(shown), tally.count

    expected = {"fail": "not 1", "collect": ["0", "2", "4", "not 1", "not 3"], "wait": "not 1"}
    in_memory = told(None)
    assert in_memory == told(MemoryStore())
    assert in_memory[0] == expected[policy]
    if policy != "fail":
        assert in_memory[1] == 3, "what a refused arrival changed isn't committed"
