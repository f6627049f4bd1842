"""What a command tells a run: by whom, why, and values as JSON."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any

import click
import msgspec


def login() -> str:
    """Return the login name of whoever runs this, or an empty text if there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in some containers
        return ""


by_option: Callable[[Any], Any] = click.option(
    "--by",
    default=login,
    envvar="PERDURE_BY",
    show_default="your login name",
    show_envvar=True,
    metavar="WHO",
    help="Who says so, for the record.",
)
reason_option: Callable[[Any], Any] = click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")


def decoded(ctx: click.Context, param: click.Parameter, text: str) -> Any:
    """Return the value that an argument gives as JSON.

    Raises:
        BadParameter: it is no JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise click.BadParameter(
            f"{text!r} is no JSON ({error}); a string has quotes of its own: '\"text\"'", ctx=ctx, param=param
        ) from error
