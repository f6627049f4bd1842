"""``perdure retry``: let a failed run go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.arguments import change_run
from perdure.cli.database import db_option, json_option
from perdure.cli.driving import app_option, drive_to_end, tell_status, without_graph
from perdure.cli.message import by_option, reason_option

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


@click.command("retry")
@change_run
@app_option
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Another limit to the length of a lineage.")
@by_option
@reason_option
@db_option
@json_option
def command(run: str, app: str | None, max_steps: int | None, by: str, reason: str, db: Path, as_json: bool) -> None:
    """Let RUN, which has failed, go on.

    What failed, was interrupted or never ran runs now; what finished doesn't. With --app this process drives the run to its
    end, and prints its result; else it is left to the next worker that knows its graph.

    \b
    Examples:
      perdure plan order-17 retry
      perdure retry order-17 --reason "the bank is back"
      perdure retry order-17 --app orders.flow:graph
    """
    if app is not None:
        drive_to_end(
            app,
            db,
            lambda engine: engine.retry(run, by=by, reason=reason, max_steps=max_steps),
            as_json=as_json,
        )
        return

    async def retry(engine: Engine) -> str:
        handle = await engine.retry(run, by=by, reason=reason, max_steps=max_steps, drive=False)
        return (await handle.info()).status

    tell_status(run, without_graph(db, retry), as_json=as_json)
