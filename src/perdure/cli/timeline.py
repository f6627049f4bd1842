"""``perdure timeline``: when everything in a run began and ended, and what would have to be faster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.arguments import look_at_run
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.exits import tell_damage
from perdure.cli.output import clipped, duration, moment, print_facts, print_heading, print_json, print_table

if TYPE_CHECKING:
    from perdure.engine.inspection.timeline import Timeline

SHOWN = 20
"""How many rows of each kind are listed for a person."""


@click.command("timeline")
@look_at_run
@db_option
@json_option
def command(run: str, db: Path, as_json: bool) -> None:
    """Print when the batches, attempts, joins and waits of RUN began and how long they took, and its critical path.

    The critical path is what the duration of the run is made of: from its end back, what each thing had to wait for. No code
    of the graph is imported.

    \b
    Examples:
      perdure timeline order-17
      perdure timeline order-17 --json | jq .critical_path
    """
    timeline = awaited(_timeline(db, run))
    if as_json:
        print_json(timeline.data())
    else:
        _print(timeline)
    tell_damage(timeline.problem)


async def _timeline(db: Path, run: str) -> Timeline:
    from perdure.engine.clock import SystemClock  # noqa: PLC0415
    from perdure.engine.inspection.timeline import timeline_of  # noqa: PLC0415

    async with opened(db) as store:
        return await timeline_of(store, run, SystemClock().now())


def _print(timeline: Timeline) -> None:
    began = timeline.started_at

    def after(at: int | None) -> str:
        return f"+{duration(at - began)}" if at is not None else "-"

    def took(started_at: int | None, ended_at: int | None) -> str:
        return duration(ended_at - started_at) if started_at is not None and ended_at is not None else "goes on"

    ended = f", {duration(timeline.ended_at - began)} in all" if timeline.ended_at is not None else ""
    print_facts([("run", timeline.run_id), ("graph", timeline.graph), ("status", f"{timeline.status}{ended}"), ("started", moment(began))])  # fmt: skip
    _table(
        "Batches",
        ("BATCH", "ARMS", "TASKS", "OPENED", "TOOK"),
        [
            (one.path, str(one.size) if one.size is not None else "?", str(one.tasks), after(one.opened_at), took(one.opened_at, one.ended_at))
            for one in timeline.batches
        ],
    )  # fmt: skip
    slowest = sorted(timeline.attempts, key=lambda one: one.started_at - (one.ended_at or 1 << 62))
    _table(
        "Attempts, the longest first",
        ("TASK", "ATTEMPT", "STARTED", "TOOK", "OUTCOME"),
        [
            (one.path, str(one.attempt), after(one.started_at), took(one.started_at, one.ended_at), clipped(f"{one.outcome} {one.error}", 60))
            for one in slowest
        ],
    )  # fmt: skip
    _table(
        "Joins",
        ("JOIN", "ARRIVED", "FIRST", "CLOSED", "TOOK"),
        [
            (one.path, str(one.arrived), after(one.first_at), after(one.closed_at), took(one.first_at, one.closed_at))
            for one in timeline.joins
        ],
    )
    _table(
        "Waits",
        ("TASK", "KIND", "OPENED", "TOOK", "OUTCOME"),
        [
            (one.path, one.kind, after(one.started_at), took(one.started_at, one.ended_at), f"{one.outcome}{f' by {one.by}' if one.by else ''}")
            for one in timeline.waits
        ],
    )  # fmt: skip
    _table(
        "Critical path",
        ("TASK", "WHAT", "FROM", "TOOK"),
        [(part.path, part.what, after(part.started_at), duration(part.took)) for part in timeline.critical_path if part.took],
    )  # fmt: skip
    whole = sum(share.took for share in timeline.shares) or 1
    _table(
        "What would have to be faster",
        ("NODE", "BATCH OF", "WHAT", "TOOK", "OF ALL"),
        [
            (share.node, share.fork or "-", share.what, duration(share.took), f"{100 * share.took / whole:.0f} %")
            for share in timeline.shares
        ],
    )


def _table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        print_heading(f"{heading} ({len(rows)})" if len(rows) > SHOWN else heading)
        print_table(columns, rows[:SHOWN])
        if len(rows) > SHOWN:
            click.echo(f"… and {len(rows) - SHOWN} more (--json lists all)")
