"""A real backend shows the trace of a run: Arize Phoenix, if its ``phoenix`` command is installed; run it with ``-m backend``.

``PERDURE_PHOENIX`` names the command where it isn't on the path, as when it has an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.cli.main import run as perdure
from perdure.telemetry.spans import trace_id_of

sys.path.insert(0, str(Path(__file__).parent))
from told_run import WIDTH

PROGRAM = Path(__file__).with_name("told_run.py")
PHOENIX = os.environ.get("PERDURE_PHOENIX") or shutil.which("phoenix")
PATIENCE_S = 120
POLL_S = 0.5

pytestmark = [
    pytest.mark.backend,
    pytest.mark.skipif(PHOENIX is None, reason="Phoenix isn't installed: pip install arize-phoenix"),
]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def asked(url: str) -> Any:
    """Return what a URL gives, or None if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read()
    except (urllib.error.URLError, OSError):
        return None


def until(found: Any) -> Any:
    """Ask again and again until there is an answer."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / POLL_S)):
        answer = found()
        if answer:
            return answer
        pause.wait(POLL_S)
    raise AssertionError("Phoenix doesn't answer")


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
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | told
    with (tmp_path / "phoenix.log").open("wb") as log:
        process = subprocess.Popen([PHOENIX, "serve"], env=environment, stdout=log, stderr=log)
        try:
            until(lambda: asked(f"http://127.0.0.1:{port}/healthz") is not None)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


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
    first = subprocess.Popen([sys.executable, str(PROGRAM), str(db), endpoint, "150"], stdout=subprocess.PIPE)
    try:
        until(lambda: Counter(span["name"] for span in spans_in(phoenix))["step ask"] == 150)
    finally:
        first.kill()
        first.communicate()
    subprocess.run([sys.executable, str(PROGRAM), str(db), endpoint, str(WIDTH)], check=True, timeout=PATIENCE_S)
    assert perdure(["export", "run", "--db", str(db), "--endpoint", endpoint]) == 0
    until(lambda: Counter(span["name"] for span in spans_in(phoenix))["run survey"])
    until(lambda: Counter(span["name"] for span in spans_in(phoenix))["step ask"] >= WIDTH + 350)
    spans = spans_in(phoenix)
    ids = Counter(span["context"]["span_id"] for span in spans)
    assert max(ids.values()) == 1
    assert {span["context"]["trace_id"] for span in spans} == {f"{trace_id_of('run'):032x}"}
    assert [span["name"] for span in spans if span["parent_id"] and span["parent_id"] not in ids] == []
    asks = [span for span in spans if span["name"] == "step ask"]
    assert Counter(span["attributes"]["perdure.outcome"] for span in asks) == {"completed": WIDTH, "lost": 350}
    [batch] = [span for span in spans if span["name"] == "batch people"]
    assert batch["attributes"]["perdure.batch.size"] == WIDTH
