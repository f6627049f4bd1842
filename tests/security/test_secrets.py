"""Secrets: what is redacted, or is a Secret, is found nowhere: not in files, logs, spans or what a command prints."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import logging
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel, SecretStr

from perdure import (
    AnswerRefused,
    CodecError,
    Engine,
    GraphBuilder,
    GraphBuildingError,
    InvalidIdentifier,
    RunFailed,
    Secret,
    SQLiteStore,
    StepContext,
    reduce_list_append,
)
from perdure.cli.main import run as command
from perdure.codec.redaction import Redaction
from perdure.telemetry import Telemetry

CANARY = "canary-9b74c989"
LEFT_OUT = "(left out)"


def hide(where: str, path: str, value: Any) -> Any:
    if isinstance(value, str) and CANARY in value:
        return value.replace(CANARY, LEFT_OUT)
    return value


@dataclass
class Account:
    token: str
    names: list[str] = field(default_factory=list)
    by_name: dict[str, str] = field(default_factory=dict)


SEEN: list[str] = []


def careless() -> Any:
    g = GraphBuilder(name="careless", state_type=Account, deps_type=Secret[str], input_type=list[str], output_type=str)

    @g.step
    async def look(ctx: StepContext[Account, Secret[str], str]) -> dict[str, str]:
        SEEN.append(ctx.inputs)
        ctx.state.names.append(CANARY)
        ctx.state.by_name[CANARY] = CANARY * 2
        ctx.state.token = f"{ctx.deps.reveal()} {CANARY}"
        return {"password": CANARY, CANARY: "key", "large": CANARY * 30_000}

    collect = g.join(reduce_list_append, initial_factory=list[dict[str, str]])
    approve = g.human(
        "approve", form=str, title=lambda ctx: f"for {CANARY}", assignee=lambda ctx: f"{CANARY}@example.org"
    )
    told = g.signal("told", str)

    @g.step
    async def fail(ctx: StepContext[Account, Secret[str], str]) -> str:
        SEEN.append(ctx.inputs)
        local = CANARY
        try:
            raise KeyError(local)
        except KeyError as error:
            failure = ValueError(f"no access with {CANARY} and {ctx.deps}")
            failure.add_note(CANARY)
            raise failure from error

    g.add(
        g.edge_from(g.start_node).map().to(look),
        g.edge_from(look).to(collect),
        g.edge_from(collect).transform(lambda ctx: [*ctx.inputs, {CANARY: CANARY}]).to(approve),
        g.edge_from(approve).to(told),
        g.edge_from(told).to(fail),
        g.edge_from(fail).to(g.end_node),
    )
    return g.build()


GRAPH = careless()


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


def test_a_canary_is_found_nowhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("perdure.engine.driving.snapshots.WORTHWHILE_BYTES", 1000)
    db, exporter, told = tmp_path / "r.db", InMemorySpanExporter(), []
    tracing, reader = TracerProvider(), InMemoryMetricReader()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry(tracer_provider=tracing, meter_provider=MeterProvider([reader]))

    async def running() -> None:
        engine = Engine.open(
            db,
            [GRAPH],
            deps=Secret(CANARY),
            redact=hide,
            telemetry=telemetry,
            on_event=lambda run, event: told.append(str(event)),
        )
        async with engine:
            handle = await engine.start(GRAPH, inputs=["a", CANARY], state=Account(CANARY), run_id="r")
            [wait] = await handle.until_waiting()
            assert wait.title == f"for {LEFT_OUT}"
            await engine.respond("r", wait.task_id, f"with {CANARY}", by="me")
            await engine.respond("r", wait.task_id, f"with {CANARY}", by="me")
            await engine.signal("r", "told", f"{CANARY}!")
            with pytest.raises(ValueError, match=CANARY):  # in this process it is the exception itself
                await handle.result()
            state = await handle.state()
            assert state.token == f"{LEFT_OUT} {LEFT_OUT}"
            assert state.by_name == {LEFT_OUT: LEFT_OUT * 2}
            assert LEFT_OUT in (await engine.get("r")).error
            assert CANARY.encode() not in bytes_in(tmp_path)
            await engine.fork_run("r", at=1, new_run_id="f")

    SEEN.clear()
    asyncio.run(running())
    assert LEFT_OUT in SEEN  # successors see what was stored
    assert f"{LEFT_OUT}!" in SEEN
    assert CANARY not in "".join(SEEN + told)
    assert exporter.get_finished_spans()
    assert CANARY not in str(reader.get_metrics_data())
    assert CANARY not in "".join(span.to_json() for span in exporter.get_finished_spans())
    assert CANARY not in caplog.text + "".join(str(vars(record)) for record in caplog.records)
    for arguments in (
        ["runs"], ["show", "r"], ["show", "r", "--json"], ["history", "r"], ["history", "r", "--json"], ["state", "r"], ["explain", "r"],
        ["timeline", "r"], ["trace", "r"], ["export", "r"], ["export", "r", "-o", str(tmp_path / "exported")], ["export", "r", "--format", "otlp"], ["plan", "f", "recover"], ["doctor"],
        ["export", "r", "--format", "chrome-trace"], ["verify"], ["du"], ["watch", "r"], ["waiting", "--json"], ["runs", "--json"], ["timeline", "r", "--json"], ["plan", "r", "retry"], ["waiting"],
        ["backup", str(tmp_path / "copy.db")], ["diff", "r", "f"],
    ):  # fmt: skip
        assert command([*arguments, "--db", str(db)]) in (0, 1), arguments
    printed = capsys.readouterr()
    assert LEFT_OUT in printed.out
    assert CANARY not in printed.out + printed.err
    assert CANARY.encode() not in bytes_in(tmp_path)


class Talkative:
    """An observer that raises when it is told of something, and says what."""

    tells = True

    async def opened(self, store: Any) -> Any:
        return self

    def begun(self, run_id: str, graph: str, in_trace: bool) -> Any:
        raise ValueError(f"about {CANARY}")

    async def closed(self) -> None:
        pass


def test_what_a_callback_or_an_observer_raises_is_redacted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def on_event(run: str, event: Any) -> None:
        raise ValueError(f"about {CANARY}")

    g = GraphBuilder(name="told", input_type=str, output_type=str)

    @g.step
    async def one(ctx: StepContext[None, None, str]) -> str:
        return "done"

    g.add(g.edge_from(g.start_node).to(one), g.edge_from(one).to(g.end_node))
    graph = g.build()

    async def running() -> None:
        telemetry: Any = Talkative()
        async with Engine.open(
            tmp_path / "r.db", [graph], redact=hide, on_event=on_event, telemetry=telemetry
        ) as engine:
            handle = await engine.start(graph, inputs="x", run_id="r")
            assert await handle.result() == "done"

            async def taken() -> None:
                await asyncio.sleep(0)
                raise ValueError(f"about {CANARY}")

            caller = asyncio.ensure_future(engine._worker.see_through(taken()))
            await asyncio.sleep(0)
            caller.cancel()  # so that nobody is told but the log

    asyncio.run(running())
    told = [record for record in caplog.records if LEFT_OUT in str(vars(record))]
    said = {str(record.msg) for record in told}
    assert said == {
        "on_event has raised, and isn't called any more",
        "an observer has raised and is detached",
        "a run couldn't be taken",
    }
    assert CANARY not in caplog.text + "".join(str(vars(record)) for record in caplog.records)


APP = """
from pathlib import Path
from perdure import Engine, GraphBuilder

g = GraphBuilder(name="asking", input_type=str, output_type=str)
ask, told = g.human("ask", form=str), g.signal("told", str)
g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(told), g.edge_from(told).to(g.end_node))
graph = g.build()


def hide(where, path, value):
    return "(left out)" if isinstance(value, str) and "canary" in value else value


def client(db: Path) -> Engine:
    return Engine.open(db, [graph], drive=False, redact=hide)


async def begin(db: Path) -> None:
    async with Engine.open(db, [graph]) as engine:
        await (await engine.start(graph, inputs="x", run_id="r")).until_waiting()
"""


def test_an_answer_or_a_signal_from_the_command_line_is_redacted_by_the_engine_of_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asking_app.py").write_text(APP)
    (folder := tmp_path / "db").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    db = folder / "r.db"
    asyncio.run(importlib.import_module("asking_app").begin(db))
    given = ["--app", "asking_app:client", "--db", str(db)]
    assert command(["respond", "r", "ask", json.dumps(CANARY), *given]) == 0
    assert command(["signal", "r", "told", json.dumps(CANARY), *given]) == 0
    assert CANARY.encode() not in bytes_in(folder)
    assert LEFT_OUT.encode() in bytes_in(folder)


def test_live_and_recovered_successors_see_the_same(tmp_path: Path) -> None:
    g = GraphBuilder(name="two", input_type=str, output_type=tuple[str, str], state_type=Account)

    @g.step
    async def one(ctx: StepContext[Account, None, str]) -> str:
        ctx.state.token = CANARY
        return CANARY

    @g.step
    async def two(ctx: StepContext[Account, None, str]) -> tuple[str, str]:
        return ctx.inputs, ctx.state.token

    wait = g.signal("go", str)
    g.add(
        g.edge_from(g.start_node).to(one),
        g.edge_from(one).to(wait),
        g.edge_from(wait).to(two),
        g.edge_from(two).to(g.end_node),
    )
    graph = g.build()

    async def running(path: Path, *, interrupted: bool) -> Any:
        async with Engine.open(path, [graph], redact=hide) as engine:
            handle = await engine.start(graph, inputs="x", state=Account(""), run_id="r")
            await handle.until_waiting()
            if not interrupted:
                await engine.signal("r", "go", CANARY)
                return await handle.result()
        async with Engine.open(path, [graph], redact=hide) as engine:
            await engine.signal("r", "go", CANARY)
            return await engine.attach("r").result()

    live = asyncio.run(running(tmp_path / "live.db", interrupted=False))
    recovered = asyncio.run(running(tmp_path / "recovered.db", interrupted=True))
    assert live == recovered == (LEFT_OUT, LEFT_OUT)


# --- the hook ---


class Pair(NamedTuple):
    left: str
    right: Any


class Model(BaseModel):
    token: str
    rest: list[str] = []


class Frozen(msgspec.Struct, frozen=True):
    token: str


@dataclass(frozen=True, slots=True)
class Slotted:
    token: str


VALUES = [
    CANARY, [CANARY], (CANARY, 1), {CANARY}, frozenset({CANARY}), deque([CANARY], 3), {CANARY: 1}, {"k": [CANARY]}, OrderedDict(a=CANARY),
    Counter([CANARY]), defaultdict(list, {"a": [CANARY]}), Pair("a", {"b": CANARY}), Model(token=CANARY, rest=[CANARY]), Frozen(CANARY),
    Slotted(CANARY), Account("x", [CANARY], {CANARY: CANARY}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_kind_of_container_is_looked_into_and_left_alone(value: Any) -> None:
    before = copy.deepcopy(value)
    found = Redaction(hide).value("inputs", value)
    assert CANARY not in repr(found)
    assert LEFT_OUT in repr(found)
    assert type(found) is type(value)
    assert value == before
    assert getattr(found, "maxlen", None) == getattr(value, "maxlen", None)
    assert getattr(found, "default_factory", None) == getattr(value, "default_factory", None)
    assert Redaction(lambda where, path, value: value).value("inputs", value) is value


def test_the_hook_is_told_where_a_value_is_and_of_what_type() -> None:
    told: list[tuple[str, str, type]] = []

    def listen(where: str, path: str, value: Any) -> Any:
        told.append((where, path, type(value)))
        return value

    Redaction(listen).value("inputs", {"user": Account("t", ["n"])})
    assert told[:5] == [
        ("inputs", "$", dict),
        ("inputs", "$.keys()", str),
        ("inputs", "$['user']", Account),
        ("inputs", "$['user'].token", str),
        ("inputs", "$['user'].names", list),
    ]


def test_what_the_hook_raises_on_is_not_stored_and_not_told() -> None:
    def broken(where: str, path: str, value: Any) -> Any:
        raise RuntimeError(f"can't make out {value}")

    with pytest.raises(CodecError, match="RuntimeError") as caught:
        Redaction(broken).value("inputs", CANARY)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert CANARY not in Redaction(broken).text("error", "$.message", CANARY)


# --- Secret ---


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(CANARY)
    texts = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        "{}".format(secret),  # noqa: UP032
        repr([secret]),
        repr({"s": secret}),
    ]
    assert CANARY not in "".join(texts)
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY)
    assert secret != Secret("another")
    assert len({secret, Secret(CANARY)}) == 1
    assert copy.deepcopy([secret])[0] is secret
    assert not hasattr(secret, "__dict__")
    for dump in (pickle.dumps, msgspec.json.encode, json.dumps):
        with pytest.raises(TypeError):
            dump(secret)


@dataclass
class Holder:
    secret: Any


class WithSecretStr(BaseModel):
    token: SecretStr


@pytest.mark.parametrize(
    "make", [lambda s: s, lambda s: [s], lambda s: Holder(s), lambda s: {"a": s}, lambda s: (1, s)]
)
def test_a_secret_is_refused_wherever_it_would_be_stored(make: Any, tmp_path: Path) -> None:
    g = GraphBuilder(name="secretive", input_type=Any, output_type=Any, state_type=Holder)  # type: ignore[arg-type]

    @g.step
    async def give(ctx: StepContext[Holder, None, Any]) -> Any:
        if ctx.inputs == "state":
            ctx.state.secret = make(Secret(CANARY))
            return None
        return make(Secret(CANARY))

    g.add(g.edge_from(g.start_node).to(give), g.edge_from(give).to(g.end_node))
    graph = g.build()
    db = tmp_path / "r.db"
    for inputs, state in (
        (make(Secret(CANARY)), Holder(1)),
        (1, Holder(make(Secret(CANARY)))),
        (1, Holder(1)),
        ("state", Holder(1)),
    ):
        with pytest.raises(CodecError, match="deps") as caught:
            asyncio.run(graph.run(inputs=inputs, state=state, store=db))
        assert CANARY not in str(caught.value)
    assert CANARY.encode() not in bytes_in(tmp_path)


def test_a_secret_is_refused_in_all_that_people_say(tmp_path: Path) -> None:
    g = GraphBuilder(name="asking", input_type=Any, output_type=Any)
    ask, told = g.human("ask", form=Any), g.signal("told", Any)  # type: ignore[type-abstract]
    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(told), g.edge_from(told).to(g.end_node))
    graph, secret = g.build(), cast("Any", Secret(CANARY))

    async def running() -> None:
        async with Engine.open(tmp_path / "r.db", [graph]) as engine:
            handle = await engine.start(graph, inputs=1, run_id="r")
            [wait] = await handle.until_waiting()
            for said in (
                *(lambda value=value: engine.respond("r", wait.task_id, value) for value in (secret, {"k": [secret]})),
                *(lambda value=value: engine.signal("r", "told", value) for value in (secret, Holder(secret))),
                lambda: engine.start(graph, inputs=1, run_id=secret),
                lambda: engine.start(graph, inputs=1, by=secret),
                lambda: engine.start(graph, inputs=1, tags={"team": secret}),
                lambda: engine.start(graph, inputs=1, tags={secret: "team"}),
                lambda: engine.list(tags={"team": secret}),
                lambda: engine.signal("r", secret),
                lambda: engine.pause("r", reason=secret),
                lambda: engine.cancel("r", by=secret),
                lambda: engine.fork_run("r", outputs={"ask": secret}),
                lambda: engine.fork_run("r", inputs=[secret]),
                lambda: engine.fork_run("r", at=1, reason=secret),
            ):
                with pytest.raises((AnswerRefused, InvalidIdentifier, CodecError)) as caught:
                    await said()
                assert CANARY not in str(caught.value)
            assert [info.run_id for info in await engine.list()] == ["r"]

    asyncio.run(running())
    assert CANARY.encode() not in bytes_in(tmp_path)


def test_a_type_that_holds_a_secret_is_refused_before_anything_runs(tmp_path: Path) -> None:
    @dataclass
    class Config:
        token: Secret[str]

    g = GraphBuilder(name="typed", input_type=Config, output_type=int)

    @g.step
    async def give(ctx: StepContext[None, None, Config]) -> int:
        return len(ctx.inputs.token.reveal())

    g.add(g.edge_from(g.start_node).to(give), g.edge_from(give).to(g.end_node))
    graph = g.build()
    with pytest.raises(GraphBuildingError, match=r"Secret can.t be stored.*deps"):
        Engine.open(tmp_path / "r.db", [graph])
    assert asyncio.run(graph.run(inputs=Config(Secret("abc")))) == 3  # in memory nothing is stored


def test_a_secret_of_pydantic_is_refused(tmp_path: Path) -> None:
    g = GraphBuilder(name="pydantic", input_type=Any, output_type=Any)
    g.add(g.edge_from(g.start_node).to(g.end_node))
    with pytest.raises(CodecError, match="SecretStr"):
        asyncio.run(g.build().run(inputs=WithSecretStr(token=SecretStr(CANARY)), store=tmp_path / "r.db"))
    assert CANARY.encode() not in bytes_in(tmp_path)


def test_locals_are_in_no_traceback(tmp_path: Path) -> None:
    g = GraphBuilder(name="locals", input_type=int, output_type=int)

    @g.step
    async def fail(ctx: StepContext[None, None, int]) -> int:
        local = "".join(["canary", "-", "of-locals"])
        return len(local) // ctx.inputs

    g.add(g.edge_from(g.start_node).to(fail), g.edge_from(fail).to(g.end_node))
    graph = g.build()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(graph.run(inputs=0, store=tmp_path / "r.db", run_id="r"))
    assert b"canary-of-locals" not in bytes_in(tmp_path)
    with pytest.raises(RunFailed):
        asyncio.run(graph.run(inputs=0, store=SQLiteStore(tmp_path / "r.db"), run_id="r"))
