"""Driving a run from the command line: to its end, with its result printed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from perdure.cli.database import awaited, check_exists, encryption_given
from perdure.cli.exits import Exit
from perdure.cli.output import print_json
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.handle import RunHandle

T = TypeVar("T")

app_option: Callable[[Any], Any] = click.option(
    "--app",
    metavar="MODULE:ATTR",
    help="The graph of the run, or a function that returns it, or an Engine. The current directory is searched first.",
)


def drive_to_end(app: str, db: Path, begin: Callable[[Engine], Awaitable[RunHandle[Any]]], *, as_json: bool) -> None:
    """Let a run begin to be driven, wait for its end, and print its result."""
    from perdure.cli.application import engine_of  # noqa: PLC0415
    from perdure.cli.main import one_line  # noqa: PLC0415
    from perdure.kernel.decide.describe import describe  # noqa: PLC0415

    check_exists(db)
    engine = engine_of(app, db)
    try:
        run, result = awaited(_driven(engine, begin))
    except PerdureError:
        raise
    except Exception as error:  # a step's own
        said = describe(error)
        notes = [note for note in said.notes if note.startswith("perdure: in run ")]
        where = notes[0].removeprefix("perdure: in ") if notes else "the run"
        click.echo(f"perdure: {where} failed: {said.type}: {one_line(said.message)}", err=True)
        click.get_current_context().exit(Exit.FAILED)
    if as_json:
        from perdure.engine.inspection.untyped import shown  # noqa: PLC0415

        print_json({"run_id": run, "result": shown(msgspec.to_builtins(result, enc_hook=str))})
    else:
        click.echo(result if isinstance(result, str) else repr(result))


async def _driven(engine: Engine, begin: Callable[[Engine], Awaitable[RunHandle[Any]]]) -> tuple[str, Any]:
    async with engine:
        handle = await begin(engine)
        return handle.run_id, await handle.result()


def with_engine(
    db: Path, app: str | None, do: Callable[[Engine], Awaitable[T]], *, only_reads: bool = False, **options: Any
) -> T:
    """Do something with an engine that knows the graphs of an application, or none, and recovers nothing by itself.

    Args:
        db: the database.
        app: the application, or None.
        do: what is to be done.
        only_reads: whether nothing is written: then whoever may read the file will do, and its schema stays as it is.
        options: more of ``Engine.open``.

    Raises:
        NoDatabase: there is no database.
        StoreError: it can't be used.
    """
    check_exists(db)
    if app is not None:
        from perdure.cli.application import engine_of  # noqa: PLC0415

        engine = engine_of(app, db, only_reads=only_reads, **options)
    else:
        from perdure.engine.engine import Engine  # noqa: PLC0415
        from perdure.store.sqlite.store import SQLiteStore  # noqa: PLC0415

        store = SQLiteStore(db, read_only=only_reads)
        engine = Engine.open(store, recover=False, encryption=encryption_given(), **options)

    async def doing() -> T:
        async with engine:
            return await do(engine)

    return awaited(doing())


def without_graph(db: Path, do: Callable[[Engine], Awaitable[T]]) -> T:
    """Do something with an engine that knows no graph."""
    return with_engine(db, None, do)


def tell_status(run: str, status: str, *, as_json: bool) -> None:
    """Print where a run is now."""
    if as_json:
        print_json({"run_id": run, "status": status})
    else:
        click.echo(f"{run} {status}")
