"""What the views tell those who query the file themselves."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from perdure import Engine, GraphBuilder, StepContext
from perdure.graph.nodes.policies import Retry


def test_attempts_are_told_with_how_they_ended(tmp_path: Path) -> None:
    g = GraphBuilder(name="flaky", output_type=int)
    tries = []

    async def flaky(ctx: StepContext[None, None, None]) -> int:
        tries.append(ctx.attempt)
        if len(tries) == 1:
            raise OSError("no route")
        return len(tries)

    step, ask = (
        g.step(flaky, retry=Retry(max_attempts=2, initial_interval=0.001, jitter=False)),
        g.human("ask", form=int),
    )
    g.add(g.edge_from(g.start_node).to(step), g.edge_from(step).to(ask), g.edge_from(ask).to(g.end_node))
    graph = g.build()

    async def main() -> None:
        async with Engine.open(tmp_path / "runs.db", graphs=[graph]) as engine:
            for number in range(2):
                handle = await engine.start(graph, run_id=f"run-{number}", tags={"number": str(number)})
                await handle.until_waiting()

    asyncio.run(main())
    connection = sqlite3.connect(tmp_path / "runs.db")
    query = "SELECT node, attempt, outcome, error, ended_at >= started_at FROM attempts WHERE run_id = ? ORDER BY started_seq"
    assert connection.execute(query, ("run-0",)).fetchall() == [
        ("flaky", 1, "failed", "OSError: no route", 1),
        ("flaky", 2, "completed", None, 1),
    ]
    assert connection.execute(query, ("run-1",)).fetchall() == [("flaky", 1, "completed", None, 1)]
    found = connection.execute("SELECT run_id, node, path, kind, name FROM waiting ORDER BY run_id").fetchall()
    assert found == [(f"run-{number}", "ask", "ask", "human", "ask") for number in range(2)]
    query = "SELECT run_id FROM runs WHERE json_extract(tags, '$.number') = '1'"
    assert connection.execute(query).fetchall() == [("run-1",)]
    connection.close()
