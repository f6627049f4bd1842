"""Replaying: an exported run folded with the user's graph as it is now, for tests of their own code.

    def test_order_17_still_goes_on() -> None:
        replayed = replay("tests/runs/order-17.jsonl", graph)
        assert replayed.verdict != "stalled", replayed.reason

Export a few real runs, keep them with the tests, and a change of the graph that would leave such a run behind fails in the tests
and not in a deploy.
"""

from __future__ import annotations

import asyncio
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import msgspec

from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.recovery import rebuild
from perdure.engine.driving.registered import new_run, registered
from perdure.engine.inspection.results import recorded_outputs
from perdure.engine.workers.fitting import fit_of
from perdure.graph.graph import Graph
from perdure.kernel.state.tree import thaw
from perdure.store.export import import_run, read_export
from perdure.store.memory import MemoryStore


class Replayed(msgspec.Struct):
    """A run, folded with another version of its graph.

    Attributes:
        run_id: the run.
        verdict: ``"same"`` or ``"compatible"`` if a worker with this graph would drive it on, else ``"stalled"``.
        reason: why it wouldn't.
        status: what the store said of it.
        live: the paths of its unfinished tasks.
        state: its committed state, as the graph's type; None if it is stalled.
        output: what it gave out, if it is complete.
    """

    run_id: str
    verdict: Literal["same", "compatible", "stalled"]
    reason: str
    status: str
    live: list[str] = []
    state: Any = None
    output: Any = None


def replay(file: str | PathLike[str], graph: Graph[Any, Any, Any, Any]) -> Replayed:
    """Fold a run that ``perdure export`` has written with a graph.

    Raises:
        StoreError: the file isn't an export, or is damaged.
        CodecError: a value in it can't be read as the type the graph has for it.
    """
    return asyncio.run(_replayed(Path(file), graph))


async def _replayed(file: Path, graph: Graph[Any, Any, Any, Any]) -> Replayed:
    store = MemoryStore(str(file))
    await store.open()
    exported = read_export(file.read_bytes().splitlines(), str(file))  # noqa: ASYNC240  (nothing else goes on in this loop)
    info = await import_run(store, exported)
    fit = await fit_of(store, info, graph.plan)
    replayed = Replayed(info.run_id, fit.verdict, fit.reason, info.status)
    if fit.verdict == "stalled":
        return replayed
    values = CodedValues(registered(graph).codec)
    run = new_run(graph, info.run_id, values)
    await rebuild(store, info, run, values.blobs)
    replayed.live = [task.shown_path for task in sorted(run.tasks.values(), key=lambda task: task.path)]
    replayed.state = thaw(run.state.tree)
    if info.status == "COMPLETED":
        replayed.output = (await recorded_outputs(store, info, values))[0]
    return replayed
