"""Nodes that are classes: what ``run`` returns is the node to go on with, and its fields are what that gets.

A subclass of :class:`BaseNode` is a node; an instance of it is one activation, with its inputs. ``g.node(MyNode)`` adds it to a
graph, with an edge for each class that the annotation of ``run`` names. To hand over to a step or a join of the builder,
``run`` returns ``my_step.as_node(inputs)``, and its annotation names ``Annotated[StepNode[StateT, DepsT], my_step]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Never

from typing_extensions import TypeVar

if TYPE_CHECKING:
    from perdure.graph.nodes.join import Join
    from perdure.graph.nodes.step import Step

StateT = TypeVar("StateT", default=None)
DepsT = TypeVar("DepsT", default=None)
StateT_co = TypeVar("StateT_co", covariant=True, default=None)
DepsT_co = TypeVar("DepsT_co", covariant=True, default=None)
NodeRunEndT_co = TypeVar("NodeRunEndT_co", covariant=True, default=Never)
RunEndT_co = TypeVar("RunEndT_co", covariant=True, default=object)


class GraphRunContext(Generic[StateT_co, DepsT_co]):
    """What the ``run`` of a node is given: the state and the dependencies."""

    __slots__ = ("_deps", "_state")

    def __init__(self, *, state: StateT_co, deps: DepsT_co) -> None:
        self._state = state
        self._deps = deps

    @property
    def state(self) -> StateT_co:
        """The state of the run; what an attempt changes in it commits with the node."""
        return self._state

    @property
    def deps(self) -> DepsT_co:
        """The dependencies given to this process; never stored."""
        return self._deps


class BaseNode(ABC, Generic[StateT, DepsT, NodeRunEndT_co]):
    """A node; subclass it as a dataclass, whose fields are its inputs."""

    @abstractmethod
    async def run(self, ctx: GraphRunContext[StateT, DepsT]) -> BaseNode[StateT, DepsT, Any] | End[NodeRunEndT_co]:
        """Do the work of the node, and return the node to go on with, or ``End(value)``.

        The return annotation has to name every class that may be returned: the edges of the graph are made of it.
        """
        ...

    @classmethod
    def get_node_id(cls) -> str:
        """Return the id of the node: the name of the class."""
        return cls.__name__


@dataclass(frozen=True)
class End(Generic[RunEndT_co]):
    """What a node returns to go to the end.

    Attributes:
        data: the output.
    """

    data: RunEndT_co


@dataclass
class StepNode(BaseNode[StateT, DepsT, Any]):
    """A step with its inputs, to be returned by a node; made by ``step.as_node(inputs)``.

    Attributes:
        step: the step.
        inputs: what it gets.
    """

    step: Step[StateT, DepsT, Any, Any]
    inputs: Any

    async def run(self, ctx: GraphRunContext[StateT, DepsT]) -> BaseNode[StateT, DepsT, Any] | End[Any]:
        """Refuse: it is only returned.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("a StepNode is returned by a node, to go on with its step; it can't be run itself")


@dataclass
class JoinNode(BaseNode[StateT, DepsT, Any]):
    """A join with a value for it, to be returned by a node; made by ``join.as_node(inputs)``.

    Attributes:
        join: the join.
        inputs: what it is to fold.
    """

    join: Join[StateT, DepsT, Any, Any]
    inputs: Any

    async def run(self, ctx: GraphRunContext[StateT, DepsT]) -> BaseNode[StateT, DepsT, Any] | End[Any]:
        """Refuse: it is only returned.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("a JoinNode is returned by a node, to go on with its join; it can't be run itself")
