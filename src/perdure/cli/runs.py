"""``perdure runs``: the runs in a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.arguments import graph_option
from perdure.cli.database import awaited, db_option, json_lines_option, opened
from perdure.cli.output import Moment, clipped, duration, iso, moment, print_json_lines, print_table, tell_limit
from perdure.ids import checked_identifier
from perdure.kernel.fold.status import Status

if TYPE_CHECKING:
    from perdure.store.records import RunInfo

_STATUSES = click.Choice([status.value for status in Status], case_sensitive=False)


class Tag(click.ParamType[tuple[str, str]]):
    """A tag on the command line: ``NAME=TEXT``."""

    name = "tag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the name and the text."""
        name, equals, text = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r} isn't of the form NAME=TEXT, as in team=billing")
        return checked_identifier("name of a tag", name), checked_identifier("tag", text)


@click.command("runs")
@db_option
@click.option("--status", "statuses", type=_STATUSES, multiple=True, help="Only runs in this status; may be repeated.")
@graph_option
@click.option(
    "--tag", "tags", type=Tag(), metavar="NAME=TEXT", multiple=True,
    help="Only runs started with this tag; may be repeated, and all are wanted then.",
)  # fmt: skip
@click.option("--since", type=Moment(), metavar="TIME", help="Only runs created at this time or later.")
@click.option("--before", type=Moment(), metavar="TIME", help="Only runs created before this time.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="How many at most."
)
@json_lines_option
def command(db: Path, as_json: bool, tags: Sequence[tuple[str, str]], **conditions: Any) -> None:
    """List the runs in a database, the newest first.

    A TIME is as in 2026-11-21T14:30 (in the time zone of this machine, if it names none), or a time ago as in 90s, 15m, 2h
    or 3d.

    \b
    Examples:
      perdure runs
      perdure runs --status failed --status stalled --since 1d
      perdure runs --graph orders --tag team=billing --json | jq -r .run_id
    """
    runs = awaited(_list(db, {**conditions, "tags": dict(tags)}))
    if as_json:
        print_json_lines(as_data(info) for info in runs)
        return
    if not runs:
        click.echo("no runs", err=True)
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
    tell_limit(len(rows), conditions["limit"])


async def _list(db: Path, conditions: dict[str, Any]) -> Sequence[RunInfo]:
    async with opened(db) as store:
        return await store.list(**conditions)


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
        "tags": dict(info.tags),
        "error": info.error or None,
        "owner": {"host": info.owner.host, "pid": info.owner.pid, "until": iso(info.lease_until)}
        if info.owner
        else None,
        "head": info.head.hex(),
    }
