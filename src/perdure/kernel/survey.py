"""Surveying: what has to be known of a log as a whole before it is rewritten (``rewrite.py``)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perdure import events as ev
from perdure.graph.plan import NodePlan
from perdure.ids import identify
from perdure.kernel.fold.apply import apply, join_output_id
from perdure.kernel.fold.revival import revive
from perdure.kernel.fold.run import AFTER, Instance, Run, shown_path


class Source(msgspec.Struct):
    """The run that is forked.

    Attributes:
        history: its events.
        places: for each event that changes a state or folds, by seq: which state, and which instance of which join.
        finished: for each task that has finished, the seq at which it did.
        tasks: for each of them, in the order in which they finished, its path and its node.
        named: for each task that has begun, and each output of a join, its path.
        folds: for each join instance that folds when it closes, the seqs of its folds.
        undone: the seqs of the failures that a retry has taken back, or would take back at the end of what is kept, with all
            that followed from them at once.
    """

    history: Sequence[ev.AnyEvent]
    places: dict[int, tuple[str, str]] = {}
    finished: dict[str, int] = {}
    tasks: dict[str, tuple[str, str]] = {}
    named: dict[str, str] = {}
    folds: dict[tuple[str, str], list[int]] = {}
    undone: set[int] = set()


def survey(history: Sequence[ev.AnyEvent], run: Run) -> Source:
    """Look through a log by folding it.

    Args:
        history: the log.
        run: a run of its graph with nothing applied, which needn't read states.
    """
    source = Source(history)
    for seq, event in enumerate(history, 1):
        if isinstance(event, ev.NodeStarted | ev.NodeCompleted | ev.WaitOpened):
            source.named[event.task] = run.tasks[event.task].shown_path
        if isinstance(event, ev.NodeCompleted | ev.NodeFailed):
            task = run.tasks[event.task]
            source.places[seq] = (_state(task.scope, task.node), "")
            if isinstance(event, ev.NodeCompleted) or event.outcome in ("collect", "lose"):
                source.finished[event.task] = seq
                source.tasks[event.task] = (task.shown_path, task.node.id)
        elif isinstance(event, ev.ReducerUpdated):
            node = run.plan.nodes[event.join]
            named = event.detail.instance if event.detail is not None else ""
            instance = run.joins[event.join, named].scope if named else run.arrivals[0].scope
            source.places[seq] = (_state(instance, node), instance.id)
            if named:
                source.folds.setdefault((event.join, named), []).append(seq)
        elif isinstance(event, ev.JoinClosed):
            joined = run.joins[event.join, event.instance]
            source.places[seq] = (_state(joined.scope, joined.node), event.instance)
            source.named[join_output_id(joined)] = shown_path(joined.scope, AFTER, event.join)
        apply(run, event)
    return source


def undone(history: Sequence[ev.AnyEvent], run: Run) -> set[int]:
    """Return the seqs of the events by which arms were lost that a retry has brought back, or would bring back at the end.

    Args:
        history: the log, as far as it is kept.
        run: a run of its graph with nothing applied, which needn't read states.
    """
    found: set[int] = set()
    lost: dict[str, list[int]] = {}
    for seq, event in enumerate(history, 1):
        if isinstance(event, ev.NodeCancelled | ev.ReducerUpdated) or (
            isinstance(event, ev.NodeFailed) and event.outcome != "retry"
        ):
            lost.setdefault(event.task, []).append(seq)
        elif isinstance(event, ev.JoinFailed | ev.JoinCancelled):
            lost.setdefault(identify("join", event.join, event.instance), []).append(seq)
        elif isinstance(event, ev.ItemsEnded):
            lost.setdefault(event.instance, []).append(seq)
        before = _there(run) if isinstance(event, ev.RunRetried) else set()
        apply(run, event)
        if isinstance(event, ev.RunRetried):
            found.update(seq for id_ in _there(run) - before for seq in lost.pop(id_, ()))
    before = _there(run)
    revive(run)
    found.update(seq for id_ in _there(run) - before for seq in lost.pop(id_, ()))
    return found


def _there(run: Run) -> set[str]:
    return {*run.tasks, *map(join_output_id, run.joins.values()), *run.maps}


def _state(scope: Instance, node: NodePlan) -> str:
    return scope.scope[node.state].id if node.state else ""
