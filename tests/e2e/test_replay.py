"""Users keep exported runs with their tests, and see there which change of a graph leaves one behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from e2e.test_changed_graphs import chain
from perdure import Engine, MemoryStore
from perdure.errors import StoreError
from perdure.store.export import export_run
from perdure.testing import replay


async def exported(file: Path, *, complete: bool) -> None:
    store, graph = MemoryStore(), chain("a", "b")
    async with Engine.open(store, [graph]) as engine:
        handle = await engine.start(graph, inputs="", run_id="run")
        await handle.until_waiting()
        if complete:
            await engine.signal("run", "go", ">")
            await handle.result()
        file.write_bytes(b"".join([line async for line in export_run(store, await handle.info())]))


@pytest.mark.parametrize(
    ("steps", "verdict"), [(("a", "b"), "same"), (("a", "x"), "compatible"), (("x", "b"), "stalled")]
)
def test_a_replay_says_whether_a_run_would_go_on(tmp_path: Path, steps: Any, verdict: str) -> None:
    asyncio.run(exported(tmp_path / "run.jsonl", complete=False))
    replayed = replay(tmp_path / "run.jsonl", chain(*steps))
    assert (replayed.verdict, replayed.status) == (verdict, "WAITING")
    assert bool(replayed.reason) == (verdict == "stalled")
    assert replayed.live == ([] if verdict == "stalled" else ["go"])


def test_a_replay_of_a_run_that_is_complete_has_its_output(tmp_path: Path) -> None:
    asyncio.run(exported(tmp_path / "run.jsonl", complete=True))
    assert replay(tmp_path / "run.jsonl", chain("a", "b")).output == ">b"


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.jsonl").write_text("{}\n")
    with pytest.raises(StoreError):
        replay(tmp_path / "no.jsonl", chain("a"))
