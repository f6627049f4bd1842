"""``perdure verify``: whether logs hold what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.arguments import RunId
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.exits import Exit
from perdure.cli.output import print_json
from perdure.errors import StoreCorrupt

if TYPE_CHECKING:
    from perdure.engine.inspection.verify import Verdict

_ALL = 1 << 62


@click.command("verify")
@click.argument("runs", nargs=-1, type=RunId(), metavar="[RUN]...")
@db_option
@json_option
@click.pass_context
def command(ctx: click.Context, runs: tuple[str, ...], db: Path, as_json: bool) -> None:
    """Check the chain of hashes of every RUN, of all runs if none is named.

    Exits with 1 if any is damaged. This finds damage; it is no proof against somebody who can write the file, who can
    also write new hashes: for that, keep the heads (`perdure runs --json`) somewhere else.

    \b
    Examples:
      perdure verify
      perdure verify order-17 order-18 --json
    """
    problem = ""
    verdicts: Sequence[Verdict] = []
    try:
        verdicts = awaited(_verify(db, runs))
    except StoreCorrupt as error:
        problem = error.message
    damaged = [verdict for verdict in verdicts if not verdict.is_sound]
    if as_json:
        found = [
            {
                "run_id": verdict.run_id,
                "graph": verdict.graph,
                "sound": verdict.is_sound,
                "events": verdict.events,
                "blobs": verdict.blobs,
                "problem": verdict.problem or None,
            }
            for verdict in verdicts
        ]
        print_json({"sound": not damaged and not problem, "problem": problem or None, "runs": found})
    else:
        for verdict in verdicts:
            if verdict.is_sound:
                click.echo(f"sound    {verdict.run_id}  ({verdict.graph}, {verdict.events} events)")
            else:
                click.echo(f"damaged  {verdict.run_id}  ({verdict.graph}, sound up to event {verdict.events})")
                click.echo(f"         {verdict.problem}")
        if problem:
            click.echo(f"damaged  {problem}")
        click.echo(f"{len(verdicts) - len(damaged)} of {len(verdicts)} runs are sound")
    ctx.exit(Exit.FAILED if damaged or problem else Exit.OK)


async def _verify(db: Path, runs: Sequence[str]) -> list[Verdict]:
    from perdure.engine.inspection.inspect import find  # noqa: PLC0415
    from perdure.engine.inspection.verify import verify_run  # noqa: PLC0415

    async with opened(db) as store:
        infos = [await find(store, run) for run in runs] if runs else await store.list(limit=_ALL)
        return [await verify_run(store, info) for info in reversed(infos)]
