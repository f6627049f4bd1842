"""Who drives runs: the identity of this process, and whether another one still lives.

That is asked twice. Of the owner of a lease, who must be known to be dead before his lease may end early. And of who has left
tasks in flight in a log: if his process lives, nothing has crashed, he was stopped, or too slow, for longer than his lease.
"""

from __future__ import annotations

import os
import secrets
import socket
from hashlib import blake2b
from pathlib import Path

from perdure.events import Before, SegmentStarted
from perdure.store.records import Owner

_open_here: set[str] = set()


def appear() -> Owner:
    """Return an identity for a worker in this process, which lives until :func:`disappear`."""
    owner = Owner(
        id=secrets.token_hex(8),
        host=socket.gethostname(),
        boot=_boot(),
        namespace=_namespace(),
        pid=os.getpid(),
        started=_started(os.getpid()) or "",
    )
    _open_here.add(owner.id)
    return owner


def disappear(owner: Owner) -> None:
    """Let others in this process know that a worker is gone."""
    _open_here.discard(owner.id)


def is_provably_dead(owner: Owner) -> bool:
    """Say whether the process of an owner is known not to live any more.

    It is known only for a process of this host, since its last start, in the same space of process ids. Where any of that
    can't be told, the answer is no, and the lease has to run out.
    """
    return _is_here(owner) and not _lives(owner.pid, owner.started, owner.id)


def worker_of(owner: Owner) -> str:
    """Return how the log names an owner: for people, and with its ``process`` for :func:`fate`."""
    return f"{owner.host}:{owner.pid}:{owner.id}"


def process_of(owner: Owner) -> str:
    """Return by what others on its host can tell whether the process of an owner still lives."""
    return f"{_place(owner.boot, owner.namespace)}:{owner.started}" if _is_here(owner) and owner.started else ""


def fate(segment: SegmentStarted | None) -> Before:
    """Return what is known of the process that has driven a segment."""
    if segment is None:
        return "unknown"
    place, _, started = segment.process.partition(":")
    if not started:
        return "unknown"
    _, pid, id_ = segment.worker.rsplit(":", 2)
    if place != _place(_boot(), _namespace()):
        return "elsewhere"
    return "lives" if _lives(int(pid), started, id_) else "died"


def _is_here(owner: Owner) -> bool:
    here = (socket.gethostname(), _boot(), _namespace())
    return bool(owner.boot and owner.namespace) and (owner.host, owner.boot, owner.namespace) == here


def _place(boot: str, namespace: str) -> str:
    """Return a name for a start of a host and a space of process ids on it."""
    return blake2b(f"{socket.gethostname()} {boot} {namespace}".encode(), digest_size=8).hexdigest()


def _lives(pid: int, started: str, id_: str) -> bool:
    """Say whether a process of this host lives that began at a time, and the worker in it, if that is this process."""
    if pid == os.getpid():
        return id_ in _open_here
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(pid) in (started, None)


def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Return when a process began, in ticks since the host did; None if that can't be told, ended if it is a zombie."""
    text = _read(f"/proc/{pid}/stat")
    if not text:
        return None
    fields = text.rpartition(")")[2].split()
    return "ended" if fields[0] in "ZX" else fields[19]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
