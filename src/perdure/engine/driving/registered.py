"""Graphs as an engine knows them: with their codec, their flows and their dependencies."""

from __future__ import annotations

import copy
import inspect
from typing import Any
from weakref import WeakKeyDictionary

from typing_extensions import is_typeddict

from perdure.codec.codec import Codec, storage_problems
from perdure.codec.redaction import Redaction
from perdure.engine.calling.evaluate import flows_of
from perdure.errors import GraphBuildingError
from perdure.graph.graph import Graph
from perdure.graph.types import type_name, unwrapped
from perdure.kernel.fold.run import Reading, Run
from perdure.kernel.state.shapes import declared_merges, shape_of
from perdure.kernel.state.tree import is_immutable
from perdure.store.encryption import Sealing


class Registered:
    """A graph that an engine can run and store."""

    def __init__(self, graph: Graph[Any, Any, Any, Any]) -> None:
        """Check that a graph's values can be stored.

        Raises:
            GraphBuildingError: they can't.
        """
        problems = storage_problems(graph) + state_problems(graph.state_type)
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise GraphBuildingError(f"graph {graph.name!r} can't be run with a store:\n{listed}", tuple(problems))
        self.graph = graph
        self.codec = Codec(graph)
        self.flows = flows_of(graph)

    def guarded(self, redaction: Redaction | None, sealing: Sealing | None) -> Registered:
        """Return the same graph with a codec that keeps something out of what it writes, or makes it unreadable."""
        if redaction is None and sealing is None:
            return self
        guarded = copy.copy(self)
        guarded.codec = self.codec.guarded(redaction, sealing.blob if sealing is not None else None)
        return guarded


_known: WeakKeyDictionary[Graph[Any, Any, Any, Any], Registered] = WeakKeyDictionary()


def registered(graph: Graph[Any, Any, Any, Any]) -> Registered:
    """Return a graph with its codec and flows, made once for each.

    Raises:
        GraphBuildingError: values of the graph can't be stored.
    """
    known = _known.get(graph)
    if known is None:
        known = _known[graph] = Registered(graph)
    return known


def new_run(graph: Graph[Any, Any, Any, Any], run_id: str, reading: Reading) -> Run:
    """Return a run with nothing applied to it."""
    run = Run(graph.plan, run_id, reading)
    if is_typeddict(graph.state_type):
        run.state.declared = declared_merges(graph.state_type)
    return run


def state_problems(state_type: Any) -> list[str]:
    """Return why a type can't be that of a durable state, in no or one sentence."""
    plain: Any = unwrapped(state_type)
    if plain is None or plain is type(None) or is_typeddict(plain) or not inspect.isclass(plain):
        return []
    kind: Any = plain
    if issubclass(plain, list | dict | set) or plain is object or shape_of(kind) is not None:
        return []
    if is_immutable(plain) or hasattr(plain, "__dataclass_fields__") or hasattr(plain, "__struct_fields__"):
        return [
            f"state_type {type_name(plain)} is immutable, so no step could change the state: make it a dataclass, msgspec "
            "Struct or pydantic model that isn't frozen"
        ]
    return []
