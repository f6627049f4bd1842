"""``perdure backup``: copy a database while others work on it."""

from __future__ import annotations

from pathlib import Path

import click

from perdure.cli.database import awaited, db_option, opened


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@db_option
def command(file: Path, db: Path) -> None:
    """Copy the database to FILE, as it is at one moment, while others work on it.

    Never copy the files themselves: what is in the -wal file would be missing, or torn. FILE must not exist.

    \b
    Examples:
      perdure backup /backups/runs-monday.db --db runs.db
    """
    awaited(_backed_up(db, file))
    click.echo(f"{file}: {file.stat().st_size} bytes", err=True)


async def _backed_up(db: Path, file: Path) -> None:
    async with opened(db) as store:
        await store.back_up(file)
