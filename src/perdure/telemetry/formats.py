"""Spans as files: OTLP in JSON, which collectors and backends read, and the trace event format that browsers show.

Both are made without OpenTelemetry's packages. OTLP/JSON: opentelemetry-proto, ``ExportTraceServiceRequest`` in the JSON
mapping of the OTLP specification (ids in hex, 64-bit integers as text). Trace events: "Trace Event Format", complete events
(``ph: X``), for ``chrome://tracing`` and ui.perfetto.dev.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any

from perdure.telemetry.spans import Attribute, Span
from perdure.version import __version__

SERVICE = "perdure"


def otlp_json(spans: Iterable[Span], service: str = SERVICE) -> dict[str, Any]:
    """Return spans as an OTLP export request in JSON."""
    scope = {"name": "perdure", "version": __version__}
    scoped = {"scope": scope, "spans": [_otlp_span(span) for span in spans]}
    resource = {"attributes": _otlp_attributes({"service.name": service})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scoped]}]}


def _otlp_span(span: Span) -> dict[str, Any]:
    return {
        "traceId": f"{span.ref.trace_id:032x}",
        "spanId": f"{span.ref.span_id:016x}",
        **({"parentSpanId": f"{span.parent.span_id:016x}"} if span.parent is not None else {}),
        "name": span.name,
        "kind": 1,
        "startTimeUnixNano": str(span.started_at * 1000),
        "endTimeUnixNano": str(span.ended_at * 1000),
        "attributes": _otlp_attributes(span.attributes),
        "links": [
            {
                "traceId": f"{link.to.trace_id:032x}",
                "spanId": f"{link.to.span_id:016x}",
                "attributes": _otlp_attributes({"perdure.link": link.why}),
            }
            for link in span.links
        ],
        "status": {"code": 2, "message": span.message} if span.error else {},
    }


def _otlp_attributes(attributes: dict[str, Attribute]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _otlp_value(value)} for name, value in attributes.items()]


def _otlp_value(value: Attribute) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def chrome_trace(spans: Iterable[Span]) -> dict[str, Any]:
    """Return spans as trace events; what ran at the same time lies in different rows."""
    events: list[dict[str, Any]] = []
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    rows = 0
    for span in sorted(spans, key=lambda span: (span.started_at, -span.ended_at)):
        while busy and busy[0][0] <= span.started_at:
            heappush(free, heappop(busy)[1])
        if free:
            row = heappop(free)
        else:
            rows += 1
            row = rows
        heappush(busy, (max(span.ended_at, span.started_at + 1), row))
        events.append(
            {
                "name": str(span.attributes.get("perdure.task.path", span.name)),
                "cat": span.kind,
                "ph": "X",
                "ts": span.started_at,
                "dur": span.ended_at - span.started_at,
                "pid": 1,
                "tid": row,
                "args": span.attributes,
            }
        )
    return {"traceEvents": events, "displayTimeUnit": "ms"}
