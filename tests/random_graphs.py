"""Random graphs with a reference that says what they must give.

A *block* begins with one node and ends with one; blocks nest. The same block is built into a graph and evaluated by a
plain recursive function, so a run can be compared with what its graph means.

Values are ints whose low part is worked on and whose high part is a stack of loop counters, one decimal digit each, so
that loops end whatever happens inside of them.
"""

from __future__ import annotations

import asyncio
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias

from perdure import Graph, GraphBuilder, ReducerContext, StepContext
from perdure.graph.plan import NodeKind

M = 1000


@dataclass
class Tally:
    """The state every step writes to."""

    count: int = 0
    total: int = 0
    by_node: dict[str, int] = field(default_factory=dict)
    trail: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    a: int
    b: int


@dataclass(frozen=True)
class Seq:
    first: Block
    second: Block


@dataclass(frozen=True)
class Broadcast:
    arms: tuple[Block, ...]
    ordered: bool


@dataclass(frozen=True)
class Map:
    width: int
    arm: Block
    ordered: bool
    streamed: bool


@dataclass(frozen=True)
class Grid:
    """A map directly behind a map, joined once."""

    rows: int
    columns: int
    arm: Block


@dataclass(frozen=True)
class Either:
    arms: tuple[Block, ...]


@dataclass(frozen=True)
class Loop:
    times: int
    body: Block


@dataclass(frozen=True)
class Race:
    """A map whose join ends at the first arrival; its result depends on timing."""

    width: int
    arm: Block
    streamed: bool


class Construct(ABC):
    """A block that says itself what it gives, and how it is built; its fields are ints, blocks and tuples of blocks."""

    is_race = False
    """Whether its result, or how often its steps run, depends on timing."""

    @abstractmethod
    def possible(self, value: int) -> set[int]:
        """Return everything that it may give."""

    @abstractmethod
    def evaluate(self, value: int, tally: Tally) -> int:
        """Return what it must give, and count the steps it must run."""

    @abstractmethod
    def add(self, building: Building) -> tuple[Any, Any]:
        """Add it to a graph; return its first and its last node."""


Block: TypeAlias = Step | Seq | Broadcast | Map | Grid | Either | Loop | Race | Construct

Inner: TypeAlias = Callable[[], Block]
More: TypeAlias = Callable[[Random, Inner], Block]


def random_block(rng: Random, depth: int, *, races: bool = False, more: More | None = None) -> Block:
    """Return a random block; ``more`` makes others than there are here, from a function that returns inner ones."""
    if depth == 0:
        return Step(rng.randrange(1, 9), rng.randrange(100))
    kinds = ["step", "seq", "seq", "broadcast", "map", "map", "grid", "either", "loop", *(["race"] if races else [])]
    kind = rng.choice(kinds)

    def inner() -> Block:
        return random_block(rng, depth - 1, races=races, more=more)

    if more is not None and rng.random() < 0.5:
        return more(rng, inner)
    if kind == "seq":
        return Seq(inner(), inner())
    if kind == "broadcast":
        return Broadcast(tuple(inner() for _ in range(rng.randrange(1, 4))), rng.random() < 0.3)
    if kind == "map":
        return Map(rng.randrange(1, 5), inner(), rng.random() < 0.3, rng.random() < 0.4)
    if kind == "grid":
        return Grid(rng.randrange(1, 3), rng.randrange(1, 3), inner())
    if kind == "either":
        return Either(tuple(inner() for _ in range(rng.randrange(2, 4))))
    if kind == "loop":
        return Loop(rng.randrange(1, 4), inner())
    if kind == "race":
        return Race(rng.randrange(2, 5), inner(), rng.random() < 0.3)
    return Step(rng.randrange(1, 9), rng.randrange(100))


def kinds(block: Block) -> set[type]:
    """Return the kinds of blocks in a block."""
    parts = [part for part in vars(block).values() if not isinstance(part, int)]
    flat = [inner for part in parts for inner in (part if isinstance(part, tuple) else (part,))]
    return {type(block)}.union(*map(kinds, flat))


def has_race(block: Block) -> bool:
    """Say whether the result of a block depends on timing."""
    return any(kind is Race or (issubclass(kind, Construct) and kind.is_race) for kind in kinds(block))


def size(block: Block) -> int:
    """Return about how many steps a block runs."""
    inner = sum(
        size(part)
        for value in vars(block).values()
        for part in (value if isinstance(value, tuple) else (value,))
        if not isinstance(part, int)
    )
    times = getattr(block, "width", 1) * getattr(block, "rows", 1) * getattr(block, "columns", 1)
    return 1 + inner * times * getattr(block, "times", 1)


# --- the reference ---


def low(value: int) -> int:
    return value % M


def with_low(value: int, new: int) -> int:
    return value // M * M + new % M


def work(value: int, a: int, b: int) -> int:
    return with_low(value, low(value) * a + b)


def item(value: int, index: int) -> int:
    return with_low(value, low(value) + index)


def weighed(values: list[int]) -> int:
    return with_low(values[0], sum((place + 1) * low(value) for place, value in enumerate(values)))


def summed(values: list[int]) -> int:
    return with_low(values[0], sum(map(low, values)))


def push(value: int, times: int) -> int:
    return (value // M * 10 + times) * M + low(value)


def again(value: int) -> bool:
    return value // M % 10 > 1


def next_round(value: int) -> int:
    return value - M if again(value) else value // M // 10 * M + low(value)


def evaluate(block: Block, value: int, tally: Tally) -> int:
    """Return what a block must give, and count the steps it must run."""
    if isinstance(block, Construct):
        return block.evaluate(value, tally)
    if isinstance(block, Step):
        result = work(value, block.a, block.b)
        tally.count += 1
        tally.total += low(result)
        return result
    if isinstance(block, Seq):
        return evaluate(block.second, evaluate(block.first, value, tally), tally)
    if isinstance(block, Broadcast):
        results = [evaluate(arm, value, tally) for arm in block.arms]
        return weighed(results) if block.ordered else summed(results)
    if isinstance(block, Map):
        results = [evaluate(block.arm, item(value, index), tally) for index in range(block.width)]
        return weighed(results) if block.ordered else summed(results)
    if isinstance(block, Grid):
        cells = [item(item(value, row), column) for row in range(block.rows) for column in range(block.columns)]
        return summed([evaluate(block.arm, cell, tally) for cell in cells])
    if isinstance(block, Either):
        return evaluate(block.arms[low(value) % len(block.arms)], value, tally)
    if isinstance(block, Loop):
        value = push(value, block.times)
        while True:
            value = evaluate(block.body, value, tally)
            more = again(value)
            value = next_round(value)
            if not more:
                return value
    raise TypeError(block)


def possible(block: Block, value: int) -> set[int]:
    """Return everything that a block may give, whoever wins its races."""
    if isinstance(block, Construct):
        return block.possible(value)
    if isinstance(block, Seq):
        return {end for middle in possible(block.first, value) for end in possible(block.second, middle)}
    if isinstance(block, Broadcast):
        return combined([possible(arm, value) for arm in block.arms], ordered=block.ordered)
    if isinstance(block, Map):
        arms = [possible(block.arm, item(value, index)) for index in range(block.width)]
        return combined(arms, ordered=block.ordered)
    if isinstance(block, Grid):
        cells = [item(item(value, row), column) for row in range(block.rows) for column in range(block.columns)]
        return combined([possible(block.arm, cell) for cell in cells], ordered=False)
    if isinstance(block, Either):
        return possible(block.arms[low(value) % len(block.arms)], value)
    if isinstance(block, Loop):
        values = {push(value, block.times)}
        for _ in range(block.times):
            values = {next_round(end) for begin in values for end in possible(block.body, begin)}
        return values
    if isinstance(block, Race):
        return {end for index in range(block.width) for end in possible(block.arm, item(value, index))}
    return {work(value, block.a, block.b)}


def combined(arms: list[set[int]], *, ordered: bool) -> set[int]:
    """Return the sums there may be of one value of each arm, weighed by its place if they are ordered."""
    sums = {with_low(next(iter(arms[0])), 0)}
    for place, values in enumerate(arms):
        weight = place + 1 if ordered else 1
        sums = {with_low(total, low(total) + weight * low(value)) for total in sums for value in values}
    return sums


# --- the graph ---


def _add_up(current: int | None, arrived: int) -> int:
    return arrived if current is None else with_low(arrived, low(current) + low(arrived))


def _collect(ctx: ReducerContext[Tally, Any], current: list[int], arrived: int) -> list[int]:
    ctx.state.trail.append(len(current))
    current.append(arrived)
    return current


def _first(ctx: ReducerContext[Tally, Any], current: int | None, arrived: int) -> int:
    if current is not None:
        return current
    ctx.cancel_sibling_tasks()
    return arrived


class Building:
    """A graph on its way."""

    def __init__(self, seed: int, pauses: int, tick_s: float, long_s: float, g: Any = None) -> None:
        self.g = g or GraphBuilder(name="random", state_type=Tally, input_type=int, output_type=int, max_steps=100_000)
        self.unit_s = tick_s or 0.001
        self.long_s = long_s
        self.count = 0
        self.seed = seed
        self.pauses = pauses
        self.tick_s = tick_s
        self.pace: Callable[[str], float] | None = None

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    async def pause(self, ctx: StepContext[Any, Any, Any]) -> None:
        """Wait for a number of turns of the loop, or of ticks, that depends on the task alone; many wait equally long."""
        if self.pace is not None:
            await asyncio.sleep(self.pace(ctx.task_id))
            return
        turns = zlib.crc32(f"{self.seed}/{ctx.task_id}".encode()) % (self.pauses + 1)
        if self.tick_s:
            await asyncio.sleep(turns * self.tick_s)
        else:
            for _ in range(turns):
                await asyncio.sleep(0)

    def step(self, function: Any, **options: Any) -> Any:
        async def body(ctx: StepContext[Tally, None, int]) -> Any:
            await self.pause(ctx)
            return function(ctx, ctx.inputs)

        return self.g.step(body, node_id=self.name("step"), **options)

    def plain(self, function: Any, **options: Any) -> Any:
        return self.step(lambda ctx, value: function(value), **options)

    def block(self, block: Block) -> tuple[Any, Any]:
        """Add a block and return its first and its last node."""
        if isinstance(block, Construct):
            return block.add(self)
        build = getattr(self, f"add_{type(block).__name__.lower()}")
        ends: tuple[Any, Any] = build(block)
        return ends

    def add_seq(self, block: Seq) -> tuple[Any, Any]:
        head, middle = self.block(block.first)
        start, end = self.block(block.second)
        self.g.add(self.g.edge_from(middle).to(start))
        return head, end

    def work(self, block: Step) -> Any:
        def function(ctx: StepContext[Tally, None, int], value: int) -> int:
            result = work(value, block.a, block.b)
            ctx.state.count += 1
            ctx.state.total += low(result)
            return result

        return function

    def add_step(self, block: Step) -> tuple[Any, Any]:
        node = self.step(self.work(block))
        return node, node

    def joined(self, fork: str, *, ordered: bool) -> tuple[Any, Any]:
        """Return a join of a fork and the node that gives out its value."""
        if ordered:
            join = self.g.join(
                _collect,
                initial_factory=list[int],
                node_id=self.name("join"),
                parent_fork_id=fork,
                order="branch",
            )
            weigh = self.plain(weighed)
            self.g.add(self.g.edge_from(join).to(weigh))
            return join, weigh
        join = self.g.join(_add_up, initial=None, node_id=self.name("join"), parent_fork_id=fork)
        return join, join

    def add_broadcast(self, block: Broadcast) -> tuple[Any, Any]:
        head = self.plain(lambda value: value)
        fork = self.name("fork")
        join, end = self.joined(fork, ordered=block.ordered)
        ends = [self.block(arm) for arm in block.arms]
        self.g.add(
            self.g.edge_from(head).broadcast(lambda e: [e.to(first) for first, _ in ends], fork_id=fork),
            *(self.g.edge_from(last).to(join) for _, last in ends),
        )
        return head, end

    def items(self, width: int, *, streamed: bool) -> Any:
        """Return a node that gives out the items of a map, all at once or one by one."""
        if not streamed:
            return self.plain(lambda value: [item(value, index) for index in range(width)])

        async def items(ctx: StepContext[Tally, None, int]) -> AsyncIterator[int]:
            for index in range(width):
                await self.pause(ctx)
                yield item(ctx.inputs, index)

        return self.g.stream(items, node_id=self.name("stream"))

    def add_map(self, block: Map) -> tuple[Any, Any]:
        head = self.items(block.width, streamed=block.streamed)
        first, last = self.block(block.arm)
        fork = self.name("map")
        join, end = self.joined(fork, ordered=block.ordered)
        self.g.add(
            self.g.edge_from(head).map(fork_id=fork).to(first),
            self.g.edge_from(last).to(join),
        )
        return head, end

    def add_grid(self, block: Grid) -> tuple[Any, Any]:
        head = self.plain(
            lambda value: [
                [item(item(value, row), column) for column in range(block.columns)] for row in range(block.rows)
            ]
        )
        outer, inner = self.name("rows"), self.name("columns")
        first, last = self.block(block.arm)
        join = self.g.join(_add_up, initial=None, node_id=self.name("join"), parent_fork_id=outer)
        self.g.add(
            self.g.edge_from(head).map(fork_id=outer).map(fork_id=inner).to(first),
            self.g.edge_from(last).to(join),
        )
        return head, join

    def add_either(self, block: Either) -> tuple[Any, Any]:
        head, tail = self.plain(lambda value: value), self.plain(lambda value: value)
        decision: Any = self.g.decision(node_id=self.name("decision"))
        count = len(block.arms)
        for place, arm in enumerate(block.arms):
            first, last = self.block(arm)
            matches = lambda value, place=place: low(value) % count == place  # noqa: E731
            decision = decision.branch(self.g.match(int, matches=matches).label(str(place)).to(first))
            self.g.add(self.g.edge_from(last).to(tail))
        self.g.add(self.g.edge_from(head).to(decision))
        return head, tail

    def add_loop(self, block: Loop) -> tuple[Any, Any]:
        head = self.plain(lambda value: push(value, block.times))
        first, last = self.block(block.body)
        more, done = self.plain(next_round), self.plain(next_round)
        self.g.add(
            self.g.edge_from(head).to(first),
            self.g.edge_from(last).to(
                self.g.decision(node_id=self.name("decision"))
                .branch(self.g.match(int, matches=again).to(more))
                .branch(self.g.match(int).to(done))
            ),
            self.g.edge_from(more).to(first),
        )
        return head, done

    def add_race(self, block: Race) -> tuple[Any, Any]:
        head = self.items(block.width, streamed=block.streamed)
        first, last = self.block(block.arm)
        fork = self.name("map")
        join = self.g.join(_first, initial=None, node_id=self.name("join"), parent_fork_id=fork)
        self.g.add(
            self.g.edge_from(head).map(fork_id=fork).to(first),
            self.g.edge_from(last).to(join),
        )
        return head, join


def build(
    block: Block,
    *,
    seed: int = 0,
    pauses: int = 3,
    tick_s: float = 0.0,
    long_s: float = 1.5,
    pace: Callable[[str], float] | None = None,
) -> Graph[Tally, None, int, int]:
    """Return the graph of a block.

    Its steps wait for up to ``pauses`` turns of the loop, or ticks if those have a length; its long sleeps take ``long_s``.
    If a pace is given, it says for each task, by its id, how many seconds each pause of it takes.
    With every third seed its maps have few arms open at a time.
    """
    building = Building(seed, pauses, tick_s, long_s)
    building.pace = pace
    first, last = building.block(block)
    building.g.add(
        building.g.edge_from(building.g.start_node).to(first), building.g.edge_from(last).to(building.g.end_node)
    )
    graph = building.g.build()
    if seed % 3 == 1:
        for fork in graph.plan.nodes.values():
            if fork.kind is NodeKind.MAP:
                fork.window = 1 + zlib.crc32(f"{seed}/{fork.id}".encode()) % 3
    return graph
