"""Whatever groups of races and quorums a run is made of: it fails when it must, and a retry runs what was lost, once."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import Engine, GraphBuilder, MemoryStore, StepContext, reduce_sum
from perdure.events import NodeCompleted
from perdure.graph.plan import NodeKind
from perdure.testing.invariants import violations


@dataclass
class Group:
    """A way to put steps together; a leaf is ``"step"``, or ``"map"``, which does the same to some items."""

    kind: str
    parts: tuple[Group, ...] = ()
    min_ok: int = 0
    fails: bool = False

    def holds(self) -> bool:
        """Say whether it has a result though what is to fail does."""
        succeeded = [part.holds() for part in self.parts]
        if self.kind in ("step", "map"):
            return not self.fails
        if self.kind == "race":
            return any(succeeded)
        return sum(succeeded) >= self.min_ok if self.kind == "quorum" else all(succeeded)


def random_group(rng: Random, depth: int) -> Group:
    kind = (
        rng.choice(["race", "quorum", "all", "chain", "step", "map"]) if depth else rng.choice(["step", "step", "map"])
    )
    if kind in ("step", "map"):
        return Group(kind, fails=rng.random() < 0.5)
    parts = tuple(random_group(rng, depth - 1) for _ in range(rng.randint(2, 3)))
    return Group(kind, parts, rng.randint(1, len(parts)))


class Building:
    """The graph of a group; its steps fail until they are mended, and are counted."""

    def __init__(self, group: Group, seed: int) -> None:
        self.rng = Random(seed)
        self.is_mended = False
        self.names = 0
        g = GraphBuilder(name="groups", input_type=int, output_type=Any)
        made = self.make(g, group)
        g.add_edge(g.start_node, made)
        g.add_edge(made, g.end_node)
        self.graph = g.build()
        for node in self.graph.plan.nodes.values():
            if node.kind is NodeKind.MAP:
                node.window = self.rng.randint(1, 4)

    def step(self, g: Any, fails: bool, at: Any = None) -> Any:
        turns = self.rng.randint(0, 3)
        self.names += 1

        async def body(ctx: StepContext[None, None, Any]) -> int:
            for _ in range(turns):
                await asyncio.sleep(0)
            if fails and not self.is_mended and at in (None, ctx.inputs):
                raise ValueError("not yet")
            return 1

        return g.step(body, node_id=f"step{self.names}")

    def mapped(self, g: Any, fails: bool) -> Any:
        self.names += 1
        inner = GraphBuilder(name=f"inner{self.names}", input_type=Any, output_type=int)

        @inner.step(node_id=f"items{self.names}")
        async def items(ctx: StepContext[None, None, Any]) -> list[int]:
            return [0, 1, 2, 3, 4]

        each = self.step(inner, fails, self.rng.randint(0, 4))
        total = inner.join(reduce_sum, initial=0)
        inner.add(
            inner.edge_from(inner.start_node).to(items),
            inner.edge_from(items).map().to(each),
            inner.edge_from(each).to(total),
            inner.edge_from(total).to(inner.end_node),
        )
        return g.subgraph(inner.build())

    def make(self, g: Any, group: Group) -> Any:
        if group.kind == "step":
            return self.step(g, group.fails)
        if group.kind == "map":
            return self.mapped(g, group.fails)
        parts = [self.make(g, part) for part in group.parts]
        if group.kind == "race":
            return g.race(*parts)
        if group.kind == "chain":
            return g.chain(*parts)
        if group.kind == "quorum":
            return g.parallel(*parts, min_ok=group.min_ok, on_error="collect")
        return g.parallel(*parts)


groups = st.builds(random_group, st.randoms(use_true_random=False), st.integers(1, 3))


@settings(max_examples=80, deadline=None)
@given(groups, st.integers(0, 1000), st.floats(0, 1))
def test_a_retry_runs_what_was_lost_and_nothing_that_has_finished(group: Group, seed: int, part: float) -> None:
    async def check() -> None:
        building = Building(group, seed)
        graph = building.graph
        async with Engine.open(MemoryStore(), [graph]) as engine:
            handle = await engine.start(graph, inputs=1, run_id="run")
            try:
                result = await asyncio.wait_for(handle.result(), 10)
            except TimeoutError:
                raise
            except Exception:
                assert not group.holds()
                building.is_mended = True
                result = await asyncio.wait_for((await engine.retry("run")).result(), 10)
            else:
                assert group.holds()
            history = await engine.history("run")
            assert violations(history) == []
            done = Counter(recorded.event.task for recorded in history if isinstance(recorded.event, NodeCompleted))
            assert set(done.values()) <= {1}
            assert type(result) in (int, list)
            building.is_mended = True
            forked = await engine.fork_run("run", at=1 + int(part * (len(history) - 1)))
            await asyncio.wait_for(forked.result(), 10)
            assert violations(await engine.history(forked.run_id)) == []

    asyncio.run(check())


@settings(max_examples=60, deadline=None)
@given(groups, st.integers(0, 1000))
def test_a_run_in_memory_fails_when_one_on_a_store_does(group: Group, seed: int) -> None:
    building = Building(group, seed)
    try:
        asyncio.run(building.graph.run(inputs=1))
    except Exception:
        assert not group.holds()
    else:
        assert group.holds()
