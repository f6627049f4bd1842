"""``perdure check``: which unfinished runs go on with the present graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.database import awaited, check_exists, db_option, json_lines_option
from perdure.cli.exits import Exit
from perdure.cli.output import print_json_lines, print_table

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.workers.fitting import Fit
    from perdure.store.records import RunInfo

UNFINISHED = ("PENDING", "RUNNING", "WAITING", "PAUSED", "STALLED")
PAGE = 1 << 31


@click.command("check")
@click.option("--app", required=True, metavar="MODULE:ATTR", help="The graphs, as `perdure worker` takes them.")
@db_option
@json_lines_option
@click.pass_context
def command(ctx: click.Context, app: str, db: Path, as_json: bool) -> None:
    """Say which unfinished runs go on with the present graph.

    Of each: "same" if its graph hasn't changed, "compatible" if only what lies ahead of it has, "stalled" if it would be set
    aside, and why. Nothing is changed. Exits with 1 if any is stalled, so that a deploy can be stopped.

    \b
    Examples:
      perdure check --app orders.flow:graph --db runs.db
      perdure check --app orders.flow:make_graphs --json
    """
    from perdure.cli.application import engine_of  # noqa: PLC0415

    check_exists(db)
    found = awaited(_checked(engine_of(app, db, drive=False)))
    if as_json:
        print_json_lines(
            {
                "run_id": fit.run_id,
                "graph": info.graph,
                "status": info.status,
                "verdict": fit.verdict,
                "reason": fit.reason or None,
            }
            for info, fit in found
        )
    elif found:
        rows = [(fit.run_id, info.graph, info.status, fit.verdict, fit.reason) for info, fit in found]
        print_table(("RUN", "GRAPH", "STATUS", "VERDICT", "REASON"), rows)
    else:
        click.echo("no unfinished runs", err=True)
    ctx.exit(Exit.FAILED if any(fit.verdict == "stalled" for _, fit in found) else Exit.OK)


async def _checked(engine: Engine) -> list[tuple[RunInfo, Fit]]:
    async with engine:
        infos = await engine.list(statuses=UNFINISHED, limit=PAGE)
        return [(info, await engine.check(info.run_id)) for info in reversed(infos)]
