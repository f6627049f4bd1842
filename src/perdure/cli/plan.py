"""``perdure plan``: what would run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from perdure.cli.arguments import look_at_run
from perdure.cli.database import db_option, json_option
from perdure.cli.driving import app_option, with_engine
from perdure.cli.fork import output_option, outputs_of, place_of, placed_outputs
from perdure.cli.output import print_json, print_table

if TYPE_CHECKING:
    from perdure.engine.control.planning import Planned, PlannedVerb
    from perdure.engine.engine import Engine

SHOWN = 20
"""How many tasks are listed for a person."""


@click.command("plan")
@look_at_run
@click.argument("verb", type=click.Choice(["resume", "recover", "retry", "fork"]))
@click.option("--at", metavar="SEQ|TASK", help="Where it would be forked.")
@output_option
@app_option
@db_option
@json_option
def command(
    run: str, verb: PlannedVerb, at: str | None, outputs: tuple[str, ...], app: str | None, db: Path, as_json: bool
) -> None:
    """Print what would run again if RUN were subject to VERB: resume, recover, retry or fork.

    Nothing is written: whoever may read the file may ask.

    Refused where the verb would be: a run that has completed can't be retried.

    \b
    Examples:
      perdure plan order-17 retry
      perdure plan order-17 fork --at 120
      perdure plan order-17 fork --at 'orders[3]/ship' --json
    """
    values = outputs_of(outputs, app)
    if verb != "fork" and (at is not None or values):
        raise click.UsageError("--at and --output say where a run is forked: they go with the verb fork only")

    async def plan(engine: Engine) -> Planned:
        place = await place_of(engine, run, at) if at is not None else None
        return await engine.plan(run, verb, at=place, outputs=await placed_outputs(engine, run, values))

    planned = with_engine(db, app, plan, only_reads=True, drive=False)
    if as_json:
        print_json(msgspec.to_builtins(planned))
        return
    rows = [(task.path, task.why, str(task.attempt), task.task) for task in planned.tasks]
    rows += [(path, "waits on", "", "") for path in planned.waiting]
    if rows:
        print_table(("TASK", "WHY", "ATTEMPTS", "ID"), rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"… and {len(rows) - SHOWN} more (--json lists all)")
    click.echo(f"{len(planned.tasks)} would run, {planned.kept} have finished and wouldn't", err=True)
