"""A run that was left unfinished is driven on, and one that has ended gives out what is recorded."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from damaged import damage
from orders import waits

from perdure import Engine, RunPaused


@pytest.mark.parametrize(
    "app", ["orders:graph", "orders:registry", "orders:graphs", "orders:make_graph", "orders:make_engine"]
)
def test_an_unfinished_run_goes_on(perdure, db, monkeypatch, app) -> None:
    monkeypatch.setenv("ORDERS_GO_ON", "1")
    code, out, err = perdure("resume", "left", "--app", app, "--db", db)
    assert (code, out, err) == (0, "5\n", "")
    data = perdure("show", "left", "--db", db, "--json").data
    assert (data["status"], data["result"]) == ("COMPLETED", 5)
    assert data["state"]["log"] == ["a", "slow"]


def test_a_run_that_has_ended_gives_out_its_result(perdure, db) -> None:
    before = perdure("show", "good", "--db", db, "--json").data["events"]
    assert perdure("resume", "good", "--app", "orders:graph", "--db", db, "--json").data == {
        "run_id": "good",
        "result": 5,
    }
    assert perdure("show", "good", "--db", db, "--json").data["events"] == before


def test_a_failed_run_says_why_in_a_line(perdure, db) -> None:
    code, out, err = perdure("resume", "bad", "--app", "orders:graph", "--db", db)
    assert (code, out) == (1, "")
    assert err == "perdure: run 'bad' failed at orders[1]/ship: ValueError: the parcel is broken\n"


def test_a_step_that_raises_now_says_why_in_a_line(perdure, db, monkeypatch) -> None:
    import orders

    monkeypatch.setattr(orders.ship, "_call", _raise)
    code, out, err = perdure("resume", "left", "--app", "orders:graph", "--db", db)
    assert (code, out) == (1, "")
    assert err == "perdure: run 'left' failed: OSError: no van\n"


async def _raise(ctx: object) -> int:
    raise OSError("no\nvan")


def test_a_damaged_run_is_stalled(perdure, db) -> None:
    damage(db, "left")
    code, out, err = perdure("resume", "left", "--app", "orders:graph", "--db", db)
    assert (code, out) == (3, "")
    assert "is stalled" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("orders", "isn't of the form module:attr"),
        ("nowhere:graph", "there is no module 'nowhere'"),
        ("orders:nothing", "has no attribute 'nothing'"),
        ("orders:number", "is an int"),
        ("orders:fail", "calling orders:fail raised RuntimeError: no"),
    ],
)
def test_an_app_that_cant_be_found_is_wrong_usage(perdure, db, app, reason) -> None:
    code, _, err = perdure("resume", "left", "--app", app, "--db", db)
    assert code == 2
    assert reason in err


def test_a_paused_run_goes_on(perdure, db) -> None:
    async def pause() -> None:
        async with Engine.open(db, graphs=[waits]) as engine:
            handle = await engine.start(waits, run_id="paused")
            await handle.until_waiting()
            await engine.pause("paused")
            with pytest.raises(RunPaused):
                await handle.result()
            await engine.signal("paused", "go", 7)

    asyncio.run(pause())
    shown = perdure("show", "paused", "--db", db, "--json").data
    assert (shown["status"], [task["phase"] for task in shown["live_tasks"]]) == ("PAUSED", ["waiting"])
    assert perdure("resume", "paused", "--app", "orders:waits", "--db", db)[:2] == (0, "7\n")
    assert "SignalReceived" in perdure("history", "paused", "--db", db).out


def test_a_waiting_run_goes_on_when_it_is_woken(perdure, db) -> None:
    async def wait() -> None:
        async with Engine.open(db, graphs=[waits], recover=False) as engine:
            handle = await engine.start(waits, run_id="waiting")
            await handle.until_waiting()

    async def signal() -> None:
        async with Engine.open(db, graphs=[waits], recover=False) as engine:
            await engine.signal("waiting", "go", 8)

    asyncio.run(wait())
    assert "waiting" in perdure("show", "waiting", "--db", db).out
    asyncio.run(signal())
    assert perdure("resume", "waiting", "--app", "orders:waits", "--db", db)[:2] == (0, "8\n")


def test_an_unknown_run_or_graph_is_told(perdure, db) -> None:
    assert perdure("resume", "nope", "--app", "orders:graph", "--db", db).code == 4
    code, _, err = perdure("resume", "left", "--app", "perdure.cli.demo.census:census", "--db", db)
    assert code == 3
    assert "which this engine wasn't given" in err


def test_a_run_that_waits_is_driven_on_by_who_has_resumed_it(db) -> None:
    async def main() -> int:
        async with Engine.open(db, graphs=[waits], recover=False) as engine:
            handle = await engine.start(waits, run_id="woken")
            await handle.until_waiting()
        async with (
            Engine.open(db, graphs=[waits], recover=False) as resuming,
            Engine.open(db, graphs=[], recover=False) as other,
        ):
            handle = await resuming.recover_run("woken")
            await other.signal("woken", "go", 9)
            with anyio.fail_after(20):
                return await handle.result()

    assert asyncio.run(main()) == 9
