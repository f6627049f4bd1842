"""Sending the spans of past runs to a backend, by OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from perdure.telemetry.recording import readable
from perdure.telemetry.spans import Span

PAGE = 512
"""How many spans are sent at a time."""


def send(spans: Sequence[Span], endpoint: str, service: str) -> bool:
    """Send spans to an OTLP/HTTP endpoint; say whether all were taken."""
    exporter = OTLPSpanExporter(endpoint=endpoint)
    try:
        return export(spans, exporter, Resource.create({"service.name": service}))
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]


def export(spans: Sequence[Span], exporter: SpanExporter, resource: Resource) -> bool:
    """Give spans to an exporter, a page at a time; say whether all were taken."""
    for place in range(0, len(spans), PAGE):
        page = [readable(span, resource) for span in spans[place : place + PAGE]]
        if exporter.export(page) is not SpanExportResult.SUCCESS:
            return False
    return True
