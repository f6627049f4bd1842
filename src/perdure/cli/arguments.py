"""What stands for a run, a graph or a task on the command line, and is completed there from the database.

A command that only looks takes as much of a run's id as tells it from all others. One that changes something takes the whole
of it: ids are people's own, and ``order-1`` mistyped for ``order-12`` must not be cancelled in its place.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from perdure.cli.database import DEFAULT
from perdure.errors import RunNotFound

if TYPE_CHECKING:
    from perdure.store.sqlite.glance import Glance

COMPLETED = 200
"""How many ids are offered for completion, the newest ones."""
COMPARED = 10_000
"""Among how many ids, the newest ones, similar ones are looked for."""
NAMED = 5
"""How many ids an error names."""


def _glance(ctx: click.Context | None) -> Glance:
    from perdure.store.sqlite.glance import Glance  # noqa: PLC0415  (only when a command runs)

    return Glance(Path(ctx.params.get("db") or DEFAULT) if ctx is not None else Path(DEFAULT))


class RunId(click.ParamType[str]):
    """The id of a run.

    Args:
        whole: whether it has to be there as it is; else the beginning of a single one will do.
    """

    name = "run"

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id that a text stands for; if nothing can be told, the text.

        Raises:
            RunNotFound: there is no such run, or the text is the beginning of several.
        """
        text = str(value)
        if ctx is None or ctx.resilient_parsing:
            return text
        glance = _glance(ctx)
        alike = glance.run_ids(text, COMPLETED) if text else []
        if text in alike:
            return text
        if len(alike) == 1 and not self._whole:
            return alike[0]
        return self._refused(text, alike, glance, ctx)

    def _refused(self, text: str, alike: list[str], glance: Glance, ctx: click.Context) -> str:
        if len(alike) > 1 and not self._whole:
            count = f"{len(alike)} runs" if len(alike) < COMPLETED else f"{COMPLETED} runs and more"
            raise RunNotFound(f"{text!r} is the beginning of {count}: {_named(alike)}. Give more of it", run_id=text)
        known = glance.run_ids("", COMPARED)
        if not known:
            return text  # the database is empty, or can't be read: that is for the command to say
        similar = alike or difflib.get_close_matches(text, known, NAMED)
        hint = f". Did you mean {_named(similar)}?" if similar else ". `perdure runs` lists those there are"
        raise RunNotFound(f"{ctx.params.get('db')} holds no run {text!r}{hint}", run_id=text)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the ids that begin so."""
        return [CompletionItem(run_id) for run_id in _glance(ctx).run_ids(incomplete, COMPLETED)]


def _named(ids: list[str]) -> str:
    return ", ".join(ids[:NAMED]) + (", …" if len(ids) > NAMED else "")


class GraphName(click.ParamType[str]):
    """The name of a graph."""

    name = "graph"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so, of graphs there are runs of."""
        return [CompletionItem(name) for name in _glance(ctx).graphs(incomplete, COMPLETED)]


look_at_run: Callable[[Any], Any] = click.argument("run", type=RunId(), metavar="RUN")
"""A run that a command only looks at."""
change_run: Callable[[Any], Any] = click.argument("run", type=RunId(whole=True), metavar="RUN")
"""A run that a command changes."""
graph_option: Callable[[Any], Any] = click.option(
    "--graph", type=GraphName(), metavar="NAME", help="Only runs of the graph with this name."
)
