"""Every public option does something: what carries it is read where runs are driven, or where graphs are drawn.

The table below names, for each option, the attribute that carries it from the call to the code that acts on it. An option
that is added has to be added here; one whose attribute nobody reads any more fails.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import Engine, Graph, GraphBuilder
from perdure.graph.nodes.policies import Retry, StepOptions

ROOT = Path(perdure.__file__).parent

PASSED = "which is handed on to another call as it is"
NAMES = {"node_id": "id", "label": "label"}
JOINING = {"join": "quorum", "cancel": "cancels", "on_error": "on_error", "min_ok": "min_ok"}
STEP = {
    "retry": "retry",
    "timeout": "timeout_s",
    "executor": "executor",
    "effect": "effect",
    "on_uncertain": "on_uncertain",
    "max_crashes": "max_crashes",
    "max_concurrency": "limits",
}
RUN = {"state": "state", "deps": "deps", "inputs": "inputs", "run_id": "run_id", "durability": "durability"}

CARRIED: dict[Callable[..., Any], dict[str, str]] = {
    GraphBuilder.__init__: {
        "name": "name",
        "state_type": "state_type",
        "deps_type": "deps_type",
        "input_type": "input_type",
        "output_type": "output_type",
        "end": "end",
        "state_conflicts": "state_conflicts",
        "max_steps": "max_steps",
        "max_tasks": "max_tasks",
        "max_concurrency": "limits",
        "on_error": "catch",
        "types": "types",
        "version": "version",
    },
    GraphBuilder.step: {"call": "call", **NAMES, **JOINING, "options": PASSED},
    GraphBuilder.stream: {"call": "call", **NAMES, "resume": "resume", "options": PASSED},
    GraphBuilder.router: {"call": "call", **NAMES, "empty": "empty", **JOINING, "options": PASSED},
    GraphBuilder.join: {
        "reducer": "reducer",
        "initial": "initial_factory",
        "initial_factory": "initial_factory",
        "node_id": "id",
        "parent_fork_id": "parent",
        "preferred_parent_fork": "parent",
        "order": "order",
        "on_error": "on_error",
        "min_ok": "min_ok",
    },
    GraphBuilder.parallel: {
        "members": "flow",
        "then": "flow",
        "max_concurrency": "limits",
        "on_error": "on_error",
        "min_ok": "min_ok",
        "node_id": "id",
    },
    GraphBuilder.race: {"members": "flow", "node_id": "id"},
    GraphBuilder.chain: {"members": "flow", "node_id": "id"},
    GraphBuilder.subgraph: {"graph": "flow", "state": "has_state", "on_end": "reducer", "node_id": "id"},
    GraphBuilder.decision: {"note": "note", "node_id": "id"},
    GraphBuilder.match: {"source": "_matches", "matches": "_matches"},
    GraphBuilder.edge_from: {"sources": "flow"},
    GraphBuilder.add: {"edges": "flow"},
    GraphBuilder.add_edge: {"source": "flow", "destination": "target", "label": "label"},
    GraphBuilder.add_mapping_edge: {
        "source": "flow",
        "map_to": "target",
        "pre_map_label": "label",
        "post_map_label": "label",
        "fork_id": "fork",
        "downstream_join_id": "join",
        "max_concurrency": "limits",
    },
    Engine.open: {
        "store": "_store",
        "graphs": "graphs",
        "deps": "deps",
        "deps_for": "_deps_for",
        "executors": "_pools",
        "recover": "recovers",
        "drive": "drives",
        "durability": "_durability",
        "clock": "clock",
        "lease_s": "_lease_s",
        "max_runs": "max_runs",
        "on_event": "_callbacks",
        "telemetry": "_observing",
        "redact": "redaction",
        "encryption": "_sealing",
    },
    Engine.start: {
        "graph": "graph",
        **RUN,
        "by": "by",
        "deadline": "deadline",
        "tags": "tags",
        "child": "in_trace",
    },
    Graph.run: {
        **RUN,
        **dict.fromkeys(("store", "executors", "until", "redact", "encryption", "telemetry"), PASSED),
        "deadline": "deadline",
    },
    Graph.run_sync: {
        **RUN,
        **dict.fromkeys(("store", "executors", "until", "redact", "encryption", "telemetry"), PASSED),
        "deadline": "deadline",
    },
    Retry.__init__: {
        name: name
        for name in (
            "max_attempts",
            "initial_interval",
            "backoff_factor",
            "max_interval",
            "jitter",
            "retry_on",
            "no_retry_on",
        )
    },
}


def read_in(*folders: str) -> set[str]:
    """Return the attributes that are read anywhere in some of the package's folders."""
    return {
        node.attr
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


# Attributes that types alone carry, or that the graph itself acts on when it is built, drawn or asked.
IN_THE_GRAPH = {"deps_type", "input_type", "on_error", "label", "note", "empty", *CARRIED[Retry.__init__]}


@pytest.mark.parametrize("call", CARRIED, ids=lambda call: call.__qualname__)
def test_every_option_is_carried_to_where_it_is_read(call: Callable[..., Any]) -> None:
    options = [name for name in inspect.signature(call).parameters if name not in ("self", "cls")]
    assert set(CARRIED[call]) == set(options), "the table says what carries each option, and nothing else"
    driven, drawn = read_in("kernel", "engine", "codec"), read_in("graph")
    unread = {
        option: attribute
        for option, attribute in CARRIED[call].items()
        if attribute != PASSED and attribute not in (drawn if attribute in IN_THE_GRAPH else driven)
    }
    assert unread == {}


def test_every_option_of_a_step_is_carried_to_where_it_is_read() -> None:
    assert set(StepOptions.__annotations__) == {*NAMES, *STEP}
    driven = read_in("kernel", "engine")
    assert {option: name for option, name in STEP.items() if name not in driven} == {}


def test_every_method_of_the_builder_that_takes_options_is_in_the_table() -> None:
    methods = {
        method
        for name in dir(GraphBuilder)
        if not name.startswith("_") and inspect.isfunction(method := getattr(GraphBuilder, name))
    }
    waits = {GraphBuilder.human, GraphBuilder.signal, GraphBuilder.sleep, GraphBuilder.sleep_until}
    assert {method.__name__ for method in methods - set(CARRIED) - waits} <= {"build", "node", "match_node"}
