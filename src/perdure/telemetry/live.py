"""Live telemetry: an observer that tells what runs come to, as it is committed.

The event loop only puts commits into a queue; a thread of its own makes spans and metrics of them (``telling.py``). What
is done here is what can't wait: the decision whether a run is sampled, and making the span of an attempt the current one
while its body runs.

Whether a run is sampled is decided once, when it is started, and recorded with it. Its spans, those of its steps' own tracers,
and those of every process that drives it later follow that, whatever their samplers would say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from opentelemetry import context as otel
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from perdure.engine.calling.observing import Commit, Undo
from perdure.events import RunStarted
from perdure.store.port import Store
from perdure.telemetry.mappers import Mapper
from perdure.telemetry.metrics import Instruments
from perdure.telemetry.recording import readable, span_context
from perdure.telemetry.spans import Span, SpanRef, TraceScope, parse_traceparent, step_span_id, trace_id_of
from perdure.telemetry.telling import BACKLOG, CLOSING_S, Teller, Telling
from perdure.version import __version__

_PROPAGATOR = TraceContextTextMapPropagator()


class _Met(msgspec.Struct, frozen=True):
    """What has to be known of a run while it is driven."""

    run_id: str
    trace_id: int
    is_sampled: bool


class Telemetry:
    """Tells OpenTelemetry what runs come to: ``Engine.open(…, telemetry=Telemetry())``, ``graph.run(telemetry=…)``.

    The providers are those given here, or else those that the application has set; this sets none. Without an SDK's
    provider, nothing is told, and nothing is done. One can serve any number of engines and runs.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        trace_scope: TraceScope = "run",
        mappers: Sequence[Mapper] = (),
        backlog: int = BACKLOG,
        closing_s: float = CLOSING_S,
    ) -> None:
        """Tell nothing yet; that begins when an engine is opened, or a run.

        Args:
            tracer_provider: who gets the spans.
            meter_provider: who gets the metrics.
            trace_scope: whether a run is one trace, or each of its segments: for runs that last longer than a backend keeps.
            mappers: what spans say besides, in the vocabulary of somebody else (``mappers.py``).
            backlog: how many events may wait to be told.
            closing_s: how long an engine that is closed, or ``graph.run`` at its end, waits at most for what is still to be
                told, in seconds.
        """
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._scope: TraceScope = trace_scope
        self._mappers = tuple(mappers)
        self._backlog = backlog
        self._closing_s = closing_s
        self._lock = threading.Lock()
        self._teller: Teller | None = None
        self._open = 0
        self._metered: tuple[metrics.MeterProvider, Instruments] | None = None

    async def opened(self, store: Store | None) -> Live | None:
        """Begin to tell what an engine's runs come to, or a run in memory, if anybody listens."""
        provider = self._tracer_provider or trace.get_tracer_provider()
        tracer = provider.get_tracer("perdure", __version__)
        processor: SpanProcessor | None = getattr(tracer, "span_processor", None)
        meters = self._meter_provider or metrics.get_meter_provider()
        if processor is None and not isinstance(meters, MeterProvider):
            return None
        with self._lock:
            if self._metered is None or self._metered[0] is not meters:
                self._metered = (meters, Instruments(meters.get_meter("perdure", __version__)))
            if self._teller is None:
                self._teller = Teller()
            self._open += 1
            teller, instruments = self._teller, self._metered[1]
        give = flush = None
        if processor is not None:
            give, flush = partial(self._give, processor, getattr(tracer, "resource", None)), processor.force_flush
        telling = Telling(teller, store, self._scope, instruments, give, flush, self._backlog, self._closing_s)
        sampler = getattr(tracer, "sampler", None) if processor is not None else None
        return Live(self, telling, self._scope, sampler, instruments)

    def closed(self) -> None:
        """Let the thread that tells end with the last engine."""
        with self._lock:
            self._open -= 1
            if not self._open and self._teller is not None:
                self._teller.end()
                self._teller = None

    def _give(self, processor: SpanProcessor, resource: Any, about: Any, span: Span) -> bool:
        """Give a span to the processors; say whether it was one to be given."""
        if about is None or not about.is_sampled:
            return False
        for mapper in self._mappers:
            span.attributes.update(mapper(span))
        processor.on_end(readable(span, resource))
        return True


class Live:
    """What tells what the runs of one engine come to, while that is open."""

    def __init__(
        self, telemetry: Telemetry, telling: Telling, scope: TraceScope, sampler: Any, instruments: Instruments
    ) -> None:
        self._telemetry = telemetry
        self._telling = telling
        self._scope: TraceScope = scope
        self._sampler = sampler
        self._instruments = instruments

    @property
    def tells(self) -> bool:
        """Whether anybody gets spans."""
        return self._sampler is not None

    async def closed(self) -> None:
        """Tell what is still to be told, for as long as that may take, and end."""
        try:
            await self._telling.closed()
        finally:
            self._telemetry.closed()

    # --- runs ---

    def begun(self, run_id: str, graph: str, in_trace: bool) -> tuple[str, bool | None]:
        """Return the W3C traceparent of the span that is current, and whether a run that begins now is sampled."""
        traceparent = current_traceparent()
        if self._sampler is None:
            return traceparent, None
        return traceparent, self._decided(run_id, graph, self._outer(traceparent) if in_trace else None)

    def met(self, run_id: str, epoch: int, started: RunStarted) -> Any:
        """Return in which trace a run is told, and whether it is sampled."""
        if self._sampler is None:
            return None
        outer = self._outer(started.outer_trace)
        trace_id = outer[0].trace_id if outer is not None else trace_id_of(run_id, self._epoch(epoch))
        sampled = started.sampled
        return _Met(run_id, trace_id, self._decided(run_id, started.graph, outer) if sampled is None else sampled)

    def _epoch(self, epoch: int) -> int | None:
        return epoch if self._scope == "segment" else None

    def _outer(self, traceparent: str) -> tuple[SpanRef, bool] | None:
        return parse_traceparent(traceparent) if self._scope == "run" else None

    def _decided(self, run_id: str, graph: str, outer: tuple[SpanRef, bool] | None) -> bool:
        """Ask the sampler, as for the first span of a trace; or as for a child of what was given."""
        parent = otel.Context()
        if outer is not None:
            parent = _within(span_context(outer[0], is_sampled=outer[1], is_remote=True), parent)
        trace_id = outer[0].trace_id if outer is not None else trace_id_of(run_id)
        attributes = {"perdure.run.id": run_id, "perdure.graph.name": graph}
        decided = self._sampler.should_sample(parent, trace_id, f"start {graph}", attributes=attributes)
        return bool(decided.decision.is_sampled())

    def committed(self, commit: Commit) -> None:
        """Hand a commit over."""
        self._telling.put(commit)

    def lease_lost(self, graph: str) -> None:
        """Count that a run is driven elsewhere."""
        self._instruments.lease_lost(graph)

    # --- around bodies ---

    def enter(self, about: Any, task_id: str, attempt: int) -> Any:
        """Make the span of an attempt the current one, so that what the body opens nests under it."""
        ref = SpanRef(about.trace_id, step_span_id(about.run_id, task_id, attempt))
        return otel.attach(_within(span_context(ref, is_sampled=about.is_sampled), otel.get_current()))

    def leave(self, entered: Any) -> None:
        """Undo that."""
        otel.detach(entered)

    def carrier(self) -> Callable[[], Undo] | None:
        """Return what makes the current span the current one in another process."""
        traceparent = current_traceparent()
        return partial(surround, traceparent) if traceparent else None


def _within(context: SpanContext, around: otel.Context) -> otel.Context:
    return trace.set_span_in_context(NonRecordingSpan(context), around)


def current_traceparent() -> str:
    """Return the W3C traceparent of the span that is current, or an empty text."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")


def surround(traceparent: str) -> Undo:
    """Make a span of another process the current one; return what undoes that."""
    token = otel.attach(_PROPAGATOR.extract({"traceparent": traceparent}))
    return partial(otel.detach, token)
