"""Runs are found by the tags they were started with."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import Engine, GraphBuilder, GraphSetupError, InvalidIdentifier, MemoryStore

g: GraphBuilder[None, None, int, int] = GraphBuilder(name="through", input_type=int, output_type=int)
g.add(g.edge_from(g.start_node).to(g.end_node))
graph = g.build(validate_graph_structure=False)


def test_runs_are_found_by_tags_and_times() -> None:
    async def main() -> None:
        async with Engine.open(MemoryStore(), graphs=[graph]) as engine:
            for number in range(3):
                handle = await engine.start(graph, inputs=1, run_id=f"run-{number}", tags={"team": "ab"[number % 2]})
                await handle.result()
            assert [info.run_id for info in await engine.list(tags={"team": "a"})] == ["run-2", "run-0"]
            assert (await handle.info()).tags == {"team": "a"}
            now = datetime.now(UTC)
            assert len(await engine.list(since=now - timedelta(hours=1), before=now + timedelta(hours=1))) == 3
            assert await engine.list(since=now + timedelta(hours=1)) == []
            newest, *others = await engine.list(statuses=["COMPLETED"])
            assert await engine.list(before=newest) == others
            with pytest.raises(GraphSetupError, match="time zone"):
                await engine.list(since=datetime(2026, 1, 1))  # noqa: DTZ001

    asyncio.run(main())


@pytest.mark.parametrize("tags", [{"n": 1}, {"": "x"}, {"n": "a\x00b"}, {"n": "\ud800"}, {"n": "x" * 201}])
def test_a_tag_that_could_not_be_found_again_is_refused(tags: Any) -> None:
    async def main() -> None:
        async with Engine.open(MemoryStore(), graphs=[graph]) as engine:
            with pytest.raises(InvalidIdentifier, match="can't be a"):
                await engine.start(graph, inputs=1, tags=tags)
            assert await engine.list() == []

    asyncio.run(main())
