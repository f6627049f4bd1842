"""Durable graph workflows: fork, map, join and loop on an append-only SQLite log."""

from perdure.codec.registry import tagged, upcast, versioned
from perdure.engine import local as _local
from perdure.engine.engine import Engine
from perdure.engine.handle import RunHandle
from perdure.engine.history import Recorded
from perdure.engine.logging import add_attempt
from perdure.engine.standstill import Explanation
from perdure.engine.timeline import RunDiff, Timeline
from perdure.errors import (
    CodecError,
    Fenced,
    GraphBuildingError,
    GraphRuntimeError,
    GraphSetupError,
    GraphValidationError,
    InvalidIdentifier,
    MaxStepsError,
    NoResult,
    OutcomeUnknown,
    PerdureError,
    RunCancelled,
    RunConflict,
    RunError,
    RunFailed,
    RunInterrupted,
    RunNotFound,
    RunPaused,
    RunStalled,
    StateConflict,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreTooNew,
    StoreUnsupported,
)
from perdure.graph.builder import GraphBuilder
from perdure.graph.decision import Decision
from perdure.graph.graph import Graph
from perdure.graph.join import (
    Join,
    ReduceFirstValue,
    ReducerContext,
    ReducerFunction,
    reduce_dict_update,
    reduce_list_append,
    reduce_list_extend,
    reduce_null,
    reduce_sum,
)
from perdure.graph.nodes import EndNode, Fork, StartNode
from perdure.graph.step import Step, StepContext
from perdure.graph.types import TypeExpression
from perdure.kernel.state.reducers import add, append, first, forbid, last, max_value, merge, min_value, union
from perdure.kernel.status import Status
from perdure.store.memory import MemoryStore
from perdure.store.port import RunInfo
from perdure.store.sqlite.store import SQLiteStore
from perdure.version import __version__

__all__ = [
    "CodecError",
    "Decision",
    "EndNode",
    "Engine",
    "Explanation",
    "Fenced",
    "Fork",
    "Graph",
    "GraphBuilder",
    "GraphBuildingError",
    "GraphRuntimeError",
    "GraphSetupError",
    "GraphValidationError",
    "InvalidIdentifier",
    "Join",
    "MaxStepsError",
    "MemoryStore",
    "NoResult",
    "OutcomeUnknown",
    "PerdureError",
    "Recorded",
    "ReduceFirstValue",
    "ReducerContext",
    "ReducerFunction",
    "RunCancelled",
    "RunConflict",
    "RunDiff",
    "RunError",
    "RunFailed",
    "RunHandle",
    "RunInfo",
    "RunInterrupted",
    "RunNotFound",
    "RunPaused",
    "RunStalled",
    "SQLiteStore",
    "StartNode",
    "StateConflict",
    "Status",
    "Step",
    "StepContext",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreForeign",
    "StoreFull",
    "StoreLocked",
    "StoreReadOnly",
    "StoreTooNew",
    "StoreUnsupported",
    "Timeline",
    "TypeExpression",
    "__version__",
    "add",
    "add_attempt",
    "append",
    "first",
    "forbid",
    "last",
    "max_value",
    "merge",
    "min_value",
    "reduce_dict_update",
    "reduce_list_append",
    "reduce_list_extend",
    "reduce_null",
    "reduce_sum",
    "tagged",
    "union",
    "upcast",
    "versioned",
]

del _local
