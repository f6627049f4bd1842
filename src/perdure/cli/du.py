"""``perdure du``: what takes up space in a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from perdure.store.records import Size
    from perdure.store.sqlite.backup import FileFacts


@click.command("du")
@db_option
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    default=20,
    show_default=True,
    help="How many of the largest runs are listed.",
)
@json_option
def command(db: Path, limit: int, as_json: bool) -> None:
    """Show what takes up space in a database: the file, and its largest runs.

    \b
    Examples:
      perdure du --db runs.db --limit 5
    """
    facts, sizes = awaited(_measured(db))
    if as_json:
        runs = [
            {
                "run_id": s.run_id,
                "graph": s.graph,
                "status": s.status,
                "log": s.log,
                "blobs": s.blobs,
                "snapshot": s.snapshot,
            }
            for s in sizes[:limit]
        ]
        print_json(
            {"file": facts.file, "wal": facts.wal, "free": facts.free_pages, "runs": len(sizes), "largest": runs}
        )
        return
    print_facts(
        [
            ("file", _bytes(facts.file)),
            ("-wal file", _bytes(facts.wal)),
            ("free inside", _bytes(facts.free_pages)),
            ("runs", str(len(sizes))),
            ("logs", _bytes(sum(size.log for size in sizes))),
            ("large values", _bytes(sum(size.blobs for size in sizes))),
            ("snapshots", _bytes(sum(size.snapshot for size in sizes))),
        ]
    )
    if sizes[:limit]:
        click.echo()
        rows = [
            (s.run_id, s.graph, s.status, _bytes(s.log), _bytes(s.blobs), _bytes(s.snapshot)) for s in sizes[:limit]
        ]
        print_table(("RUN", "GRAPH", "STATUS", "LOG", "LARGE VALUES", "SNAPSHOT"), rows)


async def _measured(db: Path) -> tuple[FileFacts, Sequence[Size]]:
    async with opened(db) as store:
        return await store.file_facts(), await store.sizes()


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
