"""Flows: what a value goes through after a node, as plain data.

A path (``paths.py``) is what the user wrote; a flow is the same with everything settled: forks have ids, edges have
ordinals, and functions are replaced by their slot in the graph's tables, so that a flow can be stored with a run and
walked by a process that doesn't have the user's code.

Evaluating a flow calls user code (transforms, matches) and happens once, in the attempt of the node before it. What
came out is recorded as a :class:`~perdure.events.Route`; walking the flow with that route, live and on replay, calls
nothing.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Leaf(msgspec.Struct, frozen=True, tag="leaf", omit_defaults=True):
    """The value arrives at a node, or goes on through a decision."""

    target: str
    ordinal: int = 0
    """Which of the owner's edges to the same target this is."""
    label: str | None = None


class Transform(msgspec.Struct, frozen=True, tag="transform", omit_defaults=True):
    """The value is replaced; the new one is in the route."""

    slot: int
    then: Flow


class Split(msgspec.Struct, frozen=True, tag="split", omit_defaults=True):
    """A broadcast: the value goes on along every arm."""

    fork: str
    arms: tuple[Flow, ...]
    ranks: tuple[int, ...]
    """For each arm, its place in an order that doesn't depend on when it was added; part of task ids."""
    label: str | None = None


class Spread(msgspec.Struct, frozen=True, tag="spread", omit_defaults=True):
    """A map: each item of the value goes on alone."""

    fork: str
    then: Flow
    join: str | None = None
    """The join that is opened at once, so that it fires for an empty map."""
    label: str | None = None


class Pick(msgspec.Struct, frozen=True, tag="pick", omit_defaults=True):
    """A router's own flow: the value goes on along the ways it chose; which ones is in the route."""

    fork: str
    arms: tuple[Flow, ...]
    targets: tuple[str, ...]
    """For each way, the node it leads to, by which a router names it."""
    empty: int | None = None
    """The way that is taken when a router chooses none."""


class Enter(msgspec.Struct, frozen=True, tag="enter", omit_defaults=True):
    """The way into a subgraph."""

    fork: str
    then: Flow
    slot: int = -1
    """Where the function is that makes the subgraph's state of the outer one, or -1."""
    has_state: bool = False


class Choose(msgspec.Struct, frozen=True, tag="choose", omit_defaults=True):
    """A decision's own flow: one branch is taken; which one is in the route."""

    branches: tuple[Branch, ...]


class Branch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way out of a decision."""

    slot: int
    then: Flow


Flow: TypeAlias = Leaf | Transform | Split | Spread | Choose | Pick | Enter


def subflows(flow: Flow) -> tuple[Flow, ...]:
    """Return the flows directly inside a flow."""
    if isinstance(flow, Transform | Spread | Enter):
        return (flow.then,)
    if isinstance(flow, Split | Pick):
        return flow.arms
    if isinstance(flow, Choose):
        return tuple(branch.then for branch in flow.branches)
    return ()


def flows_within(flow: Flow) -> list[Flow]:
    """Return a flow and all flows inside it, outer before inner."""
    found = [flow]
    for part in found:
        found.extend(subflows(part))
    return found


def needs_value(flow: Flow) -> bool:
    """Say whether the value itself travels on, and not only its items or what a transform makes of it."""
    if isinstance(flow, Leaf):
        return True
    if isinstance(flow, Split | Pick):
        return any(needs_value(arm) for arm in flow.arms)
    if isinstance(flow, Enter):
        return needs_value(flow.then)
    if isinstance(flow, Choose):
        return any(needs_value(branch.then) for branch in flow.branches)
    return False
