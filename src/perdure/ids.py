"""Identity of tasks and of fork instances.

A task is identified by how it came about, not by when: the same graph gives the same ids in every run, on every
recovery and in every fork of a run, whatever the order in which tasks finished. So an id can be recomputed from the
log, and what was recorded under it can be found again.

    H(parts…)       sixteen base32 characters of blake2b over the parts, each with its length before it
    task            H(parent task, destination, ordinal, index of each fork crossed on the hop …)
    fork instance   H("fork", task, fork id, index of each fork crossed before it on the same hop …)
    join's output   H("join", join id, parent instance)

The ordinal tells apart the edges of one source that lead to the same destination. The index of a map's arm is its
item's; the index of a broadcast's arm is its *rank*: its place in an order that depends on what the arm is and not
on when it was added to the builder.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from perdure.errors import InvalidIdentifier

_ALPHABET: Final = b"abcdefghijklmnopqrstuvwxyz234567"
# One character for the low five bits of each byte of a 16-byte digest: 80 bits, in one call (b32encode takes 5 µs).
_TABLE: Final = bytes(_ALPHABET[byte & 31] for byte in range(256))

MAX_IDENTIFIER_LENGTH: Final = 200
MAX_TEXT_LENGTH: Final = 2000
"""Of a reason, or of the title of what a person is asked."""
MAX_TAGS: Final = 64
LATEST: Final = 221_845_392_000_000_000
"""The last time that can be shown in every time zone, in microseconds since 1970: the end of the year 8999."""


def prefix(*parts: str) -> bytes:
    """Return the parts, each with its length before it, as the beginning of what is hashed."""
    text = ""
    for part in parts:
        text += f"{len(part)}:{part}"
    if text.isascii():  # then characters are bytes; this takes half the time
        return text.encode()
    return b"".join([b"%d:%b" % (len(data), data) for data in (part.encode() for part in parts)])


def digest(data: bytes) -> str:
    """Return sixteen base32 characters of the blake2b hash of ``data``."""
    return blake2b(data, digest_size=16).digest().translate(_TABLE).decode("ascii")


def identify(*parts: str) -> str:
    """Return H(parts…)."""
    return digest(prefix(*parts))


def checked_identifier(kind: str, value: str) -> str:
    """Return ``value`` if it can serve as an id or a name: 1 to 200 printable characters.

    Raises:
        InvalidIdentifier: it is empty, longer, or holds a character that can't be printed.
    """
    if not isinstance(value, str) or not value or len(value) > MAX_IDENTIFIER_LENGTH or not value.isprintable():
        is_long_text = isinstance(value, str) and len(value) > 80
        shown = f"{value[:60]!r}…" if is_long_text else f"{value!r:.500}"
        raise InvalidIdentifier(
            f"{shown} can't be a {kind}: give a string of 1 to {MAX_IDENTIFIER_LENGTH} printable characters"
        )
    return _plain(value)


def checked_by(by: str) -> str:
    """Return who says something, for the record: nobody, or a name that can be an id.

    Raises:
        InvalidIdentifier: it can't be one.
    """
    return checked_identifier("by=", by) if by != "" else ""


def checked_text(kind: str, text: str) -> str:
    """Return a text for the record, as a reason is, if it is no longer than such may be.

    Raises:
        InvalidIdentifier: it is longer, or no text, or holds half of a surrogate pair.
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT_LENGTH:
        size = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
        raise InvalidIdentifier(
            f"{kind} of {size}: it may have {MAX_TEXT_LENGTH:,} characters. Keep what is longer elsewhere, and say where"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidIdentifier(
            f"{text[:60]!r} can't be a {kind}: it holds half of a surrogate pair, which UTF-8 can't express"
        ) from None
    return _plain(text)


def _plain(text: str) -> str:
    """Return a text as a plain ``str``, also one that is a member of a ``StrEnum``."""
    return str.__str__(text)


START_TASK: Final = identify("start")
ROOT_INSTANCE: Final = identify("fork", START_TASK, "__start__")
