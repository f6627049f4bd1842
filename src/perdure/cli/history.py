"""``perdure history``: the events of a run, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from perdure import events as ev
from perdure.cli.arguments import look_at_run
from perdure.cli.database import awaited, db_option, json_lines_option, opened
from perdure.cli.output import Moment, iso, local, print_json_lines

if TYPE_CHECKING:
    from perdure.engine.inspection.history import Recorded
    from perdure.engine.inspection.places import Wanted

KINDS = tuple(kind.__name__ for kind in ev.AnyEvent.__args__)


@click.command("history")
@look_at_run
@db_option
@click.option("--from", "from_seq", type=click.IntRange(min=1), default=1, metavar="SEQ", help="Begin with this event.")
@click.option("--to", "to_seq", type=click.IntRange(min=1), metavar="SEQ", help="End with this event.")
@click.option(
    "--kind", "kinds", type=click.Choice(KINDS, case_sensitive=False), metavar="KIND", multiple=True,
    help="Only events of this kind, as in NodeStarted; may be repeated.",
)  # fmt: skip
@click.option("--task", metavar="TASK", help="Only events about this task, by its id or its path.")
@click.option("--node", metavar="NODE", help="Only events about this node.")
@click.option("--since", type=Moment(), metavar="TIME", help="Only events from this time on.")
@click.option("--until", type=Moment(), metavar="TIME", help="Only events up to this time.")
@json_lines_option
def command(run: str, db: Path, as_json: bool, **conditions: Any) -> None:
    """Print the events of RUN in order: seq, time, kind, and what happened.

    A TIME is as in 2026-11-21T14:30 (in the time zone of this machine, if it names none), or a time ago as in 90s, 15m, 2h
    or 3d. No code of the graph is imported.

    \b
    Examples:
      perdure history order-17
      perdure history order-17 --kind NodeFailed --since 2h
      perdure history order-17 --task 'orders[3]/ship' --json
    """
    from perdure.engine.inspection.places import Wanted  # noqa: PLC0415

    awaited(_print(db, run, Wanted(**conditions), as_json))


async def _print(db: Path, run: str, wanted: Wanted, as_json: bool) -> None:
    from perdure.cli.wording import worded  # noqa: PLC0415
    from perdure.engine.inspection.inspect import find  # noqa: PLC0415
    from perdure.engine.inspection.places import read_placed  # noqa: PLC0415

    async with opened(db) as store:
        async for recorded, place in read_placed(store, await find(store, run), wanted):
            if as_json:
                print_json_lines([event_data(recorded, place.path)])
            else:
                time = local(recorded.ts).strftime("%H:%M:%S.%f")[:-3]
                line = f"{recorded.seq:>7}  {time}  {recorded.kind:<15} {worded(recorded.event, place.path)}"
                click.echo(line.rstrip())


def event_data(recorded: Recorded, path: str) -> dict[str, Any]:
    """Return an event with the names of its fields, for JSON."""
    return {
        "seq": recorded.seq,
        "ts": iso(recorded.ts),
        "epoch": recorded.epoch,
        "kind": recorded.kind,
        **({"path": path} if path else {}),
        **_fields(recorded.event),
    }


def _fields(struct: Any) -> dict[str, Any]:
    return {name: _data(part) for name, part in msgspec.structs.asdict(struct).items()}


def _data(part: Any) -> Any:
    """Structs inside an event are arrays in the log; here they are shown with the names of their fields."""
    if isinstance(part, msgspec.Struct):
        return _fields(part)
    return [_data(inner) for inner in part] if isinstance(part, tuple) else part
