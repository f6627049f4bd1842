"""``perdure pause``: let a run stand still."""

from __future__ import annotations

from pathlib import Path

import click

from perdure.cli.database import awaited, db_option
from perdure.cli.message import by_option, bystander, reason_option


@click.command("pause")
@click.argument("run")
@click.option("--now", is_flag=True, help="Interrupt bodies that run; else they finish first.")
@by_option
@reason_option
@db_option
def command(run: str, now: bool, by: str, reason: str, db: Path) -> None:
    """Let a run stand still until it is resumed.

    The request is durable when this ends; whoever drives the run carries it out.
    """
    awaited(_pause(db, run, by, reason, now=now))
    click.echo(f"asked run {run} to pause")


async def _pause(db: Path, run: str, by: str, reason: str, *, now: bool) -> None:
    async with bystander(db) as engine:
        await engine.pause(run, by=by, reason=reason, now=now)
