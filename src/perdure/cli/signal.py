"""``perdure signal``: send a signal to a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.arguments import change_run
from perdure.cli.database import db_option
from perdure.cli.driving import app_option, with_engine
from perdure.cli.message import by_option, decoded

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


@click.command("signal")
@change_run
@click.argument("name")
@click.argument("payload", callback=decoded, default="null", metavar="[PAYLOAD_JSON]")
@by_option
@app_option
@db_option
def command(run: str, name: str, payload: Any, by: str, app: str | None, db: Path) -> None:
    """Send a signal to RUN, with a payload if there is one.

    It is durable when this ends, and kept until the run waits for a signal of this NAME. A payload that doesn't fit what the
    graph expects is refused by whoever drives the run, and its history says so. With --app it is refused here, and what the
    redact= of the application's engine keeps out isn't written.

    \b
    Examples:
      perdure signal order-17 paid
      perdure signal order-17 paid '{"amount": 12}' --by bank
    """

    async def signal(engine: Engine) -> None:
        await engine.signal(run, name, payload, by=by)

    with_engine(db, app, signal, drive=False)
    click.echo(f"sent signal {name} to run {run}", err=True)
