"""What tests of failures, limits and groups build their graphs from, and how they run them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from perdure import Engine, Graph, GraphBuilder, MemoryStore, Recorded

Build = Callable[[GraphBuilder[Any, Any, Any, Any]], None]


def builder(**options: Any) -> GraphBuilder[Any, Any, Any, Any]:
    return GraphBuilder(**{"name": "short", "input_type": object, "output_type": object, **options})


def line(step: Any = None, /, **options: Any) -> Graph[Any, Any, Any, Any]:
    """Return a graph of a single step: a function, with the options of ``g.step``."""
    g = builder()
    only = g.step(step, **options)
    g.add(g.edge_from(g.start_node).to(only), g.edge_from(only).to(g.end_node))
    return g.build()


def run(graph: Graph[Any, Any, Any, Any], inputs: Any = None, **how: Any) -> Any:
    """Run a graph in memory."""
    return asyncio.run(graph.run(inputs=inputs, **how))


class Told:
    """A run on a memory store, with what became of it."""

    def __init__(self, graph: Graph[Any, Any, Any, Any], inputs: Any = None, **how: Any) -> None:
        self.graph, self.inputs, self.how = graph, inputs, how
        self.result: Any = None
        self.error: BaseException | None = None
        self.history: Sequence[Recorded] = []
        self.store = MemoryStore()
        asyncio.run(self._live())

    async def _live(self) -> None:
        async with Engine.open(self.store, [self.graph], **self.how) as engine:
            handle = await engine.start(self.graph, inputs=self.inputs, run_id="run")
            try:
                self.result = await handle.result()
            except Exception as error:
                self.error = error
            self.history = await engine.history("run")

    def events(self, kind: str) -> list[Any]:
        return [recorded.event for recorded in self.history if recorded.kind == kind]
