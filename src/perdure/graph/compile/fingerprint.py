"""Fingerprints: whether two plans are the same to a running run, and where they differ.

A fingerprint covers what the fold of a log depends on: nodes, edges, forks, parents of joins, order and policies. It
leaves out functions, labels, notes and types: a bug in a step may be mended under a run, that is what deploys are for.

A version that was given is part of it: whoever names versions wants runs to stay with theirs, and the code to as well, for as
long as theirs is there (``kernel/fit.py`` says what comes after).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from perdure.graph.flow import Split, flows_within
from perdure.graph.plan import NodePlan, Plan, structure_of

_encode = msgspec.json.Encoder(order="deterministic").encode


def fingerprint_of(plan: Plan) -> str:
    """Return a hash of everything a running run depends on."""
    nodes = {id_: node_fingerprint(plan, node) for id_, node in plan.nodes.items()}
    return _hash({"end": plan.end, "nodes": nodes, **({"version": plan.version} if plan.version else {})})


def node_fingerprint(plan: Plan, node: NodePlan) -> str:
    """Return a hash of one node and its edges."""
    structure = structure_of(node)
    if node.order == "branch":
        structure["arms"] = _arm_orders(plan, node.id)
    return _hash(structure)


def nature_of(plan: Plan, node: NodePlan) -> dict[str, Any]:
    """Return what a node is, apart from where it leads."""
    structure = structure_of(node)
    del structure["flow"]
    if node.order == "branch":
        structure["arms"] = _arm_orders(plan, node.id)
    return structure


def edges_of(node: NodePlan) -> Any:
    """Return where a node leads, as it is compared."""
    return structure_of(node)["flow"]


def _arm_orders(plan: Plan, join: str) -> dict[str, list[int]]:
    """Return the order of the arms of every broadcast in a join's region, which its result depends on."""
    return {
        flow.fork: list(flow.ranks)
        for node in plan.nodes.values()
        for flow in (flows_within(node.flow) if node.flow is not None else ())
        if isinstance(flow, Split) and any(counted_join == join for _, counted_join in plan.nodes[flow.fork].counted)
    }


def _hash(value: Any) -> str:
    return blake2b(_encode(value), digest_size=16).hexdigest()
