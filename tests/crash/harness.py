"""Killing real processes and looking at what they leave behind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perdure import Graph, Recorded, SQLiteStore
from perdure.engine.calling.values import CodedValues
from perdure.engine.driving.recovery import rebuild
from perdure.engine.driving.registered import new_run, registered
from perdure.engine.inspection.history import read_history
from perdure.engine.inspection.results import recorded_outputs
from perdure.events import NodeCancelled, NodeCompleted, NodeStarted, RunCompleted
from perdure.kernel.fold.run import Run
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


class Remains:
    """What is in a file when a process has died, or ended: the log, verified, and its fold."""

    def __init__(self, path: Path, graph: Graph[Any, Any, Any, Any] | None) -> None:
        self.history: Sequence[Recorded] = []
        self.run: Run | None = None
        self.output: Any = None
        if path.exists():
            asyncio.run(self._read(path, graph))

    async def _read(self, path: Path, graph: Graph[Any, Any, Any, Any] | None) -> None:
        store = SQLiteStore(path, synchronous="NORMAL")
        await store.open()
        try:
            info = await store.get("run")
            if info is None:
                return
            self.history = [recorded async for recorded in read_history(store, info)]
            if graph is None:
                return
            values = CodedValues(registered(graph).codec)
            self.run = new_run(graph, "run", values)
            await rebuild(store, info, self.run, values.blobs)
            if self.history and isinstance(self.history[-1].event, RunCompleted):
                self.output = (await recorded_outputs(store, info, values))[0]
        finally:
            await store.close()

    @property
    def finished(self) -> set[str]:
        """The tasks that must never be entered again."""
        return {r.event.task for r in self.history if isinstance(r.event, NodeCompleted | NodeCancelled)}

    @property
    def started(self) -> set[tuple[str, int]]:
        """The attempts that were allowed to begin."""
        return {(r.event.task, r.event.attempt) for r in self.history if isinstance(r.event, NodeStarted)}


def all_logs(path: Path) -> list[Sequence[Recorded]]:
    """Return the logs of all runs in a file, verified."""

    async def read() -> list[Sequence[Recorded]]:
        store = SQLiteStore(path, synchronous="NORMAL")
        await store.open()
        try:
            return [[recorded async for recorded in read_history(store, info)] for info in await store.list()]
        finally:
            await store.close()

    return asyncio.run(read()) if path.exists() else []


def entered(path: Path) -> list[tuple[str, int]]:
    """Return the attempts whose bodies were entered, in order."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(task, int(attempt)) for task, attempt in (line.split() for line in lines)]


class Life:
    """One run, lived through by several processes; its log is folded if its graph is given."""

    def __init__(self, zygote: Zygote, folder: Path, program: str, graph: Graph[Any, Any, Any, Any] | None) -> None:
        self._zygote = zygote
        self._program = program
        self._graph = graph
        self.path, self._entries = folder / "runs.db", folder / "entries"
        self.remains = Remains(self.path, graph)
        self.killed = False

    def process(self, durability: str = "sync", **how: Any) -> dict[str, Any]:
        """Let one process drive the run, be killed or end, and check what holds whatever happened."""
        before, count = self.remains, len(entered(self._entries))
        answer = self._zygote.ask(
            program=self._program, path=str(self.path), entries=str(self._entries), durability=durability, **how
        )
        self.killed = answer["killed"]
        assert "error" not in answer, answer["error"]
        self.remains = Remains(self.path, self._graph)
        history, attempts = self.remains.history, entered(self._entries)
        again = [attempt for attempt in attempts[count:] if attempt[0] in before.finished]
        assert not again, f"tasks that had ended were entered again: {again}"
        assert list(history[: len(before.history)]) == list(before.history), "what was recorded has changed"
        assert violations(history) == []
        if durability == "sync":
            assert len(set(attempts)) == len(attempts), "an attempt was entered twice"
            assert set(attempts) <= self.remains.started, "a body was entered before its start was recorded"
        return answer


def kill_and_resume(
    zygote: Zygote, folder: Path, program: str, graph: Graph[Any, Any, Any, Any], **how: Any
) -> tuple[bool, dict[str, Any]]:
    """Run a program, kill it, and resume it in another process.

    Returns:
        Whether it was killed at all, and the answer of the process that ended the run.
    """
    life = Life(zygote, folder, program, graph)
    life.process(**how)
    killed = life.killed
    return killed, life.process(durability=how.get("durability", "sync"))
