"""What holds of every command: help with examples that work, JSON that parses, no colours unasked, errors on standard error only."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from perdure.cli.main import COMMANDS
from perdure.cli.main import perdure as group

# For each command, what is called in the tests, and whether its JSON is one document or an object a line.
CALLS: dict[str, tuple[list[str], str]] = {
    "accept": (["stalled", "--app", "orders:graph"], "document"),
    "backup": (["FILE"], ""),
    "cancel": (["left"], "document"),
    "check": (["--app", "orders:graph"], "lines"),
    "completion": (["fish"], ""),
    "diff": (["good", "bad"], "document"),
    "doctor": ([], "lines"),
    "du": ([], "document"),
    "explain": (["left"], "document"),
    "export": (["good"], ""),
    "fork": (["good", "--at", "3"], "document"),
    "history": (["good"], "lines"),
    "import": (["EXPORTED"], "document"),
    "pause": (["left"], "document"),
    "plan": (["bad", "retry"], "document"),
    "prune": (["--older-than", "1d"], "document"),
    "recover": (["left"], "document"),
    "respond": (["left", "task", "true"], ""),
    "resume": (["paused", "--by", "ann"], "document"),
    "retry": (["bad"], "document"),
    "runs": ([], "lines"),
    "show": (["good"], "document"),
    "signal": (["left", "go"], ""),
    "state": (["good"], "document"),
    "timeline": (["good"], "document"),
    "trace": (["good"], "lines"),
    "verify": ([], "document"),
    "waiting": ([], "lines"),
    "watch": (["good"], "lines"),
}
WITHOUT = {"demo", "worker"}
"""Those that have tests of their own, which take longer."""
OF_A_RUN = sorted(
    name for name, (arguments, _) in CALLS.items() if arguments and arguments[0] in ("good", "bad", "left")
)
ESCAPE = "\x1b"


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def arguments_of(perdure, name: str, db: Path, tmp_path: Path) -> list[str | Path]:
    """Return what a command is called with, once there is what it needs."""
    arguments = [str(part) for part in CALLS[name][0]]
    if "stalled" in arguments or "paused" in arguments:
        from sqlite3 import connect

        status = "STALLED" if "stalled" in arguments else "PAUSED"
        if status == "PAUSED":
            assert perdure("pause", "left", "--db", db).code == 0
        else:
            with connect(db) as connection:
                connection.execute(
                    "UPDATE run SET status = ?, owner = NULL, lease_until = 0 WHERE run_id = 'left'", (status,)
                )
            connection.close()
        arguments[0] = "left"
    if "EXPORTED" in arguments:
        assert perdure("export", "good", "-o", tmp_path / "good.jsonl", "--db", db).code == 0
        return [tmp_path / "good.jsonl", "--db", tmp_path / "other.db"]
    return [tmp_path / "file.db" if part == "FILE" else part for part in arguments] + (
        ["--db", db] if name != "completion" else []
    )


def test_every_command_is_called_here() -> None:
    assert set(CALLS) | WITHOUT == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_in_a_line_what_a_command_does_and_gives_examples(perdure, name) -> None:
    code, out, err = perdure(name, "--help")
    assert (code, err) == (0, "")
    summary = (command(name).help or "").split("\n\n")[0]
    assert len(summary.splitlines()) == 1
    assert summary.endswith(".")
    assert "\b" not in out
    assert "\n  Examples:\n" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_use_options_that_there_are(name) -> None:
    examples = (command(name).help or "").split("Examples:\n")[1].splitlines()
    assert any(f"perdure {name}" in example for example in examples)
    for example in examples:
        for called, rest in re.findall(r"\bperdure (\w+)([^|&>)]*)", example):
            given = {part.split("=")[0] for part in shlex.split(rest) if part.startswith("-") and part != "-"}
            assert given <= {option for part in command(called).params for option in part.opts}, example


@pytest.mark.parametrize("name", [name for name, (_, shape) in CALLS.items() if shape])
def test_json_is_one_document_or_an_object_a_line(perdure, db, tmp_path, name) -> None:
    arguments = arguments_of(perdure, name, db, tmp_path)
    outcome = perdure(name, *arguments, "--json")
    assert outcome.code in (0, 1), outcome.err
    if CALLS[name][1] == "document":
        assert isinstance(json.loads(outcome.out), dict)
    else:
        assert all(isinstance(line, dict) for line in outcome.lines)


@pytest.mark.parametrize("name", CALLS)
def test_data_goes_to_standard_output_and_has_no_escapes_in_a_pipe(perdure, db, tmp_path, name) -> None:
    outcome = perdure(name, *arguments_of(perdure, name, db, tmp_path))
    assert outcome.code in ((5,) if name == "respond" else (0, 1)), outcome.err
    assert ESCAPE not in outcome.out + outcome.err
    if name not in ("backup", "prune", "respond", "signal", "waiting"):
        assert outcome.out


@pytest.mark.parametrize("name", [name for name in CALLS if name != "watch"])  # which draws on a terminal
@pytest.mark.parametrize("is_wanted", [True, False])
def test_no_color_is_heeded_on_a_terminal(perdure, db, tmp_path, monkeypatch, name, is_wanted) -> None:
    arguments = arguments_of(perdure, name, db, tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not is_wanted:
        monkeypatch.setenv("NO_COLOR", "1")
    outcome = perdure(name, *arguments)
    assert ESCAPE not in outcome.err
    if not is_wanted:
        assert ESCAPE not in outcome.out
    elif name in ("runs", "show", "du", "timeline", "diff"):
        assert ESCAPE in outcome.out


@pytest.mark.parametrize("name", OF_A_RUN)
def test_a_run_that_there_is_not_is_an_error_in_a_line_and_similar_ones_are_named(perdure, db, name) -> None:
    code, out, err = perdure(name, "goood", *CALLS[name][0][1:], "--db", db)
    assert (code, out) == (4, "")
    assert err == f"perdure: {db} holds no run 'goood'. Did you mean good?\n"


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("completion", "import")])
def test_a_database_that_there_is_not_is_an_error_in_a_line(perdure, tmp_path, name) -> None:
    arguments = [str(tmp_path / "file.db") if part == "FILE" else part for part in CALLS[name][0]]
    code, out, err = perdure(name, *arguments, "--db", tmp_path / "none.db")
    assert (code, out, len(err.splitlines())) == (4, "", 1)
    assert not (tmp_path / "none.db").exists()
    assert not (tmp_path / "file.db").exists()


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("completion", "import", "backup")])
def test_a_database_of_a_newer_version_is_an_error_in_a_line(perdure, db, name) -> None:
    from sqlite3 import connect

    with connect(db) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    arguments = ["left" if part in ("stalled", "paused") else part for part in CALLS[name][0]]
    code, out, err = perdure(name, *arguments, "--db", db)
    assert (code, out, len(err.splitlines())) == (6, "", 1)
    assert "Upgrade perdure" in err


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_there_is_not_is_wrong_usage(perdure, name) -> None:
    code, out, err = perdure(name, "--no-such-option")
    assert (code, out) == (2, "")
    assert "--no-such-option" in err
