"""Mappers: what spans say besides, in the vocabulary of somebody else. They are opt-in: ``Telemetry(mappers=[openinference])``.

A mapper is a function from a span to further attributes. It can't change what a span says of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from perdure.telemetry.spans import Attribute, Span

Mapper: TypeAlias = Callable[[Span], Mapping[str, Attribute]]


def openinference(span: Span) -> dict[str, Attribute]:
    """Return what OpenInference, the vocabulary of Arize Phoenix, has to say of a span.

    Steps, joins and waits are links of a chain there, and so is what is around them; the session is the run.
    """
    said = span.attributes
    mapped: dict[str, Attribute] = {"openinference.span.kind": "CHAIN", "session.id": said["perdure.run.id"]}
    if "perdure.node.id" in said:
        mapped["graph.node.id"] = said["perdure.task.id"]
        mapped["graph.node.name"] = said["perdure.node.id"]
        if "perdure.batch.id" in said:
            mapped["graph.node.parent_id"] = said["perdure.batch.id"]
    elif span.kind == "batch":
        mapped["graph.node.id"] = said["perdure.batch.id"]
        mapped["graph.node.name"] = said["perdure.batch.fork"]
    return mapped


def gen_ai(span: Span) -> dict[str, Attribute]:
    """Return what OpenTelemetry's conventions for generative AI have to say of a span.

    A run is a workflow that is invoked, and a conversation. They have no word for a step, a batch or a join: what a step does
    with a model is told by the spans that its own instrumentation opens inside of it.
    """
    said = span.attributes
    mapped: dict[str, Attribute] = {
        "gen_ai.conversation.id": said["perdure.run.id"],
        "gen_ai.workflow.name": said["perdure.graph.name"],
    }
    if span.kind == "run":
        mapped["gen_ai.operation.name"] = "invoke_workflow"
    return mapped
