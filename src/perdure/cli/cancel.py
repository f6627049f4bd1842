"""``perdure cancel``: end a run for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.arguments import change_run
from perdure.cli.database import db_option, json_option
from perdure.cli.driving import tell_status, without_graph
from perdure.cli.message import by_option, reason_option

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


@click.command("cancel")
@change_run
@by_option
@reason_option
@db_option
@json_option
def command(run: str, by: str, reason: str, db: Path, as_json: bool) -> None:
    """End RUN for good, and print how it is.

    The request is durable when this ends. Whoever drives the run carries it out; if nobody does, that has happened already.

    \b
    Examples:
      perdure cancel order-17 --reason "ordered twice"
    """

    async def cancel(engine: Engine) -> str:
        await engine.cancel(run, by=by, reason=reason)
        return (await engine.get(run)).status

    tell_status(run, without_graph(db, cancel), as_json=as_json)
