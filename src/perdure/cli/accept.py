"""``perdure accept``: let a stalled run go on with the present graph."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.database import awaited, check_exists, db_option

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


@click.command("accept")
@click.argument("run")
@click.option("--app", required=True, metavar="MODULE:ATTR", help="The graphs, as `perdure worker` takes them.")
@db_option
@click.option("--by", metavar="NAME", help="Who takes that upon themselves; your login name if it isn't given.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
def command(run: str, app: str, db: Path, by: str | None, reason: str) -> None:
    r"""Let a stalled run go on with the present graph.

    That is recorded, and a worker takes RUN from there. A log that doesn't fold with the graph is refused, and the run stays as it is.

    \b
    perdure accept order-17 --app orders.flow:graph --reason "the new step is harmless"
    """
    from perdure.cli.application import engine_of  # noqa: PLC0415

    check_exists(db)
    awaited(_accepted(engine_of(app, db, drive=False), run, by or getpass.getuser(), reason))
    click.echo(f"{run} goes on where a worker takes it", err=True)


async def _accepted(engine: Engine, run: str, by: str, reason: str) -> None:
    async with engine:
        await engine.accept(run, by=by, reason=reason)
