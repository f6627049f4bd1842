"""Limits: what is too large, too deep, too many or can't be printed is refused, before anything is written."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    AnswerRefused,
    CodecError,
    Engine,
    GraphBuilder,
    InvalidIdentifier,
    MemoryStore,
    RunNotFound,
    StepContext,
)
from perdure.cli.main import run as command

BAD_NAMES = [
    "",
    "a" * 201,
    "a\nb",
    "a\x1b[31m",
    "a\x00b",
    "\u202eabc",
    "a\u2066b",
    "\x7f",
    "a\u2028b",
    "\ud800",
    "\x9b31m",
]


def asking() -> Any:
    g = GraphBuilder(name="asking", input_type=Any, output_type=Any)
    ask = g.human("ask", form=Any)  # type: ignore[type-abstract]
    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(g.end_node))
    return g.build()


GRAPH = asking()


@dataclass
class Reading:
    degrees: float


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def in_engine(check: Any) -> None:
    async def running() -> None:
        async with Engine.open(MemoryStore(), [GRAPH]) as engine:
            handle = await engine.start(GRAPH, inputs=1, run_id="r")
            [wait] = await handle.until_waiting()
            before = (await engine.get("r")).last_seq
            await check(engine, wait)
            assert (await engine.get("r")).last_seq == before
            assert [info.run_id for info in await engine.list()] == ["r"]
            await engine.respond("r", wait.task_id, "fine")
            assert await handle.result() == "fine"

    asyncio.run(running())


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_name_that_cannot_be_printed_is_refused_everywhere(name: str) -> None:
    async def check(engine: Engine, wait: Any) -> None:
        with pytest.raises(InvalidIdentifier, match="run id"):
            await engine.start(GRAPH, inputs=1, run_id=name)
        for tags in ({name: "x"}, {"x": name}):
            with pytest.raises(InvalidIdentifier, match="tag"):
                await engine.start(GRAPH, inputs=1, tags=tags)
        with pytest.raises(InvalidIdentifier, match="signal"):
            await engine.signal("r", name)
        with pytest.raises(InvalidIdentifier, match="task id"):
            await engine.respond("r", name, 1)
        with pytest.raises(InvalidIdentifier, match="run id"):
            await engine.fork_run("r", at=1, new_run_id=name)
        if name:  # nobody may be named
            for call in (
                lambda: engine.start(GRAPH, inputs=1, by=name),
                lambda: engine.respond("r", wait.task_id, 1, by=name),
                lambda: engine.signal("r", "s", by=name),
                lambda: engine.pause("r", by=name),
                lambda: engine.resume("r", by=name),
                lambda: engine.retry("r", by=name),
                lambda: engine.cancel("r", by=name),
                lambda: engine.accept("r", by=name),
                lambda: engine.recover_run("r", by=name),
                lambda: engine.fork_run("r", at=1, by=name),
            ):
                with pytest.raises(InvalidIdentifier, match="by="):
                    await call()

    in_engine(check)
    with pytest.raises(InvalidIdentifier, match="graph name"):
        GraphBuilder(name=name)


@pytest.mark.parametrize("name", BAD_NAMES[1:], ids=ascii)
def test_names_in_a_graph_are_refused_when_it_is_built(name: str) -> None:
    g = GraphBuilder(name="named", input_type=int, output_type=Any)
    with pytest.raises(InvalidIdentifier, match="name"):
        g.signal(name, str, node_id="fine")

    @g.step(node_id=name)
    async def step(ctx: StepContext[None, None, int]) -> int:
        return 1

    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(g.end_node))
    with pytest.raises(ValueError, match="node id"):
        g.build()


def test_a_reason_has_a_length() -> None:
    async def check(engine: Engine, wait: Any) -> None:
        for call in (engine.pause, engine.cancel, engine.resume, engine.retry, engine.accept, engine.recover_run):
            kwargs = {"by": "me"} if call == engine.accept else {}
            with pytest.raises(InvalidIdentifier, match="2,000 characters"):
                await call("r", reason="x" * 2001, **kwargs)  # type: ignore[arg-type]
        with pytest.raises(InvalidIdentifier, match="2,000 characters"):
            await engine.fork_run("r", at=1, reason="x" * 2001)
        for call in (engine.pause, engine.cancel, engine.resume, engine.retry, engine.recover_run):
            with pytest.raises(InvalidIdentifier, match="surrogate"):
                await call("r", reason="\ud800")  # type: ignore[operator]
        with pytest.raises(InvalidIdentifier, match="65 tags"):
            await engine.start(GRAPH, inputs=1, tags={f"t{n}": "x" for n in range(65)})

    in_engine(check)


def test_an_answer_and_a_signal_have_a_size_and_a_depth() -> None:
    async def check(engine: Engine, wait: Any) -> None:
        for value, said in (("x" * (1 << 20), "1,048,576"), (nested(65), "64 levels"), (nested(5000), "levels|JSON")):
            with pytest.raises(AnswerRefused, match=said):
                await engine.respond("r", wait.task_id, value)
            with pytest.raises(AnswerRefused, match=said):
                await engine.signal("r", "any", value)

    in_engine(check)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": (-float("inf"), None)}, Reading(float("nan"))])
def test_an_answer_that_json_has_no_number_for_is_refused_and_not_made_nothing(value: Any) -> None:
    async def check(engine: Engine, wait: Any) -> None:
        with pytest.raises(AnswerRefused, match="JSON has no number"):
            await engine.respond("r", wait.task_id, value)
        with pytest.raises(AnswerRefused, match="JSON has no number"):
            await engine.signal("r", "any", value)

    in_engine(check)


class Team(StrEnum):
    BLUE = "blue"


@pytest.mark.parametrize("make", [MemoryStore, None], ids=["memory", "sqlite"])
def test_a_member_of_an_enum_of_texts_will_do_for_a_name(make: Any, tmp_path: Path) -> None:
    async def running() -> None:
        async with Engine.open(make() if make else tmp_path / "r.db", [GRAPH]) as engine:
            handle = await engine.start(GRAPH, inputs=1, run_id=Team.BLUE, by=Team.BLUE, tags={Team.BLUE: Team.BLUE})
            assert [info.run_id for info in await engine.list(tags={"blue": Team.BLUE})] == ["blue"]
            [wait] = await handle.until_waiting()
            await engine.pause("blue", by=Team.BLUE, reason=Team.BLUE)
            await engine.resume("blue", by=Team.BLUE, reason=Team.BLUE)
            await engine.signal("blue", Team.BLUE, by=Team.BLUE)
            await engine.respond("blue", wait.task_id, "yes", by=Team.BLUE)
            assert await handle.result() == "yes"
            fork = await engine.fork_run("blue", at=1, by=Team.BLUE, reason=Team.BLUE)
            await engine.cancel(fork.run_id, by=Team.BLUE, reason=Team.BLUE)

    asyncio.run(running())


@pytest.mark.parametrize("make", [MemoryStore, None], ids=["memory", "sqlite"])
def test_a_name_that_no_run_can_have_is_not_found(make: Any, tmp_path: Path) -> None:
    async def running() -> None:
        async with Engine.open(make() if make else tmp_path / "r.db", [GRAPH]) as engine:
            for call in (engine.get, engine.history, engine.cancel, engine.plan, engine.signal):
                more = {"verb": "retry"} if call == engine.plan else {"name": "x"} if call == engine.signal else {}
                with pytest.raises((RunNotFound, InvalidIdentifier)):
                    await call("\udcff", **more)  # type: ignore[operator]
            with pytest.raises(InvalidIdentifier):
                await engine.list(tags={"a": "\udcff"})

    asyncio.run(running())


UNREADABLE = os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            [name, UNREADABLE]
            for name in ("show", "history", "cancel", "pause", "timeline", "export", "watch", "trace")
        ),
        ["diff", UNREADABLE, "r"],
        ["runs", "--graph", UNREADABLE],
        ["runs", "--tag", f"a={UNREADABLE}"],
        ["runs", "--limit", "9" * 30],
        ["waiting", "--assignee", UNREADABLE],
        ["respond", "r", "ask", f'"{UNREADABLE}"'],
        ["cancel", "r", "--reason", UNREADABLE],
    ],
    ids=" ".join,
)
def test_an_argument_that_is_no_text_or_too_large_is_refused_in_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "r.db"

    async def left() -> None:
        async with Engine.open(db, [GRAPH]) as engine:
            await (await engine.start(GRAPH, inputs=1, run_id="r")).until_waiting()

    asyncio.run(left())
    assert command([*arguments, "--db", str(db)]) in (2, 4)
    told = capsys.readouterr()
    assert not told.out
    assert told.err.strip()


def test_inputs_have_a_size_and_a_depth() -> None:
    async def check(engine: Engine, wait: Any) -> None:
        with pytest.raises(CodecError, match=r"inputs: .*64 levels.*Flatten"):
            await engine.start(GRAPH, inputs=nested(66))
        with pytest.raises(CodecError, match=r"inputs: .*64 MB.*reference"):
            await engine.start(GRAPH, inputs="x" * (65 << 20))

    in_engine(check)


def test_the_command_line_keeps_to_the_same_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "r.db"

    async def left() -> str:
        async with Engine.open(db, [GRAPH]) as engine:
            handle = await engine.start(GRAPH, inputs=1, run_id="r")
            return (await handle.until_waiting())[0].task_id

    task = asyncio.run(left())
    for arguments, said in (
        (["respond", "r", task, '"' + "x" * (1 << 20) + '"'], "1,048,576"),
        (["respond", "r", task, "[" * 66 + "]" * 66], "64 levels"),
        (["respond", "r", task, "[" * 50_000], "JSON"),
        (["signal", "r", "a\x1b[31m"], "printable"),
        (["respond", "r", task, "1", "--by", "x" * 201], "200 printable"),
        (["cancel", "r", "--reason", "x" * 2001], "2,000 characters"),
    ):
        assert command([*arguments, "--db", str(db)]) != 0, arguments
        told = capsys.readouterr()
        assert said in told.err
        assert "\x1b" not in told.err + told.out


def failing(error: Exception) -> Any:
    g = GraphBuilder(name="failing", input_type=int, output_type=int)

    @g.step
    async def fail(ctx: StepContext[None, None, int]) -> int:
        raise error

    g.add(g.edge_from(g.start_node).to(fail), g.edge_from(fail).to(g.end_node))
    return g.build()


def test_what_an_exception_says_takes_bounded_space(tmp_path: Path) -> None:
    error = ValueError("begin" + "x" * 5_000_000 + "end")
    for number in range(200):
        error.add_note(f"{number}" + "y" * 100_000)
    db = tmp_path / "r.db"
    with pytest.raises(ValueError, match="beginx") as raised:
        asyncio.run(failing(error).run(inputs=1, store=db, run_id="r"))
    assert raised.value is error
    assert db.stat().st_size < 10_000_000
    assert command(["show", "r", "--db", str(db)]) == 0


def test_a_secret_in_a_long_message_is_redacted_before_it_is_cut(tmp_path: Path) -> None:
    canary = "canary" * 4
    error = ValueError(canary * 4_000)
    db = tmp_path / "r.db"

    async def running() -> None:
        graph = failing(error)
        async with Engine.open(db, [graph], redact=hiding(canary)) as engine:
            handle = await engine.start(graph, inputs=1, run_id="r")
            with pytest.raises(ValueError, match="canary"):
                await handle.result()
            assert "characters left out" in (await engine.get("r")).error

    asyncio.run(running())
    assert not any(b"canary" in path.read_bytes() for path in tmp_path.iterdir())


def hiding(secret: str) -> Any:
    return lambda where, path, value: value.replace(secret, "(left out)") if isinstance(value, str) else value
