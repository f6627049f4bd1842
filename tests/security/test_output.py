"""Output: nothing that a run holds tells a terminal, Mermaid or a backend what to do."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, GraphBuilder, StepContext
from perdure.cli.main import run as command
from perdure.cli.terminal import safe

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eback\u2066\r\x7f\u2028<script>alert(1)</script>"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def evil() -> Any:
    g = GraphBuilder(name="evil", input_type=str, output_type=str, state_type=dict[str, str])
    ask = g.human("ask", form=str, title=lambda ctx: ctx.inputs)

    @g.step
    async def fail(ctx: StepContext[dict[str, str], None, str]) -> str:
        ctx.state[ctx.inputs] = ctx.inputs
        if ctx.inputs == EVIL:
            raise ValueError(ctx.inputs)
        return EVIL

    g.add(g.edge_from(g.start_node).to(ask), g.edge_from(ask).to(fail), g.edge_from(fail).to(g.end_node))
    return g.build()


GRAPH = evil()


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "r.db"

    async def running() -> None:
        async with Engine.open(path, [GRAPH]) as engine:
            for run_id, answer in (("bad", EVIL), ("good", "fine"), ("left", None)):
                handle = await engine.start(GRAPH, inputs=EVIL, state={EVIL: EVIL}, run_id=run_id)
                [wait] = await handle.until_waiting()
                if answer is not None:
                    await engine.respond(run_id, wait.task_id, answer)
                    if answer == EVIL:
                        with pytest.raises(ValueError, match="owned"):
                            await handle.result()
                    else:
                        await handle.result()

    asyncio.run(running())
    return path


READING = ["show", "history", "explain", "timeline", "trace", "state", "watch"]


@pytest.mark.parametrize("run", ["bad", "good"])
def test_no_command_prints_what_a_terminal_obeys(run: str, db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        *[[verb, run] for verb in READING],
        *[[verb, run, "--json"] for verb in READING if verb != "state"],
        ["runs"], ["waiting"], ["waiting", "--json"], ["diff", "bad", "good"], ["show", EVIL], [EVIL], ["respond", run, EVIL, EVIL],
        ["runs", "--db", EVIL],
    ):  # fmt: skip
        command([*arguments, *(["--db", str(db)] if "--db" not in arguments else [])])
        printed = capsys.readouterr()
        assert UNSAFE.findall(printed.out + printed.err) == [], arguments


@pytest.mark.parametrize("form", ["run", "otlp", "chrome-trace"])
def test_an_export_is_for_programs_and_no_terminal_gets_it(
    form: str, db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert command(["export", "good", "--format", form, "--db", str(db)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "-o FILE" in printed.err


def test_json_means_the_same_when_it_is_made_safe(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["show", "good", "--json", "--db", str(db)]) == 0
    assert json.loads(capsys.readouterr().out)["result"] == EVIL


def test_a_terminal_gets_styles_of_ours_and_none_of_theirs(
    db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.cli.output.on_terminal", lambda: True)
    for arguments in (["runs"], ["waiting"], ["show", "bad"]):
        command([*arguments, "--db", str(db)])
        assert "\x1b]0" not in capsys.readouterr().out


def test_safe_text_keeps_its_letters() -> None:
    assert safe("Zoë 漢字 → 👩‍💻\n\tend") == "Zoë 漢字 → 👩‍💻\n\tend"
    assert safe("\x1b[0m") == "\\u001b[0m"


def test_labels_and_notes_are_no_markup_in_a_diagram() -> None:
    hostile = 'x"]; click a "javascript:alert(1)" <img src=x onerror=alert(1)> %%{init: {}}%%'
    g = GraphBuilder(name="drawn", input_type=int, output_type=int)

    @g.step(node_id='a"><b>', label=hostile)
    async def step(ctx: StepContext[None, None, int]) -> int:
        return 1

    choice = g.decision(node_id="d", note=hostile)
    g.add(
        g.edge_from(g.start_node).to(step),
        g.edge_from(step).label(hostile).to(choice.branch(g.match(int).to(g.end_node))),
    )
    drawn = g.build().render()
    body = drawn.split("stateDiagram-v2", 1)[1]
    assert "<" not in body.replace("<<choice>>", "").replace("<<fork>>", "").replace("<<join>>", "")
    assert "%%{" not in body
