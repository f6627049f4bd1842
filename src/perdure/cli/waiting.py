"""``perdure waiting``: what runs wait for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.arguments import RunId
from perdure.cli.database import awaited, db_option, json_lines_option, opened
from perdure.cli.output import clipped, iso, moment, print_json_lines, print_table, tell_limit

if TYPE_CHECKING:
    from perdure.store.records import Wait


@click.command("waiting")
@db_option
@click.option("--assignee", metavar="WHO", help="Only what this person is asked.")
@click.option("--run", "run_id", type=RunId(), metavar="RUN", help="Only what this run waits for.")
@click.option(
    "--kind",
    type=click.Choice(["human", "signal", "sleep"]),
    help="Only people, signals, or times that are waited for.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="How many at most."
)
@json_lines_option
def command(db: Path, assignee: str | None, run_id: str | None, kind: str | None, limit: int, as_json: bool) -> None:
    """List what runs wait for: people, signals and times; the oldest first.

    \b
    Examples:
      perdure waiting --assignee ada
      perdure waiting --run order-17 --json | jq .form
    """
    waits = awaited(_list(db, assignee, run_id, kind, limit))
    if as_json:
        print_json_lines(as_data(wait) for wait in waits)
        return
    if not waits:
        click.echo("nothing is waited for", err=True)
        return
    rows = [
        (
            wait.run_id,
            wait.task,
            wait.kind,
            wait.name or wait.node,
            wait.path,
            wait.assignee,
            moment(wait.opened_at),
            moment(wait.due_at) if wait.due_at is not None else "",
            clipped(wait.title, 60),
        )
        for wait in waits
    ]
    print_table(("RUN", "TASK", "KIND", "NAME", "PATH", "ASSIGNEE", "SINCE", "UNTIL", "TITLE"), rows)
    tell_limit(len(rows), limit)


async def _list(db: Path, assignee: str | None, run_id: str | None, kind: str | None, limit: int) -> Sequence[Wait]:
    from perdure.errors import RunNotFound  # noqa: PLC0415

    async with opened(db) as store:
        if run_id is not None and await store.get(run_id) is None:
            raise RunNotFound(f"{store.location} holds no run {run_id!r}", run_id=run_id)
        return await store.waits(run_id=run_id, assignee=assignee, kind=kind, limit=limit)


def as_data(wait: Wait) -> dict[str, Any]:
    """Return what is known of a wait, for JSON."""
    import msgspec  # noqa: PLC0415

    return {
        "run_id": wait.run_id,
        "task_id": wait.task,
        "path": wait.path,
        "node": wait.node,
        "kind": wait.kind,
        "name": wait.name,
        "title": wait.title,
        "assignee": wait.assignee,
        "form": msgspec.Raw(wait.schema),
        "opened_at": iso(wait.opened_at),
        "due_at": iso(wait.due_at),
    }
