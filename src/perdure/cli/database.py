"""The database a command works on: which one, and opened for the time of a command."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from perdure.cli.exits import Exit

if TYPE_CHECKING:
    from perdure.store.encryption import Encryption
    from perdure.store.sqlite.store import SQLiteStore

T = TypeVar("T")

DEFAULT = "perdure.db"
KEYS = "PERDURE_KEYS"
"""Names a file of keys, for databases whose runs are encrypted."""

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
    from perdure.store.encryption import sealed_store  # noqa: PLC0415
    from perdure.store.sqlite.store import SQLiteStore  # noqa: PLC0415  (only when a command runs)

    check_exists(db)
    store, encryption = SQLiteStore(db, read_only=not to_write), encryption_given()
    await store.open()
    try:
        yield store if encryption is None else cast("SQLiteStore", sealed_store(store, encryption))
    finally:
        await store.close()


def encryption_given() -> Encryption | None:
    """Return what the runs of the database are encrypted with, by the keys in the file that PERDURE_KEYS names.

    Raises:
        EncryptionError: there is no such file, or it isn't as it should be.
    """
    file = os.environ.get(KEYS)
    if not file:
        return None
    from perdure.store.aes_gcm import AES256GCM  # noqa: PLC0415

    return AES256GCM.from_file(file)


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
