"""Whatever a program leaves open, its interpreter ends by itself, soon, and without a word."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

START = """
import asyncio, sys, time
from perdure import Engine, GraphBuilder, StepContext

g = GraphBuilder(name="leaving", input_type=int, output_type=int)

@g.step
async def slow(ctx: StepContext[None, None, int]) -> int:
    await asyncio.sleep(600)
    return ctx.inputs

g.add(g.edge_from(g.start_node).to(slow), g.edge_from(slow).to(g.end_node))
graph = g.build()

h = GraphBuilder(name="hanging", input_type=int, output_type=int)

@h.step
def hang(ctx: StepContext[None, None, int]) -> int:
    time.sleep(600)
    return ctx.inputs

h.add(h.edge_from(h.start_node).to(hang), h.edge_from(hang).to(h.end_node))
hanging = h.build()
path = sys.argv[1]
"""

LEFT = {
    "an engine that nobody closes": """
async def main():
    engine = Engine.open(path, [graph])
    await engine.__aenter__()
asyncio.run(main())
""",
    "an engine with a run in the middle": """
async def main():
    engine = Engine.open(path, [graph])
    await engine.__aenter__()
    await engine.start(graph, inputs=1, run_id="run")
    await asyncio.sleep(0.05)
asyncio.run(main())
""",
    "a closed engine with a run in the middle": """
async def main():
    async with Engine.open(path, [graph]) as engine:
        await engine.start(graph, inputs=1, run_id="run")
        await asyncio.sleep(0.05)
asyncio.run(main())
""",
    "a run that is cancelled": """
async def main():
    task = asyncio.ensure_future(graph.run(inputs=1, store=path, run_id="run"))
    await asyncio.sleep(0.1)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
asyncio.run(main())
""",
    "a run that nobody waits for": """
async def main():
    task = asyncio.ensure_future(graph.run(inputs=1, store=path, run_id="run"))
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    "a run in memory that nobody waits for": """
async def main():
    task = asyncio.ensure_future(graph.run(inputs=1))
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    "a thread that hangs in a step": """
async def main():
    try:
        await asyncio.wait_for(hanging.run(inputs=1, store=path), 0.2)
    except TimeoutError:
        pass
asyncio.run(main())
""",
    "an engine in a loop that was only stopped": """
loop = asyncio.new_event_loop()
async def main():
    global engine
    engine = Engine.open(path, [graph])
    await engine.__aenter__()
    await engine.start(graph, inputs=1, run_id="run")
loop.run_until_complete(main())
""",
}


@pytest.mark.parametrize("program", LEFT.values(), ids=LEFT.keys())
def test_whatever_is_left_open_the_interpreter_ends_by_itself(tmp_path: Path, program: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", START + program + "\nprint(time.monotonic(), flush=True)", str(tmp_path / "runs.db")],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    ended = time.monotonic()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert ended - float(done.stdout.splitlines()[-1]) < 10, "less than two seconds, and a busy machine"
