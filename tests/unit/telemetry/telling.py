"""What a run's log is told as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure import Engine, Graph, MemoryStore
from perdure.engine.inspection.history import Recorded
from perdure.graph.plan import Plan
from perdure.telemetry.projection import Projection
from perdure.telemetry.spans import Span, TraceScope


def projected(plan: Plan, run_id: str, history: Sequence[Recorded], trace_scope: TraceScope = "run") -> list[Span]:
    projection = Projection(plan, run_id, trace_scope)
    return [span for recorded in history for span in projection.take(recorded.event, recorded.ts, recorded.epoch)]


async def told(graph: Graph[Any, Any, Any, Any], inputs: Any = None, state: Any = None, **more: Any) -> list[Span]:
    """Run a graph to its end, whatever that is, and return its spans."""
    return projected(graph.plan, "run", await history_of(graph, inputs, state), **more)


async def history_of(graph: Graph[Any, Any, Any, Any], inputs: Any = None, state: Any = None) -> Sequence[Recorded]:
    async with Engine.open(MemoryStore(), [graph]) as engine:
        handle = await engine.start(graph, inputs=inputs, state=state, run_id="run")
        try:
            await handle.result()
        except Exception:
            assert (await handle.info()).status == "FAILED"
        return await engine.history("run")


def of_kind(spans: Sequence[Span], kind: str) -> list[Span]:
    return [span for span in spans if span.kind == kind]


def dangling(spans: Sequence[Span]) -> list[str]:
    """Return what names a parent that isn't there."""
    there = {span.ref for span in spans}
    return [span.name for span in spans if span.parent is not None and span.parent not in there]


def dead_links(spans: Sequence[Span]) -> list[str]:
    there = {span.ref for span in spans}
    return [f"{span.name} -> {link.why}" for span in spans for link in span.links if link.to not in there]


def repeated(spans: Sequence[Span]) -> list[str]:
    """Return what has the id of another span."""
    return [span.name for place, span in enumerate(spans) if span.ref in {other.ref for other in spans[:place]}]
