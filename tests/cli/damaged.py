"""Damaging a log, as no one who goes through the store can."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def damage(db: Path, run_id: str, text: str = "orders") -> None:
    """Change a recorded text behind the back of the store."""
    connection = sqlite3.connect(db)
    connection.execute("DROP TRIGGER log_never_changes")
    connection.execute(
        "UPDATE log SET events = replace(events, ?, '\"ordeal\"') "
        "WHERE run = (SELECT number FROM run WHERE run_id = ?)",
        (f'"{text}"', run_id),
    )
    connection.commit()
    connection.close()
