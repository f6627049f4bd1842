"""What a command tells a run: by whom, and values as JSON; from a process that needn't know the run's graph."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from perdure.cli.database import check_exists, encryption_given

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

by_option: Callable[[Any], Any] = click.option("--by", default="", metavar="WHO", help="Who says so, for the record.")
reason_option: Callable[[Any], Any] = click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")


def decoded(ctx: click.Context, param: click.Parameter, text: str) -> Any:
    """Return the value that an argument gives as JSON.

    Raises:
        BadParameter: it is no JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise click.BadParameter(
            f"{text!r} is no JSON ({error}); a string has quotes of its own: '\"text\"'", ctx=ctx, param=param
        ) from error


@asynccontextmanager
async def bystander(db: Path) -> AsyncIterator[Engine]:
    """Open an engine that drives nothing.

    Raises:
        NoDatabase: there is no database.
        StoreError: it can't be used.
    """
    from perdure.engine.engine import Engine  # noqa: PLC0415

    check_exists(db)
    async with Engine.open(db, recover=False, encryption=encryption_given()) as engine:
        yield engine
