"""What was asked of a run is done, though the process that asked has died right after, and another one drives the run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from perdure import Engine, GraphBuilder, RunCancelled, RunPaused, StepContext
from perdure.events import RunCancelled as CancelledEvent
from perdure.events import RunPaused as PausedEvent
from perdure.testing.invariants import violations

_ASK = """
import asyncio, os, sys
from perdure import Engine

async def main():
    async with Engine.open(sys.argv[1], recover=False) as engine:
        await getattr(engine, sys.argv[2])("run", by="somebody", reason="because")
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("verb", "raised", "recorded"), [("pause", RunPaused, PausedEvent), ("cancel", RunCancelled, CancelledEvent)]
)
def test_whoever_drives_a_run_hears_what_was_asked_by_a_process_that_is_dead(
    tmp_path: Path, verb: str, raised: type[Exception], recorded: type
) -> None:
    g = GraphBuilder(name="loop", input_type=int, output_type=int)

    @g.step
    async def turn(ctx: StepContext[None, None, int]) -> int:
        await asyncio.sleep(0.01)  # so that another process gets at the file
        return ctx.inputs + 1

    g.add(
        g.edge_from(g.start_node).to(turn),
        g.edge_from(turn).to(
            g.decision().branch(g.match(int, matches=lambda n: n < 5000).to(turn)).branch(g.match(int).to(g.end_node))
        ),
    )
    graph = g.build()
    path = tmp_path / "runs.db"

    async def main() -> None:
        async with Engine.open(path, [graph]) as engine:
            handle = await engine.start(graph, inputs=0, run_id="run")
            asking = await asyncio.create_subprocess_exec(sys.executable, "-c", _ASK, str(path), verb)
            assert await asking.wait() == -9
            with pytest.raises(raised):
                await asyncio.wait_for(handle.result(), 20)
            history = await engine.history("run")
            event = next(r.event for r in history if isinstance(r.event, recorded))
            assert (event.by, event.reason) == ("somebody", "because")
            assert violations(history) == []

    asyncio.run(main())


@pytest.mark.parametrize(("verb", "status"), [("pause", "PAUSED"), ("cancel", "CANCELLED")])
def test_a_run_whose_driver_is_dead_too_is_stopped_by_who_asks(tmp_path: Path, verb: str, status: str) -> None:
    path = tmp_path / "runs.db"
    begin = """
import asyncio, os, sys
from perdure import Engine, GraphBuilder

g = GraphBuilder(name="once", output_type=int)

@g.step
async def die(ctx):
    os.kill(os.getpid(), 9)

g.add(g.edge_from(g.start_node).to(die), g.edge_from(die).to(g.end_node))

async def main():
    async with Engine.open(sys.argv[1]) as engine:
        await (await engine.start(g.build(validate_graph_structure=False), run_id="run")).result()

asyncio.run(main())
"""
    begun = subprocess.run([sys.executable, "-c", begin, str(path)], capture_output=True, text=True, check=False)
    assert begun.returncode == -9, begun.stderr
    asked = subprocess.run([sys.executable, "-c", _ASK, str(path), verb], capture_output=True, text=True, check=False)
    assert asked.returncode == -9, asked.stderr

    async def look() -> None:
        async with Engine.open(path, recover=False) as engine:
            assert (await engine.get("run")).status == status
            assert violations(await engine.history("run")) == []

    asyncio.run(look())
