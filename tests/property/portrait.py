"""A portrait of a run: everything that is true of it, as plain data that can be compared.

What only a live run has is left out: which joins and maps have to be looked at next, items that were decoded ahead, and
the queues in front of limits.
"""

from __future__ import annotations

from typing import Any

from perdure.kernel.fold.run import Arrival, Feed, Instance, Item, OpenJoin, Phase, Run, Source, Task
from perdure.kernel.state.tree import thaw


def portrait(run: Run) -> dict[str, Any]:
    """Return everything that is true of a run."""
    return {
        "seq": run.seq,
        "status": run.status,
        "tasks": {id_: _task(task) for id_, task in sorted(run.tasks.items())},
        # What found no room under a limit stands in a queue, which only a live run has: the fold has it among the ready.
        "ready": sorted({*run.ready, *(task.id for task in run.tasks.values() if task.phase is Phase.READY)}),
        "maps": {id_: _feed(instance.feed) for id_, instance in sorted(run.maps.items())},
        "joins": {key: _join(joined) for key, joined in sorted(run.joins.items())},
        "instances": {id_: _instance(instance) for id_, instance in sorted(run.instances().items())},
        "state": (thaw(run.state.tree), run.state.seq),
        "states": {id_: (thaw(state.tree), state.seq) for id_, state in sorted(run.states.items())},
        "running": dict(run.running),
        "alarm": run.next_alarm(),
        "deadline": run.deadline,
        "crashes": run.crashes,
        "placed": run.placed,
        "limits": (run.max_steps, run.durability),
        "ends": [(_source(value), source) for value, source in run.ends],
        "loose ends": (run.lost, list(run.loose_ends)),
        "signals": list(run.signals),
        "successor": run.successor,
        "failures": list(run.failures),
        "between events": (len(run.arrivals), list(run.fresh)),
    }


def _task(task: Task) -> dict[str, Any]:
    return {
        "node": task.node.id,
        "place": (task.scope.id, task.index, task.shown_path, task.path),
        "value": _source(task.value),
        "depth": task.depth,
        "phase": task.phase,
        "tries": (task.attempt, task.failures, task.crashes, task.is_suspect, task.is_uncertain),
        "wait": (task.due_at, task.is_answered, task.escalations, task.opened, task.title, task.assignee),
        "feeds": [instance.id for instance in task.feeds] if task.feeds is not None else None,
    }


def _source(source: Source) -> Any:
    if isinstance(source, Item):
        return ("item", source.chunk.seq, source.chunk.first, bytes(source.chunk.items.values), source.offset)
    return ("value", bytes(source.value), source.by, source.seq)


def _feed(feed: Feed | None) -> Any:
    assert feed is not None
    return {
        "by": feed.by,
        "origin": feed.origin,
        "hops": feed.hops,
        "counts": (feed.total, feed.taken, feed.opened),
        "chunks": [(chunk.first, chunk.seq, chunk.by, bytes(chunk.items.values)) for chunk in feed.chunks],
        "task": feed.task,
        "arms": feed.arms,
    }


def _arrival(arrival: Arrival) -> Any:
    return (arrival.join.id, arrival.scope.id, _source(arrival.value), arrival.source, arrival.path, arrival.depth)


def _join(joined: OpenJoin) -> dict[str, Any]:
    assert not joined.unfolded
    return {
        "value": joined.value,
        "kept": [_arrival(arrival) for arrival in joined.kept],
        "failed": joined.failed,
        "counts": (joined.count, joined.first, joined.last, joined.depth, joined.cancelled),
    }


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "fork": instance.fork.id,
        "source": instance.source,
        "trail": instance.trail,
        "scope": {fork: outer.id for fork, outer in instance.scope.items()},
        "size": instance.size,
        "tasks": sorted(instance.tasks),
        "inner": sorted(instance.inner),
        "counts": instance.counts,
        "joins": sorted(instance.joins),
        "absorbing": sorted(instance.absorbing),
        "windows": [(around.id, arm) for around, arm in instance.windows],
    }
