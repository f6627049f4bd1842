"""The SQL of the store, read from its files: named statements, and the steps of the schema."""

from __future__ import annotations

import re
import sqlite3
from functools import cache
from importlib.resources import files


def _load() -> dict[str, str]:
    text = (files(__package__) / "queries.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {
        name: "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


QUERIES = _load()


@cache
def migrations() -> list[tuple[int, str]]:
    """Return the steps of the schema, as (version, SQL), the first one first.

    Each is named after the version it leads to, and sets ``user_version`` to it.
    """
    found = [
        (int(entry.name[:4]), entry.read_text(encoding="utf-8"))
        for entry in (files(__package__) / "migrations").iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(found)


def statements(script: str) -> list[str]:
    """Split a script into statements; triggers hold semicolons of their own."""
    found, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            found.append(begun)
            begun = ""
    return found
