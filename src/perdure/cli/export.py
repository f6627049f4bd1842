"""``perdure export``: the spans of a run for a file or a backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from perdure.cli.database import awaited, db_option
from perdure.cli.trace import scope_option, spans_of

if TYPE_CHECKING:
    from perdure.telemetry.spans import Span


@click.command("export")
@click.argument("run")
@db_option
@scope_option
@click.option(
    "--format", "form", type=click.Choice(["otlp", "chrome-trace"]), default="otlp", show_default=True,
    help="OTLP as JSON, or trace events for chrome://tracing and ui.perfetto.dev.",
)  # fmt: skip
@click.option(
    "--endpoint", metavar="URL", help="Send it to this OTLP/HTTP endpoint, as in http://127.0.0.1:4318/v1/traces."
)
@click.option("--service", default="perdure", show_default=True, metavar="NAME", help="The service.name of the spans.")
def command(run: str, db: Path, scope: str, form: str, endpoint: str | None, service: str) -> None:
    """Give out the spans of RUN, of any age, as they were or would have been exported live.

    The ids are the same each time, so a backend that has some of the spans already keeps one of each. What is under way has no
    spans yet; only chrome-trace shows it, as though it ended with the last event.
    """
    if endpoint is not None and form != "otlp":
        raise click.UsageError("--endpoint takes OTLP: leave out --format")
    spans = awaited(spans_of(db, run, scope, with_unfinished=form == "chrome-trace"))
    if endpoint is not None:
        _send(spans, endpoint, service)
        click.echo(f"{len(spans)} spans sent to {endpoint}")
        return
    from perdure.telemetry.formats import chrome_trace, otlp_json  # noqa: PLC0415

    data: Any = otlp_json(spans, service) if form == "otlp" else chrome_trace(spans)
    click.echo(msgspec.json.encode(data).decode())


def _send(spans: list[Span], endpoint: str, service: str) -> None:
    try:
        from perdure.telemetry.otlp import send  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError("--endpoint needs the OTLP exporter: pip install 'perdure[otlp]'") from error
    if not send(spans, endpoint, service):
        raise click.ClickException(f"{endpoint} didn't take the spans")
