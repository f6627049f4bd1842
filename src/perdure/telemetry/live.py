"""Live telemetry: an observer of an engine that tells what is committed, as it is committed.

The engine's loop only puts commits into a queue. A thread of its own folds them (``projection.py``) and gives out the spans; if
an exporter is slow or blocks, that thread waits and the runs don't. When more waits than it may, commits are dropped, and
read from the log again later: the log is the queue that never overflows.

Nothing is told on replay. A run that another process began is read from its log up to here in silence, but for what an
unfinished segment told last: that one ended in a crash, and what it had in its hands may not have left the process. So
spans are exported at least once, always with the same ids. What a process took along that died after the end of a run
is given out again by ``perdure export``.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any

import msgspec
from opentelemetry import context as otel
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from perdure import events as ev
from perdure.engine.inspect import find, stored_plan
from perdure.engine.logging import get_logger
from perdure.engine.observing import Commit, Undo
from perdure.engine.recovery import PAGE
from perdure.graph.plan import Plan
from perdure.store.port import Row, Store
from perdure.telemetry.mappers import Mapper
from perdure.telemetry.metrics import Instruments
from perdure.telemetry.projection import Projection
from perdure.telemetry.recording import readable, span_context
from perdure.telemetry.spans import Span, SpanRef, TraceScope, parse_traceparent, step_span_id, trace_id_of
from perdure.version import __version__

BACKLOG = 100_000
"""How many events may wait to be told before further ones are dropped, to be read from the log later."""
KEPT = 10_000
"""How many runs are kept in mind between their commits."""
FLUSH = 512
"""After how many spans the processors are flushed, so that none of theirs overflows."""
CLOSING_S = 10.0
"""How long an engine that is closed waits for what is still to be told."""
READING_S = 60.0
TURN_S = 0.001
PAUSE_S = 0.00005
"""The thread that tells lets go of the interpreter after this long and for this long: it would keep it for 5 ms."""

_ENDS = (ev.SegmentEnded, ev.RunPaused, ev.RunCompleted, ev.RunFailed, ev.RunCancelled)
_PROPAGATOR = TraceContextTextMapPropagator()


class _Known(msgspec.Struct):
    """What has to be known of a run while its bodies run."""

    trace_id: int | None
    """The trace it was started in, as its child."""
    is_sampled: bool


class Telemetry:
    """Tells OpenTelemetry what an engine's runs come to: ``Engine.open(…, telemetry=Telemetry())``.

    The providers are those given here, or else those that the application has set; this sets none. Without an SDK's
    provider, nothing is told, and nothing is done.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        trace_scope: TraceScope = "run",
        mappers: Sequence[Mapper] = (),
        backlog: int = BACKLOG,
    ) -> None:
        """Tell nothing yet; that begins when an engine is opened.

        Args:
            tracer_provider: who gets the spans.
            meter_provider: who gets the metrics.
            trace_scope: whether a run is one trace, or each of its segments: for runs that last longer than a backend keeps.
            mappers: what spans say besides, in the vocabulary of somebody else (``mappers.py``).
            backlog: how many events may wait to be told.
        """
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._scope: TraceScope = trace_scope
        self._mappers = tuple(mappers)
        self._backlog = backlog
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._teller: _Teller | None = None
        self._instruments: Instruments | None = None
        self._sampler: Any = None

    # --- for the engine ---

    async def opened(self, store: Store) -> bool:
        """Begin to tell what an engine's runs come to, if anybody listens."""
        provider = self._tracer_provider or trace.get_tracer_provider()
        tracer = provider.get_tracer("perdure", __version__)
        processor: SpanProcessor | None = getattr(tracer, "span_processor", None)
        self._sampler = getattr(tracer, "sampler", None)
        meters = self._meter_provider or metrics.get_meter_provider()
        if processor is None and not isinstance(meters, MeterProvider):
            return False
        self._instruments = Instruments(meters.get_meter("perdure", __version__))
        give = None if processor is None else partial(self._give, processor, getattr(tracer, "resource", None))
        flush = None if processor is None else processor.force_flush
        self._teller = _Teller(store, self._scope, self._instruments, give, flush, self._backlog)
        self._teller.start()
        return True

    async def closed(self) -> None:
        """Tell what is still to be told, for as long as that may take, and end."""
        teller, self._teller = self._teller, None
        if teller is not None:
            await teller.finish()

    def caller(self) -> str:
        """Return the W3C traceparent of the span that is current, or an empty text."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get("traceparent", "")

    def met(self, run_id: str, started: ev.RunStarted) -> None:
        """Decide whether a run is sampled, once and by its trace, and in which trace it is told."""
        caller = parse_traceparent(started.trace) if started.in_trace and self._scope == "run" else None
        self._known[run_id] = self._decided(run_id, started.graph, caller)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)

    def _decided(self, run_id: str, graph: str, caller: tuple[SpanRef, bool] | None) -> _Known:
        trace_id = caller[0].trace_id if caller is not None else trace_id_of(run_id)
        parent = otel.Context()
        if caller is not None:
            parent = _within(span_context(caller[0], is_sampled=caller[1], is_remote=True), parent)
        is_sampled = self._sampler is not None
        if self._sampler is not None:
            attributes = {"perdure.run.id": run_id, "perdure.graph.name": graph}
            decided = self._sampler.should_sample(parent, trace_id, f"start {graph}", attributes=attributes)
            is_sampled = decided.decision.is_sampled()
        return _Known(trace_id if caller is not None else None, is_sampled)

    def committed(self, commit: Commit) -> None:
        """Hand a commit over."""
        if self._teller is not None:
            self._teller.put(commit)

    def lease_lost(self, graph: str) -> None:
        """Count that a run is driven elsewhere."""
        if self._instruments is not None:
            self._instruments.lease_lost(graph)

    # --- around bodies ---

    def enter(self, run_id: str, epoch: int, task_id: str, attempt: int) -> Any:
        """Make the span of an attempt the current one, so that what the body opens nests under it."""
        known = self._known.get(run_id)
        if known is None or self._sampler is None:
            return None
        trace_id = known.trace_id
        if trace_id is None:
            trace_id = trace_id_of(run_id, epoch if self._scope == "segment" else None)
        ref = SpanRef(trace_id, step_span_id(run_id, task_id, attempt))
        return otel.attach(_within(span_context(ref, is_sampled=known.is_sampled), otel.get_current()))

    def leave(self, entered: Any) -> None:
        """Undo that."""
        otel.detach(entered)

    def carrier(self) -> Callable[[], Undo] | None:
        """Return what makes the current span the current one in another process."""
        traceparent = self.caller()
        return partial(surround, traceparent) if traceparent else None

    # --- spans ---

    def _give(self, processor: SpanProcessor, resource: Any, run_id: str, span: Span) -> bool:
        """Give a span to the processors; say whether it was one to be given."""
        known = self._known.get(run_id) or self._decided(run_id, str(span.attributes["perdure.graph.name"]), None)
        if not known.is_sampled:
            return False
        for mapper in self._mappers:
            span.attributes.update(mapper(span))
        processor.on_end(readable(span, resource))
        return True


def _within(context: SpanContext, around: otel.Context) -> otel.Context:
    return trace.set_span_in_context(NonRecordingSpan(context), around)


def surround(traceparent: str) -> Undo:
    """Make a span of another process the current one; return what undoes that."""
    token = otel.attach(_PROPAGATOR.extract({"traceparent": traceparent}))
    return partial(otel.detach, token)


class _Teller:
    """The thread that tells what was committed."""

    def __init__(
        self,
        store: Store,
        scope: TraceScope,
        instruments: Instruments,
        give: Callable[[str, Span], bool] | None,
        flush: Callable[[], Any] | None,
        backlog: int,
    ) -> None:
        self._store = store
        self._scope: TraceScope = scope
        self._instruments = instruments
        self._give = give
        self._flush = flush
        self._backlog = backlog
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Commit | None] = SimpleQueue()
        self._put = 0
        self._taken = 0
        self._behind: dict[str, None] = {}
        self._projections: OrderedDict[str, Projection] = OrderedDict()
        self._given = 0
        self._turn_ends = 0.0
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._is_closed = False
        self._log = get_logger("perdure.telemetry").bind()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._work, name="perdure-telemetry", daemon=True).start()

    def put(self, commit: Commit) -> None:
        """Take a commit, in the event loop."""
        if self._put - self._taken > self._backlog:
            self._behind[commit.run_id] = None
            return
        self._put += len(commit.events)
        self._queue.put(commit)

    async def finish(self) -> None:
        """Wait until everything is told, or for as long as that may take."""
        self._queue.put(None)
        _, late = await asyncio.wait([self._over], timeout=CLOSING_S)
        self._is_closed = True
        if late:
            self._log.warning(
                "spans are left untold; `perdure export RUN --format otlp` gives them out",
                events=self._put - self._taken,
            )

    # --- in the thread ---

    def _work(self) -> None:
        while (commit := self._queue.get()) is not None and not self._is_closed:
            self._safely(commit.run_id, self._commit, commit)
            self._taken += len(commit.events)
            if self._queue.empty():
                self._catch_up()
        if not self._is_closed:
            self._catch_up()
            self._safely("", self._flushed)
            self._loop.call_soon_threadsafe(self._done)

    def _done(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _safely(self, run_id: str, function: Callable[..., object], *arguments: Any) -> None:
        try:
            function(*arguments)
        except (Exception, CancelledError):
            self._projections.pop(run_id, None)
            self._log.exception("a run can't be told on; `perdure export RUN --format otlp` tells it", run=run_id)

    def _flushed(self) -> None:
        if self._flush is not None:
            self._flush()

    def _catch_up(self) -> None:
        """Read from the log what was dropped while too much was waiting."""
        while self._behind and not self._is_closed:
            run_id = next(iter(self._behind))
            del self._behind[run_id]
            self._safely(run_id, self._read_on, run_id, None, None)

    def _commit(self, commit: Commit) -> None:
        self._instruments.committed(commit)
        if commit.first == 1 and commit.plan is not None:
            self._projections[commit.run_id] = Projection(commit.plan, commit.run_id, self._scope)
        projection = self._projections.get(commit.run_id)
        if projection is None or projection.seq + 1 < commit.first:
            projection = self._read_on(commit.run_id, commit.plan, commit.first - 1)
        self._tell(projection, commit.run_id, commit.events, commit.first, commit.ts, commit.epoch)
        if projection.is_over:
            del self._projections[commit.run_id]
        else:
            self._projections.move_to_end(commit.run_id)
        if len(self._projections) > KEPT:
            self._projections.popitem(last=False)

    def _tell(
        self,
        projection: Projection,
        run_id: str,
        events: Sequence[ev.AnyEvent],
        first: int,
        ts: int,
        epoch: int,
        silent_upto: int = 0,
    ) -> None:
        for seq, event in enumerate(events, first):
            if seq <= projection.seq:
                continue
            spans = projection.take(event, ts, epoch)
            if monotonic() > self._turn_ends:
                sleep(PAUSE_S)
                self._turn_ends = monotonic() + TURN_S
            if seq <= silent_upto:
                continue
            self._instruments.took(event, projection)
            for span in spans:
                self._instruments.ended(span)
                if self._give is not None and self._give(run_id, span):
                    self._given += 1
                    if self._given % FLUSH == 0:
                        self._flushed()

    # --- from the log ---

    def _read_on(self, run_id: str, plan: Plan | None, upto: int | None) -> Projection:
        """Tell what the log says up to a seq; of what another process has told, only what a crash may have swallowed."""
        projection = self._projections.get(run_id)
        silent_upto = 0
        if projection is None:
            if plan is None:
                plan = self._await(_plan_of(self._store, run_id))
            projection = self._projections[run_id] = Projection(plan, run_id, self._scope)
            silent_upto = self._told_before(run_id, upto) if upto is not None else 0
        for row in self._rows(run_id, projection.seq, upto):
            events = ev.decode_events(row.events)
            self._tell(projection, run_id, events, row.first, row.ts, row.epoch, silent_upto)
        return projection

    def _told_before(self, run_id: str, upto: int | None) -> int:
        """Return up to which event a run has been told for certain: to the last segment, if that has ended in a crash."""
        began, is_open, last, segments = 0, False, 0, 0
        is_copied, epochs = False, set()
        for row in self._rows(run_id, 0, upto):
            epochs.add(row.epoch)
            for last, event in enumerate(ev.decode_events(row.events), row.first):
                if isinstance(event, ev.SegmentStarted):
                    began, is_open = (last - 1 if segments else 0), True
                    segments += 1
                elif isinstance(event, _ENDS):
                    is_open = False
                elif isinstance(event, ev.RunStarted):
                    is_copied = bool(event.origin)
        if is_copied and len(epochs) == 1:
            return 0  # the log of a run that was forked from another one is copied, and nobody has told it yet
        return began if is_open else last

    def _rows(self, run_id: str, after: int, upto: int | None) -> Iterator[Row]:
        while rows := self._await(self._store.read(run_id, after, PAGE)):
            for row in rows:
                if upto is not None and row.first > upto:
                    return
                yield row
            after = rows[-1].first + rows[-1].count - 1

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(READING_S)


async def _plan_of(store: Store, run_id: str) -> Plan:
    return await stored_plan(store, await find(store, run_id))
