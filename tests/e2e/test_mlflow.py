"""A real backend keeps the links of a join: MLflow, if its ``mlflow`` command is installed; run it with ``-m backend``.

``PERDURE_MLFLOW`` names the command where it isn't on the path, as when it has an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from base64 import b64decode
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

MLFLOW = os.environ.get("PERDURE_MLFLOW") or shutil.which("mlflow")

pytestmark = [
    pytest.mark.backend,
    pytest.mark.skipif(MLFLOW is None, reason="MLflow isn't installed: pip install mlflow"),
]


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    assert MLFLOW is not None
    port = free_port()
    command = [MLFLOW, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        f"{tmp_path}/files",
    ]
    told = {"PATH": f"{Path(MLFLOW).parent}{os.pathsep}{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-mlflow-experiment-id=0")
    with serving(command, told, tmp_path / "mlflow.log", f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}"


def spans_in(mlflow: str) -> list[Any]:
    answer = asked(f"{mlflow}/api/3.0/mlflow/traces/get?trace_id=tr-{trace_id_of('run'):032x}")
    return json.loads(answer)["trace"]["spans"] if answer is not None else []


def said(part: Any) -> dict[str, Any]:
    """Return the attributes of a span or a link as Python values."""
    return {pair["key"]: next(iter(pair["value"].values())) for pair in part.get("attributes", ())}


def test_mlflow_keeps_a_link_from_the_join_to_every_branch_of_a_run_killed_half_way(
    mlflow: str, tmp_path: Path
) -> None:
    db, endpoint = tmp_path / "runs.db", f"{mlflow}/v1/traces"

    def count(name: str) -> int:
        return Counter(span["name"] for span in spans_in(mlflow))[name]

    told_across_a_crash(db, endpoint, lambda: count("step ask"))
    assert perdure(["export", "run", "--db", str(db), "--format", "otlp", "--endpoint", endpoint]) == 0
    until(lambda: count("run survey"))
    spans = spans_in(mlflow)
    ids = Counter(span["span_id"] for span in spans)
    assert max(ids.values()) == 1
    assert {b64decode(span["trace_id"]) for span in spans} == {trace_id_of("run").to_bytes(16, "big")}
    assert [span["name"] for span in spans if span.get("parent_span_id") and span["parent_span_id"] not in ids] == []
    asks = {outcome: set() for outcome in ("completed", "lost")}
    for span in spans:
        if span["name"] == "step ask":
            asks[said(span)["perdure.outcome"]].add(span["span_id"])
    assert {outcome: len(found) for outcome, found in asks.items()} == {"completed": WIDTH, "lost": WIDTH - BEFORE}
    [batch] = [span for span in spans if span["name"] == "batch people"]
    links = [link for span in spans if span["name"].startswith("join collect") for link in span.get("links", ())]
    linked: dict[str, set[str]] = {}
    for link in links:
        linked.setdefault(said(link)["perdure.link"], set()).add(link["span_id"])
    assert linked == {"batch": {batch["span_id"]}, "branch": asks["completed"]}
    lost = {link["span_id"] for span in spans if span["span_id"] in asks["completed"] for link in span.get("links", ())}
    assert lost == asks["lost"], "an attempt links the one that was lost before it"
