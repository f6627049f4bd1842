"""Constructs for random graphs beyond forks, joins, decisions and loops: what waits, fails, is chosen, raced or nested.

Each is a block like the others: it begins with one node and ends with one, and says itself what it must give. ``answering``
is who answers the questions of such a graph and sends it the signals that it waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from random import Random
from typing import Any

from perdure import (
    AnswerRefused,
    Failure,
    Graph,
    GraphBuilder,
    Retry,
    RunHandle,
    StepContext,
    reduce_list_append,
)
from perdure.engine.calling.waiting import Waiting
from perdure.graph.nodes.wait import Wait
from perdure.graph.plan import WaitKind
from random_graphs import (
    Block,
    Building,
    Construct,
    Inner,
    Step,
    Tally,
    combined,
    evaluate,
    item,
    low,
    possible,
    summed,
    weighed,
    with_low,
    work,
)

GIVEN = 5
"""What every person answers, and every signal brings."""


class Certain(Construct):
    """A construct whose result doesn't depend on timing, if that of what it is made of doesn't."""

    def evaluate(self, value: int, tally: Tally) -> int:
        raise NotImplementedError


class Racy(Construct):
    """A construct whose result depends on who is first."""

    is_race = True

    def evaluate(self, value: int, tally: Tally) -> int:
        raise TypeError(self)


def _spread(building: Building, arms: list[tuple[Any, Any]], joined: Any, fork: str) -> Any:
    """Add a node that broadcasts to arms, which end in a node; return it."""
    head = building.plain(lambda value: value)
    building.g.add(
        building.g.edge_from(head).broadcast(lambda e: [e.to(first) for first, _ in arms], fork_id=fork),
        *(building.g.edge_from(last).to(joined) for _, last in arms),
    )
    return head


def _chosen(arms: tuple[Block, ...], picks: int, value: int) -> list[Block]:
    start = low(value) % len(arms)
    return [arms[(start + place) % len(arms)] for place in range(picks)]


@dataclass(frozen=True)
class Routed(Certain):
    """A router that takes some of several ways, one of them perhaps twice."""

    arms: tuple[Block, ...]
    picks: int

    def evaluate(self, value: int, tally: Tally) -> int:
        return summed([evaluate(arm, value, tally) for arm in _chosen(self.arms, self.picks, value)])

    def possible(self, value: int) -> set[int]:
        return combined([possible(arm, value) for arm in _chosen(self.arms, self.picks, value)], ordered=False)

    def add(self, building: Building) -> tuple[Any, Any]:
        g, count = building.g, len(self.arms)
        heads = [building.plain(lambda value: value) for _ in self.arms]
        ends = [building.block(arm) for arm in self.arms]

        async def choose(ctx: StepContext[Tally, None, int]) -> Any:
            await building.pause(ctx)
            return [heads[(low(ctx.inputs) + place) % count].id for place in range(self.picks)]

        router = g.router(choose, node_id=building.name("router"))
        join = g.join(_add, initial=None, node_id=building.name("join"), preferred_parent_fork="closest")
        g.add(g.edge_from(router).to(*heads))
        for head, (first, last) in zip(heads, ends, strict=True):
            g.add(g.edge_from(head).to(first), g.edge_from(last).to(join))
        return router, join


def _add(current: int | None, arrived: int) -> int:
    return arrived if current is None else with_low(arrived, low(current) + low(arrived))


def _meet(current: int | None, arrived: int | Failure) -> int:
    """Add up values of which only one carries the loop counters; a failure counts one."""
    value = 1 if isinstance(arrived, Failure) else arrived
    return value if current is None else with_low(max(current, value), low(current) + low(value))


@dataclass(frozen=True)
class Asked(Certain):
    """A question to a person, or a signal, beside an arm that carries the value on."""

    human: bool

    def evaluate(self, value: int, tally: Tally) -> int:
        return with_low(value, low(value) + GIVEN)

    def possible(self, value: int) -> set[int]:
        return {self.evaluate(value, Tally())}

    def add(self, building: Building) -> tuple[Any, Any]:
        name = building.name("asked")
        wait: Any = building.g.human(name, form=int) if self.human else building.g.signal(name, int)
        fork = building.name("fork")
        join = building.g.join(_meet, initial=None, node_id=building.name("join"), parent_fork_id=fork)
        carried = building.plain(lambda value: value)
        return _spread(building, [(wait, wait), (carried, carried)], join, fork), join


@dataclass(frozen=True)
class Slept(Certain):
    """A sleep: so short that the run is kept in memory, or longer."""

    is_long: bool

    def evaluate(self, value: int, tally: Tally) -> int:
        return value

    def possible(self, value: int) -> set[int]:
        return {value}

    def add(self, building: Building) -> tuple[Any, Any]:
        nap = building.g.sleep(
            timedelta(seconds=building.long_s if self.is_long else building.unit_s), node_id=building.name("nap")
        )
        return nap, nap


@dataclass(frozen=True)
class Flaky(Certain):
    """A step that fails a few times, after it has written to the state, or takes too long."""

    failures: int
    is_slow: bool
    a: int
    b: int

    def evaluate(self, value: int, tally: Tally) -> int:
        return evaluate(Step(self.a, self.b), value, tally)

    def possible(self, value: int) -> set[int]:
        return {work(value, self.a, self.b)}

    def add(self, building: Building) -> tuple[Any, Any]:
        inner, unit_s = building.work(Step(self.a, self.b)), building.unit_s

        async def body(ctx: StepContext[Tally, None, int]) -> int:
            ctx.state.count += 1000
            ctx.state.trail.append(-1)
            await building.pause(ctx)
            if ctx.attempt <= self.failures:
                if self.is_slow:
                    await asyncio.sleep(50 * unit_s)
                raise ValueError("not yet")
            ctx.state.count -= 1000
            ctx.state.trail.pop()
            ctx.state.by_node[str(low(ctx.inputs))] = ctx.attempt
            result: int = inner(ctx, ctx.inputs)
            return result

        retry = Retry(max_attempts=self.failures + 1, initial_interval=unit_s, max_interval=4 * unit_s)
        timeout = timedelta(seconds=20 * unit_s) if self.is_slow else None
        step = building.g.step(body, node_id=building.name("flaky"), retry=retry, timeout=timeout)
        return step, step


def _boom(value: int) -> int:
    raise ValueError("this arm always fails")


@dataclass(frozen=True)
class Collected(Certain):
    """A broadcast every second arm of which fails at its end; the join gets the failures instead."""

    arms: tuple[Block, ...]

    def evaluate(self, value: int, tally: Tally) -> int:
        results = [evaluate(arm, value, tally) for arm in self.arms]
        return with_low(value, sum(1 if place % 2 else low(result) for place, result in enumerate(results)))

    def possible(self, value: int) -> set[int]:
        kept = [{1} if place % 2 else {low(end) for end in possible(arm, value)} for place, arm in enumerate(self.arms)]
        return {with_low(value, total) for total in combined(kept, ordered=False)}

    def add(self, building: Building) -> tuple[Any, Any]:
        fork = building.name("fork")
        join = building.g.join(
            _meet, initial=None, node_id=building.name("join"), parent_fork_id=fork, on_error="collect"
        )
        ends = []
        for place, arm in enumerate(self.arms):
            first, last = building.block(arm)
            if place % 2:
                fails = building.plain(_boom)
                building.g.add(building.g.edge_from(last).to(fails))
                last = fails
            ends.append((first, last))
        return _spread(building, ends, join, fork), join


@dataclass(frozen=True)
class Met(Certain):
    """A broadcast whose arms meet in a step that waits for all of them."""

    arms: tuple[Block, ...]

    def evaluate(self, value: int, tally: Tally) -> int:
        return weighed([evaluate(arm, value, tally) for arm in self.arms])

    def possible(self, value: int) -> set[int]:
        return combined([possible(arm, value) for arm in self.arms], ordered=True)

    def add(self, building: Building) -> tuple[Any, Any]:
        async def body(ctx: StepContext[Tally, None, list[int]]) -> int:
            await building.pause(ctx)
            return weighed(ctx.inputs)

        meeting = building.g.step(body, node_id=building.name("all"), join="all")
        ends = [building.block(arm) for arm in self.arms]
        return _spread(building, ends, meeting, building.name("fork")), meeting


@dataclass(frozen=True)
class Quorum(Racy):
    """A broadcast whose arms meet in a step that waits for the first, or the first few of them."""

    arms: tuple[Block, ...]
    enough: int
    cancels: bool

    def possible(self, value: int) -> set[int]:
        ends = [possible(arm, value) for arm in self.arms]
        chosen = combinations(ends, self.enough)
        return {end for some in chosen for end in combined(list(some), ordered=self.enough > 1)}

    def add(self, building: Building) -> tuple[Any, Any]:
        async def first(ctx: StepContext[Tally, None, int]) -> int:
            await building.pause(ctx)
            return ctx.inputs

        async def several(ctx: StepContext[Tally, None, list[int]]) -> int:
            await building.pause(ctx)
            return weighed(ctx.inputs)

        meeting = building.g.step(
            first if self.enough == 1 else several,
            node_id=building.name("quorum"),
            join="any" if self.enough == 1 else self.enough,
            cancel=self.cancels,
        )
        ends = [building.block(arm) for arm in self.arms]
        return _spread(building, ends, meeting, building.name("fork")), meeting


@dataclass(frozen=True)
class Rivals(Racy):
    """A race of steps, one of which always fails."""

    members: tuple[Step, ...]

    def possible(self, value: int) -> set[int]:
        return {work(value, step.a, step.b) for step in self.members}

    def add(self, building: Building) -> tuple[Any, Any]:
        members = [building.step(building.work(step)) for step in self.members]
        race = building.g.race(building.plain(_boom), *members, node_id=building.name("race"))
        return race, race


@dataclass(frozen=True)
class Grouped(Certain):
    """A group of a step beside a chain, with a limit to what runs at once."""

    alone: Step
    first: Step
    second: Step
    limit: int

    def evaluate(self, value: int, tally: Tally) -> int:
        chained = evaluate(self.second, evaluate(self.first, value, tally), tally)
        return weighed([evaluate(self.alone, value, tally), chained])

    def possible(self, value: int) -> set[int]:
        return {self.evaluate(value, Tally())}

    def add(self, building: Building) -> tuple[Any, Any]:
        alone, first, second = (building.step(building.work(step)) for step in (self.alone, self.first, self.second))

        async def body(ctx: StepContext[Tally, None, list[int]]) -> int:
            return weighed(ctx.inputs)

        group = building.g.parallel(
            alone,
            building.g.chain(first, second, node_id=building.name("chain")),
            then=building.g.step(body, node_id=building.name("then")),
            max_concurrency=self.limit,
            node_id=building.name("group"),
        )
        return group, group


@dataclass(frozen=True)
class Nested(Certain):
    """A graph inside of the graph, on the same state or on one of its own."""

    inner: Block
    has_own: bool

    def evaluate(self, value: int, tally: Tally) -> int:
        return evaluate(self.inner, value, tally)

    def possible(self, value: int) -> set[int]:
        return possible(self.inner, value)

    def add(self, building: Building) -> tuple[Any, Any]:
        name = building.name("inner")
        g = GraphBuilder(name=name, state_type=Tally, input_type=int, output_type=int, max_steps=100_000)
        inside = Building(building.seed, building.pauses, building.tick_s, building.long_s, g)
        first, last = inside.block(self.inner)
        g.add(g.edge_from(g.start_node).to(first), g.edge_from(last).to(g.end_node))
        more: dict[str, Any] = {"state": "shared"}
        if self.has_own:
            more = {"state": lambda ctx: Tally(), "on_end": _take_over}
        group = building.g.subgraph(g.build(), node_id=name, **more)
        return group, group


def _take_over(outer: Tally, inner: Tally) -> None:
    outer.count += inner.count
    outer.total += inner.total


@dataclass(frozen=True)
class Gathered(Certain):
    """A map whose join gives out what arrived, in the order in which it did, to a step that adds it up."""

    width: int
    arm: Block

    def evaluate(self, value: int, tally: Tally) -> int:
        return summed([evaluate(self.arm, item(value, index), tally) for index in range(self.width)])

    def possible(self, value: int) -> set[int]:
        return combined([possible(self.arm, item(value, index)) for index in range(self.width)], ordered=False)

    def add(self, building: Building) -> tuple[Any, Any]:
        g, fork = building.g, building.name("map")
        head = building.items(self.width, streamed=False)
        first, last = building.block(self.arm)
        join = g.join(
            reduce_list_append, initial_factory=list[int], node_id=building.name("gathered"), parent_fork_id=fork
        )

        async def body(ctx: StepContext[Tally, None, list[int]]) -> int:
            await building.pause(ctx)
            return summed(ctx.inputs)

        total = g.step(body, node_id=building.name("total"))
        g.add(
            g.edge_from(head).map(fork_id=fork, downstream_join_id=join.id).to(first),
            g.edge_from(last).to(join),
            g.edge_from(join).to(total),
        )
        return head, total


CERTAIN = (Routed, Asked, Slept, Flaky, Collected, Met, Grouped, Nested, Gathered)
RACY = (Quorum, Rivals)


def some_construct(rng: Random, inner: Inner, *, races: bool = True) -> Block:
    """Return a random construct."""
    kind = rng.choice(CERTAIN + RACY if races else CERTAIN)

    def step() -> Step:
        return Step(rng.randrange(1, 9), rng.randrange(100))

    def arms(least: int = 2) -> tuple[Block, ...]:
        return tuple(inner() for _ in range(rng.randrange(least, 4)))

    if kind is Routed:
        return Routed(arms(), rng.randrange(1, 4))
    if kind is Asked:
        return Asked(rng.random() < 0.5)
    if kind is Slept:
        return Slept(rng.random() < 0.5)
    if kind is Flaky:
        return Flaky(rng.randrange(1, 3), rng.random() < 0.3, rng.randrange(1, 9), rng.randrange(100))
    if kind is Collected:
        return Collected(arms())
    if kind is Met:
        return Met(arms())
    if kind is Quorum:
        some = arms()
        return Quorum(some, rng.randrange(1, len(some)), rng.random() < 0.5)
    if kind is Rivals:
        return Rivals(tuple(step() for _ in range(rng.randrange(1, 3))))
    if kind is Grouped:
        return Grouped(step(), step(), step(), rng.randrange(1, 3))
    if kind is Nested:
        return Nested(inner(), rng.random() < 0.5)
    return Gathered(rng.randrange(1, 4), inner())


def signals(graph: Graph[Any, Any, Any, Any]) -> list[str]:
    """Return the names of the signals that a graph waits for, those of graphs inside of it too."""
    return [node.name for node in graph.nodes.values() if isinstance(node, Wait) and node.kind is WaitKind.SIGNAL]


async def answering(
    handle: RunHandle[Any],
    sleep: Callable[[float], Awaitable[None]],
    *,
    answer: Callable[[Waiting], Any] = lambda wait: GIVEN,
    early: Iterable[str] = (),
) -> Any:
    """Give a run all that it waits for, and some signals whether it waits for them or not; return its result."""
    for name in early:
        with suppress(AnswerRefused):  # the run is over
            await handle.signal(name, GIVEN)
    while waiting := await handle.until_waiting():
        for wait in waiting:
            await _give(handle, wait, answer(wait))
        await sleep(0.05)
    return await handle.result()


async def _give(handle: RunHandle[Any], wait: Waiting, value: Any) -> None:
    try:
        if wait.kind == "human":
            await handle.respond(wait.task_id, value, by="somebody")
        elif wait.kind == "signal":
            await handle.signal(wait.name, value)
    except AnswerRefused:  # what was given just before has let the run go past this wait, or to its end
        assert wait.task_id not in {still.task_id for still in await handle.waiting()}, wait
