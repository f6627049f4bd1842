"""The file, before SQLite sees it: whether it may lie there, and how it is created.

A file that exists is never opened here, only looked at. A process loses all its locks on a file when it closes any
descriptor of it, also those that SQLite holds for another store in the same process; another process would then take
itself for the only one left, and remove the -wal file under our feet.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from perdure.errors import StoreForeign, StoreReadOnly, StoreUnsupported

MINIMUM_SQLITE = (3, 37, 0)  # STRICT tables

_MOUNTS = Path("/proc/self/mounts")
_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.davfs2", "fuse.glusterfs", "fuse.s3fs",
        "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
    }
)  # fmt: skip


def prepare_file(path: Path, *, force: bool) -> Path:
    """Create the file, readable for its owner alone, if it isn't there; return its path without symbolic links.

    Args:
        path: the file.
        force: create or take it even on a network file system.

    Raises:
        StoreUnsupported: it would lie on a network file system, or this SQLite is too old.
        StoreForeign: it is a folder, or something else that is no file.
        StoreReadOnly: it can't be created or written.
    """
    location = str(path)
    path = Path(os.path.realpath(path))
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        wanted = ".".join(map(str, MINIMUM_SQLITE))
        raise StoreUnsupported(
            f"this Python has SQLite {sqlite3.sqlite_version}, and perdure needs {wanted} or later", location=location
        )
    kind = file_system(path.parent)
    if kind in _NETWORK_FILE_SYSTEMS and not force:
        raise StoreUnsupported(
            f"the folder lies on a network file system ({kind}), where SQLite's locks can't be relied on. Put the file "
            "on a local disk, or open it with force=True if no other host will",
            location=location,
        )
    try:
        # Of a file that this call has made, nobody holds a lock yet; so it may be closed again.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        _check_existing(path, location)
    except FileNotFoundError:
        raise StoreReadOnly(
            "the folder doesn't exist", location=location, remedy="Make it, or give another path"
        ) from None
    except OSError as error:
        raise StoreReadOnly(f"it can't be created ({error.strerror})", location=location) from error
    return path


def find_file(path: Path) -> Path:
    """Return the path of a file that is there to be read, without symbolic links.

    Raises:
        StoreForeign: it is a folder, or something else that is no file.
        StoreReadOnly: it isn't there, or can't be read.
    """
    location = str(path)
    path = Path(os.path.realpath(path))
    if not path.exists():
        raise StoreReadOnly("there is no such file", location=location)
    _check_regular(path, location)
    if not os.access(path, os.R_OK):
        raise StoreReadOnly("this user may not read it", location=location)
    return path


def reading_uri(path: Path) -> str:
    """Return the URI by which SQLite opens a file that is only to be read, maybe by somebody who can't write to it.

    A connection that may write is asked not to, because only such a one takes the -wal and -shm files away again which it
    needs. One that may not must not create them either: they would belong to the wrong user, and lock out the right one. So it
    uses those that are there; and if there are none, nobody has the file open, and SQLite may take it for one that doesn't
    change.
    """
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        how = "mode=rw"
    elif Path(f"{path}-wal").exists():
        how = "mode=ro"
    else:
        how = "mode=ro&immutable=1"
    return f"file:{quote(str(path))}?{how}"


def identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name, or None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_regular(path: Path, location: str) -> None:
    if path.is_dir():
        raise StoreForeign("it is a folder", location=location)
    if not path.is_file():
        raise StoreForeign("it isn't a regular file", location=location)


def _check_existing(path: Path, location: str) -> None:
    _check_regular(path, location)
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreReadOnly("this user may not write to it", location=location)


def file_system(folder: Path) -> str:
    """Return the kind of file system a folder, without symbolic links, lies on; empty where that can't be told."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return mounted_at(str(folder), mounts)


def is_network(kind: str) -> bool:
    """Say whether a kind of file system is one of a network."""
    return kind in _NETWORK_FILE_SYSTEMS


def mounted_at(folder: str, mounts: str) -> str:
    """Return the kind of file system that is mounted at or above a folder.

    Args:
        folder: an absolute path without symbolic links.
        mounts: lines as in ``/proc/self/mounts``; of several mounts at one point, the last is on top.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1]
        for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            point = point.replace(escape, character)
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind
