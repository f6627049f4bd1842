"""Workers with an old and with a new version of a graph on one file: each run goes on in a worker that has its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from crash.deployed import build
from perdure import Engine, RunHandle
from perdure.cli.main import perdure as cli
from perdure.testing.invariants import violations


class Shop:
    """The worker processes of a deploy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.processes: list[subprocess.Popen[str]] = []

    def deploy(self, version: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("deployed.py")), str(self.path), version],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def undeploy(self, process: subprocess.Popen[str]) -> None:
        process.terminate()
        assert process.wait(timeout=20) == 0

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "runs.db")
    yield shop
    shop.close()


async def become(engine: Engine, run_ids: list[str], status: str) -> None:
    """Wait until runs have a status."""
    while {(await engine.get(run_id)).status for run_id in run_ids} != {status}:
        await asyncio.sleep(0.02)


async def ordered(engine: Engine, version: str, numbers: range) -> list[RunHandle[Any]]:
    graph = build(version)
    handles = [await engine.start(graph, inputs=number, run_id=f"{version}-{number}") for number in numbers]
    await become(engine, [handle.run_id for handle in handles], "WAITING")
    return handles


async def paid(engine: Engine, handles: list[RunHandle[Any]]) -> list[str]:
    for handle in handles:
        await engine.signal(handle.run_id, "paid", 1)
    return [await handle.result() for handle in handles]


@pytest.mark.parametrize("new", ["changed", "longer"])
def test_runs_go_on_where_their_own_version_is_while_it_is_there(shop: Shop, new: str) -> None:
    """Whether or not the other version could drive them on."""

    async def main() -> None:
        async with Engine.open(shop.path, drive=False) as client:
            old_worker = shop.deploy("old")
            old = await ordered(client, "old", range(30))
            new_worker = shop.deploy(new)
            assert await paid(client, old) == [f"sent by {old_worker.pid}, old"] * 30
            end = ", billed" if new == "longer" else ""
            async with Engine.open(shop.path, drive=False) as another:
                sent = await paid(another, await ordered(another, new, range(30)))
            assert sent == [f"sent by {new_worker.pid}, {new}{end}"] * 30
            for handle in old:
                assert violations(await client.history(handle.run_id)) == []

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_compatible_version_drives_runs_on_once_theirs_is_gone(shop: Shop) -> None:
    async def main() -> None:
        async with Engine.open(shop.path, drive=False) as client:
            old_worker = shop.deploy("old")
            old = await ordered(client, "old", range(5))
            new_worker = shop.deploy("longer")
            shop.undeploy(old_worker)
            assert await paid(client, old) == [f"sent by {new_worker.pid}, longer, billed"] * 5

    asyncio.run(asyncio.wait_for(main(), 60))


def told(path: Path, *arguments: str) -> str:
    return CliRunner().invoke(cli, [*arguments, "--db", str(path)]).output


def test_a_run_whose_version_is_gone_says_so_and_goes_on_when_that_is_back(shop: Shop) -> None:
    async def main() -> None:
        async with Engine.open(shop.path, drive=False) as client:
            old_worker = shop.deploy("old")
            old = await ordered(client, "old", range(5))
            shop.deploy("changed")
            shop.undeploy(old_worker)
            for handle in old:
                await client.signal(handle.run_id, "paid", 1)
            await become(client, [handle.run_id for handle in old], "STALLED")
            async with Engine.open(shop.path, [build("changed")], drive=False) as another:
                fit = await another.check("old-0")
            assert fit.verdict == "stalled"
            assert "what follows 'order'" in fit.reason
            for told_by in ("runs", "explain old-0"):
                assert "the graph has changed since" in await asyncio.to_thread(told, shop.path, *told_by.split())
            old_worker = shop.deploy("old")
            assert [await handle.result() for handle in old] == [f"sent by {old_worker.pid}, old"] * 5

    asyncio.run(asyncio.wait_for(main(), 60))
