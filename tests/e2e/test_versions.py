"""A run goes on with the version of the graph it was started with, whatever has been deployed since."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, GraphSetupError, Registry, StepContext
from perdure.testing.invariants import violations


def pricing(
    version: str | None, rate: int, *, hold: asyncio.Event | None = None, extra: bool = False, checks: bool = False
) -> Graph[Any, Any, Any, Any]:
    """Return a version of a graph; all have the same name, and those without ``extra`` and ``checks`` the same structure."""
    g = GraphBuilder(name="pricing", version=version, input_type=int, output_type=int)

    @g.step
    async def net(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    @g.step
    async def gross(ctx: StepContext[None, None, int]) -> int:
        if hold is not None:
            hold.set()
            await asyncio.Event().wait()
        return ctx.inputs * (100 + rate) // 100

    @g.step
    async def rounded(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs // 10 * 10

    @g.step
    async def checked(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    g.add(g.edge_from(g.start_node).to(net))
    if checks:
        g.add(g.edge_from(net).to(checked), g.edge_from(checked).to(gross))
    else:
        g.add(g.edge_from(net).to(gross))
    last = gross
    if extra:
        g.add(g.edge_from(gross).to(rounded))
        last = rounded
    g.add(g.edge_from(last).to(g.end_node))
    return g.build()


@pytest.mark.parametrize("extra", [False, True])
def test_a_run_left_behind_goes_on_with_its_own_version_beside_new_ones(tmp_path: Path, extra: bool) -> None:
    path = tmp_path / "runs.db"

    async def main() -> None:
        held = asyncio.Event()
        async with Engine.open(path, Registry([pricing("1.9", 10, hold=held)])) as engine:
            await engine.start(pricing("1.9", 10, hold=held), inputs=100, run_id="old")
            await asyncio.wait_for(held.wait(), 20)
        registry = Registry([pricing("1.10", 29, extra=extra), pricing("1.9", 10)])
        async with Engine.open(path, registry) as engine:
            new = await engine.start(registry.get("pricing"), inputs=100, run_id="new")
            assert await new.result() == (120 if extra else 129)
            assert await engine.attach("old").result() == 110
            for run in ("old", "new"):
                assert violations(await engine.history(run)) == []
        async with Engine.open(path, registry, recover=False) as engine:
            assert [await engine.attach(run).result() for run in ("old", "new")] == [110, 120 if extra else 129]

    asyncio.run(main())


def test_starting_again_with_a_later_version_attaches_to_the_run_as_it_was_started(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def main() -> None:
        held = asyncio.Event()
        async with Engine.open(path) as engine:
            await engine.start(pricing("1.9", 10, hold=held), inputs=100, run_id="old")
            await asyncio.wait_for(held.wait(), 20)
        registry = Registry([pricing("1.9", 10), pricing("2.0", 50)])
        async with Engine.open(path, registry, recover=False) as engine:
            again = await engine.start(registry.get("pricing"), inputs=100, run_id="old")
            assert await again.result() == 110

    asyncio.run(main())


def test_without_its_version_a_run_goes_on_with_a_later_one_that_is_compatible(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def main() -> None:
        held = asyncio.Event()
        async with Engine.open(path) as engine:
            await engine.start(pricing("1.9", 10, hold=held), inputs=100, run_id="old")
            await asyncio.wait_for(held.wait(), 20)
        later = [pricing("2.0", 70), pricing("2.1", 50, extra=True)]
        async with Engine.open(path, Registry(later), recover=False) as engine:
            assert (await engine.check("old")).verdict == "compatible"
        async with Engine.open(path, Registry(later)) as engine:
            assert await engine.attach("old").result() == 150
            assert (await engine.get("old")).fingerprint == later[1].fingerprint
            assert violations(await engine.history("old")) == []

    asyncio.run(main())


def test_without_its_version_a_run_is_not_driven_with_one_that_is_not_compatible(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def main() -> None:
        held = asyncio.Event()
        async with Engine.open(path) as engine:
            await engine.start(pricing("1.9", 10, hold=held), inputs=100, run_id="old")
            await asyncio.wait_for(held.wait(), 20)
        async with Engine.open(path, [pricing("2.0", 50, checks=True)]) as engine:
            info = await engine.get("old")
            assert (info.status, "what follows 'net' was 'gross', and is 'checked'" in info.error) == ("STALLED", True)
            assert (await engine.check("old")).verdict == "stalled"
            assert violations(await engine.history("old")) == []

    asyncio.run(main())


@pytest.mark.parametrize("verb", ["start", "recover_run"])
def test_a_run_left_alone_for_want_of_its_version_goes_on_where_that_is_there_again(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "runs.db"

    async def main() -> None:
        held = asyncio.Event()
        async with Engine.open(path) as engine:
            await engine.start(pricing("1.9", 10, hold=held), inputs=100, run_id="old")
            await asyncio.wait_for(held.wait(), 20)
        async with Engine.open(path, [pricing("2.0", 50, checks=True)]) as engine:
            assert (await engine.get("old")).status == "STALLED"
        registry = Registry([pricing("1.9", 10), pricing("2.0", 50, checks=True)])
        async with Engine.open(path, registry) as engine:
            if verb == "start":
                handle = await engine.start(registry.get("pricing"), inputs=100, run_id="old")
            else:
                handle = await engine.recover_run("old")
            assert await handle.result() == 110
            assert (await engine.get("old")).status == "COMPLETED"
            assert violations(await engine.history("old")) == []

    asyncio.run(main())


def test_an_engine_refuses_two_graphs_of_one_name_and_version() -> None:
    for version in (None, "1.0"):
        with pytest.raises(GraphSetupError, match="another graph by the name 'pricing'"):
            Engine.open("unused.db", [pricing(version, 1), pricing(version, 1, extra=True)])
    Engine.open("unused.db", [pricing(None, 1), pricing("1.0", 1), pricing("1.1", 1)])
