"""Routers: nodes whose code says where to go on, in one direction or in several at once.

A router gives on the value it was given. Its edges declare where it may send it; what it returns names some of them: a
node, or its id, or a list of these, in which the same node may stand twice. ``Send(node, value)`` gives a choice an input
of its own. All that it chooses runs as one batch: every activation of a router is a fork.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Generic, Protocol, TypeAlias

import msgspec

from perdure.graph.nodes.policies import JoinPolicies, StepPolicies
from perdure.graph.nodes.step import StepContext
from perdure.graph.types import DepsT_contra, InputT_contra, OutputT_co, StateT_contra


class Send(msgspec.Struct, frozen=True):
    """A choice of a router with an input of its own: ``Send(step, value)``.

    Attributes:
        node: the node, or its id.
        value: what it gets instead of the router's input.
    """

    node: Any
    value: Any


Choice: TypeAlias = Any
"""A node, the id of one, or a :class:`Send`."""


class RouterFunction(Protocol[StateT_contra, DepsT_contra, InputT_contra]):
    """An async function that returns a choice, or a list of choices."""

    def __call__(
        self, ctx: StepContext[StateT_contra, DepsT_contra, InputT_contra], /
    ) -> Awaitable[Choice | Sequence[Choice]]:
        """Choose."""
        ...


class Router(Generic[StateT_contra, DepsT_contra, InputT_contra, OutputT_co]):
    """A node that chooses among its edges. Made by ``@g.router``.

    Attributes:
        id: the node's id.
        label: what a rendering shows instead of the id, or None.
        empty: where the value goes when the list of choices is empty, or None if that is an error.
        policies: how it is run, as a step's.
        joining: what it waits for before it runs, or None if it runs for each arrival.
        prefix: what the ids of its graph begin with where that is a subgraph; its code knows nothing of it.
        input_type: what the function is annotated with; Any where that can't be told.
    """

    __slots__ = ("_call", "empty", "id", "input_type", "joining", "label", "policies", "prefix")

    def __init__(
        self,
        *,
        id: str,
        call: RouterFunction[StateT_contra, DepsT_contra, Any],
        label: str | None = None,
        empty: Any = None,
        policies: StepPolicies | None = None,
        joining: JoinPolicies | None = None,
        input_type: Any = Any,
    ) -> None:
        self.id: str = id
        self._call = call
        self.label: str | None = label
        self.empty: Any = empty
        self.policies: StepPolicies = policies or StepPolicies()
        self.joining: JoinPolicies | None = joining
        self.prefix: str = ""
        self.input_type: Any = input_type

    @property
    def call(self) -> RouterFunction[StateT_contra, DepsT_contra, Any]:
        """The user's function."""
        return self._call

    @property
    def output_type(self) -> Any:
        """What it gives on: its input."""
        return self.input_type

    def _gives(self, inputs: InputT_contra) -> OutputT_co:
        raise NotImplementedError  # only here so that type checkers infer the variance

    def __repr__(self) -> str:
        return f"Router(id={self.id!r})"
