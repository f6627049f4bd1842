"""``perdure completion``: what a shell needs to complete commands, options, runs and graphs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what SHELL needs to complete perdure's commands, options, ids of runs and names of graphs.

    Ids and names come from the database that is named by --db on the line, or by PERDURE_DB, or from perdure.db here.

    \b
    Examples:
      perdure completion bash > ~/.local/share/bash-completion/completions/perdure
      perdure completion zsh > "${fpath[1]}/_perdure"
      perdure completion fish > ~/.config/fish/completions/perdure.fish
    """
    from perdure.cli.main import perdure  # noqa: PLC0415  (which imports this module when it is called)

    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(perdure, {}, "perdure", "_PERDURE_COMPLETE").source())
