"""A worker on the command line drives what is left, and stops when it is asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("app", ["orders:graph", "orders:both", "orders:make_engine"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_drives_what_is_left_and_stops_when_asked(perdure, db: Path, app: str, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure.cli.main", "worker", "--app", app, "--db", str(db), "--drain", "5"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ORDERS_GO_ON": "1"},
    )
    try:
        deadline = time.monotonic() + 30
        while perdure("show", "left", "--db", db, "--json").data["status"] != "COMPLETED":
            assert time.monotonic() < deadline
            time.sleep(0.05)  # for another process to have driven the run
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == "stopped"
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_worker_needs_graphs(perdure, db: Path) -> None:
    assert perdure("worker", "--app", "orders:number", "--db", db).code == 2
