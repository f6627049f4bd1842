"""Where the functions of steps run: threads, other processes, executors of the user's; and what a timeout does to each."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import ContextVar
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from e2e import remote_steps as remote
from e2e.short_graphs import Told, builder, line, run
from perdure import Engine, GraphRuntimeError, GraphSetupError, MemoryStore, StepTimeout
from perdure.engine.calling.threads import Threads

VARIABLE: ContextVar[str] = ContextVar("variable", default="")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2, thread_name_prefix="named") as pool:
        yield pool


# --- threads ---


def test_a_plain_function_runs_in_a_daemon_thread_with_the_context_variables_of_the_run() -> None:
    def work(ctx: Any) -> Any:
        thread = threading.current_thread()
        return thread is not threading.main_thread(), thread.daemon, VARIABLE.get(), ctx.inputs

    async def main() -> Any:
        VARIABLE.set("mine")
        return await line(work).run(inputs=7)

    assert asyncio.run(main()) == (True, True, "mine", 7)


def test_plain_functions_run_beside_each_other() -> None:
    meeting = threading.Barrier(8, timeout=20)

    def work(ctx: Any) -> Any:
        meeting.wait()
        return ctx.inputs

    g = builder()
    each = g.step(work)
    all_ = g.step(same, join="all")
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(all_), g.edge_from(all_).to(g.end_node))
    assert run(g.build(), list(range(8))) == list(range(8))


async def same(ctx: Any) -> Any:
    return ctx.inputs


def test_a_thread_that_takes_too_long_is_given_up_at_once_and_its_late_result_dropped() -> None:
    let_go = threading.Event()
    returned = threading.Event()

    def work(ctx: Any) -> Any:
        if ctx.attempt == 1:
            let_go.wait(20)
            ctx.state["late"] = True
            returned.set()
            return "late"
        let_go.set()
        returned.wait(20)
        return "in time"

    state: dict[str, Any] = {}
    began = time.perf_counter()
    g = builder(state_type=dict[str, Any])
    step = g.step(work, timeout=0.05, retry=2)
    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))
    assert run(g.build(), state=state) == "in time"
    assert state == {}
    assert time.perf_counter() - began < 10


def test_a_thread_that_was_given_up_keeps_its_slot_until_it_returns() -> None:
    let_go = threading.Event()
    lock = threading.Lock()
    inside = peak = 0

    def work(ctx: Any) -> Any:
        nonlocal inside, peak
        with lock:
            inside += 1
            peak = max(peak, inside)
        if ctx.inputs == 0 and ctx.attempt == 1:
            let_go.wait(20)
        with lock:
            inside -= 1
        return ctx.inputs

    async def other(ctx: Any) -> Any:
        await asyncio.sleep(0.2)
        let_go.set()

    g = builder()
    each = g.step(work, timeout=0.05, retry=2, max_concurrency=1)
    beside = g.step(other)
    all_ = g.step(same, join="all")
    g.add(
        g.edge_from(g.start_node).broadcast(lambda e: [e.map().to(each), e.to(beside)]),
        g.edge_from(each, beside).to(all_),
        g.edge_from(all_).to(g.end_node),
    )
    assert run(g.build(), [0, 1, 2]) == [0, 1, 2, None]
    assert peak == 1


def test_bodies_that_hang_do_not_keep_others_from_running() -> None:
    let_go = threading.Event()

    async def main() -> Any:
        threads = Threads(limit=2)
        hanging = [threads.submit(let_go.wait) for _ in range(2)]
        later = threads.submit(lambda: "ran")
        await asyncio.sleep(0.05)
        assert not later.done()
        hanging[0].cancel()
        result = await asyncio.wait_for(later, 20)
        let_go.set()
        await hanging[1]
        return result

    assert asyncio.run(main()) == "ran"


def test_a_body_that_was_cancelled_before_it_had_a_thread_never_runs() -> None:
    let_go = threading.Event()
    ran: list[int] = []

    async def main() -> None:
        threads = Threads(limit=1)
        hanging = threads.submit(let_go.wait)
        never = threads.submit(lambda: ran.append(1))
        never.cancel()
        let_go.set()
        await hanging
        await threads.submit(lambda: ran.append(2))

    asyncio.run(main())
    assert ran == [2]


def test_time_spent_waiting_for_a_thread_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.engine.calling.bodies.threads", Threads(limit=1))

    def work(ctx: Any) -> Any:
        time.sleep(0.25)
        return ctx.inputs

    g = builder()
    each = g.step(work, timeout=1.2)
    all_ = g.step(same, join="all")
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(all_), g.edge_from(all_).to(g.end_node))
    assert run(g.build(), list(range(8))) == list(range(8))


# --- other processes ---


@pytest.mark.parametrize("store", [None, "memory", "file"])
def test_the_output_and_the_state_come_back_from_another_process(store: str | None, tmp_path: Path) -> None:
    where = {None: None, "memory": MemoryStore(), "file": tmp_path / "runs.db"}[store]
    state = remote.Seen()
    result = asyncio.run(remote.squares.run(inputs=[1, 2, 3], state=state, store=where))
    assert result == [1, 4, 9]
    assert state.total == 6
    assert len(state.pids) == 3
    assert os.getpid() not in state.pids


def test_a_process_that_takes_too_long_is_killed() -> None:
    began = time.perf_counter()
    with pytest.raises(StepTimeout, match="endless took longer than"):
        run(line(remote.endless, executor="process", timeout=0.3))
    assert time.perf_counter() - began < 20


def test_what_cannot_be_sent_to_another_process_is_said() -> None:
    graph = line(remote.told, executor="process")
    with pytest.raises(GraphSetupError, match=r"step 'told' .* can't be pickled"):
        run(graph, lambda: None)
    with pytest.raises(GraphRuntimeError, match=r"gives out a function, .* can't be pickled"):
        run(line(remote.giving_a_function, executor="process"))


def test_an_exception_comes_back_from_another_process() -> None:
    with pytest.raises(KeyError, match="17"):
        run(line(remote.raising, executor="process"), 17)
    with pytest.raises(GraphRuntimeError, match="Stubborn: 1 2"):
        run(line(remote.stubborn, executor="process"))


def test_a_step_in_another_process_knows_who_it_is() -> None:
    graph = line(remote.told, executor="process")
    result = asyncio.run(graph.run(run_id="it", deps={"a": 1}))
    assert result == ("it", 1, True, True, {"a": 1})


def test_a_function_inside_a_function_is_refused_when_it_is_declared() -> None:
    def local(ctx: Any) -> None: ...

    g = builder()
    with pytest.raises(GraphSetupError, match=r"move '.*local' to the top of its module"):
        g.step(local, executor="process")


def test_a_partial_function_keeps_its_arguments_in_another_process() -> None:
    graph = line(functools.partial(_with_factor, 3), node_id="partial", executor="process")
    assert run(graph, 5) == 15


def _with_factor(factor: int, ctx: Any) -> Any:
    return factor * ctx.inputs


# --- named executors ---


def test_a_named_executor_runs_the_function(pool: ThreadPoolExecutor) -> None:
    def work(ctx: Any) -> Any:
        return threading.current_thread().name[:5], VARIABLE.get()

    async def main() -> Any:
        VARIABLE.set("mine")
        graph = line(work, executor="mine")
        in_memory = await graph.run(executors={"mine": pool})
        async with Engine.open(MemoryStore(), executors={"mine": pool}) as engine:
            return in_memory, await (await engine.start(graph)).result()

    assert asyncio.run(main()) == (("named", "mine"), ("named", "mine"))


def test_a_pool_of_processes_runs_the_function() -> None:
    g = builder(state_type=remote.Seen)
    each, all_ = g.step(remote.squared, executor="pool"), g.step(same, join="all")
    g.add(g.edge_from(g.start_node).map().to(each), g.edge_from(each).to(all_), g.edge_from(all_).to(g.end_node))
    state = remote.Seen()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert run(g.build(), [2, 3], state=state, executors={"pool": pool}) == [4, 9]
    assert state.total == 5
    assert os.getpid() not in state.pids


def test_a_named_executor_that_is_missing_is_named() -> None:
    graph = line(remote.told, executor="gpu")
    with pytest.raises(GraphSetupError, match="'gpu', and this engine has none"):
        run(graph)

    async def main() -> None:
        async with Engine.open(MemoryStore(), [graph]):
            pass

    with pytest.raises(GraphSetupError, match="'gpu'"):
        asyncio.run(main())


def test_a_timeout_leaves_a_call_in_a_pool_to_itself_with_its_slot(pool: ThreadPoolExecutor) -> None:
    let_go = threading.Event()
    order: list[str] = []

    def work(ctx: Any) -> Any:
        if ctx.attempt == 1:
            threading.Timer(0.2, let_go.set).start()
            let_go.wait(20)
            order.append("left")
            return None
        order.append("again")
        return "done"

    told = Told(line(work, executor="mine", timeout=0.05, retry=2, max_concurrency=1), executors={"mine": pool})
    assert told.result == "done"
    assert order == ["left", "again"]
