"""``perdure diff``: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.arguments import RunId
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.output import clipped, duration, print_heading, print_json, print_table

if TYPE_CHECKING:
    from perdure.engine.inspection.timeline import RunDiff
    from perdure.kernel.timeline.comparison import Compared, Side

SHOWN = 20
"""How many tasks are listed for a person."""
SLOWEST = 5
"""How many of those that took longer, or less."""


@click.command("diff")
@click.argument("a", type=RunId())
@click.argument("b", type=RunId())
@db_option
@json_option
def command(a: str, b: str, db: Path, as_json: bool) -> None:
    """Print how runs A and B differ: tasks that only one has, outputs, decisions, attempts, and durations.

    Tasks are aligned by their ids, which are the same in all runs of the same graph. No code of the graph is imported.

    \b
    Examples:
      perdure diff order-17 order-18
      perdure diff order-17 order-17-again --json | jq .differing
    """
    difference = awaited(_diff(db, a, b))
    if as_json:
        print_json(difference.data())
    else:
        _print(difference)


async def _diff(db: Path, a: str, b: str) -> RunDiff:
    from perdure.engine.inspection.timeline import diff_runs  # noqa: PLC0415

    async with opened(db) as store:
        return await diff_runs(store, a, b)


def _print(difference: RunDiff) -> None:
    infos = [("A", difference.a), ("B", difference.b)]
    print_table(
        ("", "RUN", "GRAPH", "STATUS", "TOOK"),
        [(name, info.run_id, info.graph, info.status, duration(info.updated_at - info.created_at)) for name, info in infos],
    )  # fmt: skip
    if not difference.is_same_graph:
        click.echo("the graphs differ: tasks that are the same to you may have other ids")
    differing = difference.differing
    click.echo(f"{len(difference.tasks) - len(differing)} tasks and joins are the same, {len(differing)} differ")
    if differing:
        print_heading("Differences")
        rows = [(task.path, ", ".join(task.differs), _side(task, task.a), _side(task, task.b)) for task in differing]
        print_table(("TASK", "DIFFERS IN", "A", "B"), rows[:SHOWN])
        if len(rows) > SHOWN:
            click.echo(f"… and {len(rows) - SHOWN} more (--json lists all)")
    for heading, tasks in (("Slower in B", difference.slower), ("Faster in B", difference.faster)):
        if tasks:
            print_heading(heading)
            print_table(
                ("TASK", "A", "B"),
                [(task.path, duration(task.a.took), duration(task.b.took)) for task in tasks[:SLOWEST] if task.a and task.b],
            )  # fmt: skip


def _side(task: Compared, side: Side | None) -> str:
    """Return in words what a task was in one of the runs, as far as that differs."""
    if side is None:
        return "-"
    parts = []
    if "outcome" in task.differs or task.differs[0].startswith("only"):
        parts.append(side.outcome or "unfinished")
    if "output" in task.differs:
        parts.append(clipped(side.output, 40))
    if "decision" in task.differs:
        parts.append(f"branch {', '.join(map(str, side.chosen)) or '-'}")
    if "attempts" in task.differs:
        parts.append(f"{side.attempts} attempts")
    return ", ".join(parts)
