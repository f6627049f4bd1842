"""Attributes: what a span says of a batch, a task or a join. Facts are repeated, since backends drop links."""

from __future__ import annotations

from perdure.graph.plan import NodeKind
from perdure.kernel.fold.apply import join_output_id
from perdure.kernel.fold.run import AFTER, OpenJoin, Task, shown_path
from perdure.telemetry.batches import Batch
from perdure.telemetry.spans import Attribute

Attributes = dict[str, Attribute]


def about_batch(batch: Batch, outcome: str) -> Attributes:
    """Return the attributes of the span of a batch."""
    instance, fork = batch.instance, batch.instance.fork
    said: Attributes = {
        "perdure.batch.id": instance.id,
        "perdure.batch.fork": fork.id,
        "perdure.batch.kind": fork.kind.value,
        "perdure.batch.path": shown_path(instance, AFTER, fork.id),
        "perdure.batch.part": batch.parts,
        "perdure.batch.completed": batch.completed,
        "perdure.batch.failed": batch.failed,
        "perdure.batch.cancelled": batch.cancelled,
        "perdure.outcome": outcome,
    }
    if batch.size is not None:
        said["perdure.batch.size"] = batch.size
    if fork.kind is NodeKind.MAP:
        said["perdure.batch.window"] = fork.window
    return said


def about_task(task: Task, batch: Batch | None) -> Attributes:
    """Return the attributes of what tells of a task in a batch."""
    said: Attributes = {
        "perdure.node.id": task.node.id,
        "perdure.task.id": task.id,
        "perdure.task.path": task.shown_path,
    }
    if batch is not None:
        said["perdure.batch.id"] = batch.instance.id
        said["perdure.batch.fork"] = batch.instance.fork.id
        if task.scope is batch.instance:
            said["perdure.branch.index"] = task.index
        if batch.size is not None:
            said["perdure.batch.size"] = batch.size
    return said


def about_wait(task: Task) -> Attributes:
    """Return what the span of a wait says besides."""
    wait = task.node.wait
    said: Attributes = {"perdure.wait.kind": wait.kind.value if wait is not None else ""}
    if wait is not None and wait.name:
        said["perdure.wait.name"] = wait.name
    if task.assignee:
        said["perdure.wait.assignee"] = task.assignee
    if task.escalations:
        said["perdure.wait.escalations"] = task.escalations
    return said


def about_join(joined: OpenJoin, count: int, open_s: float) -> Attributes:
    """Return the attributes of the span of a join."""
    node, instance = joined.node, joined.scope
    said: Attributes = {
        "perdure.node.id": node.id,
        "perdure.task.id": join_output_id(joined),
        "perdure.task.path": shown_path(instance, AFTER, node.id),
        "perdure.join.count": count,
        "perdure.join.failed": len(joined.failed),
        "perdure.join.open_s": open_s,
    }
    if instance.source:
        said["perdure.batch.id"] = instance.id
        said["perdure.batch.fork"] = instance.fork.id
        if instance.size is not None:
            said["perdure.batch.size"] = instance.size
    return said
