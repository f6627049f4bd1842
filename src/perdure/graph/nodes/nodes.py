"""The kinds of nodes, and which of them an edge may start from and lead to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias

from typing_extensions import TypeIs

from perdure.graph.nodes.decision import Decision
from perdure.graph.nodes.group import Entry, Group
from perdure.graph.nodes.join import Join
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import Step
from perdure.graph.nodes.wait import Wait
from perdure.graph.types import DepsT, InputT, InputT_contra, OutputT, OutputT_co, StateT

START_ID: Final = "__start__"
END_ID: Final = "__end__"


class StartNode(Generic[OutputT_co]):
    """Where a run begins; its output is the run's inputs."""

    id: str = START_ID

    def _gives(self) -> OutputT_co:
        raise NotImplementedError  # only here so that type checkers infer the variance

    def __repr__(self) -> str:
        return "StartNode()"


class EndNode(Generic[InputT_contra]):
    """Where a run ends; what arrives is its output."""

    id: str = END_ID

    def _takes(self, inputs: InputT_contra) -> None:
        raise NotImplementedError  # only here so that type checkers infer the variance

    def __repr__(self) -> str:
        return "EndNode()"


@dataclass(frozen=True)
class Fork(Generic[InputT_contra, OutputT_co]):
    """A node where one task becomes several: a broadcast, or a map over items. ``build()`` makes these from edges.

    Attributes:
        id: the node's id.
        is_map: whether it makes an arm for each item of a value, not one for each of its edges.
        downstream_join_id: the join that fires even if a map has no items, or None.
        is_router: whether it stands for the choices of a router.
        max_concurrency: how many steps run at once in one batch of it, or None.
    """

    id: str
    is_map: bool
    downstream_join_id: str | None = None
    is_router: bool = False
    max_concurrency: int | None = None

    def _passes(self, inputs: InputT_contra) -> OutputT_co:
        raise NotImplementedError  # only here so that type checkers infer the variance


MiddleNode: TypeAlias = (
    Step[StateT, DepsT, InputT, OutputT]
    | Join[StateT, DepsT, InputT, OutputT]
    | Router[StateT, DepsT, InputT, OutputT]
    | Wait[StateT, DepsT, InputT, OutputT]
    | Group[StateT, DepsT, InputT, OutputT]
)
SourceNode: TypeAlias = MiddleNode[StateT, DepsT, Any, OutputT] | StartNode[OutputT]
DestinationNode: TypeAlias = MiddleNode[StateT, DepsT, InputT, Any] | Decision[StateT, DepsT, InputT] | EndNode[InputT]
AnySource: TypeAlias = MiddleNode[Any, Any, Any, Any] | StartNode[Any] | Entry
AnyDestination: TypeAlias = MiddleNode[Any, Any, Any, Any] | Decision[Any, Any, Any] | EndNode[Any] | Entry
AnyNode: TypeAlias = AnySource | AnyDestination | Fork[Any, Any]
MemberNode: TypeAlias = (
    Step[StateT, DepsT, InputT, OutputT] | Wait[StateT, DepsT, InputT, OutputT] | Group[StateT, DepsT, InputT, OutputT]
)
"""What a group may be made of."""


def is_source(node: object) -> TypeIs[AnySource]:
    """Say whether edges can start from a node."""
    return isinstance(node, Step | Join | Router | Wait | Group | StartNode | Entry)


def is_destination(node: object) -> TypeIs[AnyDestination]:
    """Say whether edges can lead to a node."""
    return isinstance(node, Step | Join | Router | Wait | Group | Decision | EndNode | Entry)
