"""Leaving: threads end though a store was never closed, and a fork leaves its parent's connections alone.

aiosqlite runs each connection in a thread that isn't a daemon, and the interpreter waits for such threads before it runs
anything registered with ``atexit``. So a daemon thread waits for the main thread, which counts as ended from the moment the
interpreter begins to exit; then for all other threads that may still use a store; and then stops the connections that
were left open. (``threading._register_atexit`` would be called at the right time too, but is private.)

Connections are kept here until they are closed: aiosqlite stops one that is collected as garbage, but only after a
warning, and where warnings are errors it never comes to the stop.
"""

from __future__ import annotations

import os
import threading
import warnings

import aiosqlite

POLL_S = 0.02

_lock = threading.RLock()  # a store may be collected as garbage while it is held
_open: dict[aiosqlite.Connection, threading.Thread] = {}
_watcher: threading.Thread | None = None
_inherited: list[object] = []


def opened(connection: aiosqlite.Connection, thread: threading.Thread) -> None:
    """Note that a connection works in a thread, so that it is stopped when the interpreter exits."""
    global _watcher  # noqa: PLW0603 - one for the process
    with _lock:
        _open[connection] = thread
        if _watcher is None:
            _watcher = threading.Thread(target=_watch, name="perdure-exit", daemon=True)
            _watcher.start()


def closed(connection: aiosqlite.Connection) -> None:
    """Note that a connection was closed."""
    with _lock:
        _open.pop(connection, None)


def stop(*connections: aiosqlite.Connection) -> None:
    """Stop connections without waiting; they finish first what was handed to them."""
    for connection in connections:
        closed(connection)
        # aiosqlite answers to the event loop it finds here, which may be closed by then; so let it find none.
        threading.Thread(target=connection.stop, name="perdure-stop").start()


def abandoned(location: str, *connections: aiosqlite.Connection) -> None:
    """Let go of the file for a store that nobody can close any more."""
    stop(*connections)
    warnings.warn(f"{location}: the store was dropped before it was closed", ResourceWarning, stacklevel=1)


def _watch() -> None:
    main = threading.main_thread()
    main.join()
    while True:
        with _lock:
            ours = {main, *_open.values()}
        working = [thread for thread in threading.enumerate() if not thread.daemon and thread not in ours]
        if not working:
            break
        # It may be one of a connection that is being opened and isn't known yet, so don't wait for it for good.
        working[0].join(POLL_S)
    stop(*_open)


def _begin_anew() -> None:
    """Begin anew in a forked process: the parent's threads don't exist here.

    Its connections are kept for good. To close one here would be to meddle with the parent's files.
    """
    global _lock, _open, _watcher
    _inherited.append(_open)
    _lock, _open, _watcher = threading.RLock(), {}, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
