"""Declaring groups: several nodes that are used as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from perdure.errors import GraphSetupError
from perdure.graph.builder.declare_waits import WaitDeclarations
from perdure.graph.graph import Graph
from perdure.graph.nodes.group import Group
from perdure.graph.nodes.grouping import chain_group, parallel_group, race_group
from perdure.graph.nodes.nodes import MemberNode
from perdure.graph.nodes.policies import JoinPolicies, OnError, join_policies, optional_count
from perdure.graph.nodes.step import StepContext
from perdure.graph.nodes.subgraph import subgraph_group
from perdure.graph.types import DepsT, InputT, OutputT, StateT, T

AT = TypeVar("AT")
BT = TypeVar("BT")
CT = TypeVar("CT")
InnerStateT = TypeVar("InnerStateT")


class GroupDeclarations(WaitDeclarations[StateT, DepsT]):
    """The part of the builder that makes groups."""

    @overload
    def parallel(
        self,
        *members: MemberNode[StateT, DepsT, InputT, T],
        then: None = None,
        max_concurrency: int | None = None,
        on_error: OnError | None = None,
        min_ok: int | None = None,
        node_id: str | None = None,
    ) -> Group[StateT, DepsT, InputT, list[T]]: ...

    @overload
    def parallel(
        self,
        *members: MemberNode[StateT, DepsT, InputT, T],
        then: MemberNode[StateT, DepsT, list[T], OutputT],
        max_concurrency: int | None = None,
        on_error: OnError | None = None,
        min_ok: int | None = None,
        node_id: str | None = None,
    ) -> Group[StateT, DepsT, InputT, OutputT]: ...

    def parallel(
        self,
        *members: Any,
        then: Any = None,
        max_concurrency: int | None = None,
        on_error: OnError | None = None,
        min_ok: int | None = None,
        node_id: str | None = None,
    ) -> Group[StateT, DepsT, Any, Any]:
        """Make a group that runs its members at once and gives out the list of what they gave out, in their order.

        Args:
            members: steps, waits and groups; each gets the group's input.
            then: a node that gets the list, and whose output is the group's.
            max_concurrency: how many steps run at once in it.
            on_error: what a failure of a member comes to: ``"fail"``, ``"collect"``, which puts a ``Failure`` into the list,
                or ``"wait"``.
            min_ok: how many members have to succeed at least.
            node_id: the group's id; ``parallel``, ``parallel_2`` … if it isn't given.

        Raises:
            GraphSetupError: a member can't be one, or an option can't be.
        """
        id_ = self._id_for(node_id, "parallel")
        policies = join_policies(f"group {id_!r}", "all", on_error=on_error, min_ok=min_ok)
        most = optional_count(f"group {id_!r}: max_concurrency", max_concurrency)
        return parallel_group(id_, members, then=then, max_concurrency=most, policies=policies or JoinPolicies())

    def race(
        self, *members: MemberNode[StateT, DepsT, InputT, T], node_id: str | None = None
    ) -> Group[StateT, DepsT, InputT, T]:
        """Make a group that gives out what the first of its members to succeed gives out, and cancels the others.

        An error doesn't win. If all fail, the run fails with the last error, and the others are noted on it.

        Args:
            members: steps, waits and groups; each gets the group's input.
            node_id: the group's id; ``race``, ``race_2`` … if it isn't given.

        Raises:
            GraphSetupError: a member can't be one, or there are fewer than two.
        """
        return race_group(self._id_for(node_id, "race"), members)

    @overload
    def chain(
        self, first: MemberNode[StateT, DepsT, InputT, OutputT], /, *, node_id: str | None = None
    ) -> Group[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def chain(
        self,
        first: MemberNode[StateT, DepsT, InputT, AT],
        second: MemberNode[StateT, DepsT, AT, OutputT],
        /,
        *,
        node_id: str | None = None,
    ) -> Group[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def chain(
        self,
        first: MemberNode[StateT, DepsT, InputT, AT],
        second: MemberNode[StateT, DepsT, AT, BT],
        third: MemberNode[StateT, DepsT, BT, OutputT],
        /,
        *,
        node_id: str | None = None,
    ) -> Group[StateT, DepsT, InputT, OutputT]: ...

    @overload
    def chain(
        self,
        first: MemberNode[StateT, DepsT, InputT, AT],
        second: MemberNode[StateT, DepsT, AT, BT],
        third: MemberNode[StateT, DepsT, BT, CT],
        fourth: MemberNode[StateT, DepsT, CT, Any],
        /,
        *members: MemberNode[StateT, DepsT, Any, Any],
        node_id: str | None = None,
    ) -> Group[StateT, DepsT, InputT, Any]: ...

    def chain(self, *members: Any, node_id: str | None = None) -> Group[StateT, DepsT, Any, Any]:
        """Make a group that runs its members one after another, each with what the one before gave out.

        Args:
            members: steps, waits and groups.
            node_id: the group's id; ``chain``, ``chain_2`` … if it isn't given.

        Raises:
            GraphSetupError: a member can't be one, or stands there twice.
        """
        return chain_group(self._id_for(node_id, "chain"), members)

    def subgraph(
        self,
        graph: Graph[InnerStateT, DepsT, InputT, OutputT],
        *,
        state: Literal["shared"] | Callable[[StepContext[StateT, DepsT, Any]], InnerStateT] | None = None,
        on_end: Callable[[StateT, InnerStateT], None] | None = None,
        node_id: str | None = None,
    ) -> Group[StateT, DepsT, InputT, OutputT]:
        """Make a group that is a graph, run inside the same run, with the same deps.

        Args:
            graph: the graph; its nodes get ids that begin with the group's.
            state: what the state of the inner graph starts from, as a function of the context; ``"shared"`` lets it work on
                the outer state. A graph without a state needs none.
            on_end: a function of the outer and the inner state, which takes over what is to be kept when the inner graph
                ends; it may be called again on recovery, so it only changes the outer state.
            node_id: the group's id; the graph's name if it isn't given.

        Raises:
            GraphSetupError: the graph has a state and it isn't said what that starts from, or an argument is of a wrong type.
        """
        if not isinstance(graph, Graph):
            raise GraphSetupError(f"g.subgraph: {graph!r:.80} is no graph: give what GraphBuilder.build() returns")
        self._types += [graph.state_type, *graph.types]
        return subgraph_group(self._id_for(node_id, graph.name), graph, state=state, on_end=on_end)
