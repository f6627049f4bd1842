"""``perdure pause``: let a run stand still."""

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


@click.command("pause")
@change_run
@click.option("--now", is_flag=True, help="Interrupt bodies that run; else they finish first.")
@by_option
@reason_option
@db_option
@json_option
def command(run: str, now: bool, by: str, reason: str, db: Path, as_json: bool) -> None:
    """Let RUN stand still until it is resumed, and print how it is.

    The request is durable when this ends. Whoever drives the run carries it out; if nobody does, that has happened already.

    \b
    Examples:
      perdure pause order-17 --reason "the bank is down"
      perdure pause order-17 --now
    """

    async def pause(engine: Engine) -> str:
        await engine.pause(run, by=by, reason=reason, now=now)
        return (await engine.get(run)).status

    tell_status(run, without_graph(db, pause), as_json=as_json)
