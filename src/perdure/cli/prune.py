"""``perdure prune``: delete runs that have been over for long."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import click

from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.output import print_json
from perdure.store.port import OVER

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
ALL = 1 << 31
GROUP = 100
"""How many runs are deleted at a time: whoever else writes waits that long."""


@click.command("prune")
@click.option(
    "--older-than", "age", required=True, metavar="AGE", help="How long ago a run must have ended: 30d, 12h, 2w."
)
@click.option(
    "--status",
    "statuses",
    type=click.Choice(OVER, case_sensitive=False),
    multiple=True,
    default=("COMPLETED",),
    show_default=True,
    help="Only runs in this status; may be repeated.",
)
@click.option("--graph", metavar="NAME", help="Only runs of the graph with this name.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@db_option
@json_option
def command(age: str, statuses: tuple[str, ...], graph: str | None, dry_run: bool, db: Path, as_json: bool) -> None:
    r"""Delete runs that have been over for long, whole runs only.

    What is freed in the file is used again; it doesn't get smaller. Export or back up first what you may need.

    \b
    perdure prune --older-than 30d --status completed --status cancelled
    """
    ids = awaited(_pruned(db, _microseconds(age), statuses, graph, dry_run))
    if as_json:
        print_json({"deleted": [] if dry_run else ids, "would_delete": ids if dry_run else []})
        return
    for run_id in ids:
        click.echo(run_id)
    click.echo(f"{len(ids)} runs {'would be' if dry_run else 'were'} deleted", err=True)


def _microseconds(age: str) -> int:
    found = re.fullmatch(r"(\d+)([smhdw])", age)
    if found is None:
        raise click.BadParameter(f"{age!r} isn't an age such as 30d, 12h or 2w", param_hint="--older-than")
    return int(found[1]) * _UNITS_S[found[2]] * 1_000_000


async def _pruned(db: Path, age: int, statuses: Sequence[str], graph: str | None, dry_run: bool) -> list[str]:
    limit = time.time_ns() // 1000 - age
    async with opened(db) as store:
        found = await store.list(statuses=statuses, graph=graph, limit=ALL, before=limit)
        old = [info.run_id for info in found if info.updated_at < limit]
        if dry_run:
            return old
        gone: list[str] = []
        for first in range(0, len(old), GROUP):
            gone += await store.delete(old[first : first + GROUP])
        return gone
