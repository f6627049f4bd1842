"""``perdure recover``: drive a run on that a crash has left behind."""

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


@click.command("recover")
@change_run
@app_option
@by_option
@reason_option
@db_option
@json_option
def command(run: str, app: str | None, by: str, reason: str, db: Path, as_json: bool) -> None:
    """Drive RUN on, which a crash has left behind.

    With --app this process drives it to its end, and prints its result. Without, a lease whose owner is known to be dead is
    ended, so that the next worker that knows the graph takes the run at once; nothing is recorded then, as nothing happens yet.

    \b
    Examples:
      perdure recover order-17 --app orders.flow:graph --reason "the host was rebooted"
      perdure recover order-17
    """
    if app is None and reason:
        raise click.UsageError("--reason needs --app: without, it is the next worker that takes the run, and says so")

    async def recover(engine: Engine) -> RunHandle[Any]:
        await engine.recover_run(run, drive=False)
        return await engine.recover_run(run, by=by, reason=reason)

    async def free(engine: Engine) -> str:
        handle = await engine.recover_run(run, drive=False)
        return (await handle.info()).status

    if app is not None:
        drive_to_end(app, db, recover, as_json=as_json)
    else:
        tell_status(run, without_graph(db, free), as_json=as_json)
