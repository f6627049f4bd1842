"""``perdure cancel``: end a run for good."""

from __future__ import annotations

from pathlib import Path

import click

from perdure.cli.database import awaited, db_option
from perdure.cli.message import by_option, bystander, reason_option


@click.command("cancel")
@click.argument("run")
@by_option
@reason_option
@db_option
def command(run: str, by: str, reason: str, db: Path) -> None:
    """End a run for good.

    The request is durable when this ends; whoever drives the run carries it out. A run that is paused or stalled is ended at
    once.
    """
    awaited(_cancel(db, run, by, reason))
    click.echo(f"asked run {run} to end")


async def _cancel(db: Path, run: str, by: str, reason: str) -> None:
    async with bystander(db) as engine:
        await engine.cancel(run, by=by, reason=reason)
