"""Declaring class nodes: ``g.node`` and ``g.match_node``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from perdure.errors import GraphRuntimeError, GraphSetupError
from perdure.graph.builder.annotations import return_hints
from perdure.graph.nodes.class_node import BaseNode, End
from perdure.graph.nodes.class_step import NodeStep, is_class_node, leads, node_step, unpacked, way_of
from perdure.graph.nodes.decision import Decision, DecisionBranch, DecisionBranchBuilder
from perdure.graph.nodes.nodes import EndNode
from perdure.graph.nodes.paths import DestinationItem, EdgePath, EdgePathBuilder
from perdure.graph.nodes.step import StepContext
from perdure.graph.types import DepsT, OutputT, StateT

SourceNodeT = TypeVar("SourceNodeT", bound=BaseNode[Any, Any, Any])


class ClassDeclarations(Generic[StateT, DepsT, OutputT]):
    """The part of the builder that takes in classes as nodes."""

    def node(self, node_type: type[BaseNode[StateT, DepsT, OutputT]]) -> EdgePath[StateT, DepsT]:
        """Return the edges out of a node that is a class, for ``g.add``: one for each class its ``run`` may return.

        Args:
            node_type: a subclass of ``BaseNode`` whose ``run`` is annotated with every class that it may return.

        Raises:
            GraphSetupError: it is none, or the annotation of ``run`` doesn't name nodes.
        """
        if not is_class_node(node_type):
            raise GraphSetupError(f"g.node: {node_type!r:.80} is no subclass of BaseNode")
        step = node_step(node_type)
        hints = return_hints(step.node_type.run)
        if not hints:
            raise GraphSetupError(
                f"node {step.id!r}: what its run returns can't be told: annotate it with the classes of nodes that it may "
                "return, and End, by names that are defined where g.node is called"
            )
        ways = [way_of(step.id, hint) for hint in hints]
        classes = frozenset(way.node_type for way in ways if isinstance(way, NodeStep))
        returned = " | ".join(getattr(way, "id", "End") for way in ways)
        edge: EdgePathBuilder[Any, Any, Any] = EdgePathBuilder((step,))
        if len(ways) == 1:

            def the_one(ctx: StepContext[Any, Any, Any]) -> Any:
                if not leads(ways[0], ctx.inputs, classes):
                    raise GraphRuntimeError(
                        f"node {step.id!r} has returned a {type(ctx.inputs).__name__}, and is annotated with {returned}"
                    )
                return unpacked(ctx)

            return edge.transform(the_one).to(self._end_of(ways[0]))
        decision: Decision[Any, Any, Any] = Decision(id=f"{step.id}_next")
        for way in ways:
            test = cast("Callable[[Any], bool]", lambda value, way=way: leads(way, value, classes))
            branch: DecisionBranchBuilder[Any, Any, Any, Any, Any] = DecisionBranchBuilder(source=object, matches=test)
            decision = decision.branch(branch.transform(unpacked).to(self._end_of(way)))
        return edge.to(decision)

    def _end_of(self, way: Any) -> Any:
        return EndNode() if way is End else way

    def match_node(
        self, source: type[SourceNodeT], *, matches: Callable[[Any], bool] | None = None
    ) -> DecisionBranch[SourceNodeT]:
        """Make a branch of a decision that takes instances of a class of nodes to that node.

        Args:
            source: the class.
            matches: a further test; the branch is taken if it returns a true value.

        Raises:
            GraphSetupError: it is no subclass of ``BaseNode``.
        """
        if not is_class_node(source):
            raise GraphSetupError(f"g.match_node: {source!r:.80} is no subclass of BaseNode")
        step = node_step(source)
        return DecisionBranch(
            source=cast("type[SourceNodeT]", step.node_type), matches=matches, path=(DestinationItem(step),)
        )
