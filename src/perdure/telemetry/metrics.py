"""Metrics: what runs, batches and steps come to, added up. Run ids never appear here; graphs, nodes and outcomes do."""

from __future__ import annotations

from opentelemetry.metrics import Meter

from perdure import events as ev
from perdure.engine.calling.observing import Commit
from perdure.telemetry.projection import Projection
from perdure.telemetry.spans import Attribute, Span

SHORT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LONG_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, 100_000, 1_000_000)


class Instruments:
    """The instruments, made once for each engine that is opened."""

    def __init__(self, meter: Meter) -> None:
        self._runs_started = meter.create_counter("perdure.run.started", "{run}", "Runs that were started")
        self._run = meter.create_histogram(
            "perdure.run.duration",
            "s",
            "From creation, or retry, to the end",
            explicit_bucket_boundaries_advisory=LONG_S,
        )
        self._step = meter.create_histogram(
            "perdure.step.duration", "s", "From the start of an attempt to its end",
            explicit_bucket_boundaries_advisory=LONG_S,
        )  # fmt: skip
        self._queued = meter.create_histogram(
            "perdure.step.queued", "s", "From when a task was due to the start of its attempt",
            explicit_bucket_boundaries_advisory=SHORT_S,
        )  # fmt: skip
        self._batch = meter.create_histogram(
            "perdure.batch.duration", "s", "From the fork to the last member settled",
            explicit_bucket_boundaries_advisory=LONG_S,
        )  # fmt: skip
        self._batch_size = meter.create_histogram(
            "perdure.batch.size", "{branch}", "How many branches a fork has", explicit_bucket_boundaries_advisory=SIZES
        )
        self._wait = meter.create_histogram(
            "perdure.wait.duration", "s", "From the opening of a wait to its end",
            explicit_bucket_boundaries_advisory=LONG_S,
        )  # fmt: skip
        self._commit = meter.create_histogram(
            "perdure.commit.duration", "s", "How long the store takes for a commit",
            explicit_bucket_boundaries_advisory=SHORT_S,
        )  # fmt: skip
        self._events = meter.create_counter("perdure.commit.events", "{event}", "Events that were committed")
        self._retries = meter.create_counter("perdure.step.retries", "{attempt}", "Attempts that are tried again")
        self._leases = meter.create_counter("perdure.lease.lost", "{lease}", "Leases lost to another worker")
        self._timers = meter.create_histogram(
            "perdure.timer.lag", "s", "How late retries and the ends of sleeps come",
            explicit_bucket_boundaries_advisory=SHORT_S,
        )  # fmt: skip

    def committed(self, commit: Commit) -> None:
        """Count a commit."""
        about = {"perdure.graph.name": commit.plan.name} if commit.plan is not None else {}
        if commit.took_s is not None:
            self._commit.record(commit.took_s, about)
        self._events.add(sum(row.count for row in commit.rows), about)

    def lease_lost(self, graph: str) -> None:
        """Count a lease that was lost."""
        self._leases.add(1, {"perdure.graph.name": graph})

    def took(self, event: ev.AnyEvent, projection: Projection) -> None:
        """Count an event that isn't told as a span."""
        about = {"perdure.graph.name": projection.graph}
        if isinstance(event, ev.RunStarted):
            self._runs_started.add(1, about)
        elif isinstance(event, ev.TimerFired) and projection.timer_lag_s is not None:
            self._timers.record(projection.timer_lag_s, about)

    def ended(self, span: Span) -> None:
        """Count what a span tells of."""
        said = span.attributes
        about = _some(said, "perdure.graph.name", "perdure.outcome", "error.type")
        if span.kind == "step":
            about |= _some(said, "perdure.node.id")
            self._step.record(span.duration_s, about)
            if "perdure.queued_s" in said:
                node = _some(said, "perdure.graph.name", "perdure.node.id")
                self._queued.record(float(said["perdure.queued_s"]), node)
            if said.get("perdure.failure") == "retry":
                self._retries.add(1, _some(said, "perdure.graph.name", "perdure.node.id", "error.type"))
        elif span.kind == "batch":
            about |= _some(said, "perdure.batch.fork")
            self._batch.record(span.duration_s, about)
            if "perdure.batch.size" in said and said["perdure.batch.part"] == 1:
                fork = _some(said, "perdure.graph.name", "perdure.batch.fork")
                self._batch_size.record(int(said["perdure.batch.size"]), fork)
        elif span.kind == "wait":
            self._wait.record(span.duration_s, about | _some(said, "perdure.wait.kind"))
        elif span.kind == "run":
            self._run.record(span.duration_s, about)


def _some(said: dict[str, Attribute], *names: str) -> dict[str, Attribute]:
    return {name: said[name] for name in names if name in said}
