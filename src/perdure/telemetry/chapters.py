"""Chapters: where in the life of a run a span belongs, and in which trace.

With ``trace_scope="run"`` a run is one trace, and the parent of its steps is the ``run`` span of its present life: each retry
of a failed run begins another one. With ``"segment"`` each segment is a trace with a ``start`` of its own, and the parent is
the segment; the ``run`` span comes with the last one.
"""

from __future__ import annotations

from perdure import events as ev
from perdure.telemetry.spans import (
    Attribute,
    Link,
    Span,
    SpanKind,
    SpanRef,
    TraceScope,
    parse_traceparent,
    span_id_of,
    trace_id_of,
)


class Chapters:
    """Where a run is in its life, as far as spans are concerned.

    Attributes:
        trace_scope: what one trace tells of.
        seq, epoch: of the event that is being taken.
        began_at: when the present chapter began.
        segment: the segment that is under way: its span, when it began, and what it said of itself.
    """

    def __init__(self, run_id: str, graph: str, trace_scope: TraceScope) -> None:
        self.trace_scope = trace_scope
        self.seq = 0
        self.epoch = 0
        self.began_at = 0
        self.segment: tuple[SpanRef, int, ev.SegmentStarted] | None = None
        self.is_run_over = False
        self._run_id = run_id
        self._graph = graph
        self._every: dict[str, Attribute] = {"perdure.run.id": run_id, "perdure.graph.name": graph}
        self._trace_id = trace_id_of(run_id)
        self._caller: SpanRef | None = None
        self._is_child = False
        self._lives = 0
        self._life_began_at = 0
        self._chapter = "0"
        self._last_segment: SpanRef | None = None
        self._last_run: SpanRef | None = None
        self._segment_count = 0
        self._origin = ""
        self._origin_trace_id = 0
        self._has_anchor = False
        # Most spans of a wide map name the same batch.
        self._named = ("", "", SpanRef(0, 0))

    # --- ids ---

    def ref(self, span_id: int) -> SpanRef:
        """Return a span of the present trace."""
        return SpanRef(self._trace_id, span_id)

    def part_ref(self, kind: str, *parts: str) -> SpanRef:
        """Return a span that is told of once in each chapter."""
        return self.ref(span_id_of(self._run_id, kind, self._chapter, *parts))

    def batch_ref(self, instance: str) -> SpanRef:
        """Return the span that tells of a batch in this chapter."""
        if self._named[:2] != (instance, self._chapter):
            self._named = (instance, self._chapter, self.part_ref("batch", instance))
        return self._named[2]

    @property
    def anchor(self) -> SpanRef:
        """The first span of the present trace."""
        parts = (str(self.epoch_of_trace),) if self.trace_scope == "segment" else ()
        return self.ref(span_id_of(self._run_id, "start", *parts))

    @property
    def epoch_of_trace(self) -> int:
        """The epoch of the segment that the present trace tells of."""
        return int(self._chapter) if self.trace_scope == "segment" else 0

    @property
    def parent(self) -> SpanRef:
        """The span above what is in no batch."""
        if self.trace_scope == "segment":
            return self.segment[0] if self.segment is not None else self.anchor
        return self._run_ref()

    def _run_ref(self) -> SpanRef:
        return self.ref(span_id_of(self._run_id, "run", str(self._lives)))

    # --- spans ---

    def span(
        self,
        kind: SpanKind,
        name: str,
        ref: SpanRef,
        parent: SpanRef | None,
        times: tuple[int, int],
        attributes: dict[str, Attribute],
        links: tuple[Link, ...] = (),
        error: ev.ErrorInfo | None = None,
    ) -> Span:
        """Return a span with what every span says."""
        said = {**self._every, "perdure.span.kind": kind, **attributes}
        if error is not None:
            said["error.type"] = error.type
        times = (times[0], max(times))
        if error is None:
            return Span(name, kind, ref, parent, *times, said, links)
        return Span(name, kind, ref, parent, *times, said, links, error.type, error.message)

    # --- what happens ---

    def begin_run(self, event: ev.RunStarted, ts: int) -> list[Span]:
        """Begin with the run."""
        self._every["perdure.graph.version"] = event.fingerprint[:12]
        self._every.update({f"perdure.tag.{name}": value for name, value in event.tags.items()})
        self.began_at = self._life_began_at = ts
        self._origin = event.origin
        outer = parse_traceparent(event.origin_trace)
        self._origin_trace_id = outer[0].trace_id if outer is not None else trace_id_of(event.origin)
        caller = parse_traceparent(event.trace)
        self._caller = caller[0] if caller is not None else None
        if self.trace_scope == "segment":
            self._chapter, self._trace_id = str(self.epoch), trace_id_of(self._run_id, self.epoch)
            return []
        self._is_child = event.in_trace and self._caller is not None
        if self._is_child and self._caller is not None:
            self._trace_id = self._caller.trace_id
        return [self._start(ts)]

    def _start(self, ts: int) -> Span:
        self._has_anchor = True
        links = (Link(self._caller, "caller"),) if self._caller is not None and not self._is_child else ()
        parent = self._caller if self._is_child else None
        return self.span("start", f"start {self._graph}", self.anchor, parent, (ts, ts), {}, links)

    def begin_segment(self, event: ev.SegmentStarted, ts: int) -> list[Span]:
        """Begin a stretch that one worker drives."""
        spans = []
        if self.trace_scope == "segment":
            if str(self.epoch) != self._chapter:
                self._chapter, self._trace_id = str(self.epoch), trace_id_of(self._run_id, self.epoch)
                self.began_at = ts
            spans.append(self._start(ts))
        self._segment_count += 1
        self.segment = (self.ref(span_id_of(self._run_id, "segment", str(self.seq))), ts, event)
        return spans

    def end_segment(self, ts: int, reason: str) -> list[Span]:
        """End the stretch that is under way, if there is one."""
        if self.segment is None:
            return []
        ref, began_at, event = self.segment
        self.segment = None
        links = (Link(self._last_segment, "previous segment"),) if self._last_segment is not None else ()
        self._last_segment = ref
        parent = self.anchor if self.trace_scope == "segment" else self._run_ref()
        attributes: dict[str, Attribute] = {
            "perdure.segment.number": self._segment_count,
            "perdure.segment.worker": event.worker,
            "perdure.segment.version": event.version,
            "perdure.outcome": reason,
        }
        error = ev.ErrorInfo("lost", "the worker has ended without a word") if reason == "crashed" else None
        return [self.span("segment", "segment", ref, parent, (began_at, ts), attributes, links, error)]

    def begin_retry(self, ts: int) -> None:
        """Begin another life of a run that had failed."""
        self._lives += 1
        self._life_began_at = ts
        self.is_run_over = False
        if self.trace_scope == "run":
            self._chapter = str(self._lives)
            self.began_at = ts

    def end_run(self, ts: int, attributes: dict[str, Attribute], error: ev.ErrorInfo | None) -> Span:
        """End the present life of the run."""
        ref = self._run_ref()
        links = [Link(self._last_run, "previous run")] if self._last_run is not None else []
        if self._origin and self.trace_scope == "run":
            origin = SpanRef(self._origin_trace_id, span_id_of(self._origin, "start"))
            links.append(Link(origin, "origin"))
        said: dict[str, Attribute] = {"perdure.run.segments": self._segment_count, **attributes}
        if self._origin:
            said["perdure.run.origin"] = self._origin
        self._last_run = ref
        self.is_run_over = True
        parent = self.anchor if self._has_anchor else None
        times = (self._life_began_at, ts)
        return self.span("run", f"run {self._graph}", ref, parent, times, said, tuple(links), error)
