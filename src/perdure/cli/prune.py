"""``perdure prune``: delete runs that ended long ago."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from perdure.cli.arguments import graph_option
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.output import print_json
from perdure.store.records import OVER

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
    show_default="completed",
    help="Only runs in this status; may be repeated.",
)
@graph_option
@click.option("--dry-run", is_flag=True, help="Only say which.")
@db_option
@json_option
def command(age: str, statuses: tuple[str, ...], graph: str | None, dry_run: bool, db: Path, as_json: bool) -> None:
    """Delete runs that ended long ago, whole runs only.

    What is freed in the file is used again; it doesn't get smaller. Export or back up first what you may need. A run that another
    one was forked from stays for as long as that does. Prints the ids.

    \b
    Examples:
      perdure prune --older-than 30d --dry-run
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
    async with opened(db, to_write=True) as store:
        found = await store.list(statuses=statuses, graph=graph, limit=ALL, before=limit)
        old = without_origins([info.run_id for info in found if info.updated_at < limit], await store.origins())
        if dry_run:
            return old
        gone: list[str] = []
        for first in range(0, len(old), GROUP):
            gone += await store.delete(old[first : first + GROUP])
        return gone


def without_origins(old: Sequence[str], origins: Mapping[str, str]) -> list[str]:
    """Return the runs that can be deleted in this order, the newest first: those of which no fork stays."""
    forks: dict[str, set[str]] = {}
    for fork, origin in origins.items():
        forks.setdefault(origin, set()).add(fork)
    gone: set[str] = set()
    for run_id in old:
        if forks.get(run_id, set()) <= gone:
            gone.add(run_id)
    return [run_id for run_id in old if run_id in gone]
