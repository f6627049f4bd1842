"""``perdure doctor``: what may be wrong with a database, and with where it lies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from perdure.cli.database import awaited, db_option, json_lines_option, opened
from perdure.cli.exits import Exit
from perdure.cli.output import duration, print_json_lines

if TYPE_CHECKING:
    from perdure.store.records import RunInfo
    from perdure.store.sqlite.backup import FileFacts
    from perdure.store.sqlite.store import SQLiteStore

LITTLE_SPACE = 256 << 20
MUCH_WAL = 128 << 20
"""It is cut down to 64 MB when it has been emptied."""
STUCK_AFTER = 60_000_000
"""For how long a run may be due without anybody driving it, in microseconds."""
ALL = 1 << 31


class Finding(NamedTuple):
    """What was looked at, and how it is."""

    about: str
    verdict: str
    """``"ok"``, ``"warning"`` or ``"problem"``."""
    text: str


@click.command("doctor")
@db_option
@json_lines_option
@click.pass_context
def command(ctx: click.Context, db: Path, as_json: bool) -> None:
    """Look for what may be wrong: SQLite, the file, the disk, permissions, and runs that stand still.

    Exits with 1 if there is a problem. What the logs hold is checked by `perdure verify`.

    \b
    Examples:
      perdure doctor --db runs.db
      perdure doctor --json | jq 'select(.verdict != "ok")'
    """
    findings = awaited(_examined(db))
    if as_json:
        print_json_lines(finding._asdict() for finding in findings)
    else:
        for finding in findings:
            click.echo(f"{finding.verdict:<8} {finding.about:<12} {finding.text}")
    ctx.exit(Exit.FAILED if any(finding.verdict == "problem" for finding in findings) else Exit.OK)


async def _examined(db: Path) -> list[Finding]:
    async with opened(db) as store:
        facts = await store.file_facts()
        unfinished = await store.list(statuses=("PENDING", "RUNNING", "WAITING", "STALLED"), limit=ALL)
        waiting = [info for info in unfinished if info.status == "WAITING"]
        return [
            *about_the_file(facts),
            *about_runs(unfinished, time.time_ns() // 1000),
            *[finding for info in waiting if (finding := await _about_waits(store, info)) is not None],
        ]


async def _about_waits(store: SQLiteStore, info: RunInfo) -> Finding | None:
    """Return what is wrong with the rows that say what a run waits for: by these it is found and answered."""
    from perdure.errors import StoreCorrupt  # noqa: PLC0415

    remedy = f"`perdure fork {info.run_id} --at {info.last_seq}` makes a run of its log that waits anew"
    try:
        if info.due_at is not None or await store.waits(run_id=info.run_id, limit=1):
            await store.waits(run_id=info.run_id, limit=ALL)
            return None
    except StoreCorrupt as error:
        return Finding("run", "problem", f"{info.run_id} waits for something that can't be read ({error}): {remedy}")
    return Finding("run", "problem", f"{info.run_id} waits, and what for is missing, so nobody can answer: {remedy}")


def about_the_file(facts: FileFacts) -> list[Finding]:
    """Return what is to be said of the file and of where it lies."""
    defect = (
        "can in rare cases damage a file when several connections write and reset its -wal file at once: upgrade to 3.51.3, "
        "3.50.7 or 3.44.6"
    )
    network = (
        f"{facts.file_system}, a network file system, where locks can't be relied on: move the file to a local disk"
    )
    is_open = facts.folder_mode & 0o022 != 0 and facts.folder_mode & 0o1000 == 0  # sticky: only owners replace files
    return [
        Finding(
            "sqlite",
            "warning" if facts.has_wal_defect else "ok",
            f"{facts.sqlite} {defect * facts.has_wal_defect}".strip(),
        ),
        Finding("schema", "ok", f"version {facts.schema}")
        if facts.schema == facts.newest_schema
        else Finding(
            "schema",
            "warning",
            f"version {facts.schema}: the next process of this perdure that writes makes it {facts.newest_schema}, and older ones "
            "refuse the file then",
        ),
        Finding("structure", "problem" if facts.problem else "ok", facts.problem or "SQLite finds it sound"),
        Finding(
            "disk",
            "problem" if facts.on_network else "ok",
            network if facts.on_network else facts.file_system or "unknown",
        ),
        Finding(
            "wal",
            "warning" if facts.wal > MUCH_WAL else "ok",
            f"{facts.wal >> 20} MB"
            + (": somebody who reads keeps it from being emptied, a shell or a copy" if facts.wal > MUCH_WAL else ""),
        ),
        Finding(
            "space", "warning" if facts.free_on_disk < LITTLE_SPACE else "ok", f"{facts.free_on_disk >> 20} MB are free"
        ),
        Finding(
            "permissions",
            "warning" if facts.mode & 0o077 else "ok",
            f"{facts.mode:04o}" + (": others can read what is in the runs" if facts.mode & 0o077 else ""),
        ),
        Finding(
            "folder",
            "warning" if is_open else "ok",
            f"{facts.folder_mode:04o}" + ": others can put another file in the place of this one" * is_open,
        ),
    ]


def about_runs(unfinished: Sequence[RunInfo], now: int) -> list[Finding]:
    """Return what is to be said of runs that stand still."""
    from perdure.engine.owner import is_provably_dead  # noqa: PLC0415

    dead = [info for info in unfinished if info.owner and info.lease_until > now and is_provably_dead(info.owner)]
    stalled = [info for info in unfinished if info.status == "STALLED"]
    stuck = [info for info in unfinished if (since := _due_since(info)) is not None and now - since > STUCK_AFTER]
    found = [Finding("run", "problem", f"{info.run_id} is stalled: {info.error}") for info in stalled]
    found += [
        Finding(
            "run",
            "warning",
            f"{info.run_id} is under the lease of pid {info.owner.pid} on {info.owner.host}, which is dead: a worker takes it, or "
            f"`perdure recover {info.run_id}`",
        )
        for info in dead
        if info.owner is not None
    ]
    found += [
        Finding(
            "run",
            "warning",
            f"{info.run_id} has been due for {duration(now - (_due_since(info) or now))}, and nobody drives it",
        )
        for info in stuck
    ]
    return found or [Finding("runs", "ok", f"none of {len(unfinished)} unfinished ones stands still")]


def _due_since(info: RunInfo) -> int | None:
    """Return since when a run could be taken by a worker, or None if it can't."""
    if info.status == "STALLED" or (info.status == "WAITING" and info.due_at is None):
        return None
    return max(info.lease_until, info.due_at or 0, info.updated_at)
