"""A program that appends to a run until it is killed; see :mod:`perdure.testing.store_laws.crashes`."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module

from perdure.store.port import Store
from perdure.testing.store_laws.writing import FOREVER, create, events, write


async def append_for_ever(function: str, argument: str, run_id: str) -> None:
    """Append commits of one to three rows, and print the seq after each."""
    module, _, name = function.partition(":")
    store: Store = getattr(import_module(module), name)(argument)
    await store.open()
    log = await create(store, run_id, driven_until=FOREVER)
    turn = 0
    while True:
        await write(store, log, *[events(turn, "x" * (turn * 37 % 2000))] * (turn % 3 + 1))
        sys.stdout.write(f"{log.seq}\n")
        sys.stdout.flush()
        turn += 1


if __name__ == "__main__":
    asyncio.run(append_for_ever(*sys.argv[1:]))
