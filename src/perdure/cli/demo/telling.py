"""What the demo tells while it goes on: nothing, lines, or a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from perdure.cli.output import on_terminal
from perdure.cli.terminal import styled_output

Advance = Callable[[int], None]

QUARTER = 4


class Silence:
    """Says nothing, for --json."""

    def say(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda done: None


class Lines:
    """Says what happens in lines of text."""

    def say(self, text: str) -> None:
        """Print a line."""
        click.echo(text)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """Print a line for every quarter that is done."""
        told = 0

        def advance(done: int) -> None:
            nonlocal told
            quarters = done * QUARTER // total
            if quarters > told:
                told = quarters
                click.echo(f"  {what}: {done} of {total} files")

        yield advance


class Bar(Lines):
    """Says what happens in lines, with a progress bar."""

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """Show a progress bar."""
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(file=styled_output())) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)


def telling(as_json: bool) -> Silence | Lines:
    """Return how to tell a demo to whoever reads it."""
    if as_json:
        return Silence()
    return Bar() if on_terminal() else Lines()
