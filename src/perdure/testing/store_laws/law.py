"""What all laws share: how a store is made, and how a law is run against it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from perdure.store.port import Store

LIMIT_S = 300.0
"""No law takes this long; a store that hangs is stopped with an error."""


class Laws:
    """Laws of a store."""

    def make_store(self) -> Store:
        """Return a store that isn't open yet.

        Called twice in a test, it returns two that share their data, as two processes would.
        """
        raise NotImplementedError("a subclass of StoreContract says how a store is made: def make_store(self)")

    def in_other_process(self) -> tuple[str, str] | None:
        """Return how another process makes a store on the same data, or None if it can't.

        Returns:
            A function, as ``"module:name"``, and the string it is called with.
        """
        return None


LawsT = TypeVar("LawsT", bound=Laws)


def law(test: Callable[[LawsT, Store], Awaitable[None]]) -> Callable[[LawsT], None]:
    """Make a test of a coroutine function that takes an open store."""

    def run(self: LawsT) -> None:
        async def main() -> None:
            store = self.make_store()
            await store.open()
            try:
                async with asyncio.timeout(LIMIT_S):
                    await test(self, store)
            finally:
                await store.close()

        asyncio.run(main())

    run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
    return run
