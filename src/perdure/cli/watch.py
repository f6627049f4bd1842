"""``perdure watch``: a run as it goes on.

On a terminal a tree of batches is kept up to date; into a pipe a line is written for each thing of note, and for each tenth of a
batch. Both are made of the log alone, so it doesn't matter who drives the run, or whether anybody does.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from perdure.cli.arguments import look_at_run
from perdure.cli.database import awaited, db_option, json_option, opened
from perdure.cli.exits import Exit
from perdure.cli.output import COLOURS, duration, on_terminal
from perdure.cli.terminal import safe, styled_output
from perdure.kernel.status import OVER, Status

if TYPE_CHECKING:
    from rich.tree import Tree

    from perdure.engine.history import Recorded
    from perdure.engine.places import Place
    from perdure.kernel.progress import BatchProgress, Picture
    from perdure.store.port import RunInfo, Store

POLL_S = 0.1
"""How often it is looked whether anything has happened."""
SHOWN = 12
"""How many batches inside of another one, and how many lone tasks, are shown on a terminal."""
WIDTH = 24
"""How many characters a bar has."""

_OF_NOTE = frozenset(
    {
        "RunStarted", "SegmentStarted", "SegmentEnded", "RunPaused", "RunResumed", "RunRetried", "RunAccepted", "RunCompleted",
        "RunFailed", "RunCancelled", "NodeFailed", "WaitOpened", "Answered", "SignalReceived", "Escalated",
    }
)  # fmt: skip
_OF_NOTE_OUTSIDE = frozenset({"NodeStarted", "NodeCompleted", "ForkOpened", "JoinClosed"})
"""Those that are told only of what is in no batch."""


@click.command("watch")
@look_at_run
@db_option
@json_option
@click.pass_context
def command(ctx: click.Context, run: str, db: Path, as_json: bool) -> None:
    r"""Show how far RUN is, until it is over: a live tree of its batches, or lines into a pipe.

    Exits with 0 if the run has completed, with 1 if it has failed or was cancelled. No code of the graph is imported.
    """
    screen: Screen = JsonLines() if as_json else Live() if on_terminal() else Lines()
    info = awaited(_watch(db, run, screen))
    ctx.exit(Exit.OK if info.status == Status.COMPLETED else Exit.FAILED)


async def _watch(db: Path, run: str, screen: Screen) -> RunInfo:
    import asyncio  # noqa: PLC0415

    async with opened(db) as store:
        with screen:
            return await watched(store, run, screen, lambda: asyncio.sleep(POLL_S))


class Screen(Protocol):
    """Where a run is shown."""

    def __enter__(self) -> Any:
        """Begin to show."""
        ...

    def __exit__(self, *details: object) -> None:
        """End."""
        ...

    def event(self, recorded: Recorded, place: Place) -> None:
        """Show an event."""
        ...

    def picture(self, info: RunInfo, picture: Picture) -> None:
        """Show how far the run is."""
        ...


async def watched(store: Store, run: str, screen: Screen, pause: Callable[[], Awaitable[None]]) -> RunInfo:
    """Show a run until it is over, and return what is known of it then.

    Raises:
        RunNotFound: there is no such run.
        StoreCorrupt: its log isn't what was written.
    """
    from perdure.engine.follow import Follower  # noqa: PLC0415
    from perdure.engine.inspect import find, stored_plan  # noqa: PLC0415
    from perdure.engine.places import Places  # noqa: PLC0415
    from perdure.engine.untyped import NoValues  # noqa: PLC0415
    from perdure.kernel.progress import Progress  # noqa: PLC0415
    from perdure.kernel.run import Run  # noqa: PLC0415

    info = await find(store, run)
    plan = await stored_plan(store, info)
    follower, places, progress = Follower(store, info), Places(plan, run), Progress(Run(plan, run, NoValues()))
    shown = 0.0
    while True:
        news = await follower.news()
        for recorded in news:
            progress.take(recorded.event)
            screen.event(recorded, places.of(recorded.event))
        if not news or time.monotonic() - shown > POLL_S:
            screen.picture(follower.info, progress.picture())
            shown = time.monotonic()
        if follower.has_all and Status(follower.info.status) in OVER:
            return follower.info
        if not news:
            await pause()


def _counts(batch: BatchProgress) -> str:
    size = str(batch.size) if batch.size is not None else "?"
    counts = [(name, getattr(batch, name)) for name in ("running", "waiting", "retrying", "failed")]
    return ", ".join([f"{batch.done} of {size} done", *(f"{count} {name}" for name, count in counts if count)])


class Lines:
    """Plain lines, for a pipe."""

    def __init__(self) -> None:
        self._tenths: dict[str, int] = {}
        self._status = ""

    def __enter__(self) -> None:
        """Begin to show."""

    def __exit__(self, *details: object) -> None:
        """End."""

    def event(self, recorded: Recorded, place: Place) -> None:
        """Write a line about an event of note."""
        from perdure.cli.wording import worded  # noqa: PLC0415

        is_outside = recorded.kind in _OF_NOTE_OUTSIDE and "[" not in place.path
        if recorded.kind in _OF_NOTE or is_outside:
            at = datetime.fromtimestamp(recorded.ts / 1e6, UTC).astimezone().strftime("%H:%M:%S")
            click.echo(f"{at}  {recorded.kind:<15} {worded(recorded.event, place.path)}".rstrip())

    def picture(self, info: RunInfo, picture: Picture) -> None:
        """Write a line about each batch that has come another tenth further."""
        for batch in picture.batches:
            tenth = 10 * batch.done // max(1, batch.size or batch.opened)
            if not batch.outer and tenth > self._tenths.get(batch.instance, 0):
                self._tenths[batch.instance] = tenth
                click.echo(f"          {batch.path}: {_counts(batch)}")
        if info.status != self._status:
            self._status = info.status
            click.echo(f"          {info.status}" + (f": {info.error}" if info.error else ""))


class JsonLines:
    """A line of JSON whenever something has changed."""

    def __init__(self) -> None:
        self._last = b""

    def __enter__(self) -> None:
        """Begin to show."""

    def __exit__(self, *details: object) -> None:
        """End."""

    def event(self, recorded: Recorded, place: Place) -> None:
        """Events are told by what they lead to."""

    def picture(self, info: RunInfo, picture: Picture) -> None:
        """Write how far the run is, if that isn't what it was."""
        import msgspec  # noqa: PLC0415

        known = {"run_id": info.run_id, "status": info.status, "error": info.error or None}
        data = msgspec.json.encode({**known, **msgspec.to_builtins(picture)})
        if data != self._last:
            self._last = data
            click.echo(data.decode())


class Live:
    """A tree that is kept up to date, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live as RichLive  # noqa: PLC0415

        self._live = RichLive(refresh_per_second=8, console=Console(file=styled_output()))

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
        self._live.update(tree_of(info, picture, time.time_ns() // 1000))


def tree_of(info: RunInfo, picture: Picture, now: int) -> Tree:
    """Return a run as a tree of its batches."""
    from rich.text import Text  # noqa: PLC0415
    from rich.tree import Tree  # noqa: PLC0415

    until = info.updated_at if Status(info.status) in OVER else now
    head = Text.assemble(
        (safe(info.run_id), "bold"), f"  {safe(info.graph)}  ", (info.status, COLOURS.get(info.status, ""))
    )
    head.append(f"  event {picture.seq}, {duration(max(0, until - info.created_at))}")
    tree = Tree(head)
    if info.error:
        tree.add(Text(safe(info.error), style="red"))
    inner: dict[str, list[BatchProgress]] = {}
    known = {batch.instance for batch in picture.batches}
    for batch in picture.batches:
        inner.setdefault(batch.outer if batch.outer in known else "", []).append(batch)

    def grow(branch: Tree, batches: list[BatchProgress]) -> None:
        for batch in batches[:SHOWN]:
            grow(branch.add(_drawn(batch)), inner.get(batch.instance, []))
        if len(batches) > SHOWN:
            branch.add(Text(f"… and {len(batches) - SHOWN} more batches", style="dim"))

    grow(tree, inner.get("", []))
    for task in picture.tasks[:SHOWN]:
        attempt = f" (attempt {task.attempt})" if task.attempt > 1 else ""
        tree.add(Text(f"{safe(task.path)}  {task.phase}{attempt}"))
    if len(picture.tasks) > SHOWN:
        tree.add(Text(f"… and {len(picture.tasks) - SHOWN} more tasks", style="dim"))
    return tree


def _drawn(batch: BatchProgress) -> Any:
    """Return a batch as a line with a bar."""
    from rich.text import Text  # noqa: PLC0415

    filled = WIDTH * batch.done // max(1, batch.size or batch.opened)
    line = Text.assemble((safe(batch.path), "bold"), "  ")
    line.append("━" * filled, style="green").append("━" * (WIDTH - filled), style="dim")
    return line.append(f"  {_counts(batch)}", style="red" if batch.failed else "")
