"""pydantic-graph: the graphs of ``benchmarks.graphs``, built by its builder, run in memory. It keeps nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pydantic_graph

from benchmarks import graphs
from benchmarks.measure import Measured
from benchmarks.peers.child import answer


async def _run(graph: Any, units: int, **arguments: Any) -> Measured:
    measured = Measured(units)
    with measured.timed():
        await graph.run(**arguments)
    return measured


async def chain(folder: Path, size: int) -> Measured:
    """Run one step many times by way of a decision."""
    return await _run(graphs.loop(pydantic_graph, size), size, inputs=0)


async def mapped(folder: Path, size: int) -> Measured:
    """Map over many items into a join."""
    return await _run(graphs.mapped(pydantic_graph), size, inputs=list(range(size)))


async def append(folder: Path, size: int) -> Measured:
    """Append 1 KB to a list in the state, many times."""
    return await _run(graphs.growing(pydantic_graph, size), size, inputs=0, state=graphs.Texts())


async def runs(folder: Path, size: int) -> Measured:
    """Do many runs of five steps at once."""
    graph, measured = graphs.line(pydantic_graph, 5), Measured(size * 5)
    with measured.timed():
        assert await asyncio.gather(*(graph.run(inputs=0) for _ in range(size))) == [5] * size
    return measured


if __name__ == "__main__":
    answer({"chain": chain, "map": mapped, "append": append, "runs": runs})
