"""Real backends, started for a test: what it takes to ask them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from told_run import WIDTH

PROGRAM = Path(__file__).with_name("told_run.py")
PATIENCE_S = 180
POLL_S = 0.5
BEFORE = 150
"""How many branches are told of before the first process is killed."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def asked(url: str, body: bytes | None = None) -> bytes | None:
    """Return what a URL gives, or None if nobody answers."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: bytes = response.read()
            return answer
    except (urllib.error.URLError, OSError):
        return None


def until(found: Callable[[], Any]) -> Any:
    """Ask again and again until there is an answer."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / POLL_S)):
        answer = found()
        if answer:
            return answer
        pause.wait(POLL_S)
    raise AssertionError("the backend doesn't answer")


@contextmanager
def serving(command: list[str], told: dict[str, str], log: Path, health: str) -> Iterator[None]:
    """Start a backend in a session of its own, and end it, and whatever it has started, afterwards."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | told
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            until(lambda: asked(health) is not None)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def told_across_a_crash(db: Path, endpoint: str, told_of: Callable[[], int]) -> None:
    """Run 500 branches live to a backend, in two processes: the first one is killed when 150 of them are told of."""
    first = subprocess.Popen([sys.executable, str(PROGRAM), str(db), endpoint, str(BEFORE)], stdout=subprocess.PIPE)
    try:
        until(lambda: told_of() == BEFORE)
    finally:
        first.kill()
        first.communicate()
    subprocess.run([sys.executable, str(PROGRAM), str(db), endpoint, str(WIDTH)], check=True, timeout=PATIENCE_S)
