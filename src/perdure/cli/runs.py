"""``perdure runs``: the runs in a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.output import clipped, duration, iso, moment, print_json, print_table
from perdure.kernel.status import Status

if TYPE_CHECKING:
    from perdure.store.port import RunInfo

_STATUSES = click.Choice([status.value for status in Status], case_sensitive=False)


@click.command("runs")
@db_option
@click.option("--status", "statuses", type=_STATUSES, multiple=True, help="Only runs in this status; may be repeated.")
@click.option("--graph", metavar="NAME", help="Only runs of the graph with this name.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@json_option
def command(db: Path, statuses: tuple[str, ...], graph: str | None, limit: int, as_json: bool) -> None:
    """List the runs in a database, the newest first."""
    runs = awaited(_list(db, statuses, graph, limit))
    if as_json:
        print_json([as_data(info) for info in runs])
        return
    if not runs:
        click.echo("no runs")
        return
    rows = [
        (
            info.run_id,
            info.graph,
            info.status,
            str(info.last_seq),
            moment(info.created_at),
            duration(info.updated_at - info.created_at),
            clipped(info.error, 60),
        )
        for info in runs
    ]
    print_table(("RUN", "GRAPH", "STATUS", "EVENTS", "STARTED", "TOOK", "ERROR"), rows)


async def _list(db: Path, statuses: Sequence[str], graph: str | None, limit: int) -> Sequence[RunInfo]:
    async with opened(db) as store:
        return await store.list(statuses=statuses, graph=graph, limit=limit)


def as_data(info: RunInfo) -> dict[str, Any]:
    """Return what is known of a run, for JSON."""
    return {
        "run_id": info.run_id,
        "graph": info.graph,
        "fingerprint": info.fingerprint,
        "status": info.status,
        "events": info.last_seq,
        "created_at": iso(info.created_at),
        "updated_at": iso(info.updated_at),
        "due_at": iso(info.due_at),
        "error": info.error or None,
        "owner": {"host": info.owner.host, "pid": info.owner.pid, "until": iso(info.lease_until)}
        if info.owner
        else None,
        "head": info.head.hex(),
    }
