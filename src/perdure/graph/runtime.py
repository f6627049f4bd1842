"""The seam through which a graph reaches what runs it.

A graph is a definition and lies below the engine, but users call ``graph.run()``. The engine provides itself here when
it is imported, which importing ``perdure`` does; nothing on the floors below knows more of it than this protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor as Pool
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from perdure.errors import GraphRuntimeError
from perdure.events import Durability

if TYPE_CHECKING:
    from perdure.codec.redaction import Redact
    from perdure.engine.calling.observing import Observer
    from perdure.graph.graph import Graph
    from perdure.store.encryption import Encryption
    from perdure.store.port import Store


Until: TypeAlias = Literal["end", "waiting"]
"""How far a run goes before its caller goes on: to its end, or until all that is left to do is to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller asks for; :meth:`Graph.run` says what each of it means."""

    state: Any
    deps: Any
    inputs: Any
    store: str | PathLike[str] | Store | None
    run_id: str | None
    durability: Durability
    executors: Mapping[str, Pool] | None
    redact: Redact | None
    encryption: Encryption | None
    telemetry: Observer | None
    deadline: timedelta | datetime | None = None
    until: Until = "end"


class Runtime(Protocol):
    """What a graph needs to be run."""

    async def run(self, graph: Graph[Any, Any, Any, Any], asked: Asked, /) -> Any:
        """Run a graph to its end and return its output; or until it waits, and return what it waits for."""
        ...

    def iter(self, graph: Graph[Any, Any, Any, Any], asked: Asked, /) -> AbstractAsyncContextManager[Any]:
        """Step through a run of a graph."""
        ...


_provided: list[Runtime] = []


def provide(runtime: Runtime) -> None:
    """Make a runtime the one that graphs use."""
    _provided[:] = [runtime]


def runtime() -> Runtime:
    """Return the runtime that was provided.

    Raises:
        GraphRuntimeError: only the definition was imported.
    """
    if not _provided:
        raise GraphRuntimeError("nothing can run this graph: import perdure, not perdure.graph alone")
    return _provided[0]
