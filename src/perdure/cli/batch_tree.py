"""A run as a tree of its batches, as high as the screen and no higher."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from perdure.cli.output import COLOURS, duration
from perdure.cli.pace import Pace
from perdure.cli.terminal import safe, styled_output
from perdure.kernel.fold.status import OVER, Status

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from perdure.engine.inspection.history import Recorded
    from perdure.engine.inspection.places import Place
    from perdure.kernel.timeline.progress import BatchProgress, Picture
    from perdure.store.records import RunInfo

WIDTH = 24
"""How many characters a bar has."""
LEAST = 4
"""How many lines are drawn however low the screen is."""


def counted(batch: BatchProgress) -> str:
    """Return how many of what there are in a batch."""
    size = str(batch.size) if batch.size is not None else "?"
    counts = [(name, getattr(batch, name)) for name in ("running", "waiting", "retrying", "failed")]
    return ", ".join([f"{batch.done} of {size} done", *(f"{count} {name}" for name, count in counts if count)])


class Live:
    """A tree that is kept up to date, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live as RichLive  # noqa: PLC0415

        self._console = Console(file=styled_output(), color_system=None if "NO_COLOR" in os.environ else "auto")
        self._live = RichLive(console=self._console, refresh_per_second=8)
        self._pace = Pace()

    def __enter__(self) -> None:
        """Begin to show."""
        self._live.start()

    def __exit__(self, *details: object) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()

    def event(self, recorded: Recorded, place: Place) -> None:
        """Events are told by what they lead to."""

    def picture(self, info: RunInfo, picture: Picture) -> None:
        """Draw the tree anew."""
        self._pace.take(picture)
        self._live.update(tree_of(info, picture, time.time_ns() // 1000, self._pace, self._console.height - 1))


def tree_of(info: RunInfo, picture: Picture, now: int, pace: Pace, height: int) -> Group:
    """Return a run as a tree of its batches.

    Args:
        info: what is known of the run.
        picture: how far it is.
        now: the present time.
        pace: what has looked at the pictures up to this one.
        height: how many lines there may be. What is done is left out first.
    """
    from rich.console import Group  # noqa: PLC0415

    until = info.updated_at if Status(info.status) in OVER else now
    head = _head(info, picture, until)
    room = max(LEAST, height) - len(head)
    batches = _branches(list(picture.batches), pace, until)
    if len(batches) + len(picture.tasks) > room:
        batches = _branches([batch for batch in picture.batches if not batch.is_done], pace, until)
    lines = batches + [_line(f"  {task.path}  {task.phase}{_attempt(task.attempt)}") for task in picture.tasks]
    if len(lines) > room:
        lines = [*lines[: room - 1], _line(f"  … and {len(lines) - room + 1} more", "dim")]
    return Group(*head, *lines)


def _head(info: RunInfo, picture: Picture, until: int) -> list[Text]:
    head = _line("")
    head.append(safe(info.run_id), "bold").append(f"  {safe(info.graph)}  ").append(
        info.status, COLOURS.get(info.status, "")
    )
    head.append(f"  event {picture.seq}, {duration(max(0, until - info.created_at))}")
    return [head, _line(f"  {' '.join(info.error.split())}", "red")] if info.error else [head]


def _branches(batches: list[BatchProgress], pace: Pace, now: int) -> list[Text]:
    """Return the lines of batches, each with those inside of it below."""
    known = {batch.instance for batch in batches}
    inner: dict[str, list[BatchProgress]] = {}
    for batch in batches:
        inner.setdefault(batch.outer if batch.outer in known else "", []).append(batch)
    lines, open_ = [], [(batch, 1) for batch in reversed(inner.get("", []))]
    while open_:
        batch, depth = open_.pop()
        lines.append(_drawn(batch, depth, pace, now))
        open_ += [(part, depth + 1) for part in reversed(inner.get(batch.instance, []))]
    return lines


def _drawn(batch: BatchProgress, depth: int, pace: Pace, now: int) -> Text:
    """Return a batch as a line with a bar."""
    filled = WIDTH * batch.done // max(1, batch.size or batch.opened)
    line = _line("  " * depth).append(safe(batch.path), "bold").append("  ")
    line.append("━" * filled, style="green").append("━" * (WIDTH - filled), style="dim")
    line.append(f"  {counted(batch)}", style="red" if batch.failed else "")
    return line.append(f"  {pace.told(batch, now)}", style="dim")


def _attempt(attempt: int) -> str:
    return f" (attempt {attempt})" if attempt > 1 else ""


def _line(text: str, style: str = "") -> Text:
    """Return a text that takes one line, however narrow the screen is."""
    from rich.text import Text  # noqa: PLC0415

    return Text(safe(text), style=style, no_wrap=True, overflow="ellipsis")
