"""A wrong argument is refused when it is given, with what it should be."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    CodecError,
    Engine,
    Graph,
    GraphBuilder,
    GraphSetupError,
    InvalidIdentifier,
    MemoryStore,
    Retry,
    SQLiteStore,
    Status,
    StepContext,
    StoreReadOnly,
)
from perdure.cli.main import run as command


def one_step(body: Any, name: str = "one") -> Graph[Any, Any, Any, Any]:
    g: GraphBuilder[Any, Any, Any, Any] = GraphBuilder(name=name, input_type=int, output_type=int)
    step = g.step(body, node_id="step")
    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))
    return g.build()


async def add_one(ctx: StepContext[Any, None, int]) -> int:
    return ctx.inputs + 1


GRAPH = one_step(add_one)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"store": 42}, "store=42 is neither a path nor a store"),
        ({"store": SQLiteStore}, "is neither a path nor a store"),
        ({"graphs": GRAPH}, r"write graphs=\[graph\]"),
        ({"graphs": [GraphBuilder(name="unbuilt")]}, r"is no graph: give what GraphBuilder.build\(\) returns"),
        ({"durability": "fast"}, 'durability=\'fast\' is not one of "sync", "async", "exit"'),
        ({"telemetry": True}, r"telemetry=True can't be told anything: give a perdure.telemetry.Telemetry"),
        ({"on_event": 3}, "on_event=3 is no plain function"),
        ({"lease_s": -1}, "lease_s=-1 has to be a number of seconds above 0"),
        ({"max_runs": 0}, "max_runs=0 has to be 1 or more; drive=False"),
    ],
)
def test_an_engine_is_not_opened_with_a_wrong_argument(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(GraphSetupError, match=problem):
        Engine.open(**{"store": MemoryStore(), "graphs": [GRAPH], **given})


def test_only_a_graph_is_coroutines() -> None:
    async def start() -> None:
        async with Engine.open(MemoryStore(), [GRAPH]) as engine:
            await engine.start("one", inputs=1)  # type: ignore[arg-type]

    with pytest.raises(GraphSetupError, match="'one' is no graph"):
        asyncio.run(start())


@pytest.mark.parametrize(
    ("given", "problem"), [({"telemetry": True}, "telemetry=True"), ({"durability": "fast"}, "durability='fast'")]
)
@pytest.mark.parametrize("store", [None, "runs.db"])
def test_a_run_is_not_coroutines_with_a_wrong_argument(
    tmp_path: Path, store: str | None, given: dict[str, Any], problem: str
) -> None:
    with pytest.raises(GraphSetupError, match=problem):
        GRAPH.run_sync(inputs=1, store=tmp_path / store if store else None, **given)
    assert list(tmp_path.iterdir()) == []


def test_an_id_that_is_no_text_is_shown_as_what_it_is() -> None:
    with pytest.raises(InvalidIdentifier, match=r"^7 can't be a run id: give a string"):
        GRAPH.run_sync(inputs=1, run_id=7)  # type: ignore[arg-type]


def test_a_missing_folder_is_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnly, match=r"the folder doesn't exist\. Make it, or give another path$"):
        GRAPH.run_sync(inputs=1, store=tmp_path / "nowhere" / "runs.db")


def test_what_was_not_awaited_is_to_be_awaited() -> None:
    async def forgetful(ctx: StepContext[Any, None, int]) -> Any:
        coroutines.append(add_one(ctx))
        return coroutines[0]

    coroutines: list[Any] = []
    with pytest.raises(CodecError, match=r"type coroutine.* await it"):
        one_step(forgetful).run_sync(inputs=1, store=MemoryStore())
    coroutines[0].close()


def test_the_state_itself_is_not_assigned() -> None:
    async def assign(ctx: StepContext[Any, None, int]) -> int:
        ctx.state = 3  # type: ignore[misc]
        return 1

    with pytest.raises(AttributeError, match=r"ctx\.state can't be assigned: change what is in it"):
        one_step(assign).run_sync(inputs=1)


@pytest.mark.parametrize("store", [False, True])
def test_what_a_step_raises_is_noted_with_its_run_and_its_task(*, store: bool) -> None:
    async def fail(ctx: StepContext[Any, None, int]) -> int:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing") as caught:
        one_step(fail).run_sync(inputs=1, run_id="r", store=MemoryStore() if store else None)
    assert sorted(caught.value.__notes__) == ["perdure: in run 'r'", "perdure: in task 'step'"]


def test_what_would_make_a_log_unreadable_is_refused(tmp_path: Path) -> None:
    """An event with a value of a wrong type is written for ever, and can't be read again."""

    async def fail(ctx: StepContext[Any, None, int]) -> int:
        raise LookupError("no such thing")

    async def main() -> None:
        graph = one_step(fail)
        async with Engine.open(tmp_path / "runs.db", [graph]) as engine:
            handle = await engine.start(graph, inputs=1, run_id="r", child=1)  # type: ignore[arg-type]
            with pytest.raises(LookupError):
                await handle.result()
            before = await engine.history("r")
            for wrong in (True, 0, 1.5, "9", 1 << 63):
                with pytest.raises(GraphSetupError, match="give a whole number of at least 1"):
                    await engine.retry("r", max_steps=wrong)  # type: ignore[arg-type]
            for wrong in (True, 1.0, b"step"):
                with pytest.raises(GraphSetupError, match="give the seq of an event"):
                    await engine.fork_run("r", at=wrong)  # type: ignore[arg-type]
            assert await engine.history("r") == before
            assert [info.run_id for info in await engine.list()] == ["r"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "given",
    [
        {"wait": timedelta.max},
        {"wait": lambda ctx: timedelta.max},
        {"deadline": timedelta.max},
        {"retry": Retry(max_attempts=2, initial_interval=1e30, max_interval=timedelta.max)},
    ],
    ids=["a wait", "a wait that code sets", "a deadline", "a retry"],
)
def test_what_is_due_at_the_end_of_time_can_be_stored_and_shown(tmp_path: Path, given: dict[str, Any]) -> None:
    g: GraphBuilder[Any, Any, Any, Any] = GraphBuilder(name="patient", input_type=int, output_type=int)

    async def fail(ctx: StepContext[Any, None, int]) -> int:
        raise LookupError("no such thing")

    nap = g.sleep(given.get("wait", timedelta(hours=1)), node_id="nap")
    step = g.step(fail, node_id="step", retry=given.get("retry"))
    first, last = (step, nap) if "retry" in given else (nap, step)
    g.add(g.edge_from(g.start_node).to(first), g.edge_from(first).to(last), g.edge_from(last).to(g.end_node))
    graph = g.build()

    async def main() -> None:
        async with Engine.open(tmp_path / "runs.db", [graph]) as engine:
            handle = await engine.start(graph, inputs=1, run_id="r", deadline=given.get("deadline"))
            while await handle.status() is not Status.WAITING:
                await asyncio.sleep(0)
            assert "2" in str(await engine.explain("r"))

    asyncio.run(asyncio.wait_for(main(), 30))
    for arguments in (["show", "r"], ["explain", "r"], ["waiting"], ["history", "r"], ["runs"]):
        assert command([*arguments, "--db", str(tmp_path / "runs.db")]) == 0
