"""``perdure resume``: drive a run on to its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.arguments import change_run
from perdure.cli.database import db_option, json_option
from perdure.cli.driving import app_option, drive_to_end, tell_status, without_graph
from perdure.cli.message import by_option, reason_option

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.handle import RunHandle

POLL_S = 0.5
"""How often a run that somebody else seems to drive is looked at."""


@click.command("resume")
@change_run
@app_option
@by_option
@reason_option
@db_option
@json_option
def command(run: str, app: str | None, by: str, reason: str, db: Path, as_json: bool) -> None:
    """Drive RUN on to its end, and print its result.

    What a crash has left behind goes on, and so does a run that was paused; one that has ended gives out its recorded
    result. While another worker seems to drive the run, this waits until that has ended it, or its lease has run out.
    Without --app a paused run is left to the next worker that knows its graph.

    \b
    Examples:
      perdure resume order-17 --by ada --reason "the bank is back"
      perdure resume order-17 --app orders.flow:graph
    """
    if app is not None:
        drive_to_end(app, db, lambda engine: _driven_on(engine, run, by, reason), as_json=as_json)
        return

    async def resume(engine: Engine) -> str:
        handle = await engine.resume(run, by=by, reason=reason, drive=False)
        return (await handle.info()).status

    tell_status(run, without_graph(db, resume), as_json=as_json)


async def _driven_on(engine: Engine, run: str, by: str, reason: str) -> RunHandle[Any]:
    """Return a handle of a run that this process drives, or needn't drive, or will when the run is woken."""
    import asyncio  # noqa: PLC0415

    from perdure.kernel.fold.status import OVER, Status  # noqa: PLC0415

    status = Status((await engine.get(run)).status)
    if status is Status.PAUSED:
        return await engine.resume(run, by=by, reason=reason)
    if status in OVER or status is Status.STALLED:
        return engine.attach(run)
    told = False
    while True:
        handle = await engine.recover_run(run, by=by, reason=reason)
        info = await handle.info()
        if info.status == Status.WAITING:
            click.echo("the run waits, and goes on when it is woken (`perdure show` says for what)", err=True)
        if handle.is_driven_here or info.status not in (Status.PENDING, Status.RUNNING):
            return handle
        if not told and info.owner is not None:
            click.echo(f"pid {info.owner.pid} on {info.owner.host} drives the run; waiting for it", err=True)
            told = True
        await asyncio.sleep(POLL_S)
