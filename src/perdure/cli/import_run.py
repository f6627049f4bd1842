"""``perdure import-run``: put an exported run into a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.database import awaited, db_option
from perdure.store.port import OVER

if TYPE_CHECKING:
    from perdure.store.export import Exported


@click.command("import-run")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--as-is", is_flag=True, help="Let an unfinished run be driven here at once.")
@db_option
def command(file: Path, as_is: bool, db: Path) -> None:
    r"""Put the run in FILE, made by `perdure export-run`, into a database, which is created if it isn't there.

    It keeps its id, so it mustn't be there already. One that isn't over is paused, since it may go on where it comes from: resume it
    here if it doesn't.

    \b
    perdure import-run order-17.jsonl --db here.db
    """
    from perdure.store.export import read_export  # noqa: PLC0415

    with file.open("rb") as lines:
        exported = read_export(lines, str(file))
    is_over = exported.run.status in OVER
    awaited(_imported(db, exported, None if is_over or as_is else "PAUSED", f"imported from {file.name}"))
    click.echo(exported.run.run_id)


async def _imported(db: Path, exported: Exported, status: str | None, error: str) -> None:
    from perdure.store.export import import_run  # noqa: PLC0415
    from perdure.store.sqlite.store import SQLiteStore  # noqa: PLC0415

    store = SQLiteStore(db)
    await store.open()
    try:
        await import_run(store, exported, status=status, error=error)
    finally:
        await store.close()
