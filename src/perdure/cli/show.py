"""``perdure show``: one run, read from its log without the user's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.arguments import look_at_run
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.exits import tell_damage
from perdure.cli.output import clipped, duration, iso, moment, print_facts, print_heading, print_json, print_table
from perdure.cli.runs import as_data
from perdure.kernel.fold.status import OVER

if TYPE_CHECKING:
    from perdure.engine.inspection.inspect import Inspection

SHOWN = 20
"""How many live tasks and joins are listed for a person."""


@click.command("show")
@look_at_run
@db_option
@json_option
def command(run: str, db: Path, as_json: bool) -> None:
    """Show where RUN is, and what came of it.

    The log is folded with the plan that is stored beside it; no code of the graph is imported.

    \b
    Examples:
      perdure show order-17
      perdure show order-17 --json | jq .live_tasks
    """
    inspection = awaited(_inspect(db, run))
    if as_json:
        print_json(inspection_data(inspection))
    else:
        print_inspection(inspection)
    tell_damage(inspection.problem)


async def _inspect(db: Path, run: str) -> Inspection:
    from perdure.engine.inspection.inspect import inspect_run  # noqa: PLC0415

    async with opened(db) as store:
        return await inspect_run(store, run)


def inspection_data(inspection: Inspection) -> dict[str, Any]:
    """Return all that is known of a run, for JSON."""
    return {
        **as_data(inspection.info),
        "started_by": inspection.started_by or None,
        "origin": inspection.origin or None,
        "counts": dict(inspection.counts),
        "segments": [
            {"worker": part.worker, "version": part.version, "seq": part.seq, "started_at": iso(part.started_at)}
            for part in inspection.segments
        ],
        "live_tasks": [
            {
                "task": task.task,
                "path": task.path,
                "node": task.node,
                "phase": task.phase,
                "attempt": task.attempt,
                "due_at": iso(task.due_at),
            }
            for task in inspection.live_tasks()
        ],
        "open_joins": [
            {"join": joined.join, "path": joined.path, "folded": joined.folded} for joined in inspection.open_joins()
        ],
        "inputs": inspection.inputs,
        "state": inspection.state,
        "state_problem": inspection.state_problem or None,
        "problem": inspection.problem or None,
        "result": inspection.result,
        "failure": {
            "type": inspection.error.type,
            "message": inspection.error.message,
            "path": inspection.error_path,
            "traceback": inspection.error.traceback,
        }
        if inspection.error is not None and inspection.info.status == "FAILED"
        else None,
    }


def print_inspection(inspection: Inspection) -> None:
    """Print all that is known of a run, for a person."""
    info = inspection.info
    print_facts(
        [
            ("run", info.run_id),
            ("graph", f"{info.graph} ({info.fingerprint[:12]})"),
            ("status", info.status),
            ("events", str(info.last_seq)),
            ("started", moment(info.created_at) + (f" by {inspection.started_by}" if inspection.started_by else "")),
            *([("origin", inspection.origin)] if inspection.origin else []),
            *([("tags", ", ".join(f"{name}={text}" for name, text in info.tags.items()))] if info.tags else []),
            ("last event", f"{moment(info.updated_at)}, {duration(info.updated_at - info.created_at)} later"),
            ("driven by", _driver(inspection)),
            ("inputs", clipped(_text(inspection.inputs), 100)),
        ]
    )
    print_heading("Segments")
    print_table(
        ("FROM EVENT", "WORKER", "STARTED"),
        [(str(part.seq), part.worker, moment(part.started_at)) for part in inspection.segments],
    )
    print_heading("Events")
    print_table(("KIND", "COUNT"), [(kind, str(count)) for kind, count in inspection.counts.most_common()])
    print_live(inspection)
    print_heading("State")
    click.echo(
        _text(inspection.state) if not inspection.state_problem else f"can't be told: {inspection.state_problem}"
    )
    if info.status == "COMPLETED":
        print_heading("Result")
        click.echo(_text(inspection.result))
    elif info.status == "FAILED" and inspection.error is not None:
        print_heading("Failure")
        place = f" at {inspection.error_path}" if inspection.error_path else ""
        click.echo(f"{inspection.error.type}: {inspection.error.message}{place}")
    elif info.error:
        print_heading("Problem")
        click.echo(info.error)


def _driver(inspection: Inspection) -> str:
    from perdure.engine.owner import is_provably_dead  # noqa: PLC0415

    owner = inspection.info.owner
    if owner is None or inspection.run.status in OVER:
        return "nobody"
    life = ", which is dead" if is_provably_dead(owner) else ""
    return f"pid {owner.pid} on {owner.host}{life}"


def print_live(inspection: Inspection) -> None:
    """Print the unfinished tasks and the open joins of a run, as far as there are any."""
    tasks, joins = inspection.live_tasks(), inspection.open_joins()
    if tasks:
        print_heading(f"Live tasks ({len(tasks)})")
        print_table(
            ("PATH", "PHASE", "ATTEMPT"), [(task.path, task.phase, str(task.attempt)) for task in tasks[:SHOWN]]
        )
        _print_rest(len(tasks))
    if joins:
        print_heading(f"Open joins ({len(joins)})")
        print_table(("JOIN", "FOLDED"), [(joined.path, str(joined.folded)) for joined in joins[:SHOWN]])
        _print_rest(len(joins))


def _print_rest(count: int) -> None:
    if count > SHOWN:
        click.echo(f"… and {count - SHOWN} more (--json lists all)")


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else json.dumps(value, ensure_ascii=False, indent=2)
