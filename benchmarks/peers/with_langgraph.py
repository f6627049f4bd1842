"""LangGraph with its SQLite checkpointer, at durability ``sync``: each superstep is written before the next one begins.

What the checkpointer sets is left as it is: WAL, and SQLite's own default for ``synchronous``, which is FULL.
"""

from __future__ import annotations

import asyncio
import operator
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from benchmarks.measure import Measured, main_file_bytes
from benchmarks.peers.child import answer, leave_as_if_killed

STEPS = 5


class Number(TypedDict):
    """A number that is counted up."""

    x: int


class Mapped(TypedDict):
    """Items, and what came of them."""

    items: list[int]
    out: Annotated[list[int], operator.add]


class Growing(TypedDict):
    """A number, and a list that grows."""

    x: int
    log: Annotated[list[str], operator.add]


@asynccontextmanager
async def _saver(folder: Path) -> AsyncIterator[AsyncSqliteSaver]:
    async with AsyncSqliteSaver.from_conn_string(str(folder / "runs.db")) as saver:
        await saver.setup()
        yield saver


async def _invoke(graph: Any, given: Any, thread: str = "run", limit: int = 10_050) -> Any:
    config = {"configurable": {"thread_id": thread}, "recursion_limit": limit}
    return await graph.ainvoke(given, config, durability="sync")


async def _add_one(state: Number) -> Any:
    return {"x": state["x"] + 1}


def _looping(schema: Any, step: Any, size: int) -> Any:
    graph = StateGraph(schema)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: "step" if state["x"] < size else END, ["step", END])
    return graph


async def chain(folder: Path, size: int) -> Measured:
    """Run one step many times by way of a conditional edge."""
    measured = Measured(size)
    async with _saver(folder) as saver:
        graph = _looping(Number, _add_one, size).compile(checkpointer=saver)
        with measured.timed():
            assert (await _invoke(graph, {"x": 0}))["x"] == size
    measured.extra["bytes a unit"] = main_file_bytes(folder / "runs.db") / size
    return measured


async def append(folder: Path, size: int) -> Measured:
    """Append 1 KB to a list in the state, many times."""

    async def step(state: Growing) -> Any:
        return {"x": state["x"] + 1, "log": ["x" * 1024]}

    measured = Measured(size)
    async with _saver(folder) as saver:
        graph = _looping(Growing, step, size).compile(checkpointer=saver)
        with measured.timed():
            assert len((await _invoke(graph, {"x": 0, "log": []}))["log"]) == size
    measured.extra["bytes a unit"] = main_file_bytes(folder / "runs.db") / size
    return measured


def _mapping(step: Any) -> Any:
    async def last(state: Mapped) -> Any:
        return {}

    graph = StateGraph(Mapped)
    graph.add_node("add_one", step)
    graph.add_node("last", last)
    graph.add_conditional_edges(START, lambda state: [Send("add_one", {"x": x}) for x in state["items"]], ["add_one"])
    graph.add_edge("add_one", "last")
    graph.add_edge("last", END)
    return graph


async def mapped(folder: Path, size: int) -> Measured:
    """Send many items to a step, and collect what comes of them."""

    async def add_one(state: Number) -> Any:
        return {"out": [state["x"] + 1]}

    measured = Measured(size)
    async with _saver(folder) as saver:
        graph = _mapping(add_one).compile(checkpointer=saver)
        with measured.timed():
            found = await _invoke(graph, {"items": list(range(size)), "out": []})
        assert sum(found["out"]) == size * (size + 1) // 2
    measured.extra["bytes a unit"] = main_file_bytes(folder / "runs.db") / size
    return measured


async def runs(folder: Path, size: int) -> Measured:
    """Do many runs of five steps at once."""
    graph = StateGraph(Number)
    previous = START
    for number in range(STEPS):
        graph.add_node(f"step_{number}", _add_one)
        graph.add_edge(previous, f"step_{number}")
        previous = f"step_{number}"
    graph.add_edge(previous, END)
    measured = Measured(size * STEPS)
    async with _saver(folder) as saver:
        compiled = graph.compile(checkpointer=saver)
        with measured.timed():
            found = await asyncio.gather(*(_invoke(compiled, {"x": 0}, f"run {n}") for n in range(size)))
        assert all(one["x"] == STEPS for one in found)
    measured.extra["bytes a unit"] = main_file_bytes(folder / "runs.db") / measured.units
    return measured


async def resuming(folder: Path, size: int) -> Measured:
    """Answer many runs that wait, up to the last result."""

    async def ask(state: Number) -> Any:
        return {"x": interrupt("How much?")}

    async def double(state: Number) -> Any:
        return {"x": state["x"] * 2}

    graph = StateGraph(Number)
    graph.add_node("ask", ask)
    graph.add_node("double", double)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "double")
    graph.add_edge("double", END)
    measured = Measured(size)
    async with _saver(folder) as saver:
        compiled = graph.compile(checkpointer=saver)
        await asyncio.gather(*(_invoke(compiled, {"x": 0}, f"run {n}") for n in range(size)))
        with measured.timed():
            answers = (_invoke(compiled, Command(resume=n), f"run {n}") for n in range(size))
            found = await asyncio.gather(*answers)
        assert [one["x"] for one in found] == [2 * n for n in range(size)]
    return measured


async def crash(folder: Path, size: int) -> None:
    """Leave a run of which all items but the last are done and written, as a crash would."""

    async def add_one(state: Number) -> Any:
        if state["x"] == size:
            await asyncio.to_thread(_see_written, folder / "runs.db", size)
            leave_as_if_killed()
        return {"out": [state["x"] + 1]}

    async with _saver(folder) as saver:
        await _invoke(_mapping(add_one).compile(checkpointer=saver), {"items": list(range(size + 1)), "out": []})


def _see_written(path: Path, size: int) -> None:
    connection = sqlite3.connect(path, timeout=30)
    while connection.execute("SELECT count(DISTINCT task_id) FROM writes").fetchone()[0] < size:
        time.sleep(0.2)  # in a process that is measured by nobody
    connection.close()


async def recovery(folder: Path, size: int) -> Measured:
    """Resume that run, up to the body that was interrupted."""
    measured = Measured(1)
    began = 0.0

    async def add_one(state: Number) -> Any:
        if state["x"] == size:
            measured.seconds = time.perf_counter() - began
        return {"out": [state["x"] + 1]}

    began = time.perf_counter()
    async with _saver(folder) as saver:
        found = await _invoke(_mapping(add_one).compile(checkpointer=saver), None)
    assert len(found["out"]) == size + 1
    return measured


if __name__ == "__main__":
    answer(
        {
            "chain": chain,
            "append": append,
            "map": mapped,
            "runs": runs,
            "resuming": resuming,
            "crash": crash,
            "recovery": recovery,
        }
    )
