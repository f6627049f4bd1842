"""Timelines of runs, and two runs side by side, read from their logs without the user's code."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.inspect import Segment, find, stored_plan
from perdure.engine.inspection.reach import Reach
from perdure.engine.inspection.untyped import NoValues
from perdure.events import SegmentStarted
from perdure.kernel.fold.run import Run
from perdure.kernel.fold.status import OVER, Status
from perdure.kernel.timeline.comparison import Compared, compare
from perdure.kernel.timeline.critical_path import Part, Share, critical_path, shares
from perdure.kernel.timeline.timeline import Batch, Chronicler, Joining, Span
from perdure.store.port import Store
from perdure.store.records import RunInfo


class Timeline(msgspec.Struct, frozen=True):
    """When everything in a run began and ended; times are microseconds since 1970.

    Attributes:
        run_id, graph, status: the run.
        started_at: when it was created.
        ended_at: when it was over; None if it isn't.
        segments: who drove it, in order.
        batches: the fork instances, in the order in which they were opened.
        attempts: of all tasks, in the order in which they began.
        joins: the join instances, in the order of their first arrivals.
        waits: for persons, signals and clocks, in the order in which they began.
        critical_path: what the duration of the run is made of, in order.
        shares: the same summed up by node, what took longest first: what would have to be faster.
        problem: how far its log can be folded and why no further, if it is damaged; then all else is told as it was there.
    """

    run_id: str
    graph: str
    status: str
    started_at: int
    ended_at: int | None
    segments: tuple[Segment, ...]
    batches: tuple[Batch, ...]
    attempts: tuple[Span, ...]
    joins: tuple[Joining, ...]
    waits: tuple[Span, ...]
    critical_path: tuple[Part, ...]
    shares: tuple[Share, ...]
    problem: str = ""

    def data(self) -> dict[str, Any]:
        """Return it for JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class RunDiff(msgspec.Struct, frozen=True):
    """Two runs side by side.

    Attributes:
        a, b: what the store knows of them.
        tasks: every task, and what every join gave out, of both: in the order of a, those that only b has behind them.
    """

    a: RunInfo
    b: RunInfo
    tasks: tuple[Compared, ...]

    @property
    def is_same_graph(self) -> bool:
        """Whether both were driven with the same graph; else tasks may have other ids."""
        return self.a.fingerprint == self.b.fingerprint

    @property
    def differing(self) -> tuple[Compared, ...]:
        """What isn't the same in both, but for the time it took."""
        return tuple(task for task in self.tasks if task.differs)

    @property
    def slower(self) -> tuple[Compared, ...]:
        """What took longer in b, the greatest difference first."""
        return tuple(sorted((task for task in self.tasks if task.slower_by > 0), key=lambda task: -task.slower_by))

    @property
    def faster(self) -> tuple[Compared, ...]:
        """What took less time in b, the greatest difference first."""
        return tuple(sorted((task for task in self.tasks if task.slower_by < 0), key=lambda task: task.slower_by))

    def data(self) -> dict[str, Any]:
        """Return it for JSON; of tasks that are the same in both, only how many there are."""
        differing = self.differing
        return {
            "a": _known(self.a),
            "b": _known(self.b),
            "same_graph": self.is_same_graph,
            "same": len(self.tasks) - len(differing),
            "differing": msgspec.to_builtins(differing),
            "slower": msgspec.to_builtins(self.slower),
            "faster": msgspec.to_builtins(self.faster),
        }


def _known(info: RunInfo) -> dict[str, Any]:
    return {
        "run_id": info.run_id,
        "graph": info.graph,
        "fingerprint": info.fingerprint,
        "status": info.status,
        "took": info.updated_at - info.created_at,
    }


async def timeline_of(store: Store, run_id: str, now: int) -> Timeline:
    """Return the timeline of a run, as far as its log can be folded.

    Raises:
        RunNotFound: there is no such run.
        StoreCorrupt: the plan of its graph can't be read.
    """
    info = await find(store, run_id)
    chronicler, segments, reach = await _chronicled(store, info)
    ended_at = chronicler.last if Status(info.status) in OVER and reach.error is None else None
    until = chronicler.last if reach.error is not None else max(now, chronicler.last)
    spans = sorted(
        (span for thing in chronicler.things.values() for span in thing.spans), key=lambda span: span.started_at
    )
    path = critical_path(chronicler, ended_at or until)
    return Timeline(
        run_id,
        info.graph,
        info.status,
        info.created_at,
        ended_at,
        tuple(segments),
        tuple(chronicler.batches.values()),
        tuple(span for span in spans if span.kind == "attempt"),
        tuple(chronicler.joins.values()),
        tuple(span for span in spans if span.kind != "attempt"),
        path,
        shares(path),
        reach.text,
    )


async def diff_runs(store: Store, a: str, b: str) -> RunDiff:
    """Return two runs side by side, aligned by the ids of their tasks.

    Raises:
        RunNotFound: there is no such run.
        StoreCorrupt: a log isn't what was written.
        GraphRuntimeError: a log doesn't fit the plan that is stored with it, or is of a newer version.
    """
    first, second = await find(store, a), await find(store, b)
    one, _, reach = await _chronicled(store, first)
    other, _, reach_of_other = await _chronicled(store, second)
    if (error := reach.error or reach_of_other.error) is not None:
        raise error
    return RunDiff(first, second, compare(one.things, other.things))


async def _chronicled(store: Store, info: RunInfo) -> tuple[Chronicler, list[Segment], Reach]:
    chronicler = Chronicler(Run(await stored_plan(store, info), info.run_id, NoValues()))
    segments = []
    with Reach(info, store.location) as reach:
        async for recorded in read_history(store, info):
            event = recorded.event
            chronicler.take(event, recorded.ts)
            if isinstance(event, SegmentStarted):
                segments.append(Segment(event.worker, event.version, recorded.seq, recorded.ts))
            reach.seq = recorded.seq
    chronicler.finish()
    return chronicler, segments, reach
