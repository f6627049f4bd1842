"""Record a file of the present schema as SQL, for the tests of migrations: ``python record.py > version_N.sql``.

Do it once for each version that is released, and never again for that one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from perdure import Engine, GraphBuilder, StepContext, reduce_sum
from perdure.engine import owner
from perdure.kernel.decide import describe


@dataclass
class Counted:
    rounds: int = 0


orders = GraphBuilder(name="orders", input_type=list[int], output_type=int)


@orders.step
async def ship(ctx: StepContext[None, None, int]) -> int:
    if ctx.inputs < 0:
        raise ValueError("it costs less than nothing")
    return ctx.inputs


total = orders.join(reduce_sum, initial=0, node_id="total")
orders.add(
    orders.edge_from(orders.start_node).map(fork_id="items").to(ship),
    orders.edge_from(ship).to(total),
    orders.edge_from(total).to(orders.end_node),
)

poll = GraphBuilder(name="poll", state_type=Counted, input_type=int, output_type=int)


@poll.step
async def look(ctx: StepContext[Counted, None, int]) -> int:
    ctx.state.rounds += 1
    if ctx.inputs < 2:
        ctx.continue_as_new(ctx.inputs + 1)
    return ctx.state.rounds


poll.add(poll.edge_from(poll.start_node).to(look), poll.edge_from(look).to(poll.end_node))

review = GraphBuilder(name="review", output_type=list)
both = review.parallel(
    review.human("law", form=bool, title="Read it", assignee="ann"), review.human("money", form=bool, assignee="bob")
)
review.add(review.edge_from(review.start_node).to(both), review.edge_from(both).to(review.end_node))


async def fill(path: Path) -> None:
    graphs = [orders.build(), poll.build(), review.build()]
    async with Engine.open(path, graphs=graphs) as engine:
        order = await engine.start(graphs[0], inputs=[1, 2], run_id="order-1", by="ann", tags={"team": "a"})
        await order.result()
        broken = await engine.start(graphs[0], inputs=[1, -2], run_id="order-2")
        with suppress(ValueError):
            await broken.result()
        await (await engine.fork_run("order-1", at=1, new_run_id="order-1-again", by="bob")).result()
        await (await engine.start(graphs[1], inputs=1, state=Counted(), run_id="poll")).result()
        reviewed = await engine.start(graphs[2], run_id="review-1")
        for wait in await reviewed.until_waiting():
            if wait.name == "law":
                await engine.respond("review-1", wait.task_id, True, by="ann")
        while len(await engine.waiting("review-1")) > 1 or await engine._store.inbox("review-1"):
            await asyncio.sleep(0)
        await engine.pause("review-1", by="cleo", reason="holidays")
        while (await engine.get("review-1")).status != "PAUSED":
            await asyncio.sleep(0)


def main() -> None:
    owner.socket.gethostname = lambda: "host"  # whose machine it was, and where, is nobody's business
    describe.traceback.format_exception = lambda *_, **__: ["Traceback (most recent call last)\n"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        asyncio.run(fill(path))
        with closing(sqlite3.connect(path)) as connection:
            for pragma in ("application_id", "user_version"):
                ((value,),) = connection.execute(f"PRAGMA {pragma}")
                sys.stdout.write(f"PRAGMA {pragma} = {value};\n")
            sys.stdout.writelines(f"{line}\n" for line in connection.iterdump())


if __name__ == "__main__":
    main()
