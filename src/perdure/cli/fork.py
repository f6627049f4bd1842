"""``perdure fork``: a new run that goes on from a point of another one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.arguments import look_at_run
from perdure.cli.database import db_option, json_option
from perdure.cli.driving import app_option, tell_status, with_engine
from perdure.cli.message import by_option, reason_option
from perdure.graph.types import MISSING

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

output_option = click.option(
    "--output", "outputs", multiple=True, metavar="TASK=JSON",
    help="What a task gives out instead; may be repeated. Needs --app.",
)  # fmt: skip


def parsed(option: str, text: str) -> Any:
    """Return a value that was given as JSON.

    Raises:
        BadParameter: it isn't JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"{text!r} isn't JSON: {error}", param_hint=option) from error


def outputs_of(given: Sequence[str], app: str | None) -> dict[str, Any]:
    """Return what tasks are to have given out, from ``TASK=JSON``.

    Raises:
        BadParameter: one isn't of that form.
        UsageError: the graph isn't given.
    """
    outputs = {}
    for each in given:
        task, sign, text = each.partition("=")
        if not sign:
            raise click.BadParameter(f"{each!r} isn't of the form TASK=JSON", param_hint="--output")
        outputs[task] = parsed("--output", text)
    if outputs and app is None:
        raise click.UsageError("--output needs --app: what follows from it is the graph's to say")
    return outputs


async def place_of(engine: Engine, run: str, at: str) -> int | str:
    """Return the seq that is named, or the id of the task, which may be named by its path.

    Raises:
        UsageError: several tasks have that path.
    """
    if at.isdecimal():
        return int(at)
    events = await engine.history(run, kinds=("NodeStarted", "NodeCompleted"), task=at)
    tasks = list(dict.fromkeys(str(getattr(recorded.event, "task", "")) for recorded in events))
    if len(tasks) > 1:
        raise click.UsageError(
            f"{len(tasks)} tasks have the path {at}: give the id of one, as in {tasks[-1]}, the last"
        )
    return tasks[0] if tasks else at


async def placed_outputs(engine: Engine, run: str, outputs: dict[str, Any]) -> dict[str, Any]:
    """Return outputs by the ids of their tasks, which may be named by their paths."""
    return {str(await place_of(engine, run, task)): value for task, value in outputs.items()}


@click.command("fork")
@look_at_run
@click.option("--at", metavar="SEQ|TASK", help="Keep what is recorded up to this event; or run this task again.")
@output_option
@click.option("--inputs", metavar="JSON", help="Other inputs: everything runs again. Needs --app.")
@click.option("--new-id", metavar="ID", help="The id of the new run.")
@app_option
@by_option
@reason_option
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
    reason: str,
    db: Path,
    as_json: bool,
) -> None:
    """Let a new run, with a log of its own, go on from a point of RUN, and print its id and status.

    What depends on nothing that is dropped isn't run again. The new run is left to the next worker that knows its graph, or to
    `perdure recover ID --app …`. A TASK is an id, or a path as `perdure history` prints it. Other inputs and outputs need --app, as
    their types are the graph's; they are values of JSON. `perdure plan RUN fork` says before what would run again.

    \b
    Examples:
      perdure fork order-17 --at 120 --new-id order-17-again
      perdure fork order-17 --at 'orders[3]/ship' --reason "the parcel was lost"
      perdure fork order-17 --output 'orders[3]/price=40' --app orders.flow:graph
      perdure fork order-17 --inputs '[1, 2]' --app orders.flow:graph
    """
    given = MISSING if inputs is None else parsed("--inputs", inputs)
    values = outputs_of(outputs, app)
    if app is None and inputs is not None:
        raise click.UsageError("--inputs needs --app: its type is the graph's to say")

    async def fork(engine: Engine) -> tuple[str, str]:
        handle = await engine.fork_run(
            run,
            at=await place_of(engine, run, at) if at is not None else None,
            inputs=given,
            outputs=await placed_outputs(engine, run, values),
            new_run_id=new_id,
            by=by,
            reason=reason,
            drive=False,
        )
        return handle.run_id, (await handle.info()).status

    tell_status(*with_engine(db, app, fork), as_json=as_json)
