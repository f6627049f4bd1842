"""Killing real processes and looking at what they leave behind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perdure import Engine, Recorded
from perdure.events import NodeCompleted
from perdure.testing.invariants import violations


class Zygote:
    """The process that forks what is to be killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def history(path: Path) -> Sequence[Recorded]:
    """Return the events of the run in a file; empty if it was never created."""

    async def read() -> Sequence[Recorded]:
        async with Engine.open(path, recover=False) as engine:
            return await engine.history("run") if await engine.list() else []

    return asyncio.run(read())


def entered(path: Path) -> list[str]:
    """Return the tasks whose bodies were entered, in order."""
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def kill_and_resume(zygote: Zygote, folder: Path, program: str, **how: Any) -> tuple[bool, dict[str, Any]]:
    """Run a program, kill it, resume it in another process, and check what holds whatever happened.

    Returns:
        Whether it was killed at all, and the answer of the process that ended the run.
    """
    path, entries = folder / "runs.db", folder / "entries"
    first = zygote.ask(program=program, path=str(path), entries=str(entries), **how)
    assert first["killed"] or "error" not in first, first
    before = history(path)
    finished = {recorded.event.task for recorded in before if isinstance(recorded.event, NodeCompleted)}
    count = len(entered(entries))
    last = zygote.ask(program=program, path=str(path), entries=str(entries), durability=how.get("durability", "sync"))
    assert "error" not in last, last["error"]
    again = [task for task in entered(entries)[count:] if task in finished]
    assert not again, f"finished tasks were entered again: {again}"
    after = history(path)
    assert [r.event for r in after[: len(before)]] == [r.event for r in before] or before == after[: len(before)]
    assert violations(after) == []
    return first["killed"], last
