"""``perdure history``: the events of a run, a line each."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from perdure import events as ev
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.output import iso

if TYPE_CHECKING:
    from perdure.engine.history import Recorded

KINDS = tuple(kind.__name__ for kind in ev.AnyEvent.__args__)


@click.command("history")
@click.argument("run")
@db_option
@click.option("--from", "first", type=click.IntRange(min=1), default=1, metavar="SEQ", help="Begin with this event.")
@click.option(
    "--kind", "kinds", type=click.Choice(KINDS, case_sensitive=False), metavar="KIND", multiple=True,
    help="Only events of this kind, as in NodeStarted; may be repeated.",
)  # fmt: skip
@json_option
def command(run: str, db: Path, first: int, kinds: tuple[str, ...], as_json: bool) -> None:
    """Print the events of RUN in order: seq, time, kind, and what happened.

    No code of the graph is imported.
    """
    awaited(_print(db, run, first, frozenset(kinds), as_json))


async def _print(db: Path, run: str, first: int, kinds: frozenset[str], as_json: bool) -> None:
    from perdure.cli.wording import worded  # noqa: PLC0415
    from perdure.engine.inspect import find, read_with_paths  # noqa: PLC0415

    printed = 0
    async with opened(db) as store:
        async for recorded, path in read_with_paths(store, await find(store, run)):
            if recorded.seq < first or (kinds and recorded.kind not in kinds):
                continue
            if as_json:
                click.echo(
                    ("," if printed else "[") + "\n" + msgspec.json.encode(event_data(recorded, path)).decode(),
                    nl=False,
                )
            else:
                time = datetime.fromtimestamp(recorded.ts / 1e6, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
                line = f"{recorded.seq:>7}  {time}  {recorded.kind:<15} {worded(recorded.event, path)}"
                click.echo(line.rstrip())
            printed += 1
    if as_json:
        click.echo("\n]" if printed else "[]")


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
