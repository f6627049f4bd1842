"""Building: whether a graph can work, and what a plan says of it beyond its nodes and edges."""

from __future__ import annotations

import warnings

from perdure.errors import ConvergenceWarning, GraphBuildingError, GraphValidationError
from perdure.graph.compile.compiler import Compiler
from perdure.graph.compile.convergence import convergences
from perdure.graph.compile.coverage import assign_failures, assign_limits, assign_states
from perdure.graph.compile.fingerprint import fingerprint_of
from perdure.graph.compile.parts import Parts
from perdure.graph.compile.regions import assign_parents, mark_regions
from perdure.graph.compile.topology import Topology
from perdure.graph.compile.validate import misuse_problems, structure_problems, unknown_ids
from perdure.graph.nodes.nodes import Fork
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import Step
from perdure.graph.plan import Plan


def complete(plan: Plan, parts: Parts, compiler: Compiler, *, validate_structure: bool) -> None:
    """Find the parents of joins and their regions, and write them and the fingerprint into a plan.

    Raises:
        GraphBuildingError: something in the graph can't work; the message lists everything that can't.
        GraphValidationError: only the structure is at fault.
    """
    topology = Topology(plan)
    problems = [*parts.problems, *unknown_ids(plan, parts.nodes), *misuse_problems(plan, parts.nodes, topology)]
    if parts.is_whole:
        problems += assign_parents(plan, topology, parts.nodes, parts.within)
    structural = structure_problems(plan, compiler.lost_plans()) if validate_structure else []
    if found := (*problems, *structural):
        listed = "\n".join(f"  - {problem}" for problem in found)
        error = GraphBuildingError if problems else GraphValidationError
        raise error(f"graph {plan.name!r} can't be built:\n{listed}", found)
    mark_regions(plan, topology)
    nodes = parts.nodes.items()
    assign_states(plan, parts.own_state)
    assign_failures(plan)
    assign_limits(
        plan,
        topology,
        {id_: node for id_, node in nodes if isinstance(node, Fork)},
        {id_: node.policies for id_, node in nodes if isinstance(node, Step | Router)},
    )
    for sentence in convergences(plan, topology):
        warnings.warn(f"graph {plan.name!r}: {sentence}", ConvergenceWarning, stacklevel=3)
    plan.fingerprint = fingerprint_of(plan)
