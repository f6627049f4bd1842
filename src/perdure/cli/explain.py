"""``perdure explain``: why a run stands still."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.arguments import look_at_run
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.output import print_json

if TYPE_CHECKING:
    from perdure.engine.inspection.standstill import Explanation


@click.command("explain")
@look_at_run
@db_option
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many reasons of one kind to tell.")  # fmt: skip
@json_option
def command(run: str, db: Path, limit: int, as_json: bool) -> None:
    """Say why RUN makes no progress: every reason, the weightiest first.

    What it waits for, who drives it and whether they live, what came in and wasn't taken up. No code of the graph is
    imported.

    \b
    Examples:
      perdure explain order-17
      perdure explain order-17 --json | jq .reasons[0]
    """
    explanation = awaited(_explain(db, run, limit))
    if as_json:
        print_json(explanation.data())
    else:
        click.echo(explanation.text)


async def _explain(db: Path, run: str, limit: int) -> Explanation:
    from perdure.engine.clock import SystemClock  # noqa: PLC0415
    from perdure.engine.inspection.standstill import explain_run  # noqa: PLC0415

    async with opened(db) as store:
        return await explain_run(store, run, SystemClock().now(), limit=limit)
