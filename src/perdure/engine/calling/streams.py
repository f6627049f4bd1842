"""Streams: items that are taken while the task that gives them goes on.

The items that have come since the driver last looked are handed over together and recorded as one chunk. A stream waits
when as many of its arms are unsettled as a map may have open, so an endless one keeps memory bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from typing import Any

from perdure.engine.calling.bodies import timed_out
from perdure.engine.calling.context import AttemptContext
from perdure.engine.calling.evaluate import Evaluated, Flows
from perdure.engine.calling.values import Values
from perdure.events import Items, Route
from perdure.graph.flow import needs_value
from perdure.kernel.decide.results import Yielded
from perdure.kernel.fold.run import Instance, Task

_PAUSE_EVERY = 128


class Stream:
    """The items of one attempt of a stream."""

    def __init__(
        self,
        task: Task,
        evaluated: Evaluated,
        context: AttemptContext,
        flows: Flows,
        values: Values,
        feeds_of: Callable[[str], list[Instance]],
        timeout_s: float | None = None,
    ) -> None:
        self.task = task
        self._feeds_of = feeds_of
        self._evaluated = evaluated
        self._context = context
        self._flows = flows
        self._values = values
        self._timeout_s = timeout_s
        self._items: list[Any] = []
        self._routes: list[list[Route] | None] = [None for _ in evaluated.mapped]
        self._room: asyncio.Future[None] | None = None

    async def pump(self, report: Callable[[Any], None]) -> int:
        """Take every item; return how many there were."""
        seeks = self.task.node.resume == "seek"
        skip = 0 if seeks else self._context.stream_offset
        given = self._context.stream_offset if seeks else 0
        async with aclosing(_iterate(self._evaluated.stream)) as items:
            async for item in items if self._timeout_s is None else self._in_time(items, self._timeout_s):
                given += 1
                if given <= skip:
                    continue
                await self._take(item)
                if len(self._items) == 1:
                    report(self)
                while self._is_full():
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                if given % _PAUSE_EVERY == 0:
                    await asyncio.sleep(0)
        return given

    async def _in_time(self, items: AsyncGenerator[Any, None], timeout_s: float) -> AsyncGenerator[Any, None]:
        """Yield items, each of which has to come within a time after the one before."""
        while True:
            try:
                async with asyncio.timeout(timeout_s) as limit:
                    item = await anext(items)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not limit.expired():
                    raise
                raise timed_out(self.task, self._context, timeout_s) from None
            yield item

    async def _take(self, item: Any) -> None:
        for place, (spread, by) in enumerate(self._evaluated.mapped):
            route = await self._flows.evaluate_item(spread, item, by, self._context, self._values)
            if route is not None:
                routes = self._routes[place]
                if routes is None:
                    routes = self._routes[place] = []
                routes.append(route)
        self._items.append(item)

    def _is_full(self) -> bool:
        """Say whether as many items are on their way as may be."""
        for instance in self._feeds_of(self.task.id):
            feed = instance.feed
            if feed is not None and feed.task is not None:
                unsettled = feed.taken - feed.opened + len(feed.arms or ())
                if len(self._items) + unsettled >= instance.fork.window:
                    return True
        return False

    def ease(self) -> None:
        """Go on if there is room again."""
        if self._room is not None and not self._room.done() and not self._is_full():
            self._room.set_result(None)

    def handed_over(self) -> Yielded:
        """Return the items that have come, to be recorded.

        Raises:
            CodecError: with a store, one of them can't be stored.
        """
        items, self._items = self._items, []
        routes, self._routes = self._routes, [None for _ in self._evaluated.mapped]
        recorded = tuple(
            self._chunk(by, items, routes[place], needs_value(spread.then))
            for place, (spread, by) in enumerate(self._evaluated.mapped)
        )
        return Yielded(self.task.id, self.task.attempt, recorded)

    def _chunk(self, by: str, items: list[Any], routes: list[Route] | None, needed: bool) -> tuple[Items, ...]:
        return self._values.record_items(by, items, routes, needed)


async def _iterate(source: Any) -> AsyncGenerator[Any, None]:
    """Iterate over anything that can be iterated, and close it at the end."""
    if isinstance(source, AsyncIterable):
        iterator = source.__aiter__()
        try:
            async for item in iterator:
                yield item
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
    else:
        assert isinstance(source, Iterable)
        for item in source:
            yield item
