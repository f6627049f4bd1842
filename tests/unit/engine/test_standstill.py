"""Standstills, each constructed, and what is said to be the cause."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import msgspec
import pytest

from perdure import Engine, Graph, GraphBuilder, MemoryStore, RunHandle, StepContext, reduce_list_append
from perdure.engine.inspection import standstill as why
from perdure.engine.inspection.standstill import Explanation, explain_run
from perdure.graph.nodes.policies import Retry
from perdure.kernel.explain import reasons
from perdure.store.chain import chained
from perdure.store.records import NewEntry, Owner

R = TypeVar("R", bound=reasons.Reason)
Context = StepContext[None, None, Any]
DEAD = Owner("gone", "elsewhere", "", "", 4711, "")


def one(reason: type[R], explanation: Explanation) -> R:
    """Return the only reason of a kind."""
    [found] = [each for each in explanation.reasons if isinstance(each, reason)]
    return found


def cause(reason: type[R], explanation: Explanation) -> R:
    """Return the reason to look at first, which is of that kind."""
    assert isinstance(explanation.cause, reason), explanation.text
    return explanation.cause


@asynccontextmanager
async def running(graph: Graph[Any, Any, Any, Any], inputs: Any = None, **start: Any) -> AsyncIterator[RunHandle[Any]]:
    async with Engine.open(MemoryStore(), graphs=[graph]) as engine:
        yield await engine.start(graph, inputs=inputs, run_id="run", **start)


async def until(handle: RunHandle[Any], wanted: Callable[[Explanation], bool]) -> Explanation:
    """Wait for a standstill."""
    async with asyncio.timeout(20):
        while not wanted(explanation := await handle.explain()):
            await asyncio.sleep(0)
    return explanation


def has(*kinds: type[reasons.Reason]) -> Callable[[Explanation], bool]:
    return lambda explanation: {type(reason) for reason in explanation.reasons} >= set(kinds)


def wait_at(node: Callable[[GraphBuilder[None, None, Any, Any]], Any]) -> Graph[Any, Any, Any, Any]:
    """Return a graph that comes to a standstill at its only node."""
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="only", input_type=object, output_type=object)
    only = node(g)
    g.add(g.edge_from(g.start_node).to(only), g.edge_from(only).to(g.end_node))
    return g.build()


def standstill(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    run.__name__ = test.__name__
    return run


async def image(handle: RunHandle[Any], **changes: Any) -> MemoryStore:
    """Return a copy of a run's store, as a crash leaves it, with what is known of the run changed."""
    store: MemoryStore = handle._engine._store  # type: ignore[assignment]
    left = copy.copy(store)
    left._runs = {"run": msgspec.structs.replace(store._runs["run"], **changes)}
    left._logs = {"run": list(store._logs["run"])}
    left._inboxes = copy.deepcopy(store._inboxes)
    return left


async def hang(ctx: Context) -> object:
    await anyio.sleep_forever()
    raise AssertionError


hanging = wait_at(lambda g: g.step(hang))


# --- what the log tells ---


@standstill
async def test_a_join_names_those_it_waits_for_and_what_they_do() -> None:
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="join", input_type=list[int], output_type=list[int])

    @g.step(node_id="ship")
    async def ship(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs or await hang(ctx)  # type: ignore[return-value]

    total = g.join(reduce_list_append, initial_factory=list[int], node_id="total")
    g.add(
        g.edge_from(g.start_node).map(fork_id="orders").to(ship),
        g.edge_from(ship).to(total),
        g.edge_from(total).to(g.end_node),
    )
    async with running(g.build(), [1, 0, 1, 1]) as handle:
        explanation = await until(handle, lambda found: one(reasons.JoinWaits, found).arrived == 3)
        joined = one(reasons.JoinWaits, explanation)
        assert (joined.path, joined.left, joined.size) == ("total", 1, 4)
        assert [(pending.path, pending.state.split(" since ")[0]) for pending in joined.pending] == [
            ("orders[1]/ship", "runs")
        ]
        assert "join total waits for 1 of 4 (3 arrived): orders[1]/ship runs since" in explanation.text
        assert cause(reasons.BodyRuns, explanation).path == "orders[1]/ship"


@standstill
async def test_a_retry_names_its_time_and_what_the_last_attempt_raised() -> None:
    async def fail(ctx: Context) -> object:
        raise OSError("no route")

    graph = wait_at(lambda g: g.step(fail, retry=Retry(max_attempts=9, initial_interval=3600, jitter=False)))
    async with running(graph) as handle:
        retry = cause(reasons.RetryDue, await until(handle, has(reasons.RetryDue)))
        assert (retry.path, retry.attempt, retry.is_due) == ("fail", 1, False)
        assert retry.error is not None
        assert retry.due_at is not None
        assert (retry.error.type, retry.error.message) == ("OSError", "no route")
        assert reasons.moment(retry.due_at) in retry.text


@standstill
async def test_a_sleep_names_its_end() -> None:
    async with running(wait_at(lambda g: g.sleep(timedelta(hours=1), node_id="nap"))) as handle:
        await handle.until_waiting()
        explanation = await handle.explain()
        timer = cause(reasons.TimerSet, explanation)
        assert timer.due_at is not None
        assert timer.opened_at is not None
        assert (timer.path, timer.due_at - explanation.at > 3_500_000_000, timer.is_due) == ("nap", True, False)


@standstill
async def test_a_person_who_is_asked_is_named_and_so_is_the_refusal_of_what_they_said() -> None:
    graph = wait_at(lambda g: g.human("approve", form=int, title="Ship it?", assignee="ann"))
    async with running(graph) as handle:
        [wait] = await handle.until_waiting()
        answer = cause(reasons.AnswerAwaited, await handle.explain())
        assert (answer.task, answer.title, answer.assignee) == (wait.task_id, "Ship it?", "ann")
        assert answer.opened_at == wait.opened_at
        assert "approve waits for an answer of ann (Ship it?) since" in answer.text
        store: MemoryStore = handle._engine._store  # type: ignore[assignment]
        await store.put(NewEntry("run", "answer", wait.task_id, b'"yes"', "bob", wait.opened_at))
        explanation = await until(handle, lambda found: one(reasons.AnswerAwaited, found).refused != "")
        assert "an answer was refused" in cause(reasons.AnswerAwaited, explanation).text


@standstill
async def test_a_signal_is_named_and_so_are_those_that_nobody_waits_for() -> None:
    async with running(wait_at(lambda g: g.signal("paid", int))) as handle:
        await handle.until_waiting()
        await handle.signal("payed", 3)
        explanation = await until(handle, lambda found: any(getattr(each, "kept", ()) for each in found.reasons))
        signal = cause(reasons.SignalAwaited, explanation)
        assert (signal.name, signal.kept) == ("paid", ("payed",))
        assert "waits for signal 'paid'" in signal.text
        assert "'payed'" in signal.text


@standstill
async def test_a_full_limit_names_who_holds_its_slots() -> None:
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="narrow", input_type=list[int], output_type=list[object])
    step = g.step(hang, max_concurrency=1)
    done = g.join(reduce_list_append, initial_factory=list[object])
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(step),
        g.edge_from(step).to(done),
        g.edge_from(done).to(g.end_node),
    )
    async with running(g.build(), [0, 0, 0]) as handle:
        limit = cause(reasons.LimitFull, await until(handle, has(reasons.LimitFull, reasons.BodyRuns)))
        assert (limit.limit, limit.capacity, limit.count) == ("step hang", 1, 2)
        assert (limit.held_by, limit.tasks) == (("items[0]/hang",), ("items[1]/hang", "items[2]/hang"))


@standstill
async def test_a_full_window_is_named() -> None:
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="window", input_type=list[int], output_type=list[object])
    step = g.step(hang)
    done = g.join(reduce_list_append, initial_factory=list[object])
    g.add(
        g.edge_from(g.start_node).map(fork_id="items", max_concurrency=2).to(step),
        g.edge_from(step).to(done),
        g.edge_from(done).to(g.end_node),
    )
    async with running(g.build(), [0] * 5) as handle:
        window = one(reasons.WindowFull, await until(handle, has(reasons.WindowFull)))
        assert (window.fork, window.window, window.unsettled, window.opened, window.taken) == ("items", 2, 2, 2, 5)


@standstill
async def test_a_failed_run_names_the_task_and_the_error() -> None:
    async def fail(ctx: Context) -> object:
        raise ValueError("broken")

    async with running(wait_at(lambda g: g.step(fail))) as handle:
        with pytest.raises(ValueError, match="broken"):
            await handle.result()
        explanation = await handle.explain()
        failed = cause(reasons.Failed, explanation)
        assert (failed.path, failed.error.type, failed.error.message) == ("fail", "ValueError", "broken")
        assert one(reasons.TaskFailed, explanation).attempt == 1
        assert explanation.data()["reasons"][0]["error"]["message"] == "broken"


@standstill
async def test_a_failure_that_waits_for_others_names_both() -> None:
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="both", input_type=int, output_type=list[object])

    async def fail(ctx: Context) -> object:
        raise ValueError("broken")

    bad, slow = g.step(fail), g.step(hang)
    done = g.join(reduce_list_append, initial_factory=list[object], on_error="wait")
    g.add(g.edge_from(g.start_node).to(bad, slow), g.edge_from(bad, slow).to(done), g.edge_from(done).to(g.end_node))
    async with running(g.build(), 1) as handle:
        explanation = await until(handle, has(reasons.TaskFailed))
        assert cause(reasons.TaskFailed, explanation).path.endswith("fail")
        assert one(reasons.BodyRuns, explanation).path.endswith("hang")


@standstill
async def test_a_deadline_that_has_passed_is_what_the_run_failed_of() -> None:
    async with running(hanging, deadline=timedelta(hours=1)) as handle:
        explanation = await until(handle, has(reasons.BodyRuns))
        assert isinstance(explanation.reasons[-1], why.LeaseHeld)
        assert one(reasons.DeadlineAhead, explanation).due_at - explanation.at > 3_500_000_000
    async with running(hanging, deadline=timedelta(microseconds=1)) as handle:
        failed = cause(reasons.Failed, await until(handle, has(reasons.Failed)))
        assert failed.error.type == "DeadlineExceeded"


@standstill
async def test_a_pause_names_who_and_why() -> None:
    async with running(hanging) as handle:
        await until(handle, has(reasons.BodyRuns))
        await handle.pause(by="ann", reason="a strange bill", now=True)
        paused = cause(reasons.Paused, await until(handle, has(reasons.Paused)))
        assert (paused.by, paused.why) == ("ann", "a strange bill")
        assert "by ann: a strange bill" in paused.text


@standstill
async def test_a_pause_that_waits_for_a_body_stands_in_the_inbox() -> None:
    async with running(hanging) as handle:
        await until(handle, has(reasons.BodyRuns))
        await handle.pause(by="ann")
        explanation = await until(handle, has(why.InboxUnread))
        assert cause(reasons.BodyRuns, explanation).path == "hang"
        [entry] = one(why.InboxUnread, explanation).entries
        assert (entry.kind, entry.by) == ("pause", "ann")


@standstill
async def test_a_cancellation_names_who_and_why() -> None:
    async with running(hanging) as handle:
        await handle.cancel(by="bob", reason="a test order")
        cancelled = cause(reasons.Cancelled, await until(handle, has(reasons.Cancelled)))
        assert (cancelled.by, cancelled.why) == ("bob", "a test order")


@standstill
async def test_an_uncertain_effect_is_named() -> None:
    graph = wait_at(lambda g: g.step(hang, effect=True, on_uncertain="pause"))
    async with running(graph) as handle:
        await until(handle, has(reasons.BodyRuns))
        store = await image(handle, owner=None, lease_until=0)
    async with Engine.open(store, graphs=[graph]) as engine:
        explanation = await until(engine.attach("run"), has(reasons.Paused))
        assert one(reasons.EffectUncertain, explanation).path == "hang"
        assert cause(reasons.Paused, explanation).by == "perdure"


@standstill
async def test_suspects_of_crashes_are_said_to_run_in_turn() -> None:
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="crashes", input_type=list[int], output_type=list[object])
    step = g.step(hang)
    done = g.join(reduce_list_append, initial_factory=list[object])
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(step),
        g.edge_from(step).to(done),
        g.edge_from(done).to(g.end_node),
    )
    graph = g.build()
    async with running(graph, [0, 0]) as handle:
        await until(handle, has(reasons.BodyRuns))
        store = await image(handle, owner=None, lease_until=0)
    async with Engine.open(store, graphs=[graph]) as engine:
        again = engine.attach("run")
        await until(again, lambda found: sum(isinstance(each, reasons.BodyRuns) for each in found.reasons) == 2)
        store = await image(again, owner=None, lease_until=0)
    async with Engine.open(store, graphs=[graph]) as engine:
        suspects = cause(reasons.SuspectsInTurn, await until(engine.attach("run"), has(reasons.SuspectsInTurn)))
        assert (suspects.crashes, suspects.tasks, suspects.held_by) == (2, ("items[1]/hang",), ("items[0]/hang",))


@standstill
async def test_a_run_that_workers_lose_which_live_on_says_so() -> None:
    async with AsyncExitStack() as living:
        handle = await living.enter_async_context(running(hanging))
        for losses in range(3):
            explanation = await until(handle, has(reasons.BodyRuns))
            lost = [reason.count for reason in explanation.reasons if isinstance(reason, reasons.LeasesLost)]
            assert lost == ([losses] if losses > 1 else [])
            store = await image(handle, owner=None, lease_until=0)
            handle = (await living.enter_async_context(Engine.open(store, graphs=[hanging]))).attach("run")
            await until(handle, lambda found, past=explanation.seq: found.seq > past)  # type: ignore[misc]


@standstill
async def test_a_stream_that_does_not_yield_says_how_far_it_came_and_since_when() -> None:
    go_on = asyncio.Event()

    async def numbers(ctx: Context) -> AsyncIterator[int]:
        yield 1
        await go_on.wait()
        yield 2
        await anyio.sleep_forever()

    async def kept(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="stream", input_type=object, output_type=list[int])
    source, step = g.stream(numbers), g.step(kept)
    done = g.join(reduce_list_append, initial_factory=list[int])
    g.add(
        g.edge_from(g.start_node).to(source),
        g.edge_from(source).map(fork_id="items").to(step),
        g.edge_from(step).to(done),
        g.edge_from(done).to(g.end_node),
    )
    async with running(g.build()) as handle:
        for taken in (1, 2):
            explanation = await until(
                handle,
                lambda found, taken=taken: getattr(found.cause, "taken", 0) == taken,  # type: ignore[misc]
            )
            stream = cause(reasons.StreamRuns, explanation)
            recorded = [one.ts for one in await handle._engine.history("run", kinds=["ItemsTaken"])]
            assert (stream.path, stream.attempt, stream.yielded_at) == ("numbers", 1, recorded[taken - 1])
            assert f"has yielded {taken} items, and none since" in stream.text
            go_on.set()
        store = await image(handle, owner=None, lease_until=0)
        assert one(reasons.BodyRuns, await explain_run(store, "run", 1)).is_lost


@standstill
async def test_a_run_that_goes_on_as_a_new_one_names_that() -> None:
    async def count(ctx: StepContext[None, None, Any]) -> object:
        if ctx.inputs < 2:
            ctx.continue_as_new(ctx.inputs + 1)
        return ctx.inputs

    async with running(wait_at(lambda g: g.step(count)), 1) as handle:
        explanation = await until(handle, has(reasons.Completed))
        completed = cause(reasons.Completed, explanation)
        successor = await handle._engine.get(completed.successor)
        assert successor.run_id != "run"
        assert f"and goes on as {successor.run_id}" in completed.text
        again = await until(handle._engine.attach(successor.run_id), has(reasons.Completed))
        assert cause(reasons.Completed, again).successor == ""


# --- what the log can't tell ---


@standstill
async def test_a_run_that_waits_until_its_worker_has_room_says_so() -> None:
    store, graph = MemoryStore(), hanging
    async with Engine.open(store, drive=False) as client:
        for run_id in ("one", "other"):
            await client.start(graph, run_id=run_id)
        async with Engine.open(store, graphs=[graph], max_runs=1) as engine:
            driven = "one" if (await engine.get("one")).owner is not None else "other"
            left = engine.attach("other" if driven == "one" else "one")
            busy = cause(why.RecoveryThrottled, await until(left, has(why.RecoveryThrottled)))
            assert (busy.driven, busy.max_runs) == (1, 1)
            assert "as many as Engine.open(max_runs=1) allows" in busy.text
            assert not has(why.RecoveryThrottled)(await engine.explain(driven))
            assert not has(why.NoWorker)(await left.explain())


@standstill
async def test_a_run_whose_graph_no_worker_has_says_so() -> None:
    def build(name: str, version: str) -> Graph[Any, Any, Any, Any]:
        g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name=name, version=version, output_type=object)
        step = g.step(hang)
        g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))
        return g.build()

    async def missing(engine: Engine) -> why.NoWorker:
        return one(why.NoWorker, await engine.explain("run"))

    store, graph, later, other = MemoryStore(), build("it", "1"), build("it", "2"), build("other", "3")
    async with Engine.open(store, drive=False) as client:
        await client.start(graph, run_id="run")
        await client.start(later, run_id="of another version")
        assert await missing(client) == why.NoWorker("it", 0, 0)
        assert "no worker is there" in (await missing(client)).text
        async with Engine.open(store, graphs=[other]):
            assert await missing(client) == why.NoWorker("it", 1, 0)
            assert "the only worker there is hasn't graph 'it'" in (await missing(client)).text
            # Nothing is due for a worker with another version as long as it has no room.
            full = Engine.open(store, graphs=[later])
            full._worker.max_runs = 0
            async with full:
                assert await missing(client) == why.NoWorker("it", 2, 1)
                assert "none of the 2 workers there are has" in (await missing(client)).text
                assert "1 another version of it" in (await missing(client)).text
        async with Engine.open(store, graphs=[graph]):
            explanation = await until(client.attach("run"), has(reasons.BodyRuns))
            assert not has(why.NoWorker)(explanation)


@standstill
async def test_a_run_that_was_handed_back_says_that_nobody_drives_it() -> None:
    store = MemoryStore()
    async with Engine.open(store, graphs=[hanging]) as engine:
        await until(await engine.start(hanging, run_id="run"), has(reasons.BodyRuns))
    await store.open()
    explanation = await explain_run(store, "run", 1 << 60)
    cause(why.NotDriven, explanation)
    assert one(reasons.ReadyToStart, explanation).tasks == ("hang",)


@standstill
async def test_a_worker_that_let_its_lease_run_out_is_named() -> None:
    async with running(hanging) as handle:
        await until(handle, has(reasons.BodyRuns))
        store = await image(handle, owner=DEAD, lease_until=99)
        lease = cause(why.LeaseHeld, await explain_run(store, "run", 100))
        assert (lease.pid, lease.host, lease.life) == (4711, "elsewhere", "silent")
        assert one(reasons.BodyRuns, await explain_run(store, "run", 100)).is_lost
        assert not one(reasons.BodyRuns, await explain_run(store, "run", 98)).is_lost


@standstill
async def test_a_worker_that_is_dead_is_named() -> None:
    async with running(hanging) as handle:
        explanation = await until(handle, has(reasons.BodyRuns))
        owner = (await handle.info()).owner
        assert owner is not None
        assert one(why.LeaseHeld, explanation).life == "alive"
        store = await image(handle, owner=msgspec.structs.replace(owner, id="another worker of this process"))
        lease = cause(why.LeaseHeld, await explain_run(store, "run", explanation.at))
        assert (lease.life, lease.pid) == ("dead", owner.pid)


@standstill
async def test_a_timer_that_nobody_heeds_says_that_nobody_drives_the_run() -> None:
    async with running(wait_at(lambda g: g.sleep(timedelta(hours=1), node_id="nap"))) as handle:
        await handle.until_waiting()
        later = (await handle.explain()).at + 2 * 3600 * 10**6
        explanation = await explain_run(await image(handle), "run", later)
        cause(why.NotDriven, explanation)
        assert one(reasons.TimerSet, explanation).is_due


@standstill
async def test_an_answer_that_nobody_took_up_is_named() -> None:
    store, graph = MemoryStore(), wait_at(lambda g: g.human("approve", form=int))
    async with Engine.open(store, graphs=[graph]) as engine:
        [wait] = await (await engine.start(graph, run_id="run")).until_waiting()
    async with Engine.open(store) as client:
        await client.respond("run", wait.task_id, 3, by="ann")
        explanation = await client.explain("run")
        cause(why.GraphUnknown, explanation)
        one(why.NotDriven, explanation)
        [entry] = one(why.InboxUnread, explanation).entries
        assert (entry.kind, entry.key, entry.by) == ("answer", wait.task_id, "ann")


@standstill
async def test_missing_deps_are_named() -> None:
    g: GraphBuilder[None, int, Any, Any] = GraphBuilder(name="deps", deps_type=int, output_type=object)
    step = g.step(hang)  # type: ignore[arg-type]
    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))
    store, graph = MemoryStore(), g.build()
    async with Engine.open(store, graphs=[graph], deps=3) as engine:
        await until(await engine.start(graph, run_id="run"), has(reasons.BodyRuns))
    async with Engine.open(store, graphs=[graph]) as engine:
        assert cause(why.DepsMissing, await engine.explain("run")).graph == "deps"


@standstill
async def test_a_changed_graph_is_named_with_what_has_changed() -> None:
    def build(*, with_check: bool) -> Graph[Any, Any, Any, Any]:
        g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="changing", output_type=object)
        step, check = g.step(hang, node_id="work"), g.step(hang, node_id="check")
        if with_check:
            g.add(g.edge_from(g.start_node).to(check), g.edge_from(check).to(step))
        else:
            g.add(g.edge_from(g.start_node).to(step))
        g.add(g.edge_from(step).to(g.end_node))
        return g.build()

    store = MemoryStore()
    async with Engine.open(store, graphs=[(old := build(with_check=False))]) as engine:
        await until(await engine.start(old, run_id="run"), has(reasons.BodyRuns))
    async with Engine.open(store, graphs=[build(with_check=True)], recover=False) as engine:
        changed = cause(why.GraphChanged, await engine.explain("run"))
        assert changed.changes == ("node '__start__' differs in where it leads", "node 'check' is new")


@standstill
async def test_a_stalled_run_says_why_it_was_parked() -> None:
    async with running(hanging) as handle:
        await until(handle, has(reasons.BodyRuns))
        store = await image(handle, owner=None, lease_until=0, status="STALLED", error="the graph has changed")
        assert cause(why.Stalled, await explain_run(store, "run", 1)).problem == "the graph has changed"


@standstill
async def test_an_unknown_kind_of_event_is_placed_and_the_rest_is_told() -> None:
    async with running(hanging) as handle:
        await until(handle, has(reasons.BodyRuns))
        store = await image(handle)
    log = store._logs["run"]
    last, data = log[-1], b'[["RunMoved","the moon"]]'
    first = last.first + last.count
    head = chained(last.hash, "run", first, 1, last.epoch, last.ts, data)
    log.append(msgspec.structs.replace(last, first=first, count=1, events=data, hash=head))
    store._runs["run"] = msgspec.structs.replace(store._runs["run"], last_seq=first, head=head)
    await store.open()
    explanation = await explain_run(store, "run", 1)
    unreadable = cause(why.LogUnreadable, explanation)
    assert (unreadable.seq, "RunMoved" in unreadable.problem) == (first - 1, True)
    one(reasons.BodyRuns, explanation)


@standstill
async def test_a_damaged_row_is_placed() -> None:
    async with running(hanging) as handle:
        await until(handle, has(reasons.BodyRuns))
        store = await image(handle)
    log = store._logs["run"]
    log[-1] = msgspec.structs.replace(log[-1], events=log[-1].events.replace(b"hang", b"hung"))
    await store.open()
    unreadable = cause(why.LogUnreadable, await explain_run(store, "run", 1))
    assert unreadable.seq == log[-1].first - 1
    assert "what was written" in unreadable.problem


@standstill
async def test_of_many_reasons_of_a_kind_a_few_are_told_and_the_rest_is_counted() -> None:
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="many", input_type=list[int], output_type=list[object])
    step = g.step(hang)
    done = g.join(reduce_list_append, initial_factory=list[object])
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(step),
        g.edge_from(step).to(done),
        g.edge_from(done).to(g.end_node),
    )
    async with running(g.build(), [0] * 50) as handle:
        await until(handle, has(reasons.BodyRuns))
        explanation = await handle.explain(limit=3)
        assert explanation.omitted == {"BodyRuns": 47}
        assert sum(isinstance(reason, reasons.BodyRuns) for reason in explanation.reasons) == 3
        assert "and 47 more of BodyRuns" in explanation.text
        assert one(reasons.JoinWaits, explanation).left == 50
