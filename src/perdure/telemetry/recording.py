"""Spans for the SDK: what the projection tells, as OpenTelemetry has it, handed to the span processors as ended.

No tracer starts them, since their ids, times and links are known already; they carry perdure's own instrumentation scope.
"""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link as OTelLink
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from perdure.telemetry.spans import Span, SpanRef
from perdure.version import __version__

SCOPE = InstrumentationScope("perdure", __version__)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_FAILED = StatusCode.ERROR


def span_context(ref: SpanRef, *, is_sampled: bool = True, is_remote: bool = False) -> SpanContext:
    """Return the context of a span."""
    return SpanContext(ref.trace_id, ref.span_id, is_remote, _SAMPLED if is_sampled else TraceFlags())


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """Return a span as the SDK's processors and exporters take it."""
    return ReadableSpan(
        name=span.name,
        context=span_context(span.ref),
        parent=span_context(span.parent) if span.parent is not None else None,
        resource=resource,
        attributes=span.attributes,
        links=[OTelLink(span_context(link.to), {"perdure.link": link.why}) for link in span.links],
        kind=SpanKind.INTERNAL,
        status=Status(_FAILED, span.message) if span.error else Status(),
        start_time=span.started_at * 1000,
        end_time=span.ended_at * 1000,
        instrumentation_scope=SCOPE,
    )
