"""A process that forks others to be killed.

It imports everything once and then forks a child for each request, so that a child costs milliseconds. Requests and
answers are lines of JSON on standard input and output.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import crash.programs
from constructs import answering
from crash.dramas import DRAMAS, Drama
from perdure import Engine, MemoryStore, Router, SQLiteStore, Step
from random_graphs import Tally


class KillingStore(SQLiteStore):
    """Kills its process before or after the n-th commit of a run."""

    def __init__(self, path: str, kill: tuple[int, str] | None) -> None:
        super().__init__(path)
        self._kill_at, self._when = kill or (0, "")
        self.count = 0

    def _at(self, when: str) -> None:
        if self.count == self._kill_at and when == self._when:
            os.kill(os.getpid(), signal.SIGKILL)

    async def create(self, run: Any) -> Any:
        self.count += 1
        self._at("before")
        created = await super().create(run)
        self._at("after")
        return created

    async def append(self, append: Any) -> None:
        self.count += 1
        self._at("before")
        await super().append(append)
        self._at("after")

    async def put(self, entry: Any) -> Any:
        self.count += 1
        self._at("before")
        put = await super().put(entry)
        self._at("after")
        return put

    async def put_and_claim(self, entry: Any, owner: Any, **conditions: Any) -> Any:
        self.count += 1
        self._at("before")
        put = await super().put_and_claim(entry, owner, **conditions)
        self._at("after")
        return put


def watched(graph: Any, entries: str) -> Any:
    """Make every step and router of a graph write down that its body was entered, before it does anything."""
    handle = os.open(entries, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for node in graph.nodes.values():
        if isinstance(node, Step | Router):
            node._call = _noting(node._call, handle)
    return graph


def _noting(call: Any, handle: int) -> Any:
    def noting(ctx: Any) -> Any:
        if ctx.run_id == "run":  # and not one that came from it, whose tasks have the same ids
            os.write(handle, f"{ctx.task_id} {ctx.attempt}\n".encode())
        return call(ctx)

    return noting


async def perform(drama: Drama, request: dict[str, Any]) -> dict[str, Any]:
    """Let a drama go on, and end."""
    store = KillingStore(request["path"], request.get("kill"))
    graph = watched(drama.build(request["waits"]), request["entries"])
    async with Engine.open(store, [graph], recover=False) as engine:
        result = await drama.play(engine, graph)
    return {"result": repr(result), "is_right": result == drama.expected, "commits": store.count}


async def run(request: dict[str, Any]) -> dict[str, Any]:
    if request["program"] in DRAMAS:
        return await perform(DRAMAS[request["program"]], request)
    program = crash.programs.find(request["program"])
    graph = watched(program.build(), request["entries"])
    state = program.state()
    store = KillingStore(request["path"], request.get("kill"))
    durability = request.get("durability", "sync")
    if program.answer is not None:
        result, state = await answered(program, graph, store, durability)
    elif program.is_stepped:
        given = {"inputs": program.inputs, "state": state, "store": store, "run_id": "run", "durability": durability}
        async with graph.iter(**given) as stepped:
            async for _ in stepped:
                pass
            result = stepped.output
    else:
        result = await graph.run(inputs=program.inputs, state=state, store=store, run_id="run", durability=durability)
    return {
        "result": repr(program.view(result)),
        "is_right": program.is_right(result, state),
        "state": [state.count, state.total] if isinstance(state, Tally) else None,
        "commits": store.count,
    }


async def answered(program: Any, graph: Any, store: Any, durability: Any) -> Any:
    """Run a program to its end, giving it all it waits for."""
    async with Engine.open(store, [graph], durability=durability) as engine:
        handle = await engine.start(graph, inputs=program.inputs, state=program.state(), run_id="run")
        result = await answering(handle, lambda _: asyncio.sleep(0), answer=program.answer)
        return result, await handle.state()


def child(request: dict[str, Any], answer: int) -> None:
    code = 1
    try:
        outcome = asyncio.run(run(request))
        os.write(answer, json.dumps(outcome).encode())
        code = 0
    except BaseException:
        os.write(answer, json.dumps({"error": traceback.format_exc()}).encode())
    finally:
        os._exit(code)


LONGEST_S = 60.0
"""A child that takes longer has got stuck."""


def answer_of(reading: int, pid: int, after_s: float | None) -> bytes:
    """Wait for what a child has to say; kill it when its time has come."""
    data = b""
    if not select.select([reading], [], [], after_s if after_s is not None else LONGEST_S)[0]:
        os.kill(pid, signal.SIGKILL)
        if after_s is None:
            data = b'{"error": "it does not come to an end"}'
    while part := os.read(reading, 1 << 16):
        data += part
    return data


def warm_up() -> None:
    """Run something, so that what is imported on first use isn't imported in every child."""
    program = crash.programs.find("random/1")
    asyncio.run(program.build().run(inputs=program.inputs, state=program.state(), store=MemoryStore()))


def serve() -> None:
    warm_up()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            child(request, writing)
        os.close(writing)
        data = answer_of(reading, pid, request.get("after_s"))
        os.close(reading)
        _, status = os.waitpid(pid, 0)
        killed = (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL) or not data
        print(json.dumps({"killed": killed, **(json.loads(data) if data else {})}), flush=True)


if __name__ == "__main__":
    serve()
