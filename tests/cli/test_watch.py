"""A run is watched while it goes on, and until it is over."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

from rich.console import Console

from perdure import Engine, GraphBuilder, MemoryStore, StepContext, reduce_sum
from perdure.cli.batch_tree import tree_of
from perdure.cli.exits import Exit
from perdure.cli.pace import Pace
from perdure.cli.watch import JsonLines, Lines, watched


def test_a_run_that_is_over_is_told_once_in_lines(perdure, db) -> None:
    code, out, err = perdure("watch", "good", "--db", db)
    assert (code, err) == (0, "")
    words = [line.split() for line in out.splitlines()]
    assert words[0][1:3] == ["RunStarted", "orders"]
    assert any(line[1:4] == ["ForkOpened", "orders", "behind"] for line in words)
    assert ["orders:", "2", "of", "2", "done,"] in [line[:5] for line in words]
    assert words[-1] == ["COMPLETED"]


def test_how_a_run_ended_is_told_by_the_exit_code(perdure, db) -> None:
    code, out, _ = perdure("watch", "bad", "--db", db, "--json")
    assert code == 1
    last = json.loads(out.splitlines()[-1])
    assert (last["status"], last["batches"][0]["failed"], last["batches"][0]["done"]) == ("FAILED", 1, 1)
    assert perdure("watch", "nope", "--db", db).code == Exit.NOT_FOUND


def test_a_run_is_watched_while_it_goes_on(capsys) -> None:
    gates: dict[int, asyncio.Event] = {}
    g = GraphBuilder(name="slow", input_type=list[int], output_type=int)

    @g.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        await gates.setdefault(ctx.inputs, asyncio.Event()).wait()
        return ctx.inputs

    total = g.join(reduce_sum, initial=0, node_id="total")
    g.add(
        g.edge_from(g.start_node).map(fork_id="items").to(work),
        g.edge_from(work).to(total),
        g.edge_from(total).to(g.end_node),
    )
    graph = g.build()
    pictures: list[tuple[int, int]] = []

    class Watching(Lines):
        def picture(self, info: Any, picture: Any) -> None:
            super().picture(info, picture)
            if picture.batches:
                [batch] = picture.batches
                pictures.append((batch.done, batch.running))
                if batch.done < 4 and batch.running:  # it goes on when what has happened so far was seen
                    gates[batch.done].set()

    async def main() -> None:
        store = MemoryStore()
        async with Engine.open(store, graphs=[graph]) as engine:
            handle = await engine.start(graph, inputs=[0, 1, 2, 3], run_id="run")
            async with asyncio.timeout(20):
                info = await watched(store, "run", Watching(), lambda: asyncio.sleep(0))
            assert info.status == "COMPLETED"
            assert await handle.result() == 6

    asyncio.run(main())
    assert sorted(set(pictures)) == [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)]
    assert pictures == sorted(pictures, key=lambda seen: seen[0])
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if "items:" in line] == ["1", "2", "3", "4"]


def test_batches_are_drawn_as_a_tree(perdure, db) -> None:
    seen: list[Any] = []

    class Keeping(JsonLines):
        def picture(self, info: Any, picture: Any) -> None:
            seen.append((info, picture))

    async def main() -> None:
        from perdure.store.sqlite.store import SQLiteStore

        store = SQLiteStore(db)
        await store.open()
        await watched(store, "bad", Keeping(), lambda: asyncio.sleep(0))
        await store.close()

    asyncio.run(main())
    info, picture = seen[-1]
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(tree_of(info, picture, info.updated_at, Pace(), 20))
    text = console.export_text()
    assert "bad  orders  FAILED  event" in text
    assert "orders  ━" in text
    assert "1 of 2 done, 1 failed" in text
    assert "ValueError: the parcel" in text
