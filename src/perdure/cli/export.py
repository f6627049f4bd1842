"""``perdure export``: a run given out, as a file that another machine can open, or as its spans."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from perdure.cli.arguments import look_at_run
from perdure.cli.database import awaited, db_option, opened
from perdure.cli.exits import Exit
from perdure.cli.trace import scope_option, spans_of

if TYPE_CHECKING:
    from perdure.telemetry.spans import Span

FORMATS = ("run", "otlp", "chrome-trace")


@click.command("export")
@look_at_run
@click.option(
    "--format", "form", type=click.Choice(FORMATS), show_default="run; otlp with --endpoint",
    help="The run itself, for `perdure import`; or its spans: OTLP as JSON, or trace events for chrome://tracing and ui.perfetto.dev.",
)  # fmt: skip
@click.option(
    "--output", "-o", "file", type=click.Path(path_type=Path), metavar="FILE",
    help="Write into this file, which must not exist, for its owner alone to read.",
)  # fmt: skip
@scope_option
@click.option(
    "--endpoint", metavar="URL",
    help="Send OTLP to this OTLP/HTTP endpoint, as in http://127.0.0.1:4318/v1/traces.",
)  # fmt: skip
@click.option("--service", default="perdure", show_default=True, metavar="NAME", help="The service.name of the spans.")
@db_option
def command(
    run: str, form: str | None, file: Path | None, scope: str, endpoint: str | None, service: str, db: Path
) -> None:
    """Give out RUN: all that another machine needs to show, explain, compare and fork it; or its spans.

    A run is JSON lines: what was known of it, the plan of its graph, its log, large values, open waits, its inbox and what was answered.
    What is in the run is in there, secrets too.

    Spans have the same ids each time, so a backend that has some of them already keeps one of each. What is under way has no
    spans yet; only chrome-trace shows it, as though it ended with the last event.

    \b
    Examples:
      perdure export order-17 -o order-17.jsonl
      perdure export order-17 --format chrome-trace > trace.json
      perdure export order-17 --endpoint http://127.0.0.1:4318/v1/traces
    """
    form = form or ("otlp" if endpoint is not None else "run")
    if endpoint is not None and form != "otlp":
        raise click.UsageError("--endpoint takes OTLP: leave out --format")
    if endpoint is not None and file is not None:
        raise click.UsageError("--endpoint and --output don't go together")
    if form == "run":
        _write(lambda: _run_lines(db, run), file)
        return
    spans = awaited(spans_of(db, run, scope, with_unfinished=form == "chrome-trace"))
    if endpoint is not None:
        _send(spans, endpoint, service)
        click.echo(f"{len(spans)} spans sent to {endpoint}", err=True)
        return
    _write(lambda: _span_lines(spans, form, service), file)


async def _run_lines(db: Path, run: str) -> AsyncGenerator[bytes, None]:
    from perdure.engine.inspection.inspect import find  # noqa: PLC0415
    from perdure.store.export import export_run  # noqa: PLC0415

    async with opened(db) as store, aclosing(export_run(store, await find(store, run))) as lines:
        async for line in lines:
            yield line


async def _span_lines(spans: list[Span], form: str, service: str) -> AsyncGenerator[bytes, None]:
    from perdure.telemetry.formats import chrome_trace, otlp_json  # noqa: PLC0415

    data: Any = otlp_json(spans, service) if form == "otlp" else chrome_trace(spans)
    yield msgspec.json.encode(data) + b"\n"


def _write(lines: Callable[[], AsyncGenerator[bytes, None]], file: Path | None) -> None:
    """Write to standard output, or into a file that isn't there before, nor after a failure."""
    if file is None:
        if sys.stdout.isatty():
            raise click.UsageError("an export is for programs: write it into a file, by -o FILE, or into a pipe")
        awaited(_written(lines(), sys.stdout.buffer))
        return
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        remedy = ". Name a file that isn't there yet" if isinstance(error, FileExistsError) else ""
        click.echo(f"perdure: {file}: it can't be created ({error.strerror}){remedy}", err=True)
        click.get_current_context().exit(Exit.CONFLICT if isinstance(error, FileExistsError) else Exit.STORE)
    try:
        with open(handle, "wb") as target:
            awaited(_written(lines(), target))
            os.fsync(handle)
    except BaseException:
        file.unlink()
        raise
    click.echo(f"{file}: {file.stat().st_size} bytes", err=True)


async def _written(lines: AsyncGenerator[bytes, None], target: BinaryIO) -> None:
    async with aclosing(lines):
        async for line in lines:
            target.write(line)
        target.flush()


def _send(spans: list[Span], endpoint: str, service: str) -> None:
    try:
        from perdure.telemetry.otlp import send  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError("--endpoint needs the OTLP exporter: pip install 'perdure[otlp]'") from error
    if not send(spans, endpoint, service):
        raise click.ClickException(f"{endpoint} didn't take the spans")
