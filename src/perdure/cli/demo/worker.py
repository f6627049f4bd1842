"""The process that drives the census, and is killed for show: ``python -m perdure.cli.demo.worker DB RUN FOLDER``.

The processes that parse files import the main module of the process that starts them, as those of multiprocessing do, so
nothing but definitions stands at the top of it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading


def end_with_parent() -> None:
    """End this process when the one that started it is gone: its end of our standard input is closed then."""
    while os.read(0, 64):  # not sys.stdin.read(), whose lock would keep the interpreter from ending
        pass
    os._exit(1)


def main(db: str, run_id: str, folder: str) -> int:
    """Run the census, or go on with it."""
    from perdure.cli.demo.census import Census, census  # noqa: PLC0415
    from perdure.errors import PerdureError  # noqa: PLC0415

    threading.Thread(target=end_with_parent, daemon=True).start()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # which is puzzled by processes that anyio has ended
    try:
        census().run_sync(state=Census(), inputs=folder, store=db, run_id=run_id)
    except PerdureError as error:
        sys.stderr.write(error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
