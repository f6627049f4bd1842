"""Reading the spans of a run from its log, in any process, without the user's code."""

from __future__ import annotations

from collections.abc import AsyncIterator

from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import find, stored_plan
from perdure.store.port import Store
from perdure.telemetry.projection import Projection
from perdure.telemetry.spans import Span, TraceScope


async def read_spans(
    store: Store, run_id: str, trace_scope: TraceScope = "run", *, with_unfinished: bool = False
) -> AsyncIterator[Span]:
    """Yield the spans of a run in the order in which they end.

    Args:
        store: where the run is kept.
        run_id: the run.
        trace_scope: whether the run is one trace, or each of its segments.
        with_unfinished: whether to tell of what is under way too, as though it ended with the last event.

    Raises:
        RunNotFound: there is no such run.
        StoreCorrupt: its log isn't what was written.
        GraphRuntimeError: its log doesn't fit the plan that is stored with it, or is of a newer version.
    """
    info = await find(store, run_id)
    projection = Projection(await stored_plan(store, info), run_id, trace_scope)
    async for recorded in read_history(store, info):
        for span in projection.take(recorded.event, recorded.ts, recorded.epoch):
            yield span
    if with_unfinished:
        for span in projection.unfinished():
            yield span
