"""Records the histories of this version: one file for each example, to be folded by every later version.

    python tests/replay/record.py

writes into ``histories/<version>/`` what isn't there yet. A history that is there is never written again: it is what
a user of that version has in a file somewhere.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from examples import EXAMPLES, Example
from perdure import MemoryStore, __version__
from perdure.engine import owner
from perdure.engine.inspection.inspect import inspect_run
from perdure.kernel.decide import describe

HISTORIES = Path(__file__).with_name("histories")


async def recorded(example: Example) -> dict[str, Any]:
    """Run an example and return its history, with what a fold of it gives today."""
    store = MemoryStore()
    await store.open()
    await example.build().run(inputs=example.inputs, state=example.state(), store=store, run_id=example.name)
    told = await inspect_run(store, example.name)
    plan = await store.plan(told.info.fingerprint)
    assert plan is not None
    rows = [
        {
            "first": row.first,
            "count": row.count,
            "epoch": row.epoch,
            "ts": row.ts,
            "events": row.events.decode(),
            "hash": row.hash.hex(),
        }
        for row in await store.read(example.name, 0, 100_000)
    ]
    return {
        "run_id": example.name,
        "graph": told.info.graph,
        "fingerprint": told.info.fingerprint,
        "status": told.info.status,
        "plan": plan.decode(),
        "rows": rows,
        "state": told.state,
        "result": told.result,
    }


def main() -> None:
    owner.socket.gethostname = lambda: "host"  # whose machine it was, and where, is nobody's business
    describe.traceback.format_exception = lambda *_, **__: ["Traceback (most recent call last)\n"]
    folder = HISTORIES / __version__
    folder.mkdir(parents=True, exist_ok=True)
    for example in EXAMPLES:
        path = folder / f"{example.name}.json"
        if not path.exists():
            history = asyncio.run(recorded(example))
            path.write_text(json.dumps(history, indent=1, ensure_ascii=False) + "\n", "utf-8")
            print(path.relative_to(HISTORIES))


if __name__ == "__main__":
    main()
