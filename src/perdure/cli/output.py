"""Output: tables for a person at a terminal, plain text into a pipe, and JSON.

rich is only used on a terminal; into a pipe the same rows go as aligned columns, so that ``grep`` and ``awk`` can have them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from perdure.cli.terminal import safe, styled_output
from perdure.ids import LATEST

COLOURS = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "PAUSED": "yellow",
    "STALLED": "magenta",
    "RUNNING": "cyan",
    "WAITING": "blue",
}


def on_terminal() -> bool:
    """Say whether standard output is a terminal on which lines can be drawn anew."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def print_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    import msgspec  # noqa: PLC0415

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_json_lines(values: Iterable[Any]) -> None:
    """Print values as JSON, each in a line of its own."""
    import msgspec  # noqa: PLC0415

    for value in values:
        click.echo(msgspec.json.encode(value).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print rows under the names of their columns."""
    if on_terminal() and "NO_COLOR" not in os.environ:
        _print_rich(columns, rows, title)
        return
    if title:
        click.echo(title)
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def tell_limit(shown: int, limit: int) -> None:
    """Say that there may be more than was shown, if as many were shown as may be."""
    if shown == limit:
        click.echo(f"there may be more than these {limit}: see --limit", err=True)


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(safe(cell), style=COLOURS.get(cell, "")) for cell in row))
    Console(file=styled_output()).print(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values, a line each."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        shown = click.style(value, fg=COLOURS[value]) if value in COLOURS else safe(value)
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {shown}", file=styled_output())


def print_heading(text: str) -> None:
    """Print a heading, with a free line before it."""
    click.echo()
    click.secho(safe(text), bold=True, file=styled_output())


def moment(microseconds: int) -> str:
    """Return a time in the time zone of this machine, to the second."""
    return local(microseconds).strftime("%Y-%m-%d %H:%M:%S")


def local(microseconds: int) -> datetime:
    """Return a time in the time zone of this machine; what somebody has written into a file may be in no calendar."""
    return _utc(microseconds).astimezone()


def _utc(microseconds: int) -> datetime:
    return datetime.fromtimestamp(min(max(microseconds, 0), LATEST) / 1e6, UTC)


def iso(microseconds: int | None) -> str | None:
    """Return a time as ISO 8601 has it, in UTC, to the microsecond."""
    if microseconds is None:
        return None
    return _utc(microseconds).isoformat(timespec="microseconds")


def duration(microseconds: int) -> str:
    """Return how long something took, with a unit that suits it."""
    seconds = microseconds / 1e6
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def clipped(text: str, width: int) -> str:
    """Return a text in one line and no longer than that."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


class Moment(click.ParamType[int]):
    """A time on the command line: ISO 8601, or how long ago as in ``15m``; microseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the time that a text stands for."""
        if isinstance(value, int):
            return value
        units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
        try:
            if value[-1:] in units:
                at = datetime.now(UTC) - timedelta(**{units[value[-1]]: float(value[:-1])})
            else:
                at = datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time: give one as in 2026-11-21T14:30, or how long ago, as in 90s, 15m, 2h or 3d"
            )
        return int(at.timestamp() * 1_000_000)
