"""A world of its own time, in which processes come and go and share one store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from perdure import Engine, Graph, MemoryStore
from perdure.testing.invariants import violations
from simulation.loop import SimulatedClock, SimulatedLoop


class JumpingClock(SimulatedClock):
    """A clock whose time of day somebody can set; its other time never jumps."""

    jumped_s = 0.0

    def now(self) -> int:
        return super().now() + int(self.jumped_s * 1e6)


class World:
    """Engines that follow one another, on one store.

    Attributes:
        now: the clock of the world that is alive, for steps that take their time.
    """

    now: ClassVar[JumpingClock]

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now_s = 1_000_000.0
        self.clock: JumpingClock

    def live(self, main: Callable[[Engine], Awaitable[Any]], *graphs: Graph[Any, Any, Any, Any], **options: Any) -> Any:
        """Do something with an engine of some graphs, and close it."""
        loop = SimulatedLoop(self.now_s)
        self.clock = World.now = JumpingClock(loop)

        async def life() -> Any:
            async with Engine.open(self.store, graphs, clock=self.clock, **options) as engine:
                result = await main(engine)
                for info in await engine.list():
                    assert violations(await engine.history(info.run_id)) == []
                return result

        try:
            return loop.run(life())
        except BaseException:
            loop.bury()
            raise
        finally:
            self.now_s = loop.time()

    def pass_time(self, seconds: float) -> None:
        """Let time go by while nothing runs."""
        self.now_s += seconds


def kinds(history: Any) -> list[str]:
    """Return the kinds of the events of a log."""
    return [recorded.kind for recorded in history]
