"""The reference names everything there is, and nothing else."""

from __future__ import annotations

import asyncio
import inspect
import re
import sqlite3
from pathlib import Path

import click
import msgspec
import pytest

import perdure as package
from perdure import Engine, Graph, RunHandle, SQLiteStore, errors, events
from perdure.cli.main import COMMANDS, perdure

REFERENCE = Path(__file__).parents[2] / "docs/reference"


def sections(page: str, level: int) -> dict[str, str]:
    """Return the text under each heading of a level, by heading."""
    parts = re.split(rf"^{'#' * level} (.+)$", (REFERENCE / page).read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def listed(text: str) -> list[str]:
    """Return what the rows of the tables in a text are about."""
    return re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)


def test_every_kind_of_event_and_every_field_is_documented() -> None:
    kinds = {kind.__name__: kind for kind in events.AnyEvent.__args__}
    parts = {
        name: kind
        for name, kind in vars(events).items()
        if inspect.isclass(kind)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__.startswith(events.__name__)
        and kind is not events.Event
    }
    documented = sections("events.md", 3)
    assert set(documented) == set(parts) >= set(kinds)
    fields = {name: [field.name for field in msgspec.structs.fields(kind)] for name, kind in parts.items()}
    assert {name: listed(re.split(r"^## ", text, flags=re.MULTILINE)[0]) for name, text in documented.items()} == fields


def test_every_command_and_every_option_is_documented() -> None:
    documented = {name: text for name, text in sections("cli.md", 2).items() if name not in ("Output", "Exit codes")}
    assert set(documented) == {f"perdure {name}" for name in COMMANDS}
    context = click.Context(perdure)
    for name in COMMANDS:
        command = perdure.get_command(context, name)
        assert command is not None
        text = documented[f"perdure {name}"]
        options = {
            option
            for part in command.params
            if isinstance(part, click.Option)
            for option in part.opts
            if option.startswith("--")
        }
        assert set(re.findall(r"^\| `(--[\w-]+)", text, flags=re.MULTILINE)) == options - {"-h", "--help"}
        arguments = [part for part in command.params if isinstance(part, click.Argument)]
        assert all((part.metavar or part.name.upper()) in text for part in arguments if part.name)
        assert command.help


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_of_them_says(name: str) -> None:
    command = perdure.get_command(click.Context(perdure), name)
    assert command is not None
    first = (command.help or "").split("\n\n")[0].split(". ")[0]
    assert first.split()[0] == COMMANDS[name].split()[0]


def test_every_error_is_documented() -> None:
    kinds = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, BaseException) and kind.__module__ == errors.__name__
    }
    assert set(listed((REFERENCE / "errors.md").read_text("utf-8"))) == kinds


def test_every_public_name_is_documented() -> None:
    pages = {
        page: listed((REFERENCE / page).read_text("utf-8").split("## Methods")[0])
        for page in ("python.md", "errors.md")
    }
    assert sorted(pages["python.md"] + pages["errors.md"]) == sorted(package.__all__)


# What handles and runs that are stepped through ask of an engine.
SEAMS = {
    "begin",
    "change_of",
    "changed",
    "claim_to_step",
    "committed_state",
    "follow",
    "is_woken",
    "recorded_end",
    "recorded_outputs",
    "successor_of",
}


@pytest.mark.parametrize("kind", [Graph, Engine, RunHandle])
def test_every_method_a_user_calls_is_documented(kind: type) -> None:
    public = {name for name in dir(kind) if not name.startswith("_")}
    assert set(listed(sections("python.md", 2)[f"Methods of {kind.__name__}"])) == public - SEAMS


def test_every_table_view_and_column_is_documented(tmp_path: Path) -> None:
    async def create() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        await store.open()
        await store.close()

    asyncio.run(create())
    connection = sqlite3.connect(tmp_path / "runs.db")
    names = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
        if not name.startswith("sqlite_")
    ]
    documented = sections("schema.md", 3)
    assert set(documented) == set(names)
    missing = {
        f"{name}.{column[1]}"
        for name in names
        for column in connection.execute(f"PRAGMA table_info({name})")
        if f"`{column[1]}`" not in documented[name]
    }
    connection.close()
    assert missing == set()
