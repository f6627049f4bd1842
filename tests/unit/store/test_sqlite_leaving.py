"""Leaving: stores that nobody closes, and processes that fork."""

import sys

import pytest
from sqlite_stores import python, query

HANGS_S = 300
"""Who hasn't ended by then never will, on however busy a machine."""

START = """
import asyncio, os, sys, threading
from perdure.store.sqlite.store import SQLiteStore
from perdure.testing.store_laws.writing import create, stored, write

path = sys.argv[1]
store = SQLiteStore(path)

async def begin():
    await store.open()
    return await create(store)
"""

NEVER_CLOSED = {
    "in the main thread": "asyncio.run(begin())",
    "while a commit is on its way": """
async def main():
    log = await begin()
    asyncio.ensure_future(write(store, log))
    await asyncio.sleep(0)
asyncio.run(main())
""",
    "in a loop that was only stopped": """
loop = asyncio.new_event_loop()
loop.run_until_complete(begin())
""",
    "in another thread": """
thread = threading.Thread(target=lambda: asyncio.run(begin()))
thread.start()
thread.join()
""",
    "in a thread that is a daemon": """
ready = threading.Event()
async def main():
    await begin()
    ready.set()
    await asyncio.Event().wait()
threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
ready.wait()
""",
    "after an exception": """
async def main():
    await begin()
    raise SystemExit(0)
asyncio.run(main())
""",
}


INTERRUPTED = """
begins = threading.Thread.start
def interrupted(thread):
    threading.Thread.start = begins
    begins(thread)
    raise KeyboardInterrupt
threading.Thread.start = interrupted
try:
    asyncio.run(begin())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_ctrl_c_while_a_connection_begins_does_not_keep_the_interpreter(tmp_path):
    done = python(START + INTERRUPTED, tmp_path / "runs.db", timeout_s=HANGS_S)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


@pytest.mark.parametrize("program", NEVER_CLOSED.values(), ids=NEVER_CLOSED.keys())
def test_a_store_that_is_never_closed_does_not_keep_the_interpreter(tmp_path, program):
    path = tmp_path / "runs.db"
    done = python(START + program, path, timeout_s=HANGS_S)
    assert done.returncode == 0, done.stderr
    assert query(path, "SELECT count(*) FROM run") == [(1,)]


def test_a_thread_that_works_on_when_the_main_thread_has_ended_keeps_its_store(tmp_path):
    """The interpreter waits for such threads; connections are stopped when the last of them has ended."""
    path = tmp_path / "runs.db"
    program = """
async def main():
    log = await begin()
    main_thread = threading.main_thread()
    while main_thread.is_alive():
        await write(store, log)
    for _ in range(50):
        await write(store, log)
    assert await stored(store) == log.rows
    print(len(log.rows), flush=True)

threading.Thread(target=lambda: asyncio.run(main())).start()
"""
    done = python(START + program, path, timeout_s=HANGS_S)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert query(path, "SELECT count(*) FROM log") == [(int(done.stdout),)]
    assert int(done.stdout) > 50


FORK = """
from perdure.errors import StoreClosed
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork() in a process with threads

async def refused(call):
    try:
        await call
    except StoreClosed as error:
        return "forked" in str(error)
    return False

async def child():
    answers = [await refused(call) for call in (store.next_epoch(), store.get("run"), store.open())]
    await store.close()
    own = SQLiteStore(path)
    await own.open()
    await create(own, "of the child")
    if sys.argv[2] == "closes":
        await own.close()
    await store.open()
    await store.next_epoch()
    if sys.argv[2] == "closes":
        await store.close()
    print(*answers, flush=True)

async def go_on(log):
    await write(store, log)
    assert await stored(store) == log.rows
    assert await store.get("of the child")
    await store.close()
    print("whole")

loop = asyncio.new_event_loop()
log = loop.run_until_complete(begin())
pid = os.fork()
if not pid:
    asyncio.run(child())
    sys.exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
loop.run_until_complete(go_on(log))
loop.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("child", ["closes", "forgets"])
def test_a_forked_process_can_use_a_store_of_its_own_only(tmp_path, child):
    """And it, too, ends though it leaves a store open."""
    done = python(START + FORK, tmp_path / "runs.db", child, timeout_s=HANGS_S)
    assert done.stdout.split() == ["True", "True", "True", "whole"], done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
