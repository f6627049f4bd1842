"""A run that can't be driven on is parked with a reason and can be looked into without its code; others go on beside it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Graph, GraphBuilder, RunStalled, StepContext, reduce_list_append
from perdure.cli.main import run as perdure
from perdure.store.chain import chained


@dataclass
class Item:
    name: str


def build(
    hold: asyncio.Event | None = None, *, last: str = "use", joined: bool = False, types: tuple[Any, ...] = (Item,)
) -> Graph[Any, Any, Any, Any]:
    """A graph that makes things of a type that no annotation mentions, and uses them, or folds and uses them."""
    g = GraphBuilder(name="shop", input_type=str, output_type=str, types=types)

    @g.step
    async def make(ctx: StepContext[None, None, str]) -> object:
        return Item(ctx.inputs)

    async def use(ctx: StepContext[None, None, object]) -> str:
        if hold is not None:
            hold.set()
            await asyncio.Event().wait()
        return str(ctx.inputs)

    using = g.step(use, node_id=last)
    if joined:
        together = g.join(reduce_list_append, initial_factory=list[Any], node_id="together")
        g.add(
            g.edge_from(g.start_node).to(make, using),
            g.edge_from(make, using).to(together),
            g.edge_from(together).transform(lambda ctx: "folded").to(g.end_node),
        )
    else:
        g.add(g.edge_from(g.start_node).to(make), g.edge_from(make).to(using), g.edge_from(using).to(g.end_node))
    return g.build()


async def leave_in_the_middle(path: Path, run_id: str, **shape: Any) -> None:
    """Leave a run as a process does that ends in an orderly way, with its last step unfinished."""
    hold = asyncio.Event()
    graph = build(hold, **shape)
    async with Engine.open(path, [graph], recover=False) as engine:
        await engine.start(graph, inputs="thing", run_id=run_id)
        await asyncio.wait_for(hold.wait(), 20)


Rows = list[tuple[int, int, int, int, bytes, bytes]]


def rows_of(connection: sqlite3.Connection) -> Rows:
    columns = "id, first, count, epoch, CAST(events AS BLOB), hash"
    number = "(SELECT number FROM run WHERE run_id = 'broken')"
    return connection.execute(f"SELECT {columns} FROM log WHERE run = {number} ORDER BY first").fetchall()


def append(connection: sqlite3.Connection, events: bytes) -> None:
    """Append a row that is linked to the one before as a store does it."""
    _, first, count, epoch, _, head = rows_of(connection)[-1]
    ((number, ts),) = connection.execute(
        "SELECT run, max(ts) FROM log WHERE run = (SELECT number FROM run WHERE run_id = 'broken')"
    ).fetchall()
    hash_ = chained(head, "broken", first + count, 1, epoch, ts, events)
    row = (number, first + count, 1, epoch, ts, events.decode(), hash_)
    connection.execute("INSERT INTO log (run, first, count, epoch, ts, events, hash) VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def change_a_value(connection: sqlite3.Connection) -> None:
    first = rows_of(connection)[0][0]
    connection.execute("UPDATE log SET events = replace(events, 'thing', 'think') WHERE id = ?", (first,))


def drop_a_row(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM log WHERE id = ?", (rows_of(connection)[1][0],))


def drop_the_end(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM log WHERE id = ?", (rows_of(connection)[-1][0],))


def swap_rows(connection: sqlite3.Connection) -> None:
    one, two = (row[0] for row in rows_of(connection)[:2])
    for column in ("events", "hash"):
        connection.execute(
            f"UPDATE log SET {column} = CASE id WHEN ?1 THEN (SELECT {column} FROM log WHERE id = ?2) "
            f"ELSE (SELECT {column} FROM log WHERE id = ?1) END WHERE id IN (?1, ?2)",
            (one, two),
        )


def append_an_event_of_a_later_version(connection: sqlite3.Connection) -> None:
    append(connection, b'[["RunMoved","the moon",1]]')


def append_what_is_no_event(connection: sqlite3.Connection) -> None:
    append(connection, b'{"dear":"diary"}')


def append_an_event_of_no_task(connection: sqlite3.Connection) -> None:
    append(connection, b'[["NodeCompleted","0000000000000000",null,null,null]]')


def nothing(connection: sqlite3.Connection) -> None:
    """The file is as it was; it is the graph that has changed."""


STANDSTILLS: dict[str, tuple[Callable[[sqlite3.Connection], None], dict[str, Any], dict[str, Any], str]] = {
    "a value was changed": (change_a_value, {}, {}, "isn't what was written"),
    "a row is missing": (drop_a_row, {}, {}, "some are missing"),
    "the end is missing": (drop_the_end, {}, {}, "the log ends at event"),
    "two rows were swapped": (swap_rows, {}, {}, "isn't what was written"),
    "an event is of a later version": (append_an_event_of_a_later_version, {}, {}, "newer version of perdure"),
    "a row holds no events": (append_what_is_no_event, {}, {}, "newer version of perdure"),
    "an event is of no task": (append_an_event_of_no_task, {}, {}, "doesn't fit the graph"),
    "the graph has changed": (nothing, {}, {"last": "apply"}, "'use' is gone"),
    "the type of an input is missing": (nothing, {}, {"types": ()}, "Item"),
    "the type of what was folded is missing": (nothing, {"joined": True}, {"joined": True, "types": ()}, "Item"),
}


@pytest.mark.parametrize("what", STANDSTILLS)
def test_a_run_that_cant_be_driven_on_is_parked_with_a_reason_and_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path = tmp_path / "runs.db"
    spoil, before, after, why = STANDSTILLS[what]
    graph = build(**{**before, **after})

    async def main() -> str:
        await leave_in_the_middle(path, "broken", **before)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                if trigger.startswith("log_never_"):
                    connection.execute(f'DROP TRIGGER "{trigger}"')
            spoil(connection)
        async with Engine.open(path, [graph]) as engine:
            with pytest.raises(RunStalled, match="broken"):
                await asyncio.wait_for(engine.attach("broken").result(), 20)
            info = await engine.get("broken")
            assert (info.status, info.owner) == ("STALLED", None)
            assert why in info.error
            assert any(why in reason.text for reason in (await engine.explain("broken")).reasons)
            other = await engine.start(graph, inputs="other", run_id="other")
            if "type" not in what:
                await asyncio.wait_for(other.result(), 20)
            return info.error

    def told(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = perdure([*arguments, "--db", str(path)])
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    error = asyncio.run(main())
    _, output = told("explain", "broken")
    assert why in output
    _, output = told("runs", "--status", "STALLED", "--json")
    assert json.loads(output)["error"] == error, "the only one"
    _, output = told("history", "broken")
    assert "RunStarted" in output or why in output, "as far as the log can be read"
    code, _ = told("show", "broken")
    assert (code == 0) is (spoil is nothing)
