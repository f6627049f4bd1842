"""Step types: what the nodes of a definition in JSON may be, by name.

A registry is any mapping of names to functions, to steps, routers and waits that a builder made, to whole graphs, or to a
:class:`StepType`, a function with what every node of the type is told. Each node of a definition becomes a node of its own,
under its own id; what the definition says of it comes before what its type says.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, Unpack

import msgspec

from perdure.errors import GraphSetupError
from perdure.graph.builder.declare_nodes import NodeDeclarations
from perdure.graph.nodes.policies import JoinPolicies, JoinPolicy, OnError, Seconds, Uncertain
from perdure.graph.nodes.policies import Retry as RetryPolicy
from perdure.graph.nodes.router import Router
from perdure.graph.nodes.step import AnyStep, Step
from perdure.graph.nodes.wait import Wait


class StepTypeOptions(TypedDict, total=False):
    """What a step type says of its nodes; see ``g.step``."""

    label: str | None
    join: JoinPolicy
    cancel: bool
    on_error: OnError | None
    min_ok: int | None
    retry: RetryPolicy | int | None
    timeout: Seconds | None
    executor: str | None
    effect: bool
    on_uncertain: Uncertain
    max_crashes: int
    max_concurrency: int | None


class StepType:
    """A function, and what all nodes are told that call it: ``StepType(charge, effect=True, retry=3)``.

    Args:
        call: the function, as ``@g.step`` takes it.
        options: what ``@g.step`` takes besides, except for an id.

    Raises:
        GraphSetupError: what is given is no function, or an option can't be.
    """

    def __init__(self, call: Callable[..., Any], **options: Unpack[StepTypeOptions]) -> None:
        self.call = call
        self.options: Mapping[str, Any] = dict(options)
        made_step("step_type", call, self.options)

    def __repr__(self) -> str:
        return f"StepType({self.call!r})"


def made_step(id_: str, call: Callable[..., Any], options: Mapping[str, Any]) -> AnyStep:
    """Return the step that a function makes.

    Raises:
        GraphSetupError: it is no function for a step, or an option can't be.
    """
    declarations: NodeDeclarations[Any, Any] = NodeDeclarations()
    step: AnyStep = declarations.step(call, node_id=id_, **options)
    return step


def placed(id_: str, type_: Any, options: Mapping[str, Any]) -> Any:
    """Return the node of a type that stands in a graph under an id.

    Raises:
        GraphSetupError: nodes can't be of such a type, or an option can't be.
    """
    if isinstance(type_, StepType):
        return made_step(id_, type_.call, _overridden(type_.options, options))
    if isinstance(type_, Step | Router):
        return _placed_copy(id_, type_, options)
    if isinstance(type_, Wait):
        beyond = sorted(options.keys() - {"label"})
        if beyond:
            raise GraphSetupError(f"a wait has no {beyond[0]}: that is for steps")
        wait = copy.copy(type_)
        wait.id, wait.label = id_, options.get("label", type_.label)
        return wait
    if isinstance(type_, type) or not callable(type_):
        raise GraphSetupError(f"{type_!r:.80} is no function, step, router, wait, StepType or graph")
    return made_step(id_, type_, options)


def _placed_copy(id_: str, type_: Any, options: Mapping[str, Any]) -> Any:
    """Copy a step or a router that has options of its own."""
    if isinstance(type_, Step) and type_.is_stream:
        raise GraphSetupError(
            "a stream's items have to be mapped, and a definition has no maps: make it a step of a graph"
        )
    if isinstance(type_, Router) and "executor" in options:
        raise GraphSetupError("executor= is for plain functions, and a router is async")
    own = {**msgspec.structs.asdict(type_.policies)}
    own["timeout"] = own.pop("timeout_s")
    if isinstance(type_, Router):
        del own["executor"]
    checked = made_step(id_, type_.call, _overridden({**own, **_joined(type_.joining)}, options))
    node = copy.copy(type_)
    node.id, node.label = id_, options.get("label", type_.label)
    node.policies, node.joining = checked.policies, checked.joining
    if isinstance(node, Router) and node.empty is not None and not isinstance(node.empty, str):
        node.empty = node.empty.id
    return node


def _overridden(own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a type with those of a node over them; another join begins afresh."""
    if "join" in options and options["join"] != own.get("join", "each"):
        own = {name: value for name, value in own.items() if name not in ("cancel", "on_error", "min_ok")}
    return {**own, **options}


def _joined(policies: JoinPolicies | None) -> dict[str, Any]:
    """Return the join policy of a step as the arguments that make it."""
    return join_options(policies) if policies is not None else {}


def join_options(policies: JoinPolicies) -> dict[str, Any]:
    """Return the arguments of ``g.step`` that make a join policy."""
    join: JoinPolicy = "all" if policies.quorum == 0 else "any" if policies.gives_one else policies.quorum
    options: dict[str, Any] = {"join": join}
    if policies.cancels:
        options["cancel"] = True
    if policies.on_error is not None:
        options["on_error"] = policies.on_error
    if policies.min_ok:
        options["min_ok"] = policies.min_ok
    return options
