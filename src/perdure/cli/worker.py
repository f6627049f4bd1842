"""``perdure worker``: drive runs as they come due, beside other workers on the same file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.database import awaited, db_option

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


@click.command("worker")
@click.option(
    "--app",
    required=True,
    metavar="MODULE:ATTR",
    help="The graph, a list of graphs, a function that returns these, or an Engine. The current directory is searched first.",
)
@db_option
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long bodies that run may take to end when this is asked to stop.",
)
@click.option(
    "--lease",
    type=click.FloatRange(min=0.1),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a run is taken for, before that has to be extended.",
)
@click.option(
    "--max-runs",
    type=click.IntRange(min=1),
    metavar="N",
    default=1000,
    show_default=True,
    help="How many runs are driven at once, before others are left to other workers.",
)
def command(app: str, db: Path, drain: float, lease: float, max_runs: int) -> None:
    """Drive runs as they come due, beside other workers on the same file.

    SIGTERM and Ctrl-C let bodies that run end and release their runs; a second one interrupts them. Runs of graphs that
    this app doesn't have are left alone. An app that makes its own Engine has set --lease and --max-runs by itself.

    \b
    Examples:
      perdure worker --app orders.flow:graph --db runs.db
      perdure worker --app orders.flow:make_engine --drain 120
    """
    from perdure.cli.application import engine_of  # noqa: PLC0415

    engine = engine_of(app, db, lease_s=lease, max_runs=max_runs)
    awaited(_served(engine, drain))


async def _served(engine: Engine, drain_s: float) -> None:
    async with engine:
        click.echo("serving", err=True)
        await engine.serve(drain_s=drain_s)
    click.echo("stopped", err=True)
