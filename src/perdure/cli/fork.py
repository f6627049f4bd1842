"""``perdure fork``: a new run that goes on from a point of another one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.database import awaited, check_exists, db_option, json_option
from perdure.cli.driving import app_option, tell_status, without_graph
from perdure.cli.message import by_option
from perdure.graph.types import MISSING

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


def place_of(at: str | None) -> int | str | None:
    """Return the seq or the task that was named."""
    return int(at) if at is not None and at.isdecimal() else at


def parsed(option: str, text: str) -> Any:
    """Return a value that was given as JSON.

    Raises:
        BadParameter: it isn't JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"{text!r} isn't JSON: {error}", param_hint=option) from error


def outputs_of(given: Sequence[str]) -> dict[str, Any]:
    """Return what tasks are to have given out, from ``TASK=JSON``.

    Raises:
        BadParameter: one isn't of that form.
    """
    outputs = {}
    for each in given:
        task, sign, text = each.partition("=")
        if not sign:
            raise click.BadParameter(f"{each!r} isn't of the form TASK=JSON", param_hint="--output")
        outputs[task] = parsed("--output", text)
    return outputs


@click.command("fork")
@click.argument("run")
@click.option("--at", metavar="SEQ|TASK", help="Keep what is recorded up to this event; or run this task again.")
@click.option("--output", "outputs", multiple=True, metavar="TASK=JSON", help="What a task gives out; may be repeated.")
@click.option("--inputs", metavar="JSON", help="Other inputs: everything runs again.")
@click.option("--new-id", metavar="ID", help="The id of the new run.")
@app_option
@by_option
@db_option
@json_option
def command(
    run: str,
    at: str | None,
    outputs: tuple[str, ...],
    inputs: str | None,
    new_id: str | None,
    app: str | None,
    by: str,
    db: Path,
    as_json: bool,
) -> None:
    """Let a new run, with a log of its own, go on from a point of RUN.

    Prints its id. What depends on nothing that is dropped isn't run again. The new run is left to the next worker that knows
    its graph, or to `perdure recover ID --app …`. Other inputs and outputs need --app, as their types are the graph's; they are
    values of JSON.
    """
    given = MISSING if inputs is None else parsed("--inputs", inputs)
    values = outputs_of(outputs)
    if app is None and (values or inputs is not None):
        raise click.UsageError("--inputs and --output need --app: what follows from them is the graph's to say")

    async def fork(engine: Engine) -> tuple[str, str]:
        handle = await engine.fork_run(
            run, at=place_of(at), inputs=given, outputs=values, new_run_id=new_id, by=by, drive=False
        )
        return handle.run_id, (await handle.info()).status

    if app is None:
        forked = without_graph(db, fork)
    else:
        from perdure.cli.application import engine_of  # noqa: PLC0415

        check_exists(db)
        engine = engine_of(app, db)

        async def with_graph() -> tuple[str, str]:
            async with engine:
                return await fork(engine)

        forked = awaited(with_graph())
    tell_status(*forked, as_json=as_json)
