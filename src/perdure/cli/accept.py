"""``perdure accept``: let a stalled run go on with the present graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.arguments import change_run
from perdure.cli.database import db_option, json_option
from perdure.cli.driving import tell_status, with_engine
from perdure.cli.message import by_option, reason_option

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


@click.command("accept")
@change_run
@click.option("--app", required=True, metavar="MODULE:ATTR", help="The graphs, as `perdure worker` takes them.")
@by_option
@reason_option
@db_option
@json_option
def command(run: str, app: str, by: str, reason: str, db: Path, as_json: bool) -> None:
    """Let RUN, which is stalled, go on with the present graph, and print how it is.

    That is recorded, and a worker takes RUN from there. A log that doesn't fold with the graph is refused, and the run stays as it is.
    `perdure check` says before what has changed.

    \b
    Examples:
      perdure accept order-17 --app orders.flow:graph --reason "the new step is harmless"
    """

    async def accept(engine: Engine) -> str:
        await engine.accept(run, by=by, reason=reason)
        return (await engine.get(run)).status

    tell_status(run, with_engine(db, app, accept, drive=False), as_json=as_json)
