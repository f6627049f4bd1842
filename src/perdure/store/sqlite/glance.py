"""A glance at a file: ids and names in it, for a command line that is being typed. It leaves no trace in the file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from perdure.store.sqlite.file import reading_uri
from perdure.store.sqlite.queries import QUERIES
from perdure.store.sqlite.schema import APPLICATION_ID

PATIENCE_S = 0.2


class Glance:
    """Ids and names in a file, for a command line that is being typed; nothing at all of a file that can't be read."""

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))

    def run_ids(self, beginning: str = "", limit: int = 50) -> list[str]:
        """Return ids that begin with a text, of the newest runs first."""
        return self._texts("run_ids", beginning, limit)

    def graphs(self, beginning: str = "", limit: int = 50) -> list[str]:
        """Return names of graphs that begin with a text."""
        return self._texts("graph_names", beginning, limit)

    def _texts(self, query: str, beginning: str, limit: int) -> list[str]:
        if not self._path.is_file():
            return []
        try:
            connection = sqlite3.connect(reading_uri(self._path), uri=True, timeout=PATIENCE_S)
        except sqlite3.Error:
            return []
        try:
            connection.execute(QUERIES["only_read"]).fetchall()
            if connection.execute(QUERIES["read_application_id"]).fetchall() != [(APPLICATION_ID,)]:
                return []
            return [text for (text,) in connection.execute(QUERIES[query], (beginning, limit)).fetchall()]
        except (sqlite3.Error, UnicodeError):
            return []
        finally:
            connection.close()
