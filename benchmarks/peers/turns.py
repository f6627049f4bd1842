"""Our side of a peer's turn: start it in its environment, give it a folder, and read what it measured."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.measure import Benchmark, Contender, Measured

ROOT = Path(__file__).parents[2]

LANGGRAPH, DBOS, PYDANTIC_GRAPH = "LangGraph, SQLite, sync", "DBOS, SQLite", "pydantic-graph, not durable"

MODULES = {LANGGRAPH: "with_langgraph", DBOS: "with_dbos", PYDANTIC_GRAPH: "with_pydantic_graph"}

WORKS = {
    "chain": (1_000, (LANGGRAPH, DBOS, PYDANTIC_GRAPH)),
    "map": (10_000, (LANGGRAPH, DBOS, PYDANTIC_GRAPH)),
    "runs": (1_000, (LANGGRAPH, DBOS, PYDANTIC_GRAPH)),
    "append": (1_000, (LANGGRAPH, DBOS, PYDANTIC_GRAPH)),
    "resuming": (1_000, (LANGGRAPH, DBOS)),
    "recovery": (10_000, (LANGGRAPH, DBOS)),
}
"""What peers do: its size, and who does it."""


def install(environment: Path) -> Path:
    """Make an environment with the peers, unless it is there, and return its Python.

    Raises:
        subprocess.CalledProcessError: pip fails; what it says has been printed.
    """
    python = environment / "bin" / "python"
    done = environment / "peers-are-installed"
    if not done.exists():
        print(f"installing the peers into {environment}", file=sys.stderr, flush=True)
        venv.create(environment, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)  # groups came with pip 25.1
        subprocess.run([*pip, "--group", f"{ROOT / 'pyproject.toml'}:peers"], check=True)
        done.touch()
    return python


def versions(python: Path) -> str:
    """Return what is installed there, as text: each peer and its version."""
    names = ["langgraph", "langgraph-checkpoint-sqlite", "dbos", "pydantic-graph"]
    code = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    return subprocess.run([str(python), "-c", code, *names], check=True, capture_output=True, text=True).stdout.strip()


async def _child(python: Path, peer: str, work: str, folder: Path, size: int) -> dict[str, object]:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-m", f"benchmarks.peers.{MODULES[peer]}", work, str(folder), str(size)),
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    if process.returncode != 0 or not printed.strip():
        message = f"{peer} failed at {work}, with status {process.returncode}:\n{complaints.decode()[-2_000:]}"
        raise RuntimeError(message)
    found: dict[str, object] = json.loads(printed.splitlines()[-1])
    return found


def contender(python: Path, peer: str, work: str, size: int) -> Contender:
    """Return a contender that lets a peer do the work in a process of its own."""

    async def turn(folder: Path) -> Measured:
        if work == "recovery":
            await _child(python, peer, "crash", folder, size)
        return Measured(**await _child(python, peer, work, folder, size))  # type: ignore[arg-type]

    return turn


def join_in(benchmarks: dict[str, Benchmark], python: Path) -> None:
    """Let the peers take their turns in the benchmarks that they know."""
    for work, (size, peers) in WORKS.items():
        benchmarks[work].contenders = {
            **benchmarks[work].contenders,
            **{peer: contender(python, peer, work, size) for peer in peers},
        }
