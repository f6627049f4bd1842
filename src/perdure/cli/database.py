"""The database a command works on: which one, and opened for the time of a command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from perdure.cli.exits import Exit

if TYPE_CHECKING:
    from perdure.store.sqlite.store import SQLiteStore

T = TypeVar("T")

DEFAULT = "perdure.db"

db_option: Callable[[Any], Any] = click.option(
    "--db",
    type=click.Path(path_type=Path),
    default=DEFAULT,
    envvar="PERDURE_DB",
    is_eager=True,  # what is completed and looked up for other arguments comes from there
    show_default=True,
    show_envvar=True,
    metavar="FILE",
    help="The database.",
)
json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
json_lines_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, an object a line."
)


class NoDatabase(click.ClickException):
    """There is no database where one was to be read."""

    exit_code = Exit.NOT_FOUND


@asynccontextmanager
async def opened(db: Path, *, to_write: bool = False) -> AsyncIterator[SQLiteStore]:
    """Open a database that is there.

    Args:
        db: the file.
        to_write: whether it may be changed; else whoever may read it will do, and its schema stays as it is.

    Raises:
        NoDatabase: it isn't there.
        StoreError: it can't be used.
    """
    from perdure.store.sqlite.store import SQLiteStore  # noqa: PLC0415  (only when a command runs)

    check_exists(db)
    store = SQLiteStore(db, read_only=not to_write)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def check_exists(db: Path) -> None:
    """Raise if there is no database.

    Raises:
        NoDatabase: there is none.
    """
    if not db.exists():
        raise NoDatabase(f"{db}: there is no such database. Name it with --db FILE, or set PERDURE_DB")


def awaited(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and return what it returns."""
    import asyncio  # noqa: PLC0415  (takes a tenth of the time that a help text may)

    return asyncio.run(work)
