"""A program that answers tasks of a run and sends it signals until it is killed; see :mod:`perdure.testing.store_laws.crashes`."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module

from perdure.store.port import Store
from perdure.testing.store_laws.writing import answer, signal


async def send_for_ever(function: str, argument: str, run_id: str) -> None:
    """Put in an answer and a signal, turn by turn, and print the number of each when it is accepted."""
    module, _, name = function.partition(":")
    store: Store = getattr(import_module(module), name)(argument)
    await store.open()
    turn = 0
    while True:
        for entry in (answer(b"%d" % turn, task=f"task-{turn}", run_id=run_id), signal(b"%d" % turn, run_id=run_id)):
            put, there = await store.put(entry)
            if put == "accepted" and there is not None:
                sys.stdout.write(f"{there.number}\n")
                sys.stdout.flush()
        turn += 1


if __name__ == "__main__":
    asyncio.run(send_for_ever(*sys.argv[1:]))
