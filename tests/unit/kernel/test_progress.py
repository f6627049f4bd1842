"""How far batches are is counted from what is live."""

from __future__ import annotations

from typing import Any

from bench import Bench

from perdure import Graph, GraphBuilder, StepContext, reduce_sum
from perdure.engine.calling.values import PlainValues
from perdure.kernel.fold.run import Run
from perdure.kernel.timeline.progress import Picture, Progress


def picture(bench: Bench) -> Picture:
    """Return how far a run is, told event by event, with a look after each of them."""
    progress = Progress(Run(bench.graph.plan, "run", PlainValues()))
    for event in bench.events:
        progress.take(event)
        progress.picture()
    once = Progress(Run(bench.graph.plan, "run", PlainValues()))
    for event in bench.events:
        once.take(event)
    assert once.picture() == progress.picture()
    return progress.picture()


async def one(ctx: StepContext[None, None, Any]) -> Any:
    return ctx.inputs


def nested(window: int | None = None) -> Graph[Any, Any, Any, Any]:
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="nested", input_type=list[list[int]], output_type=int)
    row, cell, last = g.step(one, node_id="row"), g.step(one, node_id="cell"), g.step(one, node_id="last")
    inner = g.join(reduce_sum, initial=0, node_id="inner", preferred_parent_fork="closest")
    outer = g.join(reduce_sum, initial=0, node_id="outer")
    g.add(
        g.edge_from(g.start_node).map(fork_id="rows", max_concurrency=window).to(row),
        g.edge_from(row).map(fork_id="cells").to(cell),
        g.edge_from(cell).to(inner),
        g.edge_from(inner).to(outer),
        g.edge_from(outer).to(last),
        g.edge_from(last).to(g.end_node),
    )
    return g.build()


def told(bench: Bench) -> dict[str, tuple[int, int, int | None, int, bool]]:
    return {
        batch.path: (batch.done, batch.opened, batch.size, batch.running, batch.is_done)
        for batch in picture(bench).batches
    }


def test_an_arm_is_done_when_nothing_is_left_in_it() -> None:
    bench = Bench(nested(), [[1, 2], [3], []])
    assert told(bench) == {"rows": (0, 3, 3, 3, False)}
    bench.finish("rows[0]/row")
    assert told(bench) == {"rows": (0, 3, 3, 4, False), "rows[0]/cells": (0, 2, 2, 2, False)}
    bench.finish("rows[0]/cells[0]/cell")
    assert told(bench) == {"rows": (0, 3, 3, 3, False), "rows[0]/cells": (1, 2, 2, 1, False)}
    bench.finish("rows[0]/cells[1]/cell")
    assert told(bench) == {"rows": (1, 3, 3, 2, False)}
    bench.finish("rows[1]/row", "rows[2]/row")
    assert told(bench)["rows"] == (2, 3, 3, 1, False)
    bench.finish("rows[1]/cells[0]/cell")
    assert told(bench) == {"rows": (3, 3, 3, 0, True)}
    assert [(task.path, task.phase) for task in picture(bench).tasks] == [("last", "running")]
    bench.finish("last")
    assert told(bench) == {"rows": (3, 3, 3, 0, True)}
    assert picture(bench).tasks == ()


def test_arms_that_have_not_begun_are_not_done() -> None:
    bench = Bench(nested(window=1), [[1], [2], [3]])
    assert told(bench) == {"rows": (0, 1, 3, 1, False)}
    bench.finish("rows[0]/row")
    bench.finish("rows[0]/cells[0]/cell")
    assert told(bench) == {"rows": (1, 2, 3, 1, False)}


def test_the_size_of_a_stream_is_told_when_it_ends() -> None:
    g: GraphBuilder[None, None, Any, Any] = GraphBuilder(name="stream", output_type=int)

    @g.stream(node_id="source")
    async def source(ctx: StepContext[None, None, None]) -> Any:
        yield 1

    cell, total = g.step(one, node_id="cell"), g.join(reduce_sum, initial=0, node_id="total")
    g.add(
        g.edge_from(g.start_node).to(source),
        g.edge_from(source).map(fork_id="items").to(cell),
        g.edge_from(cell).to(total),
        g.edge_from(total).to(g.end_node),
    )
    bench = Bench(g.build())
    bench.give("source", 1, 2)
    assert told(bench) == {"items": (0, 2, None, 2, False)}
    bench.finish("items[0]/cell")
    assert told(bench) == {"items": (1, 2, None, 1, False)}
    bench.finish("source")
    assert told(bench) == {"items": (1, 2, 2, 1, False)}
    bench.finish("items[1]/cell")
    assert told(bench) == {"items": (2, 2, 2, 0, True)}
