"""``perdure export-run``: one run in one file."""

from __future__ import annotations

import os
from pathlib import Path

import click

from perdure.cli.database import awaited, db_option, opened
from perdure.cli.exits import Exit


@click.command("export-run")
@click.argument("run")
@click.argument("file", type=click.Path(path_type=Path))
@db_option
@click.pass_context
def command(ctx: click.Context, run: str, file: Path, db: Path) -> None:
    r"""Write RUN into FILE: all that another machine needs to import, show, explain and fork it.

    JSON lines: the run, the plan of its graph, its log, and large values. What is in a run is in FILE, secrets too. FILE must not
    exist.

    \b
    perdure export-run order-17 order-17.jsonl --db runs.db
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        click.echo(f"perdure: {file}: it can't be created ({error.strerror})", err=True)
        ctx.exit(Exit.CONFLICT)
    try:
        size = awaited(_exported(db, run, handle))
    except BaseException:
        file.unlink()
        raise
    click.echo(f"{file}: {size} bytes", err=True)


async def _exported(db: Path, run: str, handle: int) -> int:
    from perdure.engine.inspect import find  # noqa: PLC0415
    from perdure.store.export import export_run  # noqa: PLC0415

    with open(handle, "wb") as target:  # noqa: ASYNC230  (nothing else goes on in this process)
        async with opened(db) as store:
            async for line in export_run(store, await find(store, run)):
                target.write(line)
        return target.tell()
