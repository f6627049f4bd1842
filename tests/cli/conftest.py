"""A database with a run that is complete, one that failed, and one that was left unfinished."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from orders import Order, Shop, graph

from perdure import Engine
from perdure.cli.main import run


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Perdure = Callable[..., Outcome]


@pytest.fixture
def perdure(capsys: pytest.CaptureFixture[str]) -> Perdure:
    def call(*arguments: str | Path) -> Outcome:
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


async def _fill(db: Path) -> None:
    async with Engine.open(db, graphs=[graph]) as engine:
        good = await engine.start(
            graph, inputs=[Order("a", 2), Order("b", 3)], state=Shop(), run_id="good", tags={"team": "a b", "size": "1"}
        )
        assert await good.result() == 5
        bad = await engine.start(graph, inputs=[Order("a", 2), Order("broken", 3)], state=Shop(), run_id="bad")
        with pytest.raises(ValueError, match="broken"):
            await bad.result()
        handle = await engine.start(graph, inputs=[Order("a", 2), Order("slow", 3)], state=Shop(), run_id="left")
        while (await handle.state()).shipped < 1:
            await asyncio.sleep(0)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    db = tmp_path_factory.mktemp("cli") / "filled.db"
    asyncio.run(_fill(db))
    return db.read_bytes()


@pytest.fixture
def db(filled: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    path.write_bytes(filled)
    return path
