"""The ``perdure`` command.

A command is imported when it is called, and prints through ``output.py``: for a person at a terminal, as plain text into a
pipe, or as JSON. How it ended is told by its exit code (``exits.py``); an error is one line on standard error, never a
traceback.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from perdure.cli.exits import Exit, exit_for
from perdure.cli.terminal import safe_streams
from perdure.errors import PerdureError
from perdure.version import __version__

COMMANDS = {
    "demo": "Kill a run of a real graph half-way, and watch it go on.",
    "runs": "List the runs in a database, the newest first.",
    "show": "Show where a run is, and what came of it.",
    "watch": "Show how far a run is, until it is over.",
    "explain": "Say why a run makes no progress.",
    "history": "Print the events of a run, a line each.",
    "state": "Print the state of a run as JSON, as it was after an event.",
    "timeline": "Print when everything in a run began and ended, and what would have to be faster.",
    "diff": "Print how two runs differ.",
    "trace": "Print the spans of a run as a tree.",
    "export": "Give out a run: as a file of its own, or its spans.",
    "import": "Put an exported run into a database.",
    "resume": "Drive a run on to its end, and print its result.",
    "waiting": "List what runs wait for: people, signals and times.",
    "respond": "Answer a task that waits for a person.",
    "signal": "Send a signal to a run.",
    "pause": "Let a run stand still until it is resumed.",
    "cancel": "End a run for good.",
    "recover": "Drive a run on that a crash has left behind.",
    "retry": "Let a failed run go on.",
    "fork": "Let a new run go on from a point of another one.",
    "plan": "Print what would run again after a verb, before you say it.",
    "check": "Say which unfinished runs go on with the present graph.",
    "accept": "Let a stalled run go on with the present graph.",
    "worker": "Drive runs as they come due, beside other workers on the same file.",
    "verify": "Check that logs hold what was written.",
    "backup": "Copy the database while others work on it.",
    "prune": "Delete runs that ended long ago.",
    "du": "Show what takes up space in a database.",
    "doctor": "Look for what may be wrong with a database.",
    "completion": "Print what a shell needs to complete commands, runs and graphs.",
}


_MODULES = {"demo": "demo.command", "import": "import_"}
"""Where a command isn't in the module of its name."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name.replace("-", "_"))
        command: click.Command = importlib.import_module(f"perdure.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; of one that there isn't, say which are similar."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            similar = difflib.get_close_matches(name, COMMANDS, 3)
            hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; if nobody reads what it prints any more, that is no failure."""
        try:
            returned = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            let_go_of_output()
            return Exit.OK
        return returned

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="perdure")
@click.pass_context
def perdure(ctx: click.Context) -> None:
    """Durable graph workflows on an append-only SQLite log.

    Data goes to standard output, all else to standard error. `--json` prints JSON: of one thing a document, of many an object a
    line.

    Exit codes: 0 done; 1 the run failed, or damage was found; 2 wrong usage; 3 the run waits, or is paused or stalled; 4 not
    found; 5 a conflict; 6 the store can't be used.

    \b
    Examples:
      perdure runs --status failed --since 1d
      perdure explain order-17
      perdure COMMAND --help
    """
    if "NO_COLOR" in os.environ:
        ctx.color = False


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    logging.getLogger("perdure").addHandler(logging.NullHandler())
    code = run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_output()
    sys.exit(code)


def let_go_of_output() -> None:
    """Print nowhere from now on: nobody reads it any more, and the interpreter would complain of that when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    with safe_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = perdure.main(args=arguments, prog_name="perdure", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"perdure: {one_line(error.message)}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("perdure: interrupted", err=True)
        return Exit.INTERRUPTED
    except PerdureError as error:
        click.echo(f"perdure: {one_line(error.message)}", err=True)
        return exit_for(error)
    return code if isinstance(code, int) else Exit.OK


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(text.split())


if __name__ == "__main__":
    main()
