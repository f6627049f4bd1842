"""Correlation: log events that say which span they come from."""

from __future__ import annotations

from opentelemetry import trace
from structlog.typing import EventDict, WrappedLogger


def add_trace(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Say in an event which span is current; a structlog processor.

    ``structlog.configure(processors=[add_attempt, add_trace, …])`` puts ``trace_id`` and ``span_id``, in hex, into what is
    logged inside of a step or a span, unless the event says them itself. Elsewhere it changes nothing.
    """
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", f"{context.trace_id:032x}")
        event.setdefault("span_id", f"{context.span_id:016x}")
    return event
