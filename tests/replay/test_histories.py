"""What any version has written folds for ever, and gives what it gave then."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from perdure import MemoryStore, __version__
from perdure.engine.inspection.inspect import inspect_run
from perdure.store.records import NewRun, Row, RunUpdate

HISTORIES = Path(__file__).with_name("histories")
FILES = sorted(HISTORIES.glob("*/*.json"))


async def told(history: dict[str, Any]) -> Any:
    store = MemoryStore()
    await store.open()
    rows = tuple(
        Row(row["first"], row["count"], row["epoch"], row["ts"], row["events"].encode(), bytes.fromhex(row["hash"]))
        for row in history["rows"]
    )
    await store.save_plan(history["fingerprint"], history["graph"], history["plan"].encode())
    await store.create(
        NewRun(
            run_id=history["run_id"],
            graph=history["graph"],
            fingerprint=history["fingerprint"],
            created_at=rows[0].ts,
            inputs_digest="",
            state_digest="",
            rows=rows,
            update=RunUpdate(history["status"]),
        )
    )
    return await inspect_run(store, history["run_id"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_old_log_folds_to_what_it_was(path: Path) -> None:
    history = json.loads(path.read_text("utf-8"))
    found = asyncio.run(told(history))
    assert found.run.status == history["status"]
    assert found.state == history["state"]
    assert found.result == history["result"]
    assert not found.run.tasks
    assert not found.run.joins


def test_this_version_has_recorded_its_histories() -> None:
    assert {path.parent.name for path in FILES} >= {__version__}
