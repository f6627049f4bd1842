"""DBOS Transact on its SQLite system database, as it sets it up: workflows are functions, and each step is recorded."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from dbos import DBOS, SetWorkflowID

from benchmarks.measure import Measured, main_file_bytes
from benchmarks.peers.child import answer, leave_as_if_killed

STEPS = 5


@DBOS.step()
async def add_one(number: int) -> int:
    """Count up."""
    return number + 1


@DBOS.step()
async def text(number: int) -> str:
    """Return 1 KB."""
    return "x" * 1024


@DBOS.workflow()
async def chained(length: int) -> int:
    """Run one step many times."""
    number = 0
    for _ in range(length):
        number = await add_one(number)
    return number


@DBOS.workflow()
async def collecting(length: int) -> int:
    """Append 1 KB to a list, many times."""
    return len([await text(number) for number in range(length)])


@DBOS.workflow()
async def fanned(size: int) -> list[int]:
    """Do a step for each of many items at once."""
    return await asyncio.gather(*(add_one(item) for item in range(size)))


@DBOS.workflow()
async def asking(number: int) -> int:
    """Wait for somebody, and then do one step."""
    return await add_one(await DBOS.recv_async("answer", timeout_seconds=3_600))


class Interrupted:
    """What happens at the last item of a map: a crash in one process, the end of a measurement in the next."""

    path: Path
    size: int
    began: float | None = None
    seconds: float = 0.0


@DBOS.step()
async def counted(number: int) -> int:
    """Count up, and at the last item crash, or take the time."""
    if number == Interrupted.size:
        if Interrupted.began is None:
            await asyncio.to_thread(_see_written, Interrupted.path, Interrupted.size)
            leave_as_if_killed()
        else:
            Interrupted.seconds = time.perf_counter() - Interrupted.began
    return number + 1


@DBOS.workflow()
async def interrupted(size: int) -> int:
    """Do a step for each of many items at once, the last of which is interrupted."""
    return sum(await asyncio.gather(*(counted(item) for item in range(size + 1))))


def _see_written(path: Path, size: int) -> None:
    connection = sqlite3.connect(path, timeout=30)
    while connection.execute("SELECT count(*) FROM operation_outputs").fetchone()[0] < size:
        time.sleep(0.2)  # in a process that is measured by nobody
    connection.close()


def _open(folder: Path) -> Path:
    path = folder / "runs.db"
    url = f"sqlite:///{path}"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})
    return path


async def _launch(folder: Path) -> Path:
    path = _open(folder)
    DBOS.launch()
    await asyncio.sleep(1)  # its own threads settle
    return path


async def chain(folder: Path, size: int) -> Measured:
    """Measure a chain."""
    path, measured = await _launch(folder), Measured(size)
    with measured.timed():
        assert await chained(size) == size
    measured.extra["bytes a unit"] = main_file_bytes(path) / size
    return measured


async def append(folder: Path, size: int) -> Measured:
    """Measure a list that grows; DBOS has no state, so the workflow keeps it and each step's 1 KB is recorded once."""
    path, measured = await _launch(folder), Measured(size)
    with measured.timed():
        assert await collecting(size) == size
    measured.extra["bytes a unit"] = main_file_bytes(path) / size
    return measured


async def mapped(folder: Path, size: int) -> Measured:
    """Measure a map."""
    path, measured = await _launch(folder), Measured(size)
    with measured.timed():
        found = await fanned(size)
    assert sum(found) == size * (size + 1) // 2
    measured.extra["bytes a unit"] = main_file_bytes(path) / size
    return measured


async def runs(folder: Path, size: int) -> Measured:
    """Measure many workflows of five steps at once."""
    path, measured = await _launch(folder), Measured(size * STEPS)
    with measured.timed():
        assert await asyncio.gather(*(chained(STEPS) for _ in range(size))) == [STEPS] * size
    measured.extra["bytes a unit"] = main_file_bytes(path) / measured.units
    return measured


async def resuming(folder: Path, size: int) -> Measured:
    """Measure from the first answer to many workflows that wait to the last result."""
    await _launch(folder)
    handles = [await DBOS.start_workflow_async(asking, number) for number in range(size)]
    await asyncio.sleep(5)  # all of them have come to wait
    measured = Measured(size)

    async def one(number: int) -> int:
        await DBOS.send_async(handles[number].workflow_id, number, "answer")
        found: int = await handles[number].get_result()
        return found

    with measured.timed():
        found = await asyncio.gather(*(one(number) for number in range(size)))
    assert found == [number + 1 for number in range(size)]
    return measured


async def crash(folder: Path, size: int) -> None:
    """Leave a workflow of which all items but the last are done and written, as a crash would."""
    Interrupted.path, Interrupted.size = await _launch(folder), size
    with SetWorkflowID("interrupted"):
        await interrupted(size)


async def recovery(folder: Path, size: int) -> Measured:
    """Measure from opening to the step that was interrupted."""
    measured = Measured(1)
    Interrupted.path, Interrupted.size = _open(folder), size
    Interrupted.began = time.perf_counter()
    DBOS.launch()
    handle = await DBOS.retrieve_workflow_async("interrupted")
    assert await handle.get_result() == (size + 1) * (size + 2) // 2
    measured.seconds = Interrupted.seconds
    return measured


if __name__ == "__main__":
    answer(
        {
            "chain": chain,
            "append": append,
            "map": mapped,
            "runs": runs,
            "resuming": resuming,
            "crash": crash,
            "recovery": recovery,
        }
    )
