"""Class nodes as steps: how a class takes part in a graph.

The step of a class gets an instance and runs it. What that returns says where to go on, and holds what goes there; so each way
out unpacks it, and only what is unpacked is recorded. Nothing but the instances' own fields is ever stored.
"""

from __future__ import annotations

from inspect import isclass
from typing import Annotated, Any, TypeAlias, get_args, get_origin
from weakref import WeakKeyDictionary

from perdure.errors import GraphRuntimeError, GraphSetupError
from perdure.graph.nodes.class_node import BaseNode, End, GraphRunContext, JoinNode, StepNode
from perdure.graph.nodes.join import Join
from perdure.graph.nodes.step import Step, StepContext


class _RunContext(GraphRunContext[Any, Any]):
    """The context of a node, which makes a draft of the state only if it is asked for."""

    __slots__ = ("_context",)

    def __init__(self, context: StepContext[Any, Any, Any]) -> None:
        super().__init__(state=None, deps=context.deps)
        self._context = context

    @property
    def state(self) -> Any:
        """The state of the run."""
        return self._context.state


class NodeStep(Step[Any, Any, Any, Any]):
    """The step that runs the instances of a class.

    Attributes:
        node_type: the class.
    """

    __slots__ = ("node_type",)

    def __init__(self, node_type: type[BaseNode[Any, Any, Any]]) -> None:
        super().__init__(id=node_type.get_node_id(), call=self._run, input_type=node_type)
        self.node_type: type[BaseNode[Any, Any, Any]] = node_type

    async def _run(self, ctx: StepContext[Any, Any, Any]) -> Any:
        node = ctx.inputs
        if not isinstance(node, self.node_type):
            raise GraphRuntimeError(
                f"node {self.id!r} runs instances of {self.node_type.__name__}, and got a {type(node).__name__}: lead to it "
                "only what gives out such instances"
            )
        return await node.run(_RunContext(ctx))


_known: WeakKeyDictionary[type, NodeStep] = WeakKeyDictionary()


def node_step(node_type: Any) -> NodeStep:
    """Return the step of a class, the same one for each."""
    cls = get_origin(node_type) or node_type
    if cls not in _known:
        _known[cls] = NodeStep(cls)
    return _known[cls]


def is_class_node(node: object) -> bool:
    """Say whether something is a class of nodes."""
    cls = get_origin(node) or node
    return isclass(cls) and issubclass(cls, BaseNode) and cls not in (BaseNode, StepNode, JoinNode)


Way: TypeAlias = "type[End[Any]] | NodeStep | Step[Any, Any, Any, Any] | Join[Any, Any, Any, Any]"
"""Where a node may go on: to the end, to a node of a class, or to a step or a join of the builder."""


def way_of(node: str, hint: Any) -> Way:
    """Return where a member of a return annotation leads.

    Raises:
        GraphSetupError: it names no node.
    """
    marks: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        marks = tuple(rest)
    cls = get_origin(hint) or hint
    if cls is End:
        return End
    for kind, target, name in ((StepNode, Step, "step"), (JoinNode, Join, "join")):
        if cls is kind:
            found = next((mark for mark in marks if isinstance(mark, target)), None)
            if found is None:
                raise GraphSetupError(
                    f"node {node!r}: its return annotation names a {kind.__name__} and not whose it is: write "
                    f"Annotated[{kind.__name__}[…], my_{name}]"
                )
            way: Way = found
            return way
    if is_class_node(cls):
        return node_step(cls)
    shown = getattr(hint, "__name__", None) or repr(hint)
    raise GraphSetupError(
        f"node {node!r}: its return annotation names {shown}, and has to name each class of nodes that it may return, or End"
    )


def leads(way: Way, returned: Any, classes: frozenset[type]) -> bool:
    """Say whether what a node has returned goes this way; the class itself counts before one it is derived from."""
    if way is End:
        return isinstance(returned, End)
    if isinstance(way, NodeStep):
        kind = type(returned)
        return kind is way.node_type or (kind not in classes and isinstance(returned, way.node_type))
    if isinstance(way, Join):
        return isinstance(returned, JoinNode) and returned.join is way
    return isinstance(returned, StepNode) and returned.step is way


def unpacked(ctx: StepContext[Any, Any, Any]) -> Any:
    """Return what goes on of what a node has returned."""
    returned = ctx.inputs
    if isinstance(returned, End):
        return returned.data
    return returned.inputs if isinstance(returned, StepNode | JoinNode) else returned
