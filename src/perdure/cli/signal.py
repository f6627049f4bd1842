"""``perdure signal``: send a signal to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from perdure.cli.database import awaited, db_option
from perdure.cli.message import by_option, bystander, decoded


@click.command("signal")
@click.argument("run")
@click.argument("name")
@click.argument("payload", callback=decoded, default="null", metavar="[PAYLOAD_JSON]")
@by_option
@db_option
def command(run: str, name: str, payload: Any, by: str, db: Path) -> None:
    """Send a signal to a run, with a payload if there is one.

    It is durable when this ends, and kept until the run waits for a signal of this NAME. A payload that doesn't fit what the
    graph expects is refused by whoever drives the run, which is told in its history.
    """
    awaited(_signal(db, run, name, payload, by))
    click.echo(f"sent signal {name} to run {run}")


async def _signal(db: Path, run: str, name: str, payload: Any, by: str) -> None:
    async with bystander(db) as engine:
        await engine.signal(run, name, payload, by=by)
