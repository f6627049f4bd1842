"""``perdure trace``: the spans of a run as a tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.cli.arguments import look_at_run
from perdure.cli.database import awaited, db_option, json_lines_option, opened
from perdure.cli.output import duration, iso, print_json_lines

if TYPE_CHECKING:
    from perdure.telemetry.spans import Span

scope_option = click.option(
    "--scope", type=click.Choice(["run", "segment"]), default="run", show_default=True,
    help="Whether the run is one trace, or each of its segments.",
)  # fmt: skip


@click.command("trace")
@look_at_run
@db_option
@scope_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
    help="How many of the spans of one kind are shown below another one.",
)  # fmt: skip
@json_lines_option
def command(run: str, db: Path, scope: str, limit: int, as_json: bool) -> None:
    """Print the spans of RUN as a tree: what ran, when, for how long, and side by side with what.

    They are read from the log: no backend is needed, and no code of the graph is imported. What is under way is shown
    as though it ended with the last event.

    \b
    Examples:
      perdure trace order-17
      perdure trace order-17 --limit 100
      perdure trace order-17 --json | jq 'select(.error)'
    """
    spans = awaited(spans_of(db, run, scope, with_unfinished=True))
    if as_json:
        print_json_lines(span_data(span) for span in spans)
        return
    for line in tree(spans, limit):
        click.echo(line)


async def spans_of(db: Path, run: str, scope: Any, *, with_unfinished: bool) -> list[Span]:
    """Return the spans of a run."""
    from perdure.telemetry.reading import read_spans  # noqa: PLC0415

    async with opened(db) as store:
        return [span async for span in read_spans(store, run, scope, with_unfinished=with_unfinished)]


def span_data(span: Span) -> dict[str, Any]:
    """Return a span for JSON."""
    return {
        "name": span.name,
        "kind": span.kind,
        "trace_id": f"{span.ref.trace_id:032x}",
        "span_id": f"{span.ref.span_id:016x}",
        "parent_id": f"{span.parent.span_id:016x}" if span.parent is not None else None,
        "started_at": iso(span.started_at),
        "ended_at": iso(span.ended_at),
        "error": span.error or None,
        "attributes": span.attributes,
        "links": [
            {"trace_id": f"{link.to.trace_id:032x}", "span_id": f"{link.to.span_id:016x}", "why": link.why}
            for link in span.links
        ],
    }


def tree(spans: list[Span], limit: int) -> list[str]:
    """Return the lines of a tree of spans, each with when it began, how long it took and what came of it."""
    there = {span.ref for span in spans}
    below: dict[Any, list[Span]] = {}
    for span in sorted(spans, key=lambda span: (span.started_at, span.kind != "segment", -span.ended_at)):
        below.setdefault(span.parent if span.parent in there else None, []).append(span)
    began_at = min((span.started_at for span in spans), default=0)
    lines: list[str] = []
    open_ = [(span, 0) for span in reversed(below.get(None, []))]
    while open_:
        entry, depth = open_.pop()
        if isinstance(entry, str):
            lines.append(f"{'':23}{'  ' * depth}{entry}")
            continue
        at, took = f"+{duration(entry.started_at - began_at)}", duration(entry.ended_at - entry.started_at)
        lines.append(f"{at:>10}  {took:>9}  {'  ' * depth}{_told(entry)}")
        open_ += reversed([(part, depth + 1) for part in _shortened(below.get(entry.ref, []), limit)])
    return lines


def _shortened(spans: list[Span], limit: int) -> list[Any]:
    """Return the first spans of each kind, and in place of the others how many there are."""
    counts: dict[str, int] = {}
    shown: list[Any] = []
    for span in spans:
        counts[span.kind] = counts.get(span.kind, 0) + 1
        if counts[span.kind] <= limit:
            shown.append(span)
    return shown + [
        f"… and {count - limit} more of kind {kind}; see --limit" for kind, count in counts.items() if count > limit
    ]


def _told(span: Span) -> str:
    said = span.attributes
    parts = [span.name]
    if span.kind == "segment":
        parts.append(f"{said['perdure.segment.number']} ({said['perdure.segment.worker']})")
    if "perdure.branch.index" in said and span.kind in ("step", "wait"):
        parts.append(f"[{said['perdure.branch.index']}]")
    if span.kind == "batch":
        if "perdure.batch.size" in said:
            parts.append(f"of {said['perdure.batch.size']}")
        counts = [(word, said[f"perdure.batch.{word}"]) for word in ("failed", "cancelled")]
        parts += [f"{count} {word}" for word, count in counts if count]
    if span.kind == "join":
        parts.append(f"of {said['perdure.join.count']}")
    if int(said.get("perdure.attempt", 1)) > 1:
        parts.append(f"attempt {said['perdure.attempt']}")
    outcome = said.get("perdure.outcome", "completed")
    if outcome != "completed":
        parts.append(str(outcome))
    if span.error:
        parts.append(f"({span.error})")
    return " ".join(parts)
