"""``perdure plan``: what would run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from perdure.cli.database import db_option, json_option
from perdure.cli.driving import without_graph
from perdure.cli.fork import place_of
from perdure.cli.output import print_json, print_table

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.planning import Planned, PlannedVerb


@click.command("plan")
@click.argument("run")
@click.argument("verb", type=click.Choice(["resume", "recover", "retry", "fork"]))
@click.option("--at", metavar="SEQ|TASK", help="Where it would be forked.")
@db_option
@json_option
def command(run: str, verb: PlannedVerb, at: str | None, db: Path, as_json: bool) -> None:
    """Print what would run again if RUN were subject to VERB: resume, recover, retry or fork. Nothing is written."""

    async def plan(engine: Engine) -> Planned:
        return await engine.plan(run, verb, at=place_of(at))

    planned: Planned = without_graph(db, plan)
    if as_json:
        print_json(msgspec.to_builtins(planned))
        return
    rows = [(task.path, task.why, str(task.attempt), task.task) for task in planned.tasks]
    rows += [(path, "waits on", "", "") for path in planned.waiting]
    if rows:
        print_table(("TASK", "WHY", "ATTEMPTS", "ID"), rows)
    click.echo(f"{len(planned.tasks)} would run, {planned.kept} have finished and wouldn't", err=True)
