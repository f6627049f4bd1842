"""``perdure import``: put an exported run into a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from perdure.cli.database import awaited, db_option, json_option
from perdure.cli.driving import tell_status
from perdure.store.records import OVER

if TYPE_CHECKING:
    from perdure.store.export import Exported


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--as-is", is_flag=True, help="Let an unfinished run be driven here at once.")
@db_option
@json_option
def command(file: BinaryIO, as_is: bool, db: Path, as_json: bool) -> None:
    """Put the run in FILE, made by `perdure export`, into a database, which is created if it isn't there. Print its id and status.

    A file that isn't whole, or isn't what was written, is refused, and nothing is imported. The run keeps its id, so it mustn't
    be there already. One that isn't over is paused, since it may go on where it comes from: resume it here if it doesn't. FILE may be
    "-", for standard input.

    \b
    Examples:
      perdure import order-17.jsonl --db here.db
      ssh shop perdure export order-17 | perdure import - --db here.db
      perdure import order-17.jsonl --as-is
    """
    from perdure.store.export import read_export  # noqa: PLC0415

    exported = read_export(file, file.name)
    is_over = exported.run.status in OVER
    status = None if is_over or as_is else "PAUSED"
    awaited(_imported(db, exported, status, f"imported from {Path(file.name).name}"))
    tell_status(exported.run.run_id, status or exported.run.status, as_json=as_json)


async def _imported(db: Path, exported: Exported, status: str | None, error: str) -> None:
    from perdure.store.export import import_run  # noqa: PLC0415
    from perdure.store.sqlite.store import SQLiteStore  # noqa: PLC0415

    store = SQLiteStore(db)
    await store.open()
    try:
        await import_run(store, exported, status=status, error=error)
    finally:
        await store.close()
