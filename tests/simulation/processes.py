"""Simulated processes that follow one another on one store, each of which may die between any two turns of its loop."""

from __future__ import annotations

import random
from typing import Any

from constructs import answering, signals
from perdure import Engine, Graph, MemoryStore
from perdure.engine.driving import recovery, snapshots
from perdure.engine.owner import disappear
from perdure.events import Durability
from random_graphs import Tally
from simulation.loop import Crash, SimulatedClock, SimulatedLoop
from simulation.shadow import Watch, watched
from sometimes import Sometimes

CRASHED = (
    "a crash before there was a run",
    "a crash between the end of a body and its decision",
    "a crash between a decision and its commit",
    "a crash between a commit and its answer",
    "a crash while bodies ran",
    "a crash in a recovery",
    "a crash after an answer that nobody had taken up",
    "a crash after the end",
    "a crash with a snapshot at hand",
)
"""Where a process may die."""


class Deadly(MemoryStore):
    """A store that processes share; one that is dead can't reach it any more."""

    def __init__(self) -> None:
        super().__init__()
        self.process = 0


class Connection:
    """One process's way to a shared store.

    Attributes:
        engine: whose way it is.
        watch: who looks at every append.
    """

    def __init__(self, store: Deadly, watch: Watch | None = None) -> None:
        self._store = store
        store.process += 1
        self._process = store.process
        self.engine: Any = None
        self.watch = watch
        if watch is not None:
            watch.appending = 0

    def __getattr__(self, name: str) -> Any:
        if self._store.process != self._process:
            raise RuntimeError("this process is dead")
        return getattr(self._store, name)

    async def append(self, append: Any) -> None:
        if self.watch is None:
            await self.__getattr__("append")(append)
            return
        self.watch.appending += 1
        await self.__getattr__("append")(append)
        self.watch.appending -= 1
        self.watch.compare(self.engine, append.run_id)


class Simulation:
    """One run of a graph over several processes."""

    def __init__(
        self,
        graph: Graph[Any, Any, Any, Any],
        *,
        seen: Sometimes | None = None,
        durability: Durability = "sync",
        has_snapshots: bool = False,
        signals_early: bool = False,
    ) -> None:
        self.store = Deadly()
        self.graph = graph
        self.engine: Any = None
        self.loop = SimulatedLoop()
        self.now = 1000.0
        self.seen = seen if seen is not None else Sometimes()
        self.watch = Watch(self.store, {graph.name: watched(graph)}, self.seen)
        self._durability: Durability = durability
        self._lives = 0
        self._has_snapshots = has_snapshots
        self._early = signals(graph) if signals_early else []

    def process(self, crash_at: int | None = None) -> tuple[Any, int]:
        """Live one process; return the result and how many callbacks it took."""
        self._lives += 1
        random.seed(self._lives)  # the jitter of retries is drawn
        loop = self.loop = SimulatedLoop(self.now)
        usual = snapshots.WORTHWHILE_BYTES, snapshots.WORTHWHILE_RATIO, recovery.SHORT
        try:
            if self._has_snapshots:
                snapshots.WORTHWHILE_BYTES, snapshots.WORTHWHILE_RATIO, recovery.SHORT = 500, 0, 0
            return loop.run(self._life(SimulatedClock(loop)), crash_at=crash_at), loop.steps
        finally:
            snapshots.WORTHWHILE_BYTES, snapshots.WORTHWHILE_RATIO, recovery.SHORT = usual
            self.now = loop.time() + 1.0

    async def _life(self, clock: SimulatedClock) -> Any:
        connection = Connection(self.store, self.watch if self._durability == "sync" else None)
        self.engine = connection.engine = engine = Engine.open(
            connection, [self.graph], clock=clock, durability=self._durability
        )
        async with engine:
            handle = await engine.start(self.graph, inputs=7, state=Tally(), run_id="run")
            result = await answering(handle, clock.sleep, early=self._early)
            return result, (await handle.state()), await engine.history("run")

    def process_or_die(self, crash_at: int) -> None:
        """Live one process that may crash again before it is through."""
        try:
            self.process(crash_at)
        except Crash:
            self.die()

    def die(self) -> None:
        """Let the world know that the last process is dead."""
        self._notice()
        self.store.process += 1
        disappear(self.engine._worker.owner)
        self.loop.bury()

    def _notice(self) -> None:
        """Count what the process that has just died was about."""
        seen = self.seen
        info = self.store._runs.get("run")
        seen.note("a crash before there was a run", info is None)
        if info is None:
            return
        seen.note("a crash with a snapshot at hand", "run" in self.store._snapshots)
        seen.note("a crash after the end", info.status == "COMPLETED")
        seen.note("a crash after an answer that nobody had taken up", self.store._inboxes.has_mail("run"))
        if self._durability != "sync":
            return
        driven = self.engine._worker.driven.get("run")
        recorded = self.watch.shadow("run").run
        is_mine = info.owner is not None and info.owner.id == self.engine._worker.owner.id
        has_begun = any(row.epoch == info.epoch for row in self.store._logs["run"])
        if driven is None or not is_mine or not has_begun:
            seen.note("a crash in a recovery", self._lives > 1 and info.status != "COMPLETED")
            return
        driver = driven.driver
        seen.note("a crash between the end of a body and its decision", bool(driver._executor.results))
        seen.note("a crash between a decision and its commit", driver.run.seq > recorded.seq)
        seen.note("a crash between a commit and its answer", driver._wake is None and driver.run.seq == recorded.seq)
        seen.note("a crash while bodies ran", bool(driver._executor._running))
