"""Grouping: parallel members, races and chains, as the edges they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perdure.errors import GraphSetupError
from perdure.graph.nodes.group import Entry, Group
from perdure.graph.nodes.join import FoldOrder, Join, reduce_list_append
from perdure.graph.nodes.paths import BroadcastItem, DestinationItem, EdgePath, Path
from perdure.graph.nodes.policies import JoinPolicies
from perdure.graph.nodes.step import Step
from perdure.graph.nodes.wait import Wait


def parallel_group(
    id: str, members: Sequence[Any], *, then: Any, max_concurrency: int | None, policies: JoinPolicies
) -> Group[Any, Any, Any, Any]:
    """Return a group that runs its members at once and gives out the list of their outputs."""
    _check_members("g.parallel", members, 1)
    join = exit_join(id, reduce_list_append, list, policies)
    return _forked(id, members, join, then, max_concurrency)


def race_group(id: str, members: Sequence[Any]) -> Group[Any, Any, Any, Any]:
    """Return a group that gives out what the first of its members to succeed gives out."""
    _check_members("g.race", members, 2)
    join = exit_join(id, _taken, lambda: None, JoinPolicies(quorum=1, cancels=True, on_error="lose"))
    return _forked(id, members, join, None, None)


def chain_group(id: str, members: Sequence[Any]) -> Group[Any, Any, Any, Any]:
    """Return a group that runs its members one after another."""
    _check_members("g.chain", members, 1)
    if len({member.id for member in members}) < len(members):
        raise GraphSetupError("g.chain: a node stands in the chain twice, which would be a loop; make a second step")
    entry = Entry(id)
    nodes = [entry, *members]
    edges: list[EdgePath[Any, Any]] = [
        EdgePath((source,), (DestinationItem(target),)) for source, target in zip(nodes, members, strict=False)
    ]
    return Group(entry=entry, exit=members[-1], edges=edges, members=members)


def _forked(
    id: str, members: Sequence[Any], join: Join[Any, Any, Any, Any], then: Any, max_concurrency: int | None
) -> Group[Any, Any, Any, Any]:
    entry = Entry(id)
    arms: list[Path] = [(DestinationItem(member),) for member in members]
    edges: list[EdgePath[Any, Any]] = [
        EdgePath((entry,), (BroadcastItem(f"{id}_fork", tuple(arms), max_concurrency),)),
        *(EdgePath((member,), (DestinationItem(join),)) for member in dict.fromkeys(members)),
    ]
    if then is None:
        return Group(entry=entry, exit=join, edges=edges, members=members)
    _check_members("g.parallel then=", (then,), 1)
    edges.append(EdgePath((join,), (DestinationItem(then),)))
    return Group(entry=entry, exit=then, edges=edges, members=[*members, then])


def exit_join(
    id: str,
    reducer: Callable[..., Any],
    initial: Callable[[], Any],
    policies: JoinPolicies,
    order: FoldOrder = "branch",
) -> Join[Any, Any, Any, Any]:
    """Return the join at which the arms of a group meet."""
    return Join(
        id=f"{id}_join",
        reducer=reducer,
        initial_factory=initial,
        parent_fork_id=f"{id}_fork",
        order=order,
        policies=policies,
    )


def _taken(current: Any, item: Any) -> Any:
    return item


def _check_members(where: str, members: Sequence[Any], least: int) -> None:
    if len(members) < least:
        raise GraphSetupError(f"{where}: give at least {least} node{'s' if least > 1 else ''}")
    for member in members:
        if not isinstance(member, Step | Wait | Group):
            raise GraphSetupError(
                f"{where}: {member!r:.80} can't be a member of a group: give steps, waits and groups"
                + ("; decorate the function with @g.step" if callable(member) else "")
            )
        if isinstance(member, Step) and member.joining is not None:
            raise GraphSetupError(
                f"{where}: step {member.id!r} waits for several arms, and only one leads to a member of a group: drop its "
                "join=, or put it behind the group"
            )
        if isinstance(member, Step) and member.is_stream:
            raise GraphSetupError(f"{where}: stream {member.id!r} can't be a member of a group; map it in a subgraph")
