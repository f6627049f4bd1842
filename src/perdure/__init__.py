"""Durable graph workflows: fork, map, join and loop on an append-only SQLite log."""

from perdure.codec.redaction import Redact
from perdure.codec.registry import tagged, upcast, versioned
from perdure.codec.secret import Secret
from perdure.engine import local as _local
from perdure.engine.calling.logging import add_attempt
from perdure.engine.calling.waiting import Waiting
from perdure.engine.engine import Engine
from perdure.engine.graph_run import GraphRun
from perdure.engine.handle import RunHandle
from perdure.engine.inspection.batches import Batch, Batches
from perdure.engine.inspection.history import Recorded
from perdure.engine.inspection.standstill import Explanation
from perdure.engine.inspection.timeline import RunDiff, Timeline
from perdure.errors import (
    AnswerRefused,
    CodecError,
    ConvergenceWarning,
    CrashLoop,
    DeadlineExceeded,
    EncryptionError,
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
    QuorumNotReached,
    RunCancelled,
    RunConflict,
    RunError,
    RunFailed,
    RunInterrupted,
    RunNotFound,
    RunPaused,
    RunStalled,
    StateConflict,
    StepTimeout,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreFaulty,
    StoreForeign,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreTooNew,
    StoreUnsupported,
)
from perdure.failure import Failure
from perdure.graph.builder.builder import GraphBuilder
from perdure.graph.definitions.step_type import StepType
from perdure.graph.graph import Graph
from perdure.graph.nodes.class_node import BaseNode, End, GraphRunContext, JoinNode, StepNode
from perdure.graph.nodes.conditions import Condition
from perdure.graph.nodes.decision import Decision
from perdure.graph.nodes.group import Group
from perdure.graph.nodes.iteration import EndMarker, ErrorMarker, GraphTask, GraphTaskRequest
from perdure.graph.nodes.join import (
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
from perdure.graph.nodes.nodes import EndNode, Fork, StartNode
from perdure.graph.nodes.policies import NOT_DONE, Retry
from perdure.graph.nodes.router import Router, Send
from perdure.graph.nodes.step import Step, StepContext
from perdure.graph.nodes.wait import Answer, Escalate, Wait
from perdure.graph.registry import Registry
from perdure.graph.types import TypeExpression
from perdure.kernel.fold.status import Status
from perdure.kernel.state.reducers import add, append, first, forbid, last, max_value, merge, min_value, union
from perdure.store.aes_gcm import AES256GCM
from perdure.store.encryption import Encryption
from perdure.store.memory import MemoryStore
from perdure.store.records import RunInfo
from perdure.store.sqlite.store import SQLiteStore
from perdure.version import __version__

__all__ = [
    "AES256GCM",
    "NOT_DONE",
    "Answer",
    "AnswerRefused",
    "BaseNode",
    "Batch",
    "Batches",
    "CodecError",
    "Condition",
    "ConvergenceWarning",
    "CrashLoop",
    "DeadlineExceeded",
    "Decision",
    "Encryption",
    "EncryptionError",
    "End",
    "EndMarker",
    "EndNode",
    "Engine",
    "ErrorMarker",
    "Escalate",
    "Explanation",
    "Failure",
    "Fenced",
    "Fork",
    "Graph",
    "GraphBuilder",
    "GraphBuildingError",
    "GraphRun",
    "GraphRunContext",
    "GraphRuntimeError",
    "GraphSetupError",
    "GraphTask",
    "GraphTaskRequest",
    "GraphValidationError",
    "Group",
    "InvalidIdentifier",
    "Join",
    "JoinNode",
    "MaxStepsError",
    "MemoryStore",
    "NoResult",
    "OutcomeUnknown",
    "PerdureError",
    "QuorumNotReached",
    "Recorded",
    "Redact",
    "ReduceFirstValue",
    "ReducerContext",
    "ReducerFunction",
    "Registry",
    "Retry",
    "Router",
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
    "Secret",
    "Send",
    "StartNode",
    "StateConflict",
    "Status",
    "Step",
    "StepContext",
    "StepNode",
    "StepTimeout",
    "StepType",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreFaulty",
    "StoreForeign",
    "StoreFull",
    "StoreLocked",
    "StoreReadOnly",
    "StoreTooNew",
    "StoreUnsupported",
    "Timeline",
    "TypeExpression",
    "Wait",
    "Waiting",
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
