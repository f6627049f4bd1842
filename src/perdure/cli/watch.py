"""``perdure watch``: a run as it goes on.

On a terminal a tree of batches is kept up to date (``batch_tree.py``); into a pipe a line is written for each thing of note, and for each tenth of a
batch. Both are made of the log alone, so it doesn't matter who drives the run, or whether anybody does.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from perdure.cli.arguments import look_at_run
from perdure.cli.batch_tree import counted
from perdure.cli.database import awaited, db_option, json_lines_option, opened
from perdure.cli.exits import Exit
from perdure.cli.output import local, on_terminal
from perdure.cli.pace import Pace
from perdure.kernel.fold.status import OVER, Status

if TYPE_CHECKING:
    from perdure.engine.inspection.history import Recorded
    from perdure.engine.inspection.places import Place
    from perdure.kernel.timeline.progress import Picture
    from perdure.store.port import Store
    from perdure.store.records import RunInfo

POLL_S = 0.1
"""How often it is looked whether anything has happened."""
STANDSTILLS = (Status.WAITING, Status.PAUSED, Status.STALLED)
"""The statuses in which a run goes on only when somebody, or the clock, lets it."""

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
@click.option(
    "--until", type=click.Choice(["over", "waiting"]), default="over", show_default=True,
    help="When to end: when the run is over; or also when it waits, or is paused or stalled.",
)  # fmt: skip
@db_option
@json_lines_option
@click.pass_context
def command(ctx: click.Context, run: str, until: str, db: Path, as_json: bool) -> None:
    """Show how far RUN is, until it is over: a live tree of its batches, or lines into a pipe.

    Exits with 0 if the run has completed, with 1 if it has failed or was cancelled, with 3 if it stands still and --until waiting was
    given. It doesn't matter who drives the run, and to stop watching doesn't stop it. No code of the graph is imported.

    \b
    Examples:
      perdure watch order-17
      perdure watch order-17 --until waiting && echo done
      perdure watch order-17 --json | jq -c '[.seq, .batches[0].done]'
    """
    screen: Screen = JsonLines() if as_json else _live() if on_terminal() else Lines()
    info = awaited(_watch(db, run, screen, STANDSTILLS if until == "waiting" else ()))
    if info.status in STANDSTILLS:
        click.echo(f"the run is {info.status}: `perdure explain {run}` says why", err=True)
        ctx.exit(Exit.WAITS)
    ctx.exit(Exit.OK if info.status == Status.COMPLETED else Exit.FAILED)


def _live() -> Screen:
    from perdure.cli.batch_tree import Live  # noqa: PLC0415  (rich takes its time)

    return Live()


async def _watch(db: Path, run: str, screen: Screen, enough: Collection[str]) -> RunInfo:
    import asyncio  # noqa: PLC0415

    async with opened(db) as store:
        with screen:
            return await watched(store, run, screen, lambda: asyncio.sleep(POLL_S), enough)


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


async def watched(
    store: Store, run: str, screen: Screen, pause: Callable[[], Awaitable[None]], enough: Collection[str] = ()
) -> RunInfo:
    """Show a run until it is over, and return what is known of it then.

    Args:
        store: where it is kept.
        run: the run.
        screen: where to show it.
        pause: waits until it may be looked again whether anything has happened.
        enough: statuses in which it is shown no further, either.

    Raises:
        RunNotFound: there is no such run.
        StoreCorrupt: its log isn't what was written.
    """
    from perdure.engine.inspection.follow import Follower  # noqa: PLC0415
    from perdure.engine.inspection.inspect import find, stored_plan  # noqa: PLC0415
    from perdure.engine.inspection.places import Places  # noqa: PLC0415
    from perdure.engine.inspection.untyped import NoValues  # noqa: PLC0415
    from perdure.kernel.fold.run import Run  # noqa: PLC0415
    from perdure.kernel.timeline.progress import Progress  # noqa: PLC0415

    info = await find(store, run)
    plan = await stored_plan(store, info)
    follower, places, progress = Follower(store, info), Places(plan, run), Progress(Run(plan, run, NoValues()))
    shown = 0.0
    while True:
        news = await follower.news()
        for recorded in news:
            progress.take(recorded.event, recorded.ts)
            screen.event(recorded, places.of(recorded.event))
        if not news or time.monotonic() - shown > POLL_S:
            screen.picture(follower.info, progress.picture())
            shown = time.monotonic()
        if follower.has_all and (Status(follower.info.status) in OVER or follower.info.status in enough):
            return follower.info
        if not news:
            await pause()


class Lines:
    """Plain lines, for a pipe."""

    def __init__(self) -> None:
        self._tenths: dict[str, int] = {}
        self._pace = Pace()
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
            at = local(recorded.ts).strftime("%H:%M:%S")
            click.echo(f"{at}  {recorded.kind:<15} {worded(recorded.event, place.path)}".rstrip())

    def picture(self, info: RunInfo, picture: Picture) -> None:
        """Write a line about each batch that has come another tenth further."""
        self._pace.take(picture)
        for batch in picture.batches:
            tenth = 10 * batch.done // max(1, batch.size or batch.opened)
            if not batch.outer and tenth > self._tenths.get(batch.instance, 0):
                self._tenths[batch.instance] = tenth
                click.echo(f"          {batch.path}: {counted(batch)}, {self._pace.told(batch, picture.at)}")
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
