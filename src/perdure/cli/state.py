"""``perdure state``: the state of a run, as it was after an event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from perdure.cli.arguments import look_at_run
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.output import print_json


@click.command("state")
@look_at_run
@click.option(
    "--at", "seq", type=click.IntRange(min=1), metavar="SEQ", help="The event; the last one if it isn't given."
)
@db_option
@json_option
def command(run: str, seq: int | None, db: Path, as_json: bool) -> None:
    """Print the state of RUN as JSON, as it was once an event had been recorded.

    No code of the graph is imported: objects are shown as their fields, members of enumerations by name, sets as lists. It is JSON with --json and
    without.

    \b
    Examples:
      perdure state order-17
      perdure state order-17 --at 120
      diff <(perdure state order-17 --at 120) <(perdure state order-17)
    """
    print_json(awaited(_state(db, run, seq)))


async def _state(db: Path, run: str, seq: int | None) -> Any:
    from perdure.engine.inspection.inspect import find  # noqa: PLC0415
    from perdure.engine.inspection.past import state_at  # noqa: PLC0415

    async with opened(db) as store:
        info = await find(store, run)
        if seq is not None and seq > info.last_seq:
            raise click.BadParameter(f"run {run!r} has {info.last_seq} events", param_hint="--at")
        return await state_at(store, info, seq or info.last_seq)
