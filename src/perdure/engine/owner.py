"""Who drives runs: the identity of this process, and whether another one still lives."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from perdure.store.port import Owner

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
    here = (socket.gethostname(), _boot(), _namespace())
    if not owner.boot or not owner.namespace or (owner.host, owner.boot, owner.namespace) != here:
        return False
    if owner.pid == os.getpid():
        return owner.id not in _open_here
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _started(owner.pid) not in (owner.started, None)


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
