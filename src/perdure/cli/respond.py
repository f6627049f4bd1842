"""``perdure respond``: answer a task that waits for a person."""

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


@click.command("respond")
@change_run
@click.argument("task")
@click.argument("value", callback=decoded, metavar="VALUE_JSON")
@by_option
@app_option
@db_option
def command(run: str, task: str, value: Any, by: str, app: str | None, db: Path) -> None:
    """Answer a task of RUN that waits for a person.

    TASK is the id that `perdure waiting` names, or the name or the path if only one such task waits. VALUE_JSON is checked against the task's form; one
    that doesn't fit is refused, and the task stays open. The answer is durable when this ends; whoever drives the run takes it up. With --app it is
    checked by the graph itself, and what the redact= of the application's engine keeps out isn't written.

    \b
    Examples:
      perdure respond order-17 approve true
      perdure respond order-17 'orders[3]/approve' '{"approved": false}' --by ada
      perdure respond order-17 approve '{"card": "4111111111111111"}' --app orders:engine
    """

    async def respond(engine: Engine) -> str:
        open_ = await engine.waiting(run, kind="human", limit=1 << 31)
        here = [wait.task_id for wait in open_ if task in (wait.task_id, wait.path, wait.name)]
        task_id = here[0] if len(here) == 1 else task
        await engine.respond(run, task_id, value, by=by)
        return task_id

    task_id = with_engine(db, app, respond, drive=False)
    click.echo(f"answered task {task_id} of run {run}", err=True)
