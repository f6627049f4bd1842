"""A real backend shows the trace of a run: Arize Phoenix, if its ``phoenix`` command is installed; run it with ``-m backend``.

``PERDURE_PHOENIX`` names the command where it isn't on the path, as when it has an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.cli.main import run as perdure
from perdure.telemetry.spans import trace_id_of

sys.path.insert(0, str(Path(__file__).parent))
from backends import BEFORE, asked, free_port, serving, told_across_a_crash, until
from told_run import WIDTH

PHOENIX = os.environ.get("PERDURE_PHOENIX") or shutil.which("phoenix")

pytestmark = [
    pytest.mark.backend,
    pytest.mark.skipif(PHOENIX is None, reason="Phoenix isn't installed: pip install arize-phoenix"),
]


@pytest.fixture
def phoenix(tmp_path: Path) -> Iterator[str]:
    assert PHOENIX is not None
    port = free_port()
    told = {
        "PHOENIX_WORKING_DIR": str(tmp_path),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    url = f"http://127.0.0.1:{port}"
    with serving([PHOENIX, "serve"], told, tmp_path / "phoenix.log", f"{url}/healthz"):
        yield url


def spans_in(phoenix: str) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        answer = asked(f"{phoenix}/v1/projects/default/spans?limit=1000{cursor}")
        if answer is None:
            return found
        page = json.loads(answer)
        found += page["data"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_phoenix_shows_a_run_killed_half_way_as_one_trace(phoenix: str, tmp_path: Path) -> None:
    db, endpoint = tmp_path / "runs.db", f"{phoenix}/v1/traces"

    def count(name: str) -> int:
        return Counter(span["name"] for span in spans_in(phoenix))[name]

    told_across_a_crash(db, endpoint, lambda: count("step ask"))
    assert perdure(["export", "run", "--db", str(db), "--format", "otlp", "--endpoint", endpoint]) == 0
    until(lambda: count("run survey"))
    until(lambda: count("step ask") >= WIDTH + WIDTH - BEFORE)
    spans = spans_in(phoenix)
    ids = Counter(span["context"]["span_id"] for span in spans)
    assert max(ids.values()) == 1
    assert {span["context"]["trace_id"] for span in spans} == {f"{trace_id_of('run'):032x}"}
    assert [span["name"] for span in spans if span["parent_id"] and span["parent_id"] not in ids] == []
    asks = [span for span in spans if span["name"] == "step ask"]
    outcomes = Counter(span["attributes"]["perdure.outcome"] for span in asks)
    assert outcomes == {"completed": WIDTH, "lost": WIDTH - BEFORE}
    [batch] = [span for span in spans if span["name"] == "batch people"]
    assert batch["attributes"]["perdure.batch.size"] == WIDTH
    # Phoenix keeps no links (its spans have no place for them); who is in which batch is in the attributes.
    named = {span["attributes"]["perdure.batch.id"] for span in asks}
    assert named == {batch["attributes"]["perdure.batch.id"]}
    places = {span["attributes"]["perdure.branch.index"] for span in asks}
    assert places == set(range(WIDTH))
