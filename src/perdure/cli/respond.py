"""``perdure respond``: answer a task that waits for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from perdure.cli.database import awaited, db_option
from perdure.cli.message import by_option, bystander, decoded


@click.command("respond")
@click.argument("run")
@click.argument("task")
@click.argument("value", callback=decoded, metavar="VALUE_JSON")
@by_option
@db_option
def command(run: str, task: str, value: Any, by: str, db: Path) -> None:
    """Answer a task that waits for a person.

    TASK is what `perdure waiting` names. VALUE_JSON is checked against the task's form; one that doesn't fit is refused, and
    the task stays open. The answer is durable when this ends; whoever drives the run takes it up.
    """
    awaited(_respond(db, run, task, value, by))
    click.echo(f"answered task {task} of run {run}")


async def _respond(db: Path, run: str, task: str, value: Any, by: str) -> None:
    async with bystander(db) as engine:
        await engine.respond(run, task, value, by=by)
