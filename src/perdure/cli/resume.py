"""``perdure resume``: drive a run on to its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from perdure.cli.database import awaited, check_exists, db_option, json_option
from perdure.cli.exits import Exit
from perdure.cli.output import print_json
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.handle import RunHandle

POLL_S = 0.5
"""How often a run that somebody else seems to drive is looked at."""


@click.command("resume")
@click.argument("run")
@click.option(
    "--app",
    required=True,
    metavar="MODULE:ATTR",
    help="The graph of the run, or a function that returns it, or an Engine. The current directory is searched first.",
)
@db_option
@json_option
@click.pass_context
def command(ctx: click.Context, run: str, app: str, db: Path, as_json: bool) -> None:
    """Drive RUN on to its end, and print its result.

    What a crash has left behind goes on, and so does a run that was paused; one that has ended gives out its recorded
    result. While another worker seems to drive the run, this waits until that has ended it, or its lease has run out.
    """
    from perdure.cli.application import engine_of  # noqa: PLC0415
    from perdure.cli.main import one_line  # noqa: PLC0415

    check_exists(db)
    engine = engine_of(app, db)
    try:
        result = awaited(_resumed(engine, run))
    except PerdureError:
        raise
    except Exception as error:  # a step's own
        click.echo(f"perdure: run {run!r} failed: {type(error).__name__}: {one_line(str(error))}", err=True)
        ctx.exit(Exit.FAILED)
    if as_json:
        from perdure.engine.untyped import shown  # noqa: PLC0415

        print_json({"run_id": run, "result": shown(msgspec.to_builtins(result, enc_hook=str))})
    else:
        click.echo(result if isinstance(result, str) else repr(result))


async def _resumed(engine: Engine, run: str) -> Any:
    async with engine:
        return await (await _driven_on(engine, run)).result()


async def _driven_on(engine: Engine, run: str) -> RunHandle[Any]:
    """Return a handle of a run that this process drives, or needn't drive, or will when the run is woken."""
    import asyncio  # noqa: PLC0415

    from perdure.kernel.status import OVER, Status  # noqa: PLC0415

    status = Status((await engine.get(run)).status)
    if status is Status.PAUSED:
        return await engine.resume(run, by="perdure resume")
    if status in OVER or status is Status.STALLED:
        return engine.attach(run)
    told = False
    while True:
        handle = await engine.recover_run(run)
        info = await handle.info()
        if info.status == Status.WAITING:
            click.echo("the run waits, and goes on when it is woken (`perdure show` says for what)", err=True)
        if handle.is_driven_here or info.status not in (Status.PENDING, Status.RUNNING):
            return handle
        if not told and info.owner is not None:
            click.echo(f"pid {info.owner.pid} on {info.owner.host} drives the run; waiting for it", err=True)
            told = True
        await asyncio.sleep(POLL_S)
