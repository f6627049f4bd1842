"""A town: several simulated processes at once, on one store and one loop, that can be stopped, thawed, killed and replaced.

Each callback of the loop belongs to the process in whose context it was made. One that belongs to a frozen process is put aside
until that goes on, as with SIGSTOP and SIGCONT; one of a dead process never runs. All share a wall clock that somebody may
set, and a monotonic one that nobody can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, ClassVar

from perdure import Engine, Graph, MemoryStore
from perdure.engine.owner import disappear
from perdure.errors import Fenced, OutcomeUnknown
from simulation.loop import SimulatedLoop
from simulation.shadow import Watch, watched
from simulation.world import JumpingClock
from sometimes import Sometimes

_process: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """One of the processes.

    Attributes:
        engine: its engine.
        is_dead: whether it has been killed.
        frozen_at: since when it has stood still, or None; it goes on by itself.
        stops_in: after how many callbacks it is to stop, and for how many seconds, or None.
        stopped: how often it has stopped while it drove runs.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.engine: Any = None
        self.is_dead = False
        self.frozen_at: float | None = None
        self.stops_in: tuple[int, float] | None = None
        self.stopped = 0
        self.held: list[asyncio.Handle] = []
        self.leave: asyncio.Event | None = None


class TownLoop(SimulatedLoop):
    """A loop that knows whose callbacks it runs."""

    def _run_one(self) -> None:
        if not self._ready:
            self._jump()
        handle = self._ready.popleft()
        process = handle._context.get(_process)
        if process is not None:
            if process.is_dead:
                return
            if process.stops_in is not None:
                self._count_down(process, *process.stops_in)
            if process.frozen_at is not None:
                process.held.append(handle)
                return
        self.steps += 1
        if not handle._cancelled:
            handle._run()

    def _count_down(self, process: Process, left: int, seconds: float) -> None:
        """Stop a process when it is time, wherever it is."""
        if left:
            process.stops_in = (left - 1, seconds)
        elif process.engine is not None and process.engine._worker.driven:
            process.stops_in = None
            process.stopped += 1
            process.frozen_at = self.time()
            self.call_at(self.time() + seconds, self.thaw, process, context=Context())

    def thaw(self, process: Process) -> None:
        """Let a process go on."""
        if process.frozen_at is not None:
            process.frozen_at = None
            self._ready.extend(process.held)
            process.held = []


class Street:
    """The way of a process to the store, which may fail on it.

    Attributes:
        errs: how likely an append raises, half of the time after it has been made.
    """

    def __init__(self, town: Town, process: Process) -> None:
        self._town = town
        self._process = process
        self.errs = 0.0

    def __getattr__(self, name: str) -> Any:
        if self._process.is_dead:
            raise RuntimeError("this process is dead")
        return getattr(self._town.store, name)

    async def append(self, append: Any) -> None:
        town = self._town
        errs = town.rng.random() < self.errs
        if errs and town.rng.random() < 0.5:
            raise OutcomeUnknown("the disk is away", location="town")
        epoch = town.store._runs[append.run_id].epoch
        try:
            await self.__getattr__("append")(append)
            if epoch != append.epoch:
                town.watch.found.append(
                    f"{append.run_id}: an append of epoch {append.epoch} was taken in epoch {epoch}"
                )
        except Fenced:
            town.seen.note("a fenced append")
            raise
        if errs:
            town.seen.note("an append that raised and was durable")
            raise OutcomeUnknown("the answer was lost", location="town")
        if town.store._logs[append.run_id][-1].epoch == append.epoch:  # else it was stopped, and others have gone on
            town.watch.compare(self._process.engine, append.run_id)


class Town:
    """Processes, and what happens to them.

    Attributes:
        now: the clock of the town that lives, for steps that take their time.
    """

    now: ClassVar[JumpingClock]

    def __init__(self, graphs: Sequence[Graph[Any, Any, Any, Any]], seed: int, seen: Sometimes | None = None) -> None:
        self.loop = TownLoop(1_000_000.0)
        self.loop.most_steps = 1 << 60
        self.clock = Town.now = JumpingClock(self.loop)
        self.store = MemoryStore()
        self.graphs = graphs
        self.rng = Random(f"town {seed}")
        self.seen = seen if seen is not None else Sometimes()
        self.watch = Watch(self.store, {graph.name: watched(graph) for graph in graphs}, self.seen)
        self.watch.is_strict = False  # one that was frozen may still do what somebody else has begun again
        self.processes: list[Process] = []

    def run(self, main: Callable[[Engine], Awaitable[Any]]) -> Any:
        """Do something as a client, which drives nothing."""

        async def client() -> Any:
            async with Engine.open(self.store, self.graphs, clock=self.clock, drive=False) as engine:
                result = await main(engine)
                for process in list(self.processes):
                    await self.close(process)
                return result

        try:
            return self.loop.run(client())
        finally:
            Watch.now = None
            self.loop.bury()

    def open(self, **options: Any) -> Process:
        """Let another process begin."""
        process = Process(len(self.processes))
        self.processes.append(process)
        process.leave = asyncio.Event()
        street = Street(self, process)
        street.errs = options.pop("errs", 0.0)

        async def life() -> None:
            engine = Engine.open(street, self.graphs, clock=self.clock, **options)  # type: ignore[arg-type]
            process.engine = engine
            async with engine:
                assert process.leave is not None
                await process.leave.wait()
            process.engine = None

        def begin() -> None:
            _process.set(process)
            self.loop.create_task(life())

        copy_context().run(begin)
        return process

    async def close(self, process: Process) -> None:
        """Let a process end in an orderly way."""
        process.stops_in = None
        self.loop.thaw(process)
        assert process.leave is not None
        process.leave.set()
        while process.engine is not None and not process.is_dead:
            await asyncio.sleep(0.01)
        self.processes = [other for other in self.processes if other is not process]

    def kill(self, process: Process) -> None:
        """Let a process die, and everybody on its host know it."""
        process.is_dead = True
        process.held.clear()
        if process.engine is not None:
            disappear(process.engine._worker.owner)
            process.engine = None
        self.processes = [other for other in self.processes if other is not process]

    def stop(self, process: Process, callbacks: int, seconds: float) -> None:
        """Let a process stand still for a while, from some of its callbacks on, if it drives runs then."""
        process.stops_in = (callbacks, seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock."""
        self.clock.jumped_s = seconds
